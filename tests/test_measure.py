"""The measuring engine, on a model whose times are drawn and a clock that is virtual."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from drawn_runner import NOT_FINITE, DrawnRunner, VirtualClock

from profiles import ProfileError
from profiles.campaign import Wishes, measured
from profiles.conditions import Sensors
from profiles.cost import Cost
from profiles.measure import INTERRUPTED, OUT_OF_TIME, Measurement, pilot
from profiles.plan import CUDA_WARMING, planned
from profiles.runner import ModelError, OutOfMemory

pytestmark = pytest.mark.usefixtures("unswept")

SECOND = 10**9
COST = Cost(1e6, 10_000.0)


def measurement(runner, plan=None, seed=0):
    plan = plan or planned(8, (16, 32, 64), 5 * SECOND, COST)
    return Measurement(runner, plan, seed=seed, clock=runner.clock, sensors=Sensors())


def run(runner, plan=None, *, seed=0, end_ns=10**18):
    return measurement(runner, plan, seed).run(end_ns, lambda *_: None)


def drawn(**settings):
    return DrawnRunner(VirtualClock(), **settings)


def order(found):
    return [call[:2] for call in found.calls if call.kind in ("grid", "holdout")]


def test_every_cell_gets_the_samples_of_the_plan():
    found = run(drawn())
    counts = Counter((*call[:2], call.kind) for call in found.calls)
    for cell in found.plan.cells:
        assert counts[cell.batch_size, cell.length, cell.kind] == cell.samples
    for series in found.plan.series:
        assert counts[(*series[:2], series.kind)] >= series.calls
    assert found.rounds_done == found.plan.rounds
    assert found.stopped == ""


def test_the_order_is_random_and_the_same_for_the_same_seed():
    first, again, other = (order(run(drawn(), seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert Counter(first) == Counter(other)


def test_consecutive_rounds_have_different_orders():
    plan = planned(8, (16, 32, 64), 5 * SECOND, COST)
    plan = replace(plan, cells=tuple(cell._replace(samples=5) for cell in plan.cells))
    found = run(drawn(), plan)
    rounds = [[c[:2] for c in found.calls if c.kind == "grid" and c.round == r] for r in range(5)]
    assert len({tuple(sorted(cells)) for cells in rounds}) == 1
    assert len({tuple(cells) for cells in rounds}) == 5
    assert not any(cells == sorted(cells) for cells in rounds)


def test_drift_of_the_machine_is_not_mistaken_for_an_effect_of_size():
    class Drifting(DrawnRunner):
        def true_ns(self, size, length):
            return round(1_000_000 * (1 + self.clock.now / 5e9))  # twice as slow after 5 s

    plan = planned(8, (16, 32), 5 * SECOND, COST)
    found = run(Drifting(VirtualClock()), plan)
    medians = {
        cell[:2]: np.median(
            [c.wall_ns for c in found.calls if c.kind == "grid" and c[:2] == cell[:2]]
        )
        for cell in plan.cells
        if cell.kind == "grid"
    }
    in_order = [c.wall_ns for c in found.calls if c.kind == "grid"]
    assert in_order[-1] / in_order[0] > 1.2, "the control: the machine did drift"
    assert max(medians.values()) / min(medians.values()) < 1.03


def test_warm_up_comes_before_a_shapes_first_timed_call_and_is_marked():
    found = run(drawn(first_ns=50_000_000))
    for cell in found.plan.cells:
        kinds = [call.kind for call in found.calls if call[:2] == cell[:2]]
        assert kinds[:2] == ["warmup", "warmup"]
        assert "warmup" not in kinds[2:]
    slow = [call for call in found.calls if call.wall_ns > 50_000_000]
    assert slow
    assert {call.kind for call in slow} == {"warmup"}


def test_a_gpu_is_loaded_before_the_first_shape():
    plan = planned(8, (16, 32), 20 * SECOND, COST, CUDA_WARMING)
    runner = drawn()
    found = run(runner, plan)
    first = next(call for call in found.calls if call.kind != "warmup")
    assert first.instant_ns >= 1_500_000_000
    kinds = [call.kind for call in found.calls if call[:2] == (1, 16)]
    assert kinds.index("grid") == 3


def test_paced_calls_wait_before_they_are_made():
    found = run(drawn(), planned(8, (16, 32, 64), 30 * SECOND, COST))
    for gap in (20_000_000, 100_000_000):
        paced = [call for call in found.calls if call.gap_ns == gap]
        assert len(paced) >= 5
        by_series = {call.round for call in paced}
        for number in by_series:
            series = [call for call in paced if call.round == number]
            for before, after in pairwise(series):
                assert after.instant_ns - before.instant_ns - before.wall_ns == gap


def test_out_of_memory_is_a_limit_and_larger_shapes_are_not_tried():
    runner = drawn(memory=256)
    found = run(runner)
    assert found.stopped == ""
    assert found.limits
    assert all(size * length > 256 for size, length in found.limits)
    assert {(8, 32), (4, 64)} <= {call[:2] for call in found.calls}, "what fits is measured"
    assert not any(call[0] * call[1] > 256 for call in found.calls)


@pytest.mark.parametrize("seed", range(5))
def test_shapes_at_least_as_large_as_a_limit_are_not_tried(seed):
    runner, tried = drawn(memory=64), []
    serve = runner.serve
    runner.serve = lambda lengths: (tried.append((len(lengths), lengths[0])), serve(lengths))[1]
    limits = run(runner, seed=seed).limits
    assert limits
    for size, length in limits:
        assert tried.count((size, length)) == 1
        after = tried[tried.index((size, length)) + 1 :]
        assert not any(s >= size and n >= length for s, n in after)


def test_an_interruption_keeps_the_complete_rounds():
    runner = drawn()
    runner.before = {400: KeyboardInterrupt()}
    found = run(runner)
    whole = run(drawn())
    assert found.stopped == INTERRUPTED
    assert 1 < found.rounds_done < found.plan.rounds
    assert found.calls == whole.calls[: len(found.calls)]
    for number in range(found.rounds_done):
        cells = [call for call in found.calls if call.round == number and call.kind != "warmup"]
        assert len(cells) == len(found.plan.in_round(number))
    assert max(call.round for call in found.calls) == found.rounds_done - 1


def test_an_interruption_in_a_steady_series_keeps_all_rounds_and_whole_series():
    runner = drawn()
    calls = len([c for c in run(drawn()).calls if c.kind in ("warmup", "grid", "holdout")])
    runner.before = {calls + 10: KeyboardInterrupt()}
    found = run(runner)
    assert found.rounds_done == found.plan.rounds
    assert found.series_done == 0
    assert not any(call.kind == "steady" for call in found.calls)


def test_an_interruption_before_the_first_round_is_complete_is_raised():
    runner = drawn()
    runner.before = {5: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run(runner)


def test_a_model_that_breaks_keeps_the_complete_rounds_and_its_sentence():
    runner = drawn()
    runner.before = {400: NOT_FINITE}
    found = run(runner)
    assert found.stopped == "drawn: the output must be finite, but has NaN"
    assert found.rounds_done > 1
    runner = drawn()
    runner.before = {3: NOT_FINITE}
    with pytest.raises(ModelError, match="must be finite"):
        run(runner)


def test_a_round_that_would_run_past_its_time_is_not_begun():
    runner = drawn(base_ns=3_000_000, per_unit_ns=30_000)  # three times the estimate
    plan = planned(8, (16, 32, 64), 5 * SECOND, COST)
    found = run(runner, plan, end_ns=5 * SECOND)
    last = [call for call in found.calls if call.kind == "grid"][-1]
    assert found.stopped == OUT_OF_TIME
    assert last.instant_ns + last.wall_ns <= 5 * SECOND - plan.series_ns
    assert 1 <= found.rounds_done < plan.rounds
    assert runner.clock.now < 5.1 * SECOND, "a series ends with the time of everything"
    assert run(drawn(), plan, end_ns=5 * SECOND).stopped == "", "the control"


def test_progress_counts_to_the_estimate_and_ends_there():
    seen = []
    measurement(drawn()).run(10**18, lambda *step: seen.append(step))
    done = [step[1] for step in seen]
    assert done == sorted(done)
    assert seen[0][0] == "warm-up"
    assert seen[-1][1] <= seen[-1][2]
    assert seen[-1][1] > 0.8 * seen[-1][2]


def test_garbage_collection_waits_and_comes_back():
    states = []
    runner = drawn()
    serve = runner.serve
    runner.serve = lambda lengths: (states.append(gc.isenabled()), serve(lengths))[1]
    run(runner)
    assert set(states) == {False}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_the_machine_is_looked_at_in_every_round():
    found = run(drawn())
    assert [seen.round for seen in found.conditions] == list(range(found.plan.rounds))


def test_peak_memory_is_known_of_every_shape_that_fits():
    found = run(drawn(memory=256))
    shapes = [(size, length) for size in range(1, 9) for length in (16, 32, 64)]
    assert found.peak_bytes == {(s, n): 1_000 * s * n for s, n in shapes if s * n <= 256}


def test_the_pilot_stops_at_its_share_of_the_budget():
    runner = drawn(base_ns=SECOND)
    pilot(runner, [1, 8], [16, 64], 20 * SECOND, runner.clock)
    assert runner.served == [(1, 16)] * 3, "the first shape is never passed over"
    runner = drawn(base_ns=1_000, per_unit_ns=1_000_000)
    pilot(runner, [1, 8], [16, 64], 10 * SECOND, runner.clock)
    assert runner.clock.now < 1.01 * SECOND
    assert (1, 64) in runner.served
    assert (8, 64) not in runner.served
    pilot(runner, [1, 8], [16, 64], 2_000 * SECOND, runner.clock)
    assert (8, 64) in runner.served


def test_the_pilot_knows_what_a_first_call_costs():
    runner = drawn(first_ns=300_000_000)
    cost = pilot(runner, list(range(1, 9)), [16, 32, 64], 600 * SECOND, runner.clock)
    assert cost.first_ns == pytest.approx(300_000_000, rel=0.01)
    assert cost(4, 32) == pytest.approx(runner.true_ns(4, 32), rel=0.01)


def test_the_start_of_the_framework_is_not_taken_for_what_first_calls_cost():
    runner = drawn()
    serve = runner.serve

    def starting(lengths):
        runner.clock.now += 0 if runner.served else 5 * SECOND
        return serve(lengths)

    runner.serve = starting
    assert pilot(runner, [1, 2], [16], 600 * SECOND, runner.clock).first_ns == 0.0


def test_a_model_of_which_nothing_fits_is_refused():
    runner = drawn(memory=1)
    with pytest.raises(ProfileError) as error:
        pilot(runner, [1, 8], [16, 64], 20 * SECOND, runner.clock)
    assert str(error.value) == (
        "drawn: not even one request of 16 tokens fits into the memory of the device"
    )
    with pytest.raises(OutOfMemory):
        runner.serve([16])


@pytest.mark.parametrize("budget_s", [3, 20, 120])
def test_a_whole_measurement_stays_within_its_budget(budget_s):
    runner = drawn(sigma=0.1, phi=0.6, first_ns=5_000_000)
    wishes = Wishes(batch_size_max=16, lengths=(16, 32, 64), budget_ns=budget_s * SECOND)
    campaign = measured(runner, wishes, clock=runner.clock)
    assert campaign.took_ns <= 1.05 * wishes.budget_ns
    assert campaign.found.stopped in ("", OUT_OF_TIME)


def test_a_machine_that_slows_down_after_the_pilot_still_ends_in_time():
    runner = drawn()
    runner.true_ns = lambda size, length: (
        (1 if len(runner.served) < 25 else 3) * (1_000_000 + 10_000 * size * length)
    )
    wishes = Wishes(batch_size_max=16, lengths=(16, 32, 64), budget_ns=20 * SECOND)
    campaign = measured(runner, wishes, clock=runner.clock)
    assert campaign.found.stopped == OUT_OF_TIME
    assert campaign.took_ns < 1.02 * wishes.budget_ns
    assert campaign.found.rounds_done > 1


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (
            Wishes(lengths=(16, 1024)),
            "--lengths must be from 1 to 512 tokens for drawn, but got 1024",
        ),
        (
            Wishes(name="a/b"),
            "--name must be letters, digits, dots, dashes and underscores, but got 'a/b'",
        ),
    ],
)
def test_a_wish_that_cannot_be_granted_gets_a_sentence(wishes, sentence):
    runner = drawn()
    with pytest.raises(ProfileError) as error:
        measured(runner, wishes, clock=runner.clock)
    assert str(error.value) == sentence
    assert runner.served == []
