"""Iterations in SimPy and compiled: the same trace, request for request and token for token."""

from typing import NamedTuple

import numpy as np
import pytest
from random_iterations import MS, random_iterations, token_differences

from policies.contract import NOBODY
from policies.iteration import RULES
from policies.iteration.contract import (
    FREE,
    View,
    admit,
    first_lane,
    give,
    given_tokens,
    iterate,
    places,
    preempt,
    remaining,
    shared,
    wait_until,
)
from sim.iteration import kernel, model
from sim.trace import REJECTED, SERVED

RUNS_PER_RULE = 25
MANY_RUNS_PER_RULE = 220


def disagreements(kind, seeds):
    found = []
    for seed in seeds:
        run = random_iterations(seed, kind)
        trace = kernel.run(*run)
        trace.check(run.serving.engine.sequences)
        columns = token_differences(trace, model.run(*run))
        if columns:
            found.append((seed, columns))
    return found


@pytest.mark.parametrize("kind", RULES)
def test_both_drivers_give_the_same_trace(kind):
    assert disagreements(kind, range(RUNS_PER_RULE)) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", RULES)
def test_both_drivers_give_the_same_trace_in_many_runs(kind):
    assert disagreements(kind, range(10_000, 10_000 + MANY_RUNS_PER_RULE)) == []


@pytest.mark.parametrize("kind", RULES)
def test_whoever_is_not_too_long_is_served(kind):
    for seed in range(RUNS_PER_RULE):
        run = random_iterations(seed, kind)
        refused = run.serving.too_long(run.workload)
        expected = np.where(refused, REJECTED, SERVED)
        assert np.array_equal(kernel.run(*run).status, expected)


def test_the_random_runs_refuse_put_back_swap_and_have_ties():
    runs = [random_iterations(seed, "vllm_like") for seed in range(80)]
    traces = [kernel.run(*run) for run in runs]
    assert sum(int((trace.status == REJECTED).sum()) for trace in traces) > 200
    swaps = np.array([run.serving.engine.swaps for run in runs])
    put_back = np.array([int(trace.preempted.sum()) for trace in traces])
    assert min(put_back[swaps].sum(), put_back[~swaps].sum()) > 40
    assert max(int(trace.preempted.max()) for trace in traces) >= 3
    ties = [np.isin(trace.arrival_ns, trace.steps["finish_ns"]).sum() for trace in traces]
    assert np.count_nonzero(ties) >= 15
    one = [((run.workload.prompt == 1) & (run.workload.output == 1)).sum() for run in runs]
    assert sum(one) > 50
    crowds = [(np.diff(run.workload.arrival_ns) == 0).mean() > 0.5 for run in runs]
    assert sum(crowds) > 20


# whatever a rule does


@shared
def draw(view: View, sides: int) -> int:
    """A whole number below ``sides`` that everything in the view went into."""
    view.memory[0] = (view.memory[0] * 7_919.0 + 104_729.0) % 1_000_003.0
    return int(view.memory[0]) % sides


@shared
def stir(view: View, number: int) -> None:
    """Let a number go into the draws to come."""
    view.memory[0] = (view.memory[0] * 31.0 + float(number % 999_983)) % 1_000_003.0


class Whimsical(NamedTuple):
    """Any plan that is allowed, by a hash of all that the view shows."""

    lane_total: int = 3
    patience: int = 400
    memory_slots = 2

    def lanes(self) -> int:
        return self.lane_total

    def lane_of(self, prompt: int, tier: int) -> int:
        return (prompt + tier) % self.lane_total

    def plan(self, view: View) -> int:
        look_at_all(view)
        if view.running == 0 and draw(view, 5) == 0 and view.memory[1] < view.now_ns:
            view.memory[1] = float(view.now_ns + 3 * MS)
            return wait_until(view.now_ns + 1 + draw(view, 2 * MS))
        go_on_somehow(view, view.iterations > self.patience)
        let_in_somebody(view)
        if given_tokens(view) == 0:
            go_on_at_last(view)
        return iterate()


@shared
def look_at_all(view: View) -> None:
    for number in (view.now_ns, view.running, view.iterations, view.arrived, view.plan[FREE]):
        stir(view, number)
    for lane in range(view.front.shape[0]):
        stir(view, view.waiting[lane])
        request = view.front[lane]
        while request != NOBODY:
            stir(view, request + view.arrival_ns[request])
            stir(view, view.prompt[request] + view.tier[request] + view.held[request])
            stir(view, view.computed[request] + view.generated[request])
            request = view.next[request]


@shared
def go_on_somehow(view: View, calm: bool) -> None:
    for position in range(view.running):
        request = view.order[position]
        stir(view, request + view.computed[request] + view.held[request])
        if position > 0 and not calm and draw(view, 12) == 0:
            preempt(view, position)
        elif calm or draw(view, 4) > 0:
            give(view, position, 1 + draw(view, remaining(view, request)))


@shared
def let_in_somebody(view: View) -> None:
    while places(view) > 0:
        lane = draw(view, view.front.shape[0])
        if view.front[lane] == NOBODY:
            return
        if not admit(view, lane, 1 + draw(view, remaining(view, view.front[lane]))):
            return


@shared
def go_on_at_last(view: View) -> None:
    if view.running == 0:
        admit(view, first_lane(view), 1)
        return
    position = view.running
    while not give(view, 0, 1):
        position -= 1
        if view.leaves[position] == 0:
            preempt(view, position)


def whimsical(seed):
    return random_iterations(seed)._replace(rule=Whimsical())


@pytest.mark.parametrize("seed", range(60))
def test_both_drivers_show_the_same_view_and_carry_out_any_plan(seed):
    run = whimsical(seed)
    trace = kernel.run(*run)
    trace.check(run.serving.engine.sequences)
    assert token_differences(trace, model.run(*run)) == []


def test_whims_leave_nothing_out():
    traces = [kernel.run(*whimsical(seed)) for seed in range(60)]
    partly = [np.any(trace.steps["prefill"] + trace.steps["sequences"] == 1) for trace in traces]
    idle = [np.any(t.steps["sequences"] < t.steps["running"]) for t in traces]
    waits = [np.any(np.diff(t.steps["start_ns"]) > t.steps["finish_ns"][0]) for t in traces]
    assert min(sum(partly), sum(idle), sum(waits)) > 10
    assert sum(int(trace.preempted.sum()) for trace in traces) > 1000
