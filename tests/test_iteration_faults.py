"""Faults in a driver are noticed, plans that are none are refused, and what one instant does."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from random_iterations import COLUMNS, MS, random_iterations, token_differences

from policies.contract import NEVER, NOBODY, PolicyError
from policies.iteration import RULES, Continuous
from policies.iteration.contract import (
    JOINED,
    LEFT,
    Engine,
    View,
    admit,
    iterate,
    remaining,
    wait_until,
)
from policies.iteration.times import StepTimes
from sim.iteration import kernel, model
from sim.iteration.serving import Serving
from sim.iteration.station import IterationStation
from sim.iteration.trace import STEP
from sim.iteration.workload import workload_of
from sim.trace import SERVED, UNFINISHED

RUNS = 25

# planted faults


def _back_of_the_lane(station, request):
    blocks = put_back(station, request)
    line = station.lanes[station.lane[request]]
    line.remove(request)
    line.append(request)
    return blocks


def _keeps_what_it_computed(station, request):
    computed = station.computed[request]
    blocks = put_back(station, request)
    station.computed[request] = max(0, computed - 1)
    return blocks


def _swaps_for_nothing(station, request):
    put_back(station, request)
    return 0


def _context_with_the_new_token(station, request, tokens):
    found = share(station, request, tokens)
    return found._replace(before=found.before + 1) if found.decodes else found


def _last_chunk_of_one_is_no_decoding(station, request, tokens):
    found = share(station, request, tokens)
    return found._replace(decodes=found.decodes and station.recomputed[request] == 0)


def _holds_a_block_more(station, request, tokens):
    found = share(station, request, tokens)
    full = (found.before + tokens) % station.engine.block_tokens == 0
    if full and station.free > 0:
        station.held[request] += 1
        station.free -= 1
    return found


def _answers_an_iteration_late(station, requests, index):
    answer(station, requests, index + 1)


put_back, share, answer = (
    IterationStation._put_back,
    IterationStation._share,
    IterationStation._answer,
)

BREAKS = {
    _back_of_the_lane: "_put_back",
    _keeps_what_it_computed: "_put_back",
    _swaps_for_nothing: "_put_back",
    _context_with_the_new_token: "_share",
    _last_chunk_of_one_is_no_decoding: "_share",
    _holds_a_block_more: "_share",
    _answers_an_iteration_late: "_answer",
}


@pytest.mark.parametrize("fault", BREAKS, ids=lambda fault: fault.__name__)
def test_a_model_with_a_fault_is_noticed(fault, monkeypatch):
    runs = [random_iterations(seed, "vllm_like") for seed in range(RUNS)]
    compiled = [kernel.run(*run) for run in runs]
    monkeypatch.setattr(IterationStation, BREAKS[fault], fault)
    found = 0
    for run, trace in zip(runs, compiled, strict=True):
        try:
            found += bool(token_differences(trace, model.run(*run)))
        except (PolicyError, ValueError):  # the fault goes so far that the model itself stops
            found += 1
    assert found >= 2


def test_noise_of_the_next_iteration_is_noticed():
    runs = (random_iterations(seed, "continuous") for seed in range(99))
    run = next(run for run in runs if len(run.serving.noise) > 5)
    wrong = replace(run.serving, noise=np.roll(run.serving.noise, 1))
    found = token_differences(kernel.run(*run), model.run(run.rule, run.workload, wrong))
    assert "steps.finish_ns" in found


@pytest.mark.parametrize("column", [*COLUMNS[:-3], *(f"steps.{key}" for key in STEP.names)])
def test_a_single_cell_that_differs_is_named(column):
    trace = kernel.run(*random_iterations(3, "vllm_like"))
    name, _, key = column.partition(".")
    cells = getattr(trace, name).copy()
    (cells[key] if key else cells)[-1] += 1
    assert token_differences(trace, replace(trace, **{name: cells})) == [column]


# plans that are none


class Plans(NamedTuple):
    """Does something wrong, by number."""

    wrong: int = 0

    def lanes(self) -> int:
        return 2

    def lane_of(self, prompt: int, tier: int) -> int:
        return 5 if self.wrong == 8 else 0

    def plan(self, view: View) -> int:
        if view.running == 0 and self.wrong in (0, 1, 2, 3, 7):
            admit(view, 0, 1)
            if self.wrong == 7:
                view.joins[0] = view.next[view.joins[0]]
        elif self.wrong == 1:
            view.tokens[0] = remaining(view, view.order[0]) + 1
        elif self.wrong == 2:
            view.tokens[0] = -1
        elif self.wrong == 3:
            view.plan[LEFT] = 1
        elif self.wrong == 5:
            view.plan[JOINED] = 9
        elif self.wrong == 6:
            while view.front[0] != NOBODY and admit(view, 0, 1):
                view.join_tokens[view.plan[JOINED] - 1] = 8
        elif self.wrong == 9:
            return wait_until(view.now_ns)
        return iterate()


TOLD = {
    0: "planned an iteration without tokens (rule 6)",
    1: "gave request 0 fewer tokens than 0 or more than remain (rule 6)",
    2: "gave request 0 fewer tokens than 0 or more than remain (rule 6)",
    3: "planned more sequences than the engine holds (rule 6)",
    4: "planned an iteration without tokens (rule 6)",
    5: "planned more sequences than the engine holds (rule 6)",
    6: "gave tokens that memory has no room for (rule 6)",
    7: "admitted request 1, which is not the first of a lane (rule 6)",
    8: "has no lane 5: it has 2, from 0",
    9: "wants to be asked at 0 ns, at 0 ns (rule 7)",
}


@pytest.mark.parametrize("driver", [kernel, model], ids=["kernel", "model"])
@pytest.mark.parametrize("wrong", TOLD)
def test_a_wrong_plan_is_refused_with_the_same_sentence(driver, wrong):
    work = workload_of(np.zeros(2, dtype=np.int64), np.array([8, 8]), np.array([7, 7]))
    serving = Serving(Engine(4, blocks=15, block_tokens=1), StepTimes(1e6))
    with pytest.raises(PolicyError) as caught:
        driver.run(Plans(wrong), work, serving)
    assert str(caught.value) == f"policy Plans {TOLD[wrong]}"


# one instant


@pytest.mark.parametrize("driver", [kernel, model], ids=["kernel", "model"])
class TestTies:
    """An iteration completes first, then requests arrive, then the rule is asked."""

    def run(self, driver, arrival_ms, prompt, output, **engine):
        work = workload_of(np.array(arrival_ms) * MS, np.array(prompt), np.array(output))
        serving = Serving(Engine(**{"sequences": 4, **engine}), StepTimes(float(MS)))
        return driver.run(Continuous(), work, serving)

    def test_an_arrival_at_the_end_of_an_iteration_joins_the_next(self, driver):
        trace = self.run(driver, [0, 1], [5, 5], [3, 1])
        assert trace.steps["joined"].tolist() == [1, 1, 0]
        assert trace.admitted.tolist() == [0, 1]

    def test_a_place_that_is_freed_now_is_taken_by_an_arrival_of_this_instant(self, driver):
        trace = self.run(driver, [0, 1], [5, 5], [1, 1], sequences=1)
        assert trace.steps["start_ns"].tolist() == [0, MS]

    def test_a_crowd_joins_in_order_of_arrival(self, driver):
        trace = self.run(driver, [2, 2, 2], [5, 5, 5], [2, 2, 2], sequences=2)
        assert trace.admitted.tolist() == [0, 0, 2]

    def test_an_iteration_of_no_time_takes_a_nanosecond(self, driver):
        work = workload_of(np.array([0]), np.array([1]), np.array([3]))
        trace = driver.run(Continuous(), work, Serving(Engine(1), StepTimes()))
        assert trace.steps["finish_ns"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("driver", [kernel, model], ids=["kernel", "model"])
def test_a_rule_that_waits_for_more_than_come_ends_the_run(driver):
    work = workload_of(np.zeros(3, dtype=np.int64), np.ones(3), np.ones(3))
    rule = RULES["request_level"](max_num_seqs=2, max_wait_ns=NEVER)
    trace = driver.run(rule, work, Serving(Engine(2), StepTimes(float(MS))))
    assert trace.status.tolist() == [SERVED, SERVED, UNFINISHED]
    trace.check(2)
