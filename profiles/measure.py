"""Runs a plan on a model and keeps every call.

1. Warm-up is recorded as such and never counts.  Timed calls of grid and hold-out come in rounds,
   in an order drawn from a seed.
2. A shape that does not fit into memory is a limit: it and all that are at least as large in both
   directions are left out from then on.
3. A round that would run into the time of the series is not begun, and a series ends with the
   budget.  An interruption or a broken model keeps the complete rounds and series, and says so;
   without one complete round it is raised.
4. Garbage collection waits until the end.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .calls import Call
from .conditions import Conditions, Sensors
from .cost import Cost, fitted_cost, pilot_shapes
from .metadata import ProfileError
from .plan import Plan, Series, Warming
from .runner import ModelError, OutOfMemory, Runner

Progress = Callable[[str, int, int], None]
"""What is going on, ms done, ms in all."""
PILOT_SHARE = 0.1
"""Of the budget."""
PILOT_CALLS = 3
INTERRUPTED, OUT_OF_TIME = "interrupted", "out of time"


class Clock(Protocol):
    """Time, as an argument."""

    def now_ns(self) -> int:
        """Ns from any origin, never decreasing."""
        ...

    def sleep_ns(self, ns: int) -> None:
        """Wait."""
        ...


class RealClock:
    """The machine's own."""

    def now_ns(self) -> int:
        """The performance counter."""
        return time.perf_counter_ns()

    def sleep_ns(self, ns: int) -> None:
        """Sleep."""
        time.sleep(ns / 1e9)


@dataclass
class Measured:
    """What a plan brought, so far."""

    plan: Plan
    calls: list[Call] = field(default_factory=list)
    conditions: list[Conditions] = field(default_factory=list)
    limits: list[tuple[int, int]] = field(default_factory=list)
    """Shapes (batch size, length) that did not fit into memory; larger ones were not tried."""
    peak_bytes: dict[tuple[int, int], int] = field(default_factory=dict)
    """Most memory that a batch took, by shape, where the device can say."""
    rounds_done: int = 0
    series_done: int = 0
    stopped: str = ""
    """Why it ended early: interrupted, out of time, or what the model did; empty: it did not."""

    def fits(self, size: int, length: int) -> bool:
        """Whether a shape is below every limit of memory."""
        return not any(size >= s and length >= n for s, n in self.limits)


def pilot(
    runner: Runner, sizes: list[int], lengths: list[int], budget_ns: float, clock: Clock
) -> Cost:
    """Estimate what calls cost from a few shapes, cheapest first, within a share of the budget.

    A shape that would take more than is left of the share is passed over; the first never is.

    Raises:
        ProfileError: not even the smallest shape fits into memory.
    """
    end = clock.now_ns() + PILOT_SHARE * budget_ns
    warm: dict[tuple[int, int], float] = {}
    first, limits = [], Measured(_NOTHING)
    for size, length in pilot_shapes(sizes, lengths):
        too_long = PILOT_CALLS * _at_most_ns(warm, size * length) > end - clock.now_ns()
        if not limits.fits(size, length) or (warm and too_long):
            continue
        try:
            took = [_elapsed_ns(runner, size, length, clock) for _ in range(PILOT_CALLS)]
        except OutOfMemory:
            limits.limits.append((size, length))
            continue
        warm[size, length] = float(np.median(took[1:]))
        first.append(took[0] - warm[size, length])
    if not warm:
        raise ProfileError(
            f"{runner.name}: not even one request of {lengths[0]} {runner.length_unit} fits into "
            f"the memory of the device"
        )
    # The very first call also starts the framework; what it takes says nothing of other shapes.
    later = first[1:] or first
    return fitted_cost(warm, max(0.0, float(np.median(later))))


def _at_most_ns(warm: dict[tuple[int, int], float], units: int) -> float:
    """What a call may take if it costs no more for each unit than those that were tried."""
    return min((ns * max(1.0, units / (s * n)) for (s, n), ns in warm.items()), default=0.0)


def _elapsed_ns(runner: Runner, size: int, length: int, clock: Clock) -> int:
    begun = clock.now_ns()
    runner.serve([length] * size)
    return max(1, clock.now_ns() - begun)


_NOTHING = Plan((), (), Warming(), Cost(0.0, 0.0))


class Measurement:
    """One run of a plan; :meth:`run` does it."""

    def __init__(
        self, runner: Runner, plan: Plan, *, seed: int, clock: Clock, sensors: Sensors
    ) -> None:
        self.runner, self.plan, self.clock, self.sensors = runner, plan, clock, sensors
        self.order = np.random.default_rng(seed)
        self.found = Measured(plan)
        self.warm: set[tuple[int, int]] = set()

    def run(self, end_ns: float, progress: Progress) -> Measured:
        """Measure everything, or up to the end of its time or an interruption.

        Raises:
            KeyboardInterrupt, ModelError: before the first round was complete.
        """
        begun, found = self.clock.now_ns(), self.found
        total = int((self.plan.expected_ns) / 1e6)
        with quiet_memory():
            kept = 0
            try:
                for what in self._steps(end_ns):
                    kept = len(found.calls)
                    done = int((self.clock.now_ns() - begun) / 1e6)
                    progress(what, min(done, total), total)
            except (KeyboardInterrupt, ModelError) as error:
                if not found.rounds_done:
                    raise
                found.stopped = INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error)
                del found.calls[kept:]
        return found

    def _steps(self, end_ns: float) -> Iterator[str]:
        """One complete step at a time: warm load, each round, each series, the memory."""
        self._load()
        yield "warm-up"
        deadline_ns = end_ns - self.plan.series_ns
        for number in range(self.plan.rounds):
            if number and self.clock.now_ns() + self._round_ns(number) > deadline_ns:
                self.found.stopped = OUT_OF_TIME
                break
            self._round(number)
            self.found.rounds_done += 1
            yield f"round {number + 1} of {self.plan.rounds}"
        for number, series in enumerate(self.plan.series):
            self._series(number, series, end_ns)
            self.found.series_done += 1
            yield f"{series.kind} calls"
        self._peaks(end_ns)
        yield "memory"

    def _load(self) -> None:
        """Calls until the clocks had time to rise."""
        size, length = self.plan.sizes()[-1], self.plan.lengths()[0]
        until = self.clock.now_ns() + self.plan.warming.load_ns
        while self.clock.now_ns() < until and self.found.fits(size, length):
            self._call(size, length, 0, "warmup")

    def _round(self, number: int) -> None:
        self.found.conditions.append(self.sensors.read(number, self.clock.now_ns()))
        cells = self.plan.in_round(number)
        for place in self.order.permutation(len(cells)):
            size, length, _, kind = cells[place]
            self._call(size, length, number, kind)

    def _series(self, number: int, series: Series, end_ns: float) -> None:
        for _ in range(series.calls):
            if self.clock.now_ns() > end_ns:
                self.found.stopped = OUT_OF_TIME
                return
            if series.gap_ns:
                self.clock.sleep_ns(series.gap_ns)
            self._call(series.batch_size, series.length, number, series.kind, series.gap_ns)

    def _call(self, size: int, length: int, number: int, kind: str, gap_ns: int = 0) -> None:
        """One recorded call, after the warm-up of a new shape; nothing above a limit."""
        found = self.found
        if not found.fits(size, length):
            return
        try:
            if (size, length) not in self.warm:
                for _ in range(self.plan.warming.calls):
                    self._serve(size, length, number, "warmup", 0)
                self.warm.add((size, length))
            self._serve(size, length, number, kind, gap_ns)
        except OutOfMemory:
            found.limits.append((size, length))

    def _serve(self, size: int, length: int, number: int, kind: str, gap_ns: int) -> None:
        instant = self.clock.now_ns()
        served = self.runner.serve([length] * size)
        self.found.calls.append(
            Call(size, length, number, kind, gap_ns, served.wall_ns, served.device_ns, instant)
        )

    def _round_ns(self, number: int) -> float:
        """What a round will take, by what its cells took so far."""
        took: dict[tuple[int, int], list[int]] = {}
        for call in self.found.calls:
            if call.kind in ("grid", "holdout"):
                took.setdefault(call[:2], []).append(call.wall_ns)
        cells = self.plan.in_round(number)
        return float(sum(np.mean(took[cell[:2]]) for cell in cells if cell[:2] in took))

    def _peaks(self, end_ns: float) -> None:
        """Most memory by shape, large batches first, as far as time allows."""
        for size in reversed(self.plan.sizes()):
            for length in self.plan.lengths():
                if not self.found.fits(size, length):
                    continue
                try:
                    peak = self.runner.peak_memory_bytes([length] * size)
                except OutOfMemory:
                    continue
                if peak is None or self.clock.now_ns() > end_ns:
                    return
                self.found.peak_bytes[size, length] = peak


@contextmanager
def quiet_memory() -> Iterator[None]:
    """No garbage collection inside; what exists is never looked at again until it ends."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()
