"""How much slower than expected batches ran, and when: kept for simulations of other rules.

1. A slowdown is the time that a batch took over the time that is expected of its size and longest
   length.
2. A slowdown is a level, its running median on the server, times luck.  Another rule makes other
   batches: each takes the level of the recorded batch of its server that started nearest in time,
   so that a slow stretch stays where it was, and the k-th batch of a server has the luck of the
   k-th recorded, so that all rules have the same.
3. A server more than were recorded takes after the fastest of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from policies.contract import FloatArray, IntArray, expected_ns
from sim.service import Noise, Service

from .seen import Seen

WINDOW = 9
"""Batches of a running median: with service times that vary by 20 % its own error is 8 %."""


@dataclass(frozen=True, eq=False)
class Pace:
    """Slowdowns of the batches of each server, in order of their start."""

    start_ns: tuple[IntArray, ...]
    """One int64 (batches of the server,) for each server."""
    slowdown: tuple[FloatArray, ...]
    """One float64 (batches of the server,) for each server."""

    def steady(self) -> Pace:
        """Every batch takes what is expected."""
        return Pace(self.start_ns, tuple(np.ones_like(each) for each in self.slowdown))

    def server(self, server: int) -> int:
        """Whose slowdowns a server takes (rule 3)."""
        if server < len(self.slowdown):
            return server
        typical = [np.median(each) if len(each) else np.inf for each in self.slowdown]
        return int(np.argmin(typical))

    def in_order(self, server: int) -> FloatArray:
        """The slowdowns of a server's batches as they came."""
        found = self.slowdown[self.server(server)]
        return found if len(found) else np.ones(1)

    def at(self, server: int, start_ns: IntArray) -> FloatArray:
        """The slowdowns of batches that start at other instants (rule 2)."""
        own = self.server(server)
        known_ns, slowdown = self.start_ns[own], self.slowdown[own]
        if not len(known_ns):
            return np.ones(len(start_ns))
        level = median_filter(slowdown, WINDOW, mode="nearest")
        luck = np.resize(slowdown / level, len(start_ns))
        right = np.clip(np.searchsorted(known_ns, start_ns), 1, max(1, len(known_ns) - 1))
        left = right - 1
        right = np.minimum(right, len(known_ns) - 1)
        earlier = start_ns - known_ns[left] <= known_ns[right] - start_ns
        return np.asarray(np.where(earlier, level[left], level[right]) * luck)


def pace_of(seen: Seen, service: Service) -> Pace:
    """The slowdowns of a run against what is expected of its batches."""
    factor = seen.took_ns / usual_ns(seen, service)
    mine = [np.flatnonzero(seen.batch_server == server) for server in range(seen.servers)]
    return Pace(tuple(seen.batch_start_ns[own] for own in mine), tuple(factor[own] for own in mine))


def usual_ns(seen: Seen, service: Service) -> FloatArray:
    """float64 (M,): what is expected of each batch: by its server's profile, and its neighbours.

    Of several models it is the slowest of its tiers.
    """
    group = service.grouping
    own = np.minimum(seen.batch_server, group.servers - 1)
    profile = group.profiles[own]
    found = np.zeros(len(seen.batch_size))
    for place, tables in enumerate(service.tables_ns):
        mine = profile == place
        if mine.any():
            found[mine] = _of_models(seen, tables, service.length_edges)[mine]
    return np.maximum(found, 1.0) * group.slowdown[on_gpu(seen, group.gpus)]


def _of_models(seen: Seen, tables: IntArray, edges: IntArray) -> FloatArray:
    """float64 (M,): time of each batch in one profile, the slowest of its tiers' models."""
    found = np.zeros(len(seen.batch_size))
    for model, table in enumerate(tables):
        own = np.ones(len(found), dtype=bool)
        if len(tables) > 1:
            own[:] = False
            own[seen.batch[(seen.batch >= 0) & (seen.tier == model)]] = True
        times = times_ns(table, edges, seen.batch_size, seen.batch_longest)
        found = np.where(own, np.maximum(found, times), found)
    return found


def on_gpu(seen: Seen, gpu_of: IntArray) -> IntArray:
    """int64 (M,): batches that run on the same GPU when each starts, itself included."""
    found = np.ones(len(seen.batch_size), dtype=np.int64)
    if len(np.unique(gpu_of)) == len(gpu_of):
        return found
    gpu = gpu_of[np.minimum(seen.batch_server, len(gpu_of) - 1)]
    for one in np.unique(gpu):
        mine = np.flatnonzero(gpu == one)
        start, finish = seen.batch_start_ns[mine], np.sort(seen.batch_finish_ns[mine])
        begun = np.arange(1, len(mine) + 1)  # batches stand in order of their start
        ended = np.searchsorted(finish, start, side="right")
        found[mine] = np.maximum(begun - ended, 1)
    return found


def table_ns(service: Service, model: int, size: IntArray, longest: IntArray) -> FloatArray:
    """float64 (M,): what the service's own table says of many batches."""
    return times_ns(service.service_ns[model], service.length_edges, size, longest)


def times_ns(table: IntArray, edges: IntArray, size: IntArray, longest: IntArray) -> FloatArray:
    """float64 (M,): :func:`policies.contract.expected_ns` of many batches."""
    shapes, place = np.unique(np.stack([size, longest]), axis=1, return_inverse=True)
    size, longest = np.clip(shapes[0], 1, len(table)), shapes[1]
    pairs = zip(size.tolist(), longest.tolist(), strict=True)
    each = np.array([expected_ns(table, edges, k, length) for k, length in pairs])
    return np.asarray(each[place.ravel()])


def noise_in_order(pace: Pace, servers: int, models: int) -> Noise:
    """The k-th batch of a server takes the k-th slowdown: exact for the rule that was recorded."""
    return _noise([pace.in_order(server) for server in range(servers)], models)


def noise_at(pace: Pace, played: Seen, models: int) -> Noise:
    """The slowdowns of the instants at which batches start in a first simulation."""
    rows = []
    for server in range(played.servers):
        start_ns = played.batch_start_ns[played.batch_server == server]
        more = start_ns[-1:] if len(start_ns) else np.zeros(1, dtype=np.int64)
        rows.append(pace.at(server, np.append(start_ns, more)))
    return _noise(rows, models)


def _noise(rows: list[FloatArray], models: int) -> Noise:
    """Factors as a simulation takes them; shorter rows end as their last batch."""
    most = max(map(len, rows))
    padded = [np.append(row, np.full(most - len(row), row[-1])) for row in rows]
    draws: NDArray[np.float32] = np.stack(padded).astype(np.float32)
    return Noise(np.tile(draws, (models, 1, 1)))
