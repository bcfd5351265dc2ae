"""Rules of iterations on a live engine, and what the simulator said of them beforehand.

Three things are told of every window.  *Replay*: the simulator is fed the times that the window's
iterations took, and must give the same iterations.  *A priori*: it knows the calibration alone,
formula, grid and noise; each replication begins elsewhere in the noise and has one drift of the
whole engine, and the point is the median of the replications.  *Drift-corrected*: as before, but
slowed as a whole by what the windows' iterations took over what the calibration expects of them.

An a-priori prediction keeps its promise where it is within the target of the mean over the windows,
or within the range of the windows themselves: two live runs of the same requests differ, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.iteration.contract import Engine, Rule
from profiles.conditions import load_average
from profiles.steps import StepForm, StepProfile
from profiles.steps_campaign import StepCampaign
from profiles.steps_plan import StepWishes
from sim.iteration import kernel
from sim.iteration.measured import step_times
from sim.iteration.replayed import replayed
from sim.iteration.serving import Serving
from sim.iteration.workload import TokenWorkload

from .validation_predict import (
    TokenCell,
    block_factor,
    cells_of,
    pooled,
    predicted,
    replications,
)
from .validation_rig import IterationRig, Progress
from .validation_windows import LiveWindow

RETRIES = 1

Draw = Callable[[float, float], TokenWorkload]
"""Requests at a rate per second, for so many seconds."""


@dataclass(frozen=True)
class LivePlan:
    """What to run."""

    loads: tuple[float, ...] = (0.4, 0.6)
    """Shares of what the first rule serves when requests never run out."""
    rounds: int = 3
    window_s: float = 30.0
    replications: int = 100
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TokenValidation:
    """Live windows beside their predictions."""

    profile: StepProfile
    """The calibration, of all blocks."""
    block_factors: tuple[float, ...]
    serving: Serving
    """What the rules were bound to live."""
    rules: Mapping[str, Rule]
    workloads: Mapping[float, TokenWorkload]
    windows: tuple[LiveWindow, ...]
    """Rejected ones included."""
    cells: tuple[TokenCell, ...]
    replays: tuple[bool, ...]
    """Of each window that counts, whether its replay is exact."""
    plan: LivePlan
    device: Mapping[str, Any]

    @property
    def kept(self) -> bool:
        """Whether every promise is kept and every replay is exact."""
        return all(self.replays) and all(cell.kept is not False for cell in self.cells)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        form, held = self.profile.form(), self.profile.held_out()
        noise = self.profile.noise()
        counted = [window for window in self.windows if not window.rejected]
        errors = [abs(one.error) for one in held] or [float("nan")]
        return {
            "device": dict(self.device),
            "engine": self.serving.engine._asdict(),
            "rules": {
                name: {"kind": type(rule).__name__, **rule._asdict()}  # type: ignore[attr-defined]
                for name, rule in self.rules.items()
            },
            "plan": {**self.plan.__dict__, "loads": list(self.plan.loads)},
            "rates_per_s": {
                str(load): len(work) / (float(work.arrival_ns[-1]) / 1e9)
                for load, work in self.workloads.items()
            },
            "calibration": {
                "formula_ns": dict(zip(StepForm._fields[:5], form[:5], strict=True)),
                "calls": self.profile.counts(),
                "held_out_error_median": float(np.median(errors)),
                "held_out_error_max": float(np.max(errors)),
                "noise": {
                    f"p{share:g}": float(np.quantile(noise, share / 100))
                    for share in (1, 10, 50, 90, 99)
                },
                "lag1": self.profile.lag1,
                "block_factors": list(self.block_factors),
            },
            "windows": [window.to_dict(form) for window in self.windows],
            "replays_exact": f"{sum(self.replays)} of {len(counted)}",
            "cells": [cell.to_dict() for cell in self.cells],
            "kept": self.kept,
        }


def validated(
    rig: IterationRig,
    rules: Mapping[str, Rule],
    draw: Draw,
    wishes: StepWishes,
    plan: LivePlan,
    *,
    progress: Progress = lambda _what, _done, _total: None,
) -> TokenValidation:
    """Calibrate, run every rule at every load, and so on in rounds; calibrate again, and judge.

    Args:
        rig: open.
        rules: by name, not bound.
        draw: makes the requests of a load.
        wishes: of each calibration; there is one more of them than rounds.
        plan: loads, rounds, windows.
        progress: told what is going on.
    """
    blocks = [rig.calibrate(wishes, progress)]
    serving = serving_of(blocks[0].profile, rig.engine)
    first = next(iter(rules.values()))
    most = saturation_per_s(first, serving, draw)
    workloads = {load: draw(load * most, plan.window_s) for load in plan.loads}
    windows: list[LiveWindow] = []
    for number in range(plan.rounds):
        windows += _round(rig, rules, workloads, serving, number, progress)
        blocks.append(rig.calibrate(wishes, progress))
    return judged(blocks, serving, rules, workloads, windows, plan, rig.about)


def _round(
    rig: IterationRig,
    rules: Mapping[str, Rule],
    workloads: Mapping[float, TokenWorkload],
    serving: Serving,
    number: int,
    progress: Progress,
) -> list[LiveWindow]:
    """Every rule at every load once; again where a window does not count."""
    found: list[LiveWindow] = []
    names = list(rules)
    order = names[number % len(names) :] + names[: number % len(names)]
    for load, workload in workloads.items():
        for name in order:
            for attempt in range(1 + RETRIES):
                what = f"round {number + 1}: {name} at load {load:g}"
                progress(what, len(found), len(names) * len(workloads))
                trace, readings = rig.window(rules[name], workload, serving)
                where = (name, load, number, attempt)
                found.append(LiveWindow.of(where, trace, readings, load_average()))
                if not found[-1].rejected:
                    break
    return found


def serving_of(profile: StepProfile, engine: Engine) -> Serving:
    """The engine with the calibrated times, without noise: what rules are bound to."""
    return Serving(engine, step_times(profile))


def saturation_per_s(rule: Rule, serving: Serving, draw: Draw) -> float:
    """Requests per second that a rule serves when they never run out."""
    workload = draw(100.0, 20.0)
    crowd = replace(workload, arrival_ns=np.zeros_like(workload.arrival_ns))
    trace = kernel.run(rule, crowd, serving)
    return float(trace.served.sum()) / float(trace.steps["finish_ns"][-1]) * 1e9


def judged(
    blocks: Sequence[StepCampaign],
    serving: Serving,
    rules: Mapping[str, Rule],
    workloads: Mapping[float, TokenWorkload],
    windows: Sequence[LiveWindow],
    plan: LivePlan,
    device: Mapping[str, Any],
) -> TokenValidation:
    """Hold the windows against replay and prediction."""
    profile = pooled([block.profile for block in blocks])
    form = profile.form()
    factors = tuple(block_factor(block.profile, form) for block in blocks)
    spread = float(np.std(np.log(factors), ddof=1)) if len(factors) > 1 else 0.0
    known = serving_of(profile, serving.engine)
    counted = [window for window in windows if not window.rejected]
    replays = tuple(
        replayed(rules[window.rule], window.trace, window.noticed_ns, serving).exact
        for window in counted
    )
    cells: list[TokenCell] = []
    for load, workload in workloads.items():
        for name, rule in rules.items():
            mine = [one for one in counted if (one.rule, one.load) == (name, load)]
            if mine:
                drift = float(np.mean([window.drift(form) for window in mine]))
                luck = replications(profile.noise(), spread, plan.replications, plan.seed)
                forecast = predicted(rule, workload, known, luck)
                slowed = predicted(rule, workload, known, [np.array([drift])])
                cells += cells_of(load, name, mine, forecast, slowed)
    return TokenValidation(
        profile, factors, serving, dict(rules), dict(workloads), tuple(windows), tuple(cells),
        replays, plan, dict(device),
    )  # fmt: skip
