"""What is looked at: a run as it was seen, and the world in which it can be simulated again.

Evidence is found here once, as numbers; :mod:`experiments.diagnosis.causes` makes sense of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.contract import FloatArray, IntArray
from sim.intervals import Estimate
from sim.service import Service

from .fitting import extended
from .gain import Judged
from .pace import table_ns, usual_ns
from .retuning import cap_of
from .seen import Mask, Seen
from .world import World, play

PARTS = (
    "waiting for pre-processing",
    "pre-processing",
    "waiting for a server",
    "running in a batch",
    "waiting for post-processing",
    "post-processing",
)
"""Where a request spends its time, in order."""


@dataclass(frozen=True, eq=False)
class Look:
    """One run under diagnosis."""

    seen: Seen
    world: World
    judged: Judged
    known_largest: int = 0
    """The largest batch that the service can run; 0: a log does not say."""
    target_ns: float = 0.0
    """What the percentile should be; 0: nothing was asked for."""
    model_error: float = 0.0
    """How far a fitted table is from the batches, as a share."""

    @cached_property
    def replayed(self) -> Seen:
        """The same world simulated: what every change is held against."""
        return play(self.world)

    @cached_property
    def base(self) -> Estimate:
        """The judged percentile of the replay."""
        return self.judged.estimate(self.replayed)

    @cached_property
    def base_ns(self) -> float:
        """The judged percentile of the replay, in ns."""
        return self.judged.value_ns(self.replayed)

    @cached_property
    def replay_error(self) -> float:
        """How far the replay's percentile is from the one that was seen, as a share."""
        seen_ns = self.judged.value_ns(self.seen)
        return abs(self.base_ns / seen_ns - 1.0) if seen_ns > 0 else 0.0

    @cached_property
    def own(self) -> IntArray:
        """Ids of the judged requests that were served."""
        return np.flatnonzero(self.judged.mask(self.seen) & ~self.seen.lost)

    @cached_property
    def slow(self) -> IntArray:
        """Ids of the judged requests at or beyond the percentile, those that were lost included."""
        mine = np.flatnonzero(self.judged.mask(self.seen))
        return mine[self.judged.latencies_ns(self.seen) >= self.judged.value_ns(self.seen)]

    @cached_property
    def parts_ns(self) -> IntArray:
        """int64 (6, N): the time of each request in each of :data:`PARTS`."""
        s = self.seen
        instants = np.stack([
            s.arrival_ns, s.pre_start_ns, s.queued_ns, s.start_ns, s.finish_ns, s.post_start_ns,
            s.done_ns,
        ])  # fmt: skip
        return np.diff(instants, axis=0)

    def shares(self, ids: IntArray) -> FloatArray:
        """float64 (6,): share of each part in the latency of some requests."""
        sums = self.parts_ns[:, ids].sum(axis=1).astype(np.float64)
        return np.asarray(sums / max(float(sums.sum()), 1.0))

    @cached_property
    def slow_shares(self) -> FloatArray:
        """Of the slow requests."""
        return self.shares(self.slow)

    @cached_property
    def slowdown(self) -> FloatArray:
        """float64 (M,): the time of each batch over what is expected of it."""
        return np.asarray(self.seen.took_ns / usual_ns(self.seen, self.world.service))

    @cached_property
    def held_ns(self) -> IntArray:
        """int64 (N,): how long each request waited while the server of its batch was idle."""
        s, ran = self.seen, self.seen.batch >= 0
        batch = s.batch[ran]
        idle = np.maximum(s.idle_since_ns[batch], s.queued_ns[ran])
        held = np.zeros(len(s), dtype=np.int64)
        held[ran] = np.maximum(s.batch_start_ns[batch] - idle, 0)
        return held

    @cached_property
    def held_share(self) -> float:
        """Share of the slow requests' latency in which their server is idle beside them."""
        latency = max(1, int(self.seen.latency_ns[self.slow].sum()))
        return float(self.held_ns[self.slow].sum() / latency)

    def met(self, ids: IntArray, kind: Mask) -> Mask:
        """Which requests were in a batch of a kind, or waited while their servers ran one."""
        s, found = self.seen, np.zeros(len(ids), dtype=bool)
        queue = self.queue_of_batch
        ran = s.batch[ids] >= 0
        mine = np.where(ran, queue[s.batch[ids]], 0)
        for one in np.unique(mine):
            there, those = kind & (queue == one), mine == one
            started, queued = s.start_ns[ids[those]], s.queued_ns[ids[those]]
            begun = np.searchsorted(np.sort(s.batch_start_ns[there]), started, side="left")
            ended = np.searchsorted(np.sort(s.batch_finish_ns[there]), queued, side="right")
            found[those] = begun > ended
        return np.asarray(found | (ran & kind[s.batch[ids]]))

    @cached_property
    def queue_of_batch(self) -> IntArray:
        """int64 (M,): the queue that each batch was taken from."""
        queue_of = self.world.service.grouping.queue_of
        return np.asarray(queue_of[np.minimum(self.seen.batch_server, len(queue_of) - 1)])

    @cached_property
    def idle_elsewhere(self) -> float:
        """Share of the slow requests' latency in which they wait and another server is idle."""
        s, slow = self.seen, self.slow
        instants = np.concatenate([s.batch_start_ns, s.batch_finish_ns])
        order = np.argsort(instants, kind="stable")
        busy = np.cumsum(np.repeat([1, -1], len(s.batch_size))[order])
        at = instants[order]
        idle = np.append(0.0, np.cumsum(np.diff(at) * (busy[:-1] < s.servers)))
        waited = np.interp(s.start_ns[slow], at, idle) - np.interp(s.queued_ns[slow], at, idle)
        elsewhere = np.maximum(waited - self.held_ns[slow], 0.0).sum()
        return float(elsewhere / max(1.0, float(s.latency_ns[slow].sum())))

    @cached_property
    def cap(self) -> int:
        """The largest batch that the rule makes."""
        return cap_of(self.world.policy, self.world.service)

    @cached_property
    def full(self) -> Mask:
        """Full batches that left somebody behind, (M,)."""
        return np.asarray((self.seen.batch_size >= self.cap) & (self.seen.left_behind > 0))

    @cached_property
    def beyond(self) -> Service:
        """The service with larger batches than are known."""
        return extended(self.world.service)

    def reachable(self) -> Service:
        """The service with the batches that it could run today: a log does not say how many."""
        return self.world.service if self.known_largest else self.beyond

    @cached_property
    def rate_per_s(self) -> float:
        """Requests that arrive per second, without those of a backlog."""
        return (int(self.seen.coming.sum()) - 1) * 1e9 / self.seen.span_ns

    def best_per_s(self, service: Service, largest: int = 0) -> float:
        """Requests per second of all servers at the best batch size, without padding or noise."""
        largest = largest or service.largest_batch
        sizes = np.unique(np.rint(np.geomspace(1, largest, 24)).astype(np.int64))
        coming = np.flatnonzero(self.seen.coming)
        some = coming[np.linspace(0, len(coming) - 1, min(len(coming), 300)).astype(np.int64)]
        length, tier = self.seen.length[some], self.seen.tier[some]
        works = []
        for size in sizes:
            each = np.full(len(some), size)
            models = service.service_ns.shape[0]
            times = [table_ns(service, model, each, length) for model in range(models)]
            own = np.stack(times)[np.minimum(tier, models - 1), np.arange(len(some))]
            works.append(float(own.mean()) / size)
        return float(service.servers * 1e9 / min(works))

    def per_s_at(self, service: Service, size: int) -> float:
        """Requests per second of one server with batches of one size, as long as those seen."""
        longest = int(np.median(self.seen.batch_longest))
        one = np.array([size]), np.array([longest])
        slowest = max(
            float(table_ns(service, model, *one)[0]) for model in range(len(service.service_ns))
        )
        return size * 1e9 / slowest

    @cached_property
    def busy(self) -> tuple[float, float, float]:
        """Busy share of pre-processing, servers and post-processing; 0 where there is none."""
        s, span = self.seen, float(self.seen.done_ns.max() - self.seen.arrival_ns[0])
        parts = self.parts_ns
        pre = parts[1].sum() / (span * s.pre_workers) if s.pre_workers else 0.0
        post = parts[5].sum() / (span * s.post_workers) if s.post_workers else 0.0
        return float(pre), float(s.took_ns.sum() / (span * s.servers)), float(post)
