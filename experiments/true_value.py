"""What a setting is truly worth: one long run, and of it only the numbers that the goal asks for.

1. The numbers are those of :mod:`sim.metrics`, to the last digit, without intervals: a grid of
   thousands of settings needs none.
2. One tier, and every request is served; measures are latencies and shares of the servers' time.
3. An order of settings counts how far limits are exceeded first, then the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from policies.contract import IntArray
from sim.intervals import percentile
from sim.metrics import MS
from sim.sections import cut, overlap
from sim.stability import Driver
from sim.trace import SERVED, Trace

from .contest import Draw
from .tune.contestants import Setting
from .tune.goal import Goal, Measure, Target
from .tune.words import share_of


class Worth(NamedTuple):
    """What a setting did on a run."""

    value: float
    """The objective, in its own unit."""
    limited: tuple[float, ...]
    """What every constraint is about, in the unit of its limit."""

    def excess(self, goal: Goal) -> float:
        """By how much the limits are exceeded, as shares of them; 0 where all hold."""
        pairs = zip(self.limited, limits_of(goal), strict=True)
        return sum(max(0.0, value / limit - 1.0) for value, limit in pairs)


def limits_of(goal: Goal) -> tuple[float, ...]:
    """The limit of every constraint, all of them upper ones."""
    assert all(isinstance(one, Target) or one.at_most for one in goal.constraints), goal.title
    return tuple(
        one.tier.slo_ns / 1e6 if isinstance(one, Target) else one.limit for one in goal.constraints
    )


def worth_of(goal: Goal, setting: Setting, draw: Draw, run: Driver) -> Worth:
    """Run a setting and measure what the goal asks for.

    Args:
        goal: one objective, and constraints that are upper limits.
        setting: not yet bound.
        draw: workload and service.
        run: a driver.
    """
    trace = run(setting.policy, *draw)
    assert bool((trace.status == SERVED).all()), "every request is served"
    kept = _Kept(trace)
    value = kept.number(goal.objectives[0])
    return Worth(value, tuple(kept.number(one.measure) for one in goal.constraints))


def order_of(goal: Goal, slack: float = 0.0) -> Callable[[Worth], tuple[float, float]]:
    """The order of settings, the best first.

    Args:
        goal: what is looked for.
        slack: limits may be exceeded by this share, where they are not known well yet.
    """
    sign = goal.objectives[0].sign

    def key(worth: Worth) -> tuple[float, float]:
        excess = worth.excess(goal)
        return (0.0 if excess <= slack else excess, sign * worth.value)

    return key


def regret_of(worth: Worth, best: Worth, goal: Goal) -> float:
    """How much worse a setting is than the best, as a share of the best."""
    return goal.objectives[0].sign * (worth.value / best.value - 1.0)


class _Kept:
    """A trace without its warm-up."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ids, self.edges_ns = (ends[[0, -1]] for ends in _ends(trace))
        self.latency_ns = (trace.finish_ns - trace.arrival_ns)[self.ids[0] :]

    def number(self, measure: Measure) -> float:
        """One measure."""
        share = share_of(measure.name)
        if share is not None and measure.word.statistic.startswith("latency_ms."):
            return percentile(self.latency_ns, share) * MS
        if measure.name == "mean":
            return float(self.latency_ns.mean()) * MS
        if measure.name == "busy":
            return self.busy
        assert measure.name == "energy", measure.name
        assert measure.power is not None, "the schema asks for it"
        idle, busy = float(measure.power.idle_w), float(measure.power.busy_w)
        return self.trace.servers * (idle + (busy - idle) * self.busy) / self.per_s

    @property
    def busy(self) -> float:
        """Share of the servers' time in which they run batches."""
        trace = self.trace
        spent = overlap(trace.batch_start_ns, trace.batch_finish_ns, self.edges_ns)[0]
        return float(spent) / (trace.servers * self.lasts_ns)

    @property
    def per_s(self) -> float:
        """Requests that finish per second."""
        finish = self.trace.finish_ns
        inside = (finish > self.edges_ns[0]) & (finish <= self.edges_ns[1])
        return int(np.count_nonzero(inside)) * 1e9 / self.lasts_ns

    @property
    def lasts_ns(self) -> float:
        """The time that counts."""
        return float(self.edges_ns[1] - self.edges_ns[0])


def _ends(trace: Trace) -> tuple[IntArray, IntArray]:
    sections = cut(trace)
    return sections.ids, sections.edges_ns
