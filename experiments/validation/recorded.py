"""A live window on disk, with all that a replay needs: no device, no clock, no profile.

A folder holds ``requests.csv``, ``batches.csv`` and ``trace.json`` of :meth:`sim.trace.Trace.save`,
and ``window.json``:

1. ``policy``, its table as in a scenario, and its name; ``load``, ``round``, ``attempt`` and
   ``condition`` as measured; ``device``, what is known of it.
2. ``service``: the calibrated table ``service_ns`` (models, sizes, edges) with ``length_edges``,
   the limits of the queue, and how the servers stand together where it is not one queue for all.
3. ``workload``: patience, think times and the end of the run, where there are any; everything else
   is in the trace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plain import dumps
from experiments.rules import policy_of
from policies.contract import NEVER, Policy
from sim.service import Idling, Service
from sim.trace import Trace
from sim.workload import NO_TIMES, ClosedLoop, Workload

from .predict import replayed
from .recorded_cluster import cluster_of, plain_cluster
from .summary import REPLAYED, error, summary_of
from .windows import Condition, Window

FORMAT = 1
FILE = "window.json"
LIMITS = ("servers", "capacity", "capacity_counts_in_system", "longest_admitted")
"""Fields of a service that are plain numbers."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A window and what it ran on."""

    window: Window
    table: Mapping[str, Any]
    """The policy, as in a scenario."""
    workload: Workload
    service: Service
    """Calibrated, without noise."""
    device: Mapping[str, Any]

    @property
    def policy(self) -> Policy:
        """Not bound."""
        return policy_of(self.table)

    @property
    def busy(self) -> float:
        """Measured share of time that the servers were busy."""
        return summary_of(self.window.trace).values["busy"]

    def replay_errors(self) -> dict[str, float | None]:
        """Signed error of mean, p50, p90 and p99 when the simulator is fed the window's times."""
        live = self.window.trace
        late_ns = self.window.late_ns
        replay = replayed(self.policy, self.workload, self.service, live, late_ns)
        measured, found = summary_of(live).values, summary_of(replay.trace).values
        return {name: error(measured[name], found[name]) for name in REPLAYED}


def save(
    folder: str | Path,
    window: Window,
    table: Mapping[str, Any],
    workload: Workload,
    service: Service,
    device: Mapping[str, Any],
) -> Path:
    """Write a window into a folder, which is made if need be; returns the folder.

    Args:
        folder: of this window alone.
        window: as measured.
        table: the policy's table of a scenario, with its ``kind``.
        workload: what the window replayed.
        service: what the policy was bound to.
        device: plain values.
    """
    folder = window.trace.save(folder, "csv")
    about = {
        "format": FORMAT,
        "policy": {"name": window.policy, "table": table},
        "load": window.load,
        "round": window.round,
        "attempt": window.attempt,
        "condition": asdict(window.condition),
        "late_ns": window.late_ns,
        "device": device,
        "service": {
            "service_ns": service.service_ns,
            "length_edges": service.length_edges,
            "idling": service.idling._asdict(),
            **{name: getattr(service, name) for name in LIMITS},
            "tier_capacity": service.tier_capacity,
            "cluster": plain_cluster(service.cluster, len(window.trace)),
        },
        "workload": {
            "timeout_ns": workload.timeout_ns,
            "think_ns": None if workload.closed is None else workload.closed.think_ns,
            "until_ns": workload.until_ns,
        },
    }
    (folder / FILE).write_text(dumps(about, indent=None), encoding="utf-8")
    return folder


def load(folder: str | Path) -> Recorded:
    """Read what :func:`save` wrote.

    Raises:
        FileNotFoundError: the folder holds no window.
        ValueError: it is of another format, or a table lacks a column.
    """
    folder = Path(folder)
    about = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if about.get("format") != FORMAT:
        raise ValueError(f"{folder / FILE}: format = {about.get('format')} must be {FORMAT}")
    trace = Trace.load(folder)
    service = about["service"]
    return Recorded(
        Window(
            about["policy"]["name"],
            about["load"],
            about["round"],
            about["attempt"],
            trace,
            Condition(**about["condition"]),
            None if about["late_ns"] is None else np.array(about["late_ns"], dtype=np.int64),
        ),
        about["policy"]["table"],
        _workload(trace, about["workload"]),
        Service(
            np.array(service["service_ns"], dtype=np.int64),
            np.array(service["length_edges"], dtype=np.int64),
            idling=Idling(**service["idling"]),
            **{name: service[name] for name in LIMITS},
            tier_capacity=np.array(service.get("tier_capacity", ()), dtype=np.int64),
            cluster=cluster_of(service.get("cluster")),
        ),
        about["device"],
    )


def _workload(trace: Trace, more: Mapping[str, Any]) -> Workload:
    """The requests of a trace, as they were asked for."""
    think_ns = more["think_ns"]
    return Workload(
        length=trace.length,
        arrival_ns=NO_TIMES if think_ns is not None else trace.arrival_ns,
        tier=trace.tier if len(trace.tiers) > 1 else np.zeros(0, dtype=np.int8),
        timeout_ns=np.array(more["timeout_ns"], dtype=np.int64),
        closed=None if think_ns is None else ClosedLoop(np.array(think_ns, dtype=np.int64)),
        tiers=trace.tiers,
        length_unit=trace.length_unit,
        until_ns=more.get("until_ns", NEVER),
    )
