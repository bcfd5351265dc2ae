"""Autoscalers of serving stacks.  The contract is in :mod:`policies.scaling`."""

from __future__ import annotations

import math
from typing import NamedTuple

from .contract import shared
from .parameters import require, within
from .scaling import ScaleView, mean_since, remember

SECOND = 1_000_000_000

TICK, SINCE_NS, WAY, RING = 0, 1, 2, 3
"""Cells of the memory: ticks so far; since when the decision at hand holds, and which way it goes;
where the ring begins."""


@shared
def intervals(span_ns: int, interval_ns: int) -> int:
    """How many whole intervals a span has, at least 1."""
    return max(1, span_ns // interval_ns)


class RayServe(NamedTuple):
    """Ray Serve: ongoing requests for each replica, averaged; a decision must hold for a while.

    Wanted are the average ongoing requests over ``target_ongoing_requests``, rounded up.  More or
    fewer replicas than that are corrected once every tick of ``upscale_delay`` or
    ``downscale_delay`` has said so.  Source: Ray Serve 2.60, ``AutoscalingConfig`` and
    ``replica_queue_length_autoscaling_policy``, whose defaults these are; its control loop asks
    every 0.1 s, but its metrics are no newer than ``metrics_interval``.
    """

    max_replicas: int
    min_replicas: int = 1
    target_ongoing_requests: float = 2.0
    upscale_delay_ns: int = 30 * SECOND
    downscale_delay_ns: int = 600 * SECOND
    look_back_ns: int = 30 * SECOND
    interval_ns: int = 1 * SECOND

    @property
    def memory_slots(self) -> int:
        """The ring holds one tick more than is looked back."""
        return RING + intervals(self.look_back_ns, self.interval_ns) + 1

    def bind(self, replicas: int) -> RayServe:
        """Check the numbers."""
        check_limits(self.min_replicas, self.max_replicas, replicas, self.interval_ns)
        require(
            self.target_ongoing_requests > 0,
            "target_ongoing_requests > 0",
            target_ongoing_requests=self.target_ongoing_requests,
        )
        within("upscale_delay_ns", self.upscale_delay_ns, 0)
        within("downscale_delay_ns", self.downscale_delay_ns, 0)
        within("look_back_ns", self.look_back_ns, 0)
        return self

    def target(self, view: ScaleView) -> int:
        """The present number, until another one has been wanted for long enough."""
        memory = view.memory
        memory[TICK] += 1.0
        tick = int(memory[TICK])
        back = intervals(self.look_back_ns, self.interval_ns)
        remember(memory, RING, back + 1, tick, view.ongoing_ns)
        mean = mean_since(memory, RING, back + 1, tick, back, self.interval_ns)
        wanted = math.ceil(mean / self.target_ongoing_requests)
        wanted = min(max(wanted, self.min_replicas), self.max_replicas)
        present = view.ready + view.starting
        way = 0.0
        delay_ns = 0
        if wanted > present:
            way = 1.0
            delay_ns = self.upscale_delay_ns
        elif wanted < present:
            way = -1.0
            delay_ns = self.downscale_delay_ns
        if way != memory[WAY]:
            memory[WAY] = way
            memory[SINCE_NS] = float(view.now_ns)
        if way == 0.0 or view.now_ns - int(memory[SINCE_NS]) < delay_ns:
            return present
        memory[WAY] = 0.0
        return wanted


class Knative(NamedTuple):
    """KServe on Knative: concurrency averaged over a stable window, and a short one for bursts.

    Wanted are the average ongoing requests over ``target_concurrency``, rounded up.  Where the
    short window wants ``panic_threshold`` times as many replicas as are ready, it decides, and
    nothing is scaled down until a whole stable window has passed without that.  A step down leaves
    at least ``1 / max_scale_down_rate`` of the replicas, and waits until every decision of
    ``scale_down_delay`` was as low.  Source: Knative Serving, "Additional autoscaling configuration
    for Knative Pod Autoscaler"; its defaults are these, with KServe's target of 100 requests.
    """

    max_replicas: int
    min_replicas: int = 1
    target_concurrency: float = 100.0
    target_utilization: float = 0.7
    stable_window_ns: int = 60 * SECOND
    panic_window_ns: int = 6 * SECOND
    panic_threshold: float = 2.0
    max_scale_down_rate: float = 2.0
    scale_down_delay_ns: int = 0
    interval_ns: int = 2 * SECOND

    @property
    def memory_slots(self) -> int:
        """The ring holds one tick more than the stable window."""
        return RING + intervals(self.stable_window_ns, self.interval_ns) + 1

    def bind(self, replicas: int) -> Knative:
        """Check the numbers."""
        check_limits(self.min_replicas, self.max_replicas, replicas, self.interval_ns)
        for name in ("target_concurrency", "target_utilization", "panic_threshold"):
            require(getattr(self, name) > 0, f"{name} > 0", **{name: getattr(self, name)})
        require(
            self.max_scale_down_rate > 1,
            "max_scale_down_rate > 1",
            max_scale_down_rate=self.max_scale_down_rate,
        )
        require(
            self.interval_ns <= self.panic_window_ns <= self.stable_window_ns,
            "interval <= panic_window <= stable_window",
            panic_window_ns=self.panic_window_ns,
            stable_window_ns=self.stable_window_ns,
        )
        within("scale_down_delay_ns", self.scale_down_delay_ns, 0)
        return self

    def target(self, view: ScaleView) -> int:
        """As many as the stable window wants, or the short one in a burst."""
        memory = view.memory
        memory[TICK] += 1.0
        tick = int(memory[TICK])
        back = intervals(self.stable_window_ns, self.interval_ns)
        short = intervals(self.panic_window_ns, self.interval_ns)
        remember(memory, RING, back + 1, tick, view.ongoing_ns)
        each = self.target_concurrency * self.target_utilization
        usual = mean_since(memory, RING, back + 1, tick, back, self.interval_ns)
        burst = mean_since(memory, RING, back + 1, tick, short, self.interval_ns)
        wanted = math.ceil(usual / each)
        at_once = math.ceil(burst / each)
        ready = max(1, view.ready)
        present = view.ready + view.starting
        if at_once >= self.panic_threshold * ready:
            memory[WAY] = 1.0
            memory[SINCE_NS] = float(view.now_ns)
        panics = memory[WAY] > 0.0
        if panics and view.now_ns - int(memory[SINCE_NS]) >= self.stable_window_ns:
            panics = False
            memory[WAY] = 0.0
        if panics:
            return max(present, at_once)
        if wanted >= present:
            memory[WAY] = 0.0
            return wanted
        if self.scale_down_delay_ns > 0:
            if memory[WAY] == 0.0:
                memory[WAY] = -1.0
                memory[SINCE_NS] = float(view.now_ns)
            if view.now_ns - int(memory[SINCE_NS]) < self.scale_down_delay_ns:
                return present
        return max(wanted, math.floor(ready / self.max_scale_down_rate))


def check_limits(least: int, most: int, replicas: int, interval_ns: int) -> None:
    """Check what every autoscaler has.

    Raises:
        ValueError: the limits do not fit the cluster.
    """
    require(1 <= least <= most, "1 <= min_replicas <= max_replicas", min_replicas=least,
            max_replicas=most)  # fmt: skip
    require(most <= replicas, f"max_replicas <= {replicas}, the replicas of the cluster",
            max_replicas=most)  # fmt: skip
    require(interval_ns >= 1, "interval > 0", interval_ns=interval_ns)


AUTOSCALERS: dict[str, type] = {"ray_serve": RayServe, "knative": Knative}
"""The ``autoscaler`` of a scenario file by its name."""
