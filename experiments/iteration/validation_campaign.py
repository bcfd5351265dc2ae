"""A live run of rules of iterations: calibrate, run every rule at every load, and so on in rounds.

1. There is one block of calibration more than there are rounds.  The first also fixes the arrivals:
   a load is a share of what it found possible.
2. In a round every rule runs at every load, on the same requests, in an order that shifts from
   round to round.  A window that does not count is run again, once; all are kept.
3. Between windows a few iterations tell how fast the engine is, over what it was calibrated to.
4. An interruption or an engine that has died ends the run; the windows so far are judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from experiments.parallel import Progress, nothing, uninterrupted
from experiments.sentences import ScenarioError
from policies.iteration.contract import Rule
from profiles.conditions import load_average
from profiles.measure import INTERRUPTED as BY_HAND
from profiles.measure import quiet_memory
from profiles.steps_campaign import ShortBudgetError, StepCampaign
from profiles.steps_plan import StepWishes, steady_cells
from sim.iteration import kernel
from sim.iteration.serving import Serving
from sim.iteration.workload import TokenWorkload
from sim.worker import WorkerError

from .saturation import saturation_per_s
from .validation import INTERRUPTED, LivePlan, TokenValidation
from .validation_judging import judged, serving_of
from .validation_predict import pooled
from .validation_rig import IterationRig
from .validation_windows import LiveWindow

RETRIES = 1
THINNEST = 3
"""The last of the grids of a calibration."""
WATCHED = 12
"""Calls of each iteration between two windows."""

Draw = Callable[[float, float], TokenWorkload]
"""Requests at a rate per second, for so many seconds."""
OnWindow = Callable[[LiveWindow, Serving], None]
"""Given each window as soon as it is done, with what its rule was bound to."""

CROWD = (100.0, 20.0)
"""Rate and seconds of a draw: so many requests make the backlog of a saturation."""


@dataclass
class LiveFound:
    """What a campaign has brought so far."""

    serving: Serving
    """Calibrated by the first block: what rules know of the engine, in every window."""
    device: Mapping[str, Any]
    blocks: list[StepCampaign] = field(default_factory=list)
    workloads: dict[float, TokenWorkload] = field(default_factory=dict)
    windows: list[LiveWindow] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""
    """Why it ended early; empty: it did not."""


class TokenCampaign:
    """One validation; :meth:`run` does it."""

    def __init__(
        self,
        rules: Mapping[str, Rule],
        draw: Draw,
        wishes: StepWishes,
        plan: LivePlan,
        *,
        own_per_s: float | None = None,
        known: Serving | None = None,
        may_grow: bool = False,
        progress: Progress = nothing,
        on_window: OnWindow = lambda _window, _serving: None,
    ) -> None:
        """Prepare it.

        Args:
            rules: by name, not bound.
            draw: makes the requests of a load.
            wishes: of each block of calibration.
            plan: loads, rounds, windows.
            own_per_s: the rate at which requests come where the plan has no loads.
            known: an engine whose times are known beforehand; loads are shares of what it serves
                then, and not of what the calibration says.
            may_grow: whether a calibration may take longer than was planned.
            progress: told what is going on.
            on_window: given each window.
        """
        self.rules, self.draw, self.wishes, self.plan = rules, draw, wishes, plan
        self.own_per_s, self.known, self.may_grow = own_per_s, known, may_grow
        self.progress, self.on_window = progress, on_window
        self.step, self.steps = 0, 1

    def run(self, rig: IterationRig) -> LiveFound:
        """Measure everything, or up to an interruption.

        Args:
            rig: open.

        Raises:
            WorkerError, KeyboardInterrupt: before the first window was done.
            ProfileError: the budget does not hold a calibration.
            ScenarioError: the engine cannot serve the scenario's own rate.
        """
        began = time.perf_counter()
        loads = max(1, len(self.plan.loads))
        self.steps = 1 + self.plan.rounds * (1 + loads * len(self.rules))
        workloads = None if self.known is None else self._workloads(self.known)
        first = self._first(rig)
        serving = serving_of(first.profile, rig.engine)
        found = LiveFound(serving, dict(rig.about), [first], workloads or self._workloads(serving))
        self.form = first.profile.form()
        self.watched = steady_cells(first.found.axes, self.wishes.prompt_tokens)[:2]
        try:
            for number in range(self.plan.rounds):
                self._round(rig, found, number)
                with suppress(ShortBudgetError):  # the machine is busier than it was: one less
                    found.blocks.append(self._calibrated(rig, "calibrating again"))
                self.form = pooled([block.profile for block in found.blocks]).form()
        except (KeyboardInterrupt, WorkerError) as error:
            if not found.windows:
                raise
            found.stopped = INTERRUPTED if isinstance(error, KeyboardInterrupt) else str(error)
        found.seconds = time.perf_counter() - began
        return found

    def _first(self, rig: IterationRig) -> StepCampaign:
        """The first block; where nobody said how long, a slow machine gets more time for less."""
        try:
            return self._calibrated(rig, "calibrating")
        except ShortBudgetError as error:
            if not self.may_grow:
                raise
            budget_ns = max(2 * self.wishes.budget_ns, round(1.5e9 * error.needed_s))
            self.wishes = replace(self.wishes, budget_ns=budget_ns, fullest=THINNEST)
            return self._calibrated(rig, "calibrating for longer")

    def _calibrated(self, rig: IterationRig, what: str) -> StepCampaign:
        """One block; where it is interrupted, so is everything."""
        self.progress(what, self.step, self.steps)
        block = rig.calibrate(
            self.wishes, lambda _what, _done, _all: self.progress(what, self.step, self.steps)
        )
        if block.found.stopped == BY_HAND:
            raise KeyboardInterrupt
        self.step += 1
        return block

    def _workloads(self, serving: Serving) -> dict[float, TokenWorkload]:
        """The requests of each load; the scenario's own rate is a load, too.

        Raises:
            ScenarioError: its own rate is more than can be served.
        """
        crowd = self.draw(*CROWD)
        most = max(most_per_s(rule, serving, crowd) for rule in self.rules.values())
        rates = {load: load * most for load in self.plan.loads}
        if not rates:
            assert self.own_per_s is not None, "without loads there is a rate"
            load = float(f"{self.own_per_s / most:.3g}")
            if load >= 1.0:
                raise ScenarioError(
                    f"{self.own_per_s:.4g} requests/s arrive, and this engine serves "
                    f"{most:.3g} at most: choose what arrives with --load, as in --load 0.5"
                )
            rates = {load: self.own_per_s}
        return {load: self.draw(rate, self.plan.window_s) for load, rate in rates.items()}

    def _round(self, rig: IterationRig, found: LiveFound, number: int) -> None:
        """Every rule at every load once; again where a window does not count."""
        names = list(self.rules)
        order = names[number % len(names) :] + names[: number % len(names)]
        before = self._level(rig)
        for load, workload in found.workloads.items():
            for name in order:
                for attempt in range(1 + RETRIES):
                    again = " again" if attempt else ""
                    what = f"round {number + 1}: {name} at load {load:g}{again}"
                    self.progress(what, self.step, self.steps)
                    trace, readings = rig.window(self.rules[name], workload, found.serving)
                    after = self._level(rig)
                    window = LiveWindow.of(
                        (name, load, number, attempt), trace, readings, load_average(),
                        (before, after),
                    )  # fmt: skip
                    before = after
                    with uninterrupted():
                        found.windows.append(window)
                        self.on_window(window, found.serving)
                    if not window.rejected:
                        break
                self.step += 1

    def _level(self, rig: IterationRig) -> float:
        """How long a few iterations take, over what they were calibrated to."""
        with quiet_memory():
            times = [
                rig.timed(cell) / self.form.step_ns(cell.work)
                for _ in range(WATCHED)
                for cell in self.watched
            ]
        return float(np.median(times))


def most_per_s(rule: Rule, serving: Serving, crowd: TokenWorkload) -> float:
    """Requests per second that a rule serves when they never run out."""
    return saturation_per_s(rule, [(crowd, serving)], kernel.run)


def validated(
    rig: IterationRig,
    rules: Mapping[str, Rule],
    draw: Draw,
    wishes: StepWishes,
    plan: LivePlan,
    *,
    progress: Progress = nothing,
) -> TokenValidation:
    """Measure and judge.

    Args:
        rig: open.
        rules: by name, not bound.
        draw: makes the requests of a load.
        wishes: of each calibration; there is one more of them than rounds.
        plan: loads, rounds, windows.
        progress: told what is going on.
    """
    found = TokenCampaign(rules, draw, wishes, plan, progress=progress).run(rig)
    return judgement(found, rules, plan)


def judgement(
    found: LiveFound, rules: Mapping[str, Rule], plan: LivePlan, **more: Any
) -> TokenValidation:
    """What was measured, held against the simulator."""
    return judged(
        found.blocks, found.serving, rules, found.workloads, found.windows, plan, found.device,
        seconds=found.seconds, stopped=found.stopped, **more,
    )  # fmt: skip
