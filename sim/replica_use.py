"""How evenly replicas are used, and how many there were: of services that are a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from policies.contract import FloatArray, IntArray

from .intervals import Estimate, ratio
from .sections import Sections, overlap
from .service import Service
from .trace import Trace


@dataclass(frozen=True)
class ReplicaUse:
    """The replicas of a cluster under one policy."""

    utilisation: tuple[float, ...]
    """Busy share of the servers of each replica, from the first request that is kept on."""
    mean: Estimate | None
    """Replicas that are ready, on average over time; None where all always are."""
    least: int
    most: int
    failed: int
    """Batches that ended with their replica."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "utilisation": list(self.utilisation),
            "ready": None if self.mean is None else self.mean.to_json(),
            "least": self.least,
            "most": self.most,
            "failed_batches": self.failed,
        }


def measure_replicas(
    traces: Sequence[Trace], sections: Sequence[Sections], service: Service
) -> ReplicaUse | None:
    """How the replicas of a cluster are used; None where the service is none.

    Args:
        traces: the replications under one policy.
        sections: of each trace.
        service: what served them.
    """
    if service.cluster is None:
        return None
    pairs = list(zip(traces, sections, strict=True))
    busy = np.mean([_busy(trace, cut, service) for trace, cut in pairs], axis=0)
    logs = [trace.changes.replicas for trace in traces if trace.changes is not None]
    count = service.cluster.replicas
    if not logs:
        return ReplicaUse(tuple(busy.tolist()), None, count, count, 0)
    lasts = np.concatenate([np.diff(cut.edges_ns) for _, cut in pairs])
    there = np.concatenate(
        [_ready_ns(log, cut.edges_ns) for log, (_, cut) in zip(logs, pairs, strict=True)]
    )
    ready = np.concatenate([log[:, 1] for log in logs])
    failed = sum(int(t.changes.failed.sum()) for t in traces if t.changes is not None)
    counts = np.concatenate([np.diff(cut.ids) for cut in sections])
    mean = ratio(there, lasts, counts)
    return ReplicaUse(tuple(busy.tolist()), mean, int(ready.min()), int(ready.max()), failed)


def _busy(trace: Trace, cut: Sections, service: Service) -> FloatArray:
    """float64 (replicas,): busy share of each replica's servers."""
    group = service.grouping
    replica = group.replica_of[trace.batch_server]
    edges = cut.edges_ns[[0, -1]]
    lasts = max(1, int(edges[1] - edges[0]))
    found = np.zeros(group.replicas)
    for place in range(group.replicas):
        own = replica == place
        spent = overlap(trace.batch_start_ns[own], trace.batch_finish_ns[own], edges)[0]
        found[place] = spent / lasts / max(1, int((group.replica_of == place).sum()))
    return found


def _ready_ns(log: IntArray, edges_ns: IntArray) -> FloatArray:
    """float64 (sections,): integral of the ready replicas over each section."""
    instants = np.append(log[:, 0], max(int(edges_ns[-1]), int(log[-1, 0])) + 1)
    found = np.zeros(len(edges_ns) - 1)
    for ready, (start, end) in zip(log[:, 1], pairwise(instants.tolist()), strict=True):
        found += ready * np.diff(np.clip(edges_ns, start, end))
    return found
