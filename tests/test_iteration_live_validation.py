"""Live iterations held against what was predicted; on a virtual clock, but for the processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_iterations import MS, token_differences

from experiments.iteration import validation_recorded as recorded
from experiments.iteration.validation import LivePlan
from experiments.iteration.validation_campaign import most_per_s
from experiments.iteration.validation_judging import judged, serving_of
from experiments.iteration.validation_predict import pooled
from experiments.iteration.validation_rig import IterationRig, made_ready
from experiments.iteration.validation_windows import STATISTICS, LiveWindow
from policies.iteration import VllmLike
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes, step_ns
from profiles.steps_campaign import measured
from profiles.steps_plan import StepWishes, cells_of, mixed_cells
from sim.iteration import live
from sim.iteration.engines import EmulatedOpening
from sim.iteration.serving import Serving
from sim.iteration.virtual import VirtualWorld
from sim.iteration.wall import Readings
from sim.iteration.worker import Answer
from sim.iteration.workload import workload_of

DATA = Path(__file__).parent / "data" / "iteration-live-gpt2-mini"
ENGINE = Engine(sequences=8, blocks=60, block_tokens=8, longest=128)
TIMES = StepTimes(2.0 * MS, 40_000.0, 300_000.0, 700.0, 0.0)
RULE = VllmLike(max_num_batched_tokens=64)
WISHES = StepWishes(
    prefill=64, sequences=8, context=64, prompt_tokens=32, budget_ns=10**10, command="test"
)
PLAN = LivePlan(loads=(0.5,), rounds=2, window_s=4.0, replications=20)


def draw(rate_per_s, seconds):
    rng = np.random.default_rng(8)
    count = int(rate_per_s * seconds)
    gaps = rng.exponential(1e9 / rate_per_s, count)
    return workload_of(
        gaps.cumsum().astype(np.int64), rng.integers(4, 60, count), rng.integers(2, 30, count)
    )


class Clock:
    instant = 0

    def now_ns(self):
        return self.instant

    def sleep_ns(self, ns):
        self.instant += ns


class Device:
    """An engine whose iterations take the formula, with luck of its own."""

    name, slots, longest = "device", 40, 128

    def __init__(self, seed):
        self.clock, self.rng = Clock(), np.random.default_rng(seed)

    def about(self):
        return {"model": "device", "device": "cpu", "precision": "fp32"}

    def timed(self, cell):
        luck = np.exp(0.05 * self.rng.standard_normal())
        took = round(step_ns(TIMES, *map(float, cell.work)) * luck)
        self.clock.instant += took
        return took


def calibrated(count=2):
    found = []
    for seed in range(count):
        device = Device(seed)
        found.append(measured(device, WISHES, device.timed, clock=device.clock))
    return found


def window(workload, number, slower=1.0, rejected=""):
    """A virtual one, whose engine has luck of its own."""
    luck = np.exp(0.05 * np.random.default_rng(100 + number).standard_normal(4096)) * slower
    world = VirtualWorld(workload, Serving(ENGINE, TIMES, luck))
    trace = live.run(RULE, workload, Serving(ENGINE, TIMES), world)
    noticed = workload.arrival_ns.tolist()
    answers = [Answer(k, 1, 1, ()) for k in range(len(trace.steps))]
    readings = Readings([0] * len(trace), noticed, [0], answers, 1)
    found = LiveWindow.of(("vllm_like", 0.5, number, 0), trace, readings, None)
    return replace(found, rejected=rejected)


def validation(slower=1.0, rule=RULE, **last):
    blocks = calibrated()
    serving = serving_of(blocks[0].profile, ENGINE)
    workload = draw(0.5 * most_per_s(RULE, serving, draw(100.0, 20.0)), PLAN.window_s)
    windows = [window(workload, k, slower) for k in range(2)]
    windows.append(replace(window(workload, 2, slower), **last) if last else windows[0])
    return judged(blocks, serving, {"vllm_like": rule}, {0.5: workload}, windows, PLAN, {})


@pytest.fixture(scope="module")
def sound():
    return validation()


def test_an_engine_as_it_was_calibrated_keeps_every_promise(sound):
    assert sound.replays == (True, True, True)
    assert sound.kept
    assert [cell.statistic for cell in sound.cells] == list(STATISTICS)
    promised = [cell for cell in sound.cells if STATISTICS[cell.statistic] is not None]
    assert max(abs(cell.error) for cell in promised) < 0.05
    assert all(cell.low <= cell.predicted <= cell.high for cell in sound.cells)
    assert min(factor for factor in sound.block_factors) > 0.98


def test_an_engine_that_has_become_slower_is_found_out():
    found = validation(slower=1.3)
    assert all(found.replays), "the logic is right, whatever the times"
    assert not found.kept
    cells = {cell.statistic: cell for cell in found.cells}
    assert cells["latency_ms.mean"].error < -0.2
    assert cells["latency_ms.mean"].corrected == pytest.approx(
        cells["latency_ms.mean"].measured, rel=0.04
    )
    drifts = [one.drift(found.profile.form()) for one in found.windows]
    assert drifts == pytest.approx([1.3] * 3, rel=0.03)


def test_a_rule_that_is_not_the_one_that_ran_is_found_out():
    found = validation(rule=VllmLike(max_num_batched_tokens=32))
    assert found.replays == (False, False, False)
    assert not found.kept


def test_a_window_that_does_not_count_changes_nothing(sound):
    found = validation(rejected="the scheduler stood still for 80 ms")
    assert len(found.windows) == 3
    assert len(found.replays) == 2
    assert all(len(cell.live) == 2 for cell in found.cells)
    assert all(len(cell.live) == 3 for cell in sound.cells)


def test_a_promise_is_kept_within_the_target_or_the_range_of_the_windows(sound):
    cell = next(cell for cell in sound.cells if cell.statistic == "ttft_ms.mean")
    assert replace(cell, live=(10.0, 10.0), predicted=10.9).kept
    assert not replace(cell, live=(10.0, 10.0), predicted=11.1).kept
    assert replace(cell, live=(8.0, 12.0), predicted=11.9).kept
    assert not replace(cell, live=(8.0, 12.0), predicted=12.1).kept
    assert replace(cell, live=(8.0, 12.0)).spread == pytest.approx(0.2)
    assert replace(cell, statistic="ttft_ms.p99", live=(1.0,)).kept is None


def test_the_result_is_plain_json_without_nan(sound):
    found = json.loads(sound.to_json())
    assert found["replays_exact"] == "3 of 3"
    assert found["calibration"]["calls"]["grid"] > 100
    assert len(found["windows"]) == 3
    assert all(np.isfinite(one["drift"]) for one in found["windows"])


def test_a_window_counts_by_its_conditions_alone(sound):
    trace, where = sound.windows[0].trace, ("vllm_like", 0.5, 0, 0)
    noticed = trace.arrival_ns.tolist()
    for lag_ms, late_ms, sentence in (
        (1, 1, ""),
        (20, 1, "requests were sent 20 ms late at p99"),
        (1, 60, "the scheduler stood still for 65 ms"),
    ):
        readings = Readings([lag_ms * MS] * len(trace), noticed, [late_ms * MS], [], 1)
        found = LiveWindow.of(where, trace, readings, None)
        assert found.rejected.startswith(sentence)
        assert bool(found.rejected) == bool(sentence)
    readings = Readings([MS] * len(trace), noticed, [MS], [], 1)
    for beside, sentence in (
        ((0.95, 1.04), ""),
        ((1.2, 1.21), "the engine took 1.21 times its calibrated time beside it"),
        ((0.95, 1.06), "the engine took 1.12 times as long after it as before"),
    ):
        assert LiveWindow.of(where, trace, readings, None, beside).rejected == sentence


def test_blocks_are_pooled_by_median_and_a_block_of_another_grid_is_left_out():
    one, other = (block.profile for block in calibrated())
    both = pooled([one, other])
    assert len(both.calls) == len(one.calls) + len(other.calls)
    assert np.all(both.step_ns[1:] >= np.minimum(one.step_ns, other.step_ns)[1:])
    assert np.all(both.step_ns[1:] <= np.maximum(one.step_ns, other.step_ns)[1:])
    assert len(both.noise()) == len(one.noise()) + len(other.noise())
    device = Device(5)
    few = measured(device, replace(WISHES, sequences=4), device.timed, clock=device.clock)
    assert pooled([one, few.profile]).calls == one.calls


def test_what_a_window_should_have_taken_is_the_calibration_of_its_work(sound):
    trace = sound.windows[0].trace
    took = trace.steps["finish_ns"] - trace.steps["start_ns"]
    expected = sound.windows[0].expected_ns(sound.profile.form())
    assert np.corrcoef(took, expected)[0, 1] > 0.9
    assert np.median(took / expected) == pytest.approx(1.0, abs=0.03)


# the rig


def cells():
    return [
        *cells_of(([0, 7, 40], [0, 1, 8], [1, 50]), 32),
        *mixed_cells(WISHES, 128),
    ]


def test_a_station_made_ready_plans_just_the_iteration_that_is_to_be_measured():
    for cell in cells():
        station = made_ready(cell, ENGINE)
        station.arrive(station.arrived)
        station.ask(0)
        iteration = station.start(0)
        found = (iteration.prefill, iteration.sequences, iteration.context, iteration.pairs)
        assert found == cell.work
        assert len(iteration.shares) == len(cell.pieces)


def test_the_rig_times_an_iteration_whole_and_runs_windows_that_replay_exactly(tmp_path):
    times = StepTimes(200_000.0, 2_000.0, 20_000.0, 50.0, 0.0)
    serving = Serving(ENGINE, times)
    with IterationRig(EmulatedOpening(serving), ENGINE) as rig:
        for cell in cells():
            assert rig.timed(cell) >= round(step_ns(times, *map(float, cell.work)))
        workload = draw(300.0, 0.2)
        trace, readings = rig.window(RULE, workload, serving)
    found = LiveWindow.of(("vllm_like", 0.5, 0, 0), trace, readings, None)
    recorded.save(tmp_path, found, RULE, serving, {"model": "emulated"})
    back = recorded.load(tmp_path)
    assert back.rule == RULE
    assert back.serving.engine == ENGINE
    assert np.array_equal(back.noticed_ns, found.noticed_ns)
    assert np.array_equal(back.trace.steps, trace.steps)
    assert np.array_equal(back.trace.token_step, trace.token_step)
    assert back.replay().exact
    assert not token_differences(back.replay().trace, trace)


def test_a_live_window_of_a_model_that_was_recorded_replays_exactly():
    window = recorded.load(DATA)
    assert window.device["model"] == "gpt2-mini"
    assert len(window.trace) > 100
    assert window.trace.steps["running"].max() > 4
    replay = window.replay()
    assert replay.same == len(window.trace.steps)
    assert replay.exact
    late = window.noticed_ns.copy()
    late[20:] += 3 * MS
    assert not recorded.replayed(window.rule, window.trace, late, window.serving).exact


def test_a_record_of_another_format_is_refused(tmp_path):
    for name in (recorded.FACTS, recorded.REQUESTS, recorded.ITERATIONS):
        (tmp_path / name).write_text(
            (DATA / name).read_text().replace('"format": 1', '"format": 3')
        )
    with pytest.raises(ValueError, match="`format` must be 1, not 3"):
        recorded.load(tmp_path)


def test_the_kept_run_of_a_model_kept_every_promise_and_replayed_exactly():
    found = json.loads((DATA.parents[2] / "docs" / "validate-gpt2-mini-cpu.json").read_text())
    counted = [one for one in found["windows"] if not one["rejected"]]
    assert found["replays_exact"] == f"{len(counted)} of {len(counted)}"
    promised = [cell for cell in found["cells"] if cell["target"] is not None]
    assert {cell["load"] for cell in promised} == {0.4, 0.6}
    assert len(promised) == 2 * 5
    assert all(abs(cell["a_priori_error"]) <= cell["target"] for cell in promised)
    assert found["kept"]
