"""One measurement of iterations, from the model to the profile.

1. A pilot runs every iteration of the grid once: it warms up, and says how many rounds the budget
   has room for.  Nothing of it counts.
2. Grid and hold-out come in rounds, each in an order of its own, drawn from the seed; then the
   steady series.
3. A round that would run into the time of the series is not begun.  An interruption or a broken
   model keeps the complete rounds and series; without one complete round it is raised.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from .campaign import priority, profile_name
from .conditions import load_average
from .latency import FILE_NAME
from .measure import INTERRUPTED, OUT_OF_TIME, Clock, Progress, RealClock, quiet_memory
from .metadata import ProfileError
from .runner import ModelError
from .steps import StepCall, StepProfile, medians
from .steps_plan import (
    SAMPLES_LEAST,
    SAMPLES_MOST,
    STEADY_CALLS,
    STEADY_SHARE,
    Axes,
    Cell,
    StepWishes,
    cells_of,
    check_wishes,
    grids,
    mixed_cells,
    steady_cells,
)
from .steps_runner import Measurable, StepRunner

PAUSE_SHARE = 0.1
"""Linux stops whoever goes before ordinary processes for the rest of any second of which it took
95 % (sched(7), ``sched_rt_runtime_us``); a pause of a tenth of each call keeps below that."""


class ShortBudgetError(ProfileError):
    """Not even the smallest grid fits.

    Attributes:
        needed_s: what it takes, about.
    """

    def __init__(self, problem: str, needed_s: float) -> None:
        super().__init__(problem)
        self.needed_s = needed_s


Timed = Callable[[Cell], int]
"""Runs an iteration and gives the ns that it took."""


@dataclass
class StepsFound:
    """What was measured so far."""

    axes: Axes
    calls: list[StepCall] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    """Load average at the start of each round, where the system knows it."""
    rounds: int = 0
    """Complete ones."""
    planned: int = 0
    given_up: str = ""
    """What did not fit the budget, in words."""
    stopped: str = ""
    """Why it ended early; empty: it did not."""


@dataclass(frozen=True)
class StepCampaign:
    """What came of it."""

    profile: StepProfile
    found: StepsFound
    took_ns: int


def measured(
    runner: Measurable,
    wishes: StepWishes,
    timed: Timed,
    *,
    clock: Clock | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> StepCampaign:
    """Measure a model's iterations within a budget of time.

    Args:
        runner: the model; it stays open.
        wishes: what to measure.
        timed: how an iteration is run and timed, such as :func:`in_process`.
        clock: the machine's own by default.
        progress: told after each step what it was, ms done and ms in all.

    Raises:
        ProfileError: a wish cannot be granted, or not within the budget.
        ModelError: the model broke before the first round was complete.
        KeyboardInterrupt: before the first round was complete.
    """
    clock = clock or RealClock()
    check_wishes(wishes, runner)
    about = dict(runner.about())
    name = wishes.name or profile_name(about)
    if not FILE_NAME.fullmatch(name):
        raise ProfileError(
            f"--name must be letters, digits, dots, dashes and underscores, but got {name!r}"
        )
    begun = clock.now_ns()
    work = _Work(wishes, timed, clock, progress)
    with quiet_memory():
        found = work.run(begun, mixed_cells(wishes, runner.longest))
    took_ns = clock.now_ns() - begun
    about |= _circumstances(found, wishes, took_ns)
    return StepCampaign(_profile(found, name, wishes, about), found, took_ns)


def in_process(runner: StepRunner, clock: Clock | None = None) -> Timed:
    """The clock around the model's own call; a process that goes first pauses after it."""
    share, clock = PAUSE_SHARE if goes_first() else 0.0, clock or RealClock()

    def call(cell: Cell) -> int:
        began_ns = clock.now_ns()
        runner.pretend(cell.pieces)
        took_ns = max(1, clock.now_ns() - began_ns)
        if share:
            clock.sleep_ns(round(share * took_ns))
        return took_ns

    return call


class _Work:
    """Calls, as the plan wants them."""

    def __init__(self, wishes: StepWishes, timed: Timed, clock: Clock, progress: Progress) -> None:
        self.wishes, self.timed, self.clock, self.progress = wishes, timed, clock, progress
        self.order = np.random.default_rng(wishes.seed)

    def run(self, begun: int, mixed: Sequence[Cell]) -> StepsFound:
        """Pilot, rounds, series."""
        end = begun + self.wishes.budget_ns
        found, cells, round_ns = self._pilot(end, mixed)
        series_ns = STEADY_SHARE * self.wishes.budget_ns
        kept = len(found.calls)
        try:
            for number in range(found.planned):
                if number and self.clock.now_ns() + round_ns > end - series_ns:
                    found.stopped = OUT_OF_TIME
                    break
                self._round(found, number, cells)
                found.rounds += 1
                kept = len(found.calls)
                self._tell(f"round {number + 1} of {found.planned}", begun)
            for number, cell in enumerate(steady_cells(found.axes, self.wishes.prompt_tokens)):
                self._series(found, number, cell, series_ns / 3, end)
                kept = len(found.calls)
                self._tell("steady calls", begun)
        except (KeyboardInterrupt, ModelError) as error:
            if not found.rounds:
                raise
            found.stopped = INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error)
            del found.calls[kept:]
        return found

    def _pilot(self, end: int, mixed: Sequence[Cell]) -> tuple[StepsFound, list[Cell], float]:
        """The fullest grid that fits, warmed up; all cells of a round, and what a round takes."""
        seen: dict[tuple[Any, ...], int] = {}
        for axes, words in islice(grids(self.wishes), self.wishes.fullest, None):
            cells = [*cells_of(axes, self.wishes.prompt_tokens), *mixed]
            found = StepsFound(axes, given_up=words)
            for cell in cells:
                if (cell.pieces, cell.decoding) not in seen:
                    self.timed(cell)  # a new shape may allocate and choose kernels
                    call = self._call(found, cell, 0, "warmup")
                    seen[cell.pieces, cell.decoding] = call.wall_ns
                if self.clock.now_ns() > end:
                    break
            round_ns = float(sum(seen.get((cell.pieces, cell.decoding), 0) for cell in cells))
            left = end - self.clock.now_ns() - STEADY_SHARE * self.wishes.budget_ns
            rounds = int(left / max(round_ns, 1.0))
            if rounds >= SAMPLES_LEAST:
                found.planned = min(rounds, SAMPLES_MOST)
                return found, cells, round_ns
        known = sum((cell.pieces, cell.decoding) in seen for cell in cells)
        whole_ns = round_ns * len(cells) / max(1, known)
        needed = whole_ns * (SAMPLES_LEAST + 2) / (1.0 - STEADY_SHARE) / 1e9
        raise ShortBudgetError(
            f"{self.wishes.budget_ns / 1e9:.2g} s of --budget do not hold {SAMPLES_LEAST} rounds "
            f"of the smallest grid, which take about {max(1.0, needed):.0f} s: give a longer "
            "budget, or fewer tokens and sequences",
            needed,
        )

    def _round(self, found: StepsFound, number: int, cells: Sequence[Cell]) -> None:
        load = load_average()
        if load is not None:
            found.loads.append(load)
        for place in self.order.permutation(len(cells)):
            self._call(found, cells[place], number, cells[place].kind)

    def _series(
        self, found: StepsFound, number: int, cell: Cell, share_ns: float, end: int
    ) -> None:
        until = min(end, self.clock.now_ns() + share_ns)
        for _ in range(STEADY_CALLS):
            if self.clock.now_ns() > until:
                return
            self._call(found, cell, number, "steady")

    def _call(self, found: StepsFound, cell: Cell, number: int, kind: str) -> StepCall:
        instant_ns = self.clock.now_ns()
        call = StepCall(kind, number, cell.work, self.timed(cell), instant_ns)
        found.calls.append(call)
        return call

    def _tell(self, what: str, begun: int) -> None:
        total = int(self.wishes.budget_ns / 1e6)
        self.progress(what, min(total, int((self.clock.now_ns() - begun) / 1e6)), total)


def _circumstances(found: StepsFound, wishes: StepWishes, took_ns: int) -> dict[str, Any]:
    """When, how and beside what it was measured."""
    load = {"load_average": float(np.median(found.loads))} if found.loads else {}
    early = {"stopped": found.stopped} if found.stopped else {}
    first = {"priority": "before ordinary processes"} if goes_first() else priority()
    return {
        "timed": "wall clock around ids, forward pass and choice of the next tokens",
        "licence": "Apache-2.0",
        "measured": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": wishes.command,
        "rounds": found.rounds,
        "took_s": round(took_ns / 1e9, 1),
        **load,
        **first,
        **early,
    }


def goes_first() -> bool:
    """Whether this process was put before all ordinary ones (chrt): others do not slow it down."""
    if not hasattr(os, "sched_getscheduler"):
        return False
    return os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def _profile(
    found: StepsFound, name: str, wishes: StepWishes, about: dict[str, Any]
) -> StepProfile:
    prefill, sequences, context = (np.array(axis, dtype=np.int64) for axis in found.axes)
    return StepProfile(
        name,
        prefill,
        sequences,
        context,
        medians(found.calls, found.axes, wishes.prompt_tokens),
        wishes.prompt_tokens,
        about,
        tuple(found.calls),
    )
