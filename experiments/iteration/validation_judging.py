"""Live windows held against replay and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policies.iteration.contract import Engine, Rule
from profiles.steps import StepProfile
from profiles.steps_campaign import StepCampaign
from sim.iteration.measured import step_times
from sim.iteration.replayed import replayed
from sim.iteration.serving import Serving
from sim.iteration.workload import TokenWorkload

from .validation import LivePlan, TokenValidation
from .validation_curves import Curves, curves_of
from .validation_predict import (
    TokenCell,
    block_factor,
    calm_noise,
    cells_of,
    pooled,
    predicted,
    replications,
    statistics_of,
)
from .validation_windows import LiveWindow


def serving_of(profile: StepProfile, engine: Engine) -> Serving:
    """The engine with the calibrated times, without noise: what rules are bound to."""
    return Serving(engine, step_times(profile))


def judged(
    blocks: Sequence[StepCampaign],
    serving: Serving,
    rules: Mapping[str, Rule],
    workloads: Mapping[float, TokenWorkload],
    windows: Sequence[LiveWindow],
    plan: LivePlan,
    device: Mapping[str, Any],
    **more: Any,
) -> TokenValidation:
    """Hold the windows against replay and prediction.

    Args:
        blocks: of calibration, in their order.
        serving: what the rules were bound to live.
        rules: by name, not bound.
        workloads: by load.
        windows: rejected ones included.
        plan: how it was measured.
        device: what it was measured on.
        more: other fields of :class:`TokenValidation`.
    """
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
    noise = profile.noise()
    luck = replications(noise, spread, plan.replications, plan.seed)
    calm_luck = replications(calm_noise(noise), spread, plan.replications, plan.seed)
    cells: list[TokenCell] = []
    curves: list[Curves] = []
    for load, workload in workloads.items():
        for name, rule in rules.items():
            mine = [one for one in counted if (one.rule, one.load) == (name, load)]
            if not mine:
                continue
            drift = float(np.mean([window.drift(form) for window in mine]))
            runs = predicted(rule, workload, known, luck)
            slowed = predicted(rule, workload, known, [np.array([drift])])
            calm = [window.calmed(rule, known, form) for window in mine]
            calm_runs = predicted(rule, workload, known, calm_luck)
            cells += cells_of(
                load, name, mine, statistics_of(runs), statistics_of(slowed), calm,
                statistics_of(calm_runs),
            )  # fmt: skip
            curves += curves_of(load, name, [window.trace for window in mine], runs)
    return TokenValidation(
        profile, factors, serving, dict(rules), dict(workloads), tuple(windows), tuple(cells),
        tuple(curves), replays, plan, dict(device), **more,
    )  # fmt: skip
