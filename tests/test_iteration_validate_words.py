"""What a validation of an engine says of what it found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_iteration_live_validation import calibrated, sound, validation, window  # noqa: F401

from experiments.iteration.validation import LivePlan
from experiments.iteration.validation_campaign import TokenCampaign
from experiments.iteration.validation_shown import validation_tables
from experiments.iteration.validation_windows import summary_of
from experiments.iteration.validation_words import verdict_of
from profiles.steps_campaign import ShortBudgetError
from profiles.steps_plan import StepWishes

# what is said


def test_what_holds_is_said_with_its_errors(sound):  # noqa: F811
    said = verdict_of(sound)
    assert said.startswith(
        "Fed the times of its iterations, the simulator gives each of the 3 live windows again"
    )
    assert "which keeps every promise: 10 %, of tokens/s 5 %" in said
    assert "missed" not in said


def test_a_promise_that_is_missed_is_said_with_what_drift_explains():
    said = verdict_of(validation(slower=1.3))
    assert "promises are missed, by most the" in said
    assert "too low, and" in said
    assert "with the drift of the engine during the windows" in said


def test_a_logic_that_differs_is_said_first():
    from test_iteration_live_validation import RULE

    other = validation(rule=RULE._replace(max_num_batched_tokens=32))
    assert "gives 3 of 3 live windows otherwise than they were" in verdict_of(other)


def test_where_most_windows_are_rejected_nothing_is_claimed(sound):  # noqa: F811
    windows = [replace(one, rejected=f"it was {n} ms late") for n, one in enumerate(sound.windows)]
    nothing = replace(sound, windows=tuple(windows), cells=(), curves=(), replays=())
    assert not nothing.kept
    assert verdict_of(nothing) == (
        "No claim: 3 of 3 windows were rejected, more than half: 3 x it was 0 to 2 ms late."
    )
    assert len(validation_tables(nothing)) == 3


def stalled(found, at=40, times=30):
    """The same whose windows have an iteration that took many times as long."""
    from test_iteration_live_validation import ENGINE, RULE, TIMES

    from experiments.iteration.validation_judging import judged
    from sim.iteration import live
    from sim.iteration.serving import Serving
    from sim.iteration.virtual import VirtualWorld

    windows = []
    for one in found.windows:
        luck = np.exp(0.02 * np.random.default_rng(one.round).standard_normal(4096))
        luck[at::200] = times
        workload = found.workloads[one.load]
        world = VirtualWorld(workload, Serving(ENGINE, TIMES, luck))
        trace = live.run(RULE, workload, Serving(ENGINE, TIMES), world)
        windows.append(replace(one, trace=trace, pairs=np.zeros(len(trace.steps)),
                               noticed_ns=workload.arrival_ns))  # fmt: skip
    return judged(
        calibrated(), found.serving, found.rules, found.workloads, windows, found.plan, {}
    )


def test_what_stalls_add_to_the_tail_is_told_apart(sound):  # noqa: F811
    found = stalled(sound)
    assert all(found.replays), "the logic is right, whatever the times"
    cell = found.cell("vllm_like", 0.5, "ttft_ms.p99")
    assert cell.error < -0.3
    assert abs(cell.calm_error) < 0.1
    said = verdict_of(found)
    assert "stalled, up to 3" in said
    assert "without any stall it would be" in said
    calm = sound.windows[0]
    assert len(calm.stalls(sound.form)) == 0
    rule = sound.rules["vllm_like"]
    assert calm.calmed(rule, sound.serving, sound.form) == summary_of(calm.trace)


def test_an_engine_of_other_requests_has_the_drift_of_a_window(sound):  # noqa: F811
    slow = window(sound.workloads[0.5], 0, slower=1.2)
    assert slow.drift(sound.form) == pytest.approx(1.2, rel=0.05)
    assert slow.slowest(sound.form) < 1.1, "slow throughout is no stretch"


class Slow:
    """A rig whose calibration fits from some budget on."""

    def __init__(self, fits_ns):
        self.fits_ns, self.given = fits_ns, []

    def calibrate(self, wishes, _progress):
        self.given.append(wishes.budget_ns)
        if wishes.budget_ns < self.fits_ns:
            raise ShortBudgetError("too short", self.fits_ns / 1e9)
        return calibrated(1)[0]


def test_a_machine_that_is_slow_gets_more_time_where_nobody_said_how_long():
    plan, wishes = LivePlan(), StepWishes(budget_ns=10**9)
    patient = Slow(5 * 10**9)
    TokenCampaign({}, None, wishes, plan, may_grow=True)._first(patient)
    assert patient.given == [10**9, 7_500_000_000]
    strict = Slow(5 * 10**9)
    with pytest.raises(ShortBudgetError):
        TokenCampaign({}, None, wishes, plan)._first(strict)
    assert strict.given == [10**9]
