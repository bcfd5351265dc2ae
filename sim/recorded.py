"""Service times of a run that was recorded, for a simulation of the same requests.

A simulator that is fed the times of a live run is tested in its logic alone: which requests share
a batch, and when it starts.  Three rules:

1. A batch that the recorded run made too, of just the same requests, takes the time that it took
   there.
2. Any other takes the profile's time, times the slowdown of a recorded batch: measured time over
   the profile's.  It is the batch of the same class of sizes that started nearest in time, on the
   same server if that ran one of the class: jitter depends on the size, drift on the instant, and
   servers differ.
3. Where no recorded batch is of that class, the nearest of any size lends its slowdown.

Requests are told apart by their ids, in order of arrival: those of an open workload are the same in
both runs.  In a closed loop two arrivals that nearly coincide may be numbered the other way round;
rule 2 then covers their batches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from policies.contract import IntArray, expected_ns
from profiles.noise import CLASS_STARTS

from .service import Service, drawn_ns, idling_ns
from .service_times import Batch
from .trace import Trace

Key = tuple[int, int]
"""Class of batch sizes and server; -1 where it is any."""

ANY = -1


class Lent(NamedTuple):
    """Batches that lend their slowdown, in order of their start."""

    start_ns: list[int]
    slowdown: list[float]

    def nearest(self, start_ns: int) -> float:
        """Slowdown of the batch that started nearest; of the earlier one on a tie."""
        right = bisect_left(self.start_ns, start_ns)
        if right == len(self.start_ns):
            return self.slowdown[-1]
        if right == 0:
            return self.slowdown[0]
        left = right - 1
        earlier = start_ns - self.start_ns[left] <= self.start_ns[right] - start_ns
        return self.slowdown[left if earlier else right]


class RecordedTimes:
    """The times of a recorded run, batch by batch; see the rules of the module.

    Attributes:
        asked: how many batches a simulation has asked for.
        found: how many of them the recorded run made too.
    """

    def __init__(self, trace: Trace, service: Service) -> None:
        """Index the batches of a run.

        Args:
            trace: of a run in which every batch ended.
            service: what the profile expects.

        Raises:
            ValueError: no batch ran.
        """
        if not len(trace.batch_size):
            raise ValueError("the recorded run made no batch, so that it has no times to replay")
        self.asked = self.found = 0
        self._service = service
        took_ns = (trace.batch_finish_ns - trace.batch_start_ns).tolist()
        self._times: dict[tuple[int, ...], int] = dict(zip(members_of(trace), took_ns, strict=True))
        self._lent: dict[Key, Lent] = defaultdict(lambda: Lent([], []))
        slowdown = took_ns / profile_ns(trace, service)
        columns = (trace.batch_start_ns, trace.batch_size, trace.batch_server, slowdown)
        for start_ns, size, server, factor in zip(*(c.tolist() for c in columns), strict=True):
            group = class_of(size)
            for key in ((group, server), (group, ANY), (ANY, ANY)):
                self._lent[key].start_ns.append(start_ns)
                self._lent[key].slowdown.append(factor)

    def __call__(self, batch: Batch) -> int:
        """The recorded time of the batch, or the profile's with a slowdown that was lent."""
        self.asked += 1
        took_ns = self._times.get(tuple(sorted(batch.members)))
        if took_ns is not None:
            self.found += 1
            return max(1, took_ns)
        group = class_of(batch.size)
        keys = ((group, batch.server), (group, ANY), (ANY, ANY))
        lent = next(self._lent[key] for key in keys if key in self._lent)
        idling = self._service.idling
        usual = batch.expected_ns + idling_ns(idling.extra_ns, idling.half_ns, batch.idle_ns)
        return drawn_ns(usual, lent.nearest(batch.start_ns))

    @property
    def found_share(self) -> float:
        """Share of the simulated batches that the recorded run made too."""
        return self.found / self.asked if self.asked else 0.0


def class_of(size: int) -> int:
    """Class of a batch size: those of :mod:`profiles.noise`."""
    return int(np.searchsorted(CLASS_STARTS, size, side="right"))


def members_of(trace: Trace) -> list[tuple[int, ...]]:
    """Ids of the requests of each batch, increasing."""
    order = np.argsort(trace.batch, kind="stable")
    order = order[trace.batch[order] >= 0]
    cuts = np.cumsum(trace.batch_size)[:-1]
    return [tuple(ids.tolist()) for ids in np.split(order, cuts)]


def idle_before_ns(trace: Trace) -> IntArray:
    """int64 (M,): how long the server of each batch was idle before it, at first since 0."""
    idle = np.zeros(len(trace.batch_size), dtype=np.int64)
    for server in range(trace.servers):
        mine = np.flatnonzero(trace.batch_server == server)
        ended = np.concatenate([np.zeros(1, dtype=np.int64), trace.batch_finish_ns[mine][:-1]])
        idle[mine] = trace.batch_start_ns[mine] - ended[: len(mine)]
    return idle


def profile_ns(trace: Trace, service: Service) -> IntArray:
    """int64 (M,): what is expected of each batch without noise, the cost of idling included."""
    edges, tables = service.length_edges, service.tables_ns
    several = tables.shape[1] > 1
    found = []
    profiles = np.zeros(len(trace.batch_size), dtype=np.int64)
    if len(service.grouping.profile_of):
        profiles = service.grouping.profiles[trace.batch_server]
    columns = (trace.batch_size, trace.batch_longest, profiles)
    shapes = zip(*(column.tolist() for column in columns), strict=True)
    for (size, longest, profile), ids in zip(shapes, members_of(trace), strict=True):
        models = set(trace.tier[list(ids)].tolist()) if several else {0}
        usual = max(expected_ns(tables[profile, model], edges, size, longest) for model in models)
        found.append(drawn_ns(usual, 1.0))
    extra = service.idling.costs_ns(idle_before_ns(trace))
    return np.array(found, dtype=np.int64) + np.rint(extra).astype(np.int64)
