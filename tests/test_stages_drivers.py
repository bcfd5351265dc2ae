"""The SimPy model and the compiled kernel agree on CPU stages, to the nanosecond, ties included."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS, random_run

from policies import POLICIES
from policies.autoscalers import AUTOSCALERS
from policies.greedy import Greedy
from sim import kernel, model
from sim.errors import WorkloadError
from sim.service import Idling, Noise, Service
from sim.stage_times import expired_early
from sim.stages import Stage, Stages
from sim.trace import EXPIRED, LOST, REJECTED, SERVED
from sim.workload import ClosedLoop, Workload

SEEDS = range(90)
MANY_SEEDS = range(10_000, 10_600)


GRID = MS // 4


def random_stage(rng, requests, on_grid):
    """Workers whose times are multiples of a quarter of a millisecond, or anything."""
    draws = int(rng.integers(1, requests + 5))
    factors = rng.integers(1, 3, draws) if on_grid else rng.gamma(2.0, 0.5, draws)
    return Stage(
        workers=int(rng.integers(1, 6)),
        base_ns=float(rng.integers(0, 9)) * GRID,
        per_length_ns=0.0 if on_grid else 12_345.6,
        factors=factors.astype(np.float32),
    )


def staged_run(seed, kind=None, requests=60, router="", scaler=""):
    """A random open scenario with stages; one in three has only one of them.

    With an even seed everything is on a grid, so that much happens at one instant.
    """
    run = random_run(seed, kind, requests=requests, ends=True, router=router, scaler=scaler)
    rng = np.random.default_rng((seed, 7))
    on_grid = seed % 2 == 0
    pre = random_stage(rng, requests, on_grid) if seed % 3 else None
    post = random_stage(rng, requests, on_grid) if seed % 3 != 1 else None
    workload, service = run.workload, replace(run.service, stages=Stages(pre, post))
    if workload.closed is not None:
        arrival_ns = np.sort(rng.integers(0, 40, requests)) * MS
        workload = replace(workload, closed=None, arrival_ns=arrival_ns)
    if on_grid and not router:
        workload = replace(workload, arrival_ns=workload.arrival_ns // GRID * GRID)
        table = -(-service.service_ns // GRID) * GRID
        service = replace(
            service,
            service_ns=np.ascontiguousarray(table[..., :1]),
            length_edges=service.length_edges[:1],
            noise=Noise(),
            idling=Idling(),
        )
    return run.policy, workload, service


def disagreements(kind, seeds):
    return [
        seed
        for seed in seeds
        if not kernel.run(*staged_run(seed, kind)).equals(model.run(*staged_run(seed, kind)))
    ]


@pytest.mark.parametrize("kind", POLICIES)
def test_both_drivers_give_the_same_trace_with_stages(kind):
    assert disagreements(kind, SEEDS) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", POLICIES)
def test_both_drivers_give_the_same_trace_with_stages_in_thousands_of_scenarios(kind):
    assert disagreements(kind, MANY_SEEDS) == []


@pytest.mark.parametrize(("kind", "router"), [("greedy", "round_robin"), ("snap", "least_loaded")])
def test_both_drivers_give_the_same_trace_with_stages_around_a_cluster(kind, router):
    for seed in range(60):
        run = staged_run(seed, kind, requests=80, router=router)
        assert kernel.run(*run).equals(model.run(*run)), seed


@pytest.mark.parametrize("scaler", [*AUTOSCALERS, "none"])
def test_both_drivers_agree_where_replicas_come_and_go_behind_a_stage(scaler):
    lost = early = 0
    for seed in range(40):
        run = staged_run(seed, "greedy", requests=80, router="round_robin", scaler=scaler)
        trace = kernel.run(*run)
        assert trace.equals(model.run(*run)), seed
        trace.check(run[2], run[1])
        lost += np.count_nonzero(trace.status == LOST)
        early += np.count_nonzero(expired_early(trace))
    assert min(lost, early) > 20


@pytest.mark.parametrize("kind", POLICIES)
def test_traces_with_stages_keep_every_invariant(kind):
    for seed in range(40):
        policy, workload, service = staged_run(seed, kind)
        kernel.run(policy, workload, service).check(service, workload)


def test_the_random_scenarios_expire_before_the_queue_and_in_it_and_have_ties():
    runs = [staged_run(seed) for seed in range(90)]
    traces = [kernel.run(*run) for run in runs]
    status = np.concatenate([trace.status for trace in traces])
    assert min(np.count_nonzero(status == kind) for kind in (SERVED, REJECTED, EXPIRED)) > 300
    early = [expired_early(trace).sum() for trace in traces]
    assert np.count_nonzero(early) >= 15
    meets = [
        np.isin(trace.stages.queued_ns, trace.batch_finish_ns).sum()
        for trace in traces
        if trace.stages.pre_workers
    ]
    assert np.count_nonzero(meets) >= 15


def one_at_a_time(ms):
    return Service(np.array([[[round(ms * MS)]]]), np.array([1]))


def arriving(*at_ms, **more):
    arrival_ns = np.array([round(ms * MS) for ms in at_ms])
    return Workload(length=np.ones(len(at_ms), dtype=np.int32), arrival_ns=arrival_ns, **more)


def in_ms(column):
    return [value / MS for value in column.tolist()]


@pytest.mark.parametrize("driver", [kernel, model])
class TestByHand:
    """Few requests, whose every instant can be followed."""

    def test_a_request_goes_through_pre_processing_the_gpu_and_post_processing(self, driver):
        stages = Stages(Stage(1, 3.0 * MS), Stage(1, 5.0 * MS))
        service = replace(one_at_a_time(2), stages=stages)
        trace = driver.run(Greedy(), arriving(0, 1), service)
        assert in_ms(trace.stages.pre_start_ns) == [0, 3]
        assert in_ms(trace.stages.queued_ns) == [3, 6]
        assert in_ms(trace.start_ns) == [3, 6]
        assert in_ms(trace.batch_finish_ns) == [5, 8]
        assert in_ms(trace.stages.post_start_ns) == [5, 10]
        assert in_ms(trace.finish_ns) == [10, 15]

    def test_two_workers_let_a_short_request_overtake_a_long_one(self, driver):
        stages = Stages(Stage(2, 0.0, 1.0 * MS), None)
        workload = replace(arriving(0, 1), length=np.array([9, 2], dtype=np.int32))
        trace = driver.run(Greedy(), workload, replace(one_at_a_time(1), stages=stages))
        assert in_ms(trace.stages.queued_ns) == [9, 3]
        assert trace.batch.tolist() == [1, 0]
        assert trace.length.tolist() == [9, 2]

    def test_patience_that_ends_in_pre_processing_is_noticed_at_the_queue(self, driver):
        stages = Stages(Stage(1, 4.0 * MS), Stage(1, 1.0 * MS))
        workload = arriving(0, 0, 0, timeout_ns=np.array([9, 7, 12]) * MS)
        trace = driver.run(Greedy(), workload, replace(one_at_a_time(2), stages=stages))
        assert trace.status.tolist() == [SERVED, EXPIRED, EXPIRED]
        assert in_ms(trace.finish_ns) == [7, 8, 12]
        assert trace.lane.tolist() == [0, -1, -1]

    def test_patience_that_outlasts_pre_processing_goes_on_in_the_queue(self, driver):
        stages = Stages(Stage(2, 4.0 * MS), None)
        workload = arriving(0, 0, timeout_ns=np.array([20, 5]) * MS)
        trace = driver.run(Greedy(), workload, replace(one_at_a_time(6), stages=stages))
        assert trace.status.tolist() == [SERVED, EXPIRED]
        assert in_ms(trace.finish_ns) == [10, 5]
        assert trace.lane.tolist() == [0, 0]

    def test_the_capacity_counts_the_queue_of_the_gpu_alone(self, driver):
        stages = Stages(Stage(1, 1.0 * MS), Stage(1, 50.0 * MS))
        service = replace(one_at_a_time(9), stages=stages, capacity=1)
        trace = driver.run(Greedy(), arriving(0, 0, 0, 0), service)
        assert trace.status.tolist() == [SERVED, SERVED, REJECTED, REJECTED]
        assert in_ms(trace.stages.queued_ns) == [1, 2, 3, 4]

    def test_members_of_a_batch_enter_post_processing_in_the_order_of_their_ids(self, driver):
        stages = Stages(Stage(2, 0.0, 1.0 * MS), Stage(1, 1.0 * MS))
        workload = replace(arriving(0, 0, 0), length=np.array([3, 2, 1], dtype=np.int32))
        service = Service(np.array([[[9 * MS], [9 * MS], [9 * MS]]]), np.array([1]), stages=stages)
        trace = driver.run(Greedy(), workload, service)
        assert in_ms(trace.stages.queued_ns) == [3, 2, 3]
        assert in_ms(trace.start_ns) == [11, 2, 11]
        assert in_ms(trace.finish_ns) == [21, 12, 22]

    def test_everybody_may_have_run_out_of_patience_before_the_gpu(self, driver):
        workload = arriving(0, 1, timeout_ns=np.array([1, 1]) * MS)
        service = replace(one_at_a_time(9), stages=Stages(Stage(1, 2.0 * MS), None))
        trace = driver.run(Greedy(), workload, service)
        trace.check(service, workload)
        assert trace.status.tolist() == [EXPIRED, EXPIRED]

    def test_a_closed_loop_has_no_stages(self, driver):
        loop = Workload(
            length=np.ones(6, dtype=np.int32), closed=ClosedLoop(np.zeros((2, 1), dtype=np.int64))
        )
        service = replace(one_at_a_time(9), stages=Stages(Stage(1, 2.0 * MS), None))
        with pytest.raises(WorkloadError, match=r"`open arrivals, no closed loop, where there are"):
            driver.run(Greedy(), loop, service)


def test_a_kernel_with_another_number_of_workers_is_caught():
    policy, workload, service = staged_run(2)
    more = replace(service.stages.pre, workers=service.stages.pre.workers + 1)
    other = replace(service, stages=replace(service.stages, pre=more))
    assert not kernel.run(policy, workload, other).equals(model.run(policy, workload, service))
