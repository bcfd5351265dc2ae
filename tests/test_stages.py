"""CPU stages against theory, where their latency is spent, what limits them, and their traces."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS
from test_stages_drivers import staged_run

from policies.contract import Tier
from policies.greedy import Greedy
from sim import kernel
from sim.metrics import measure
from sim.series import (
    mean_number_in_system,
    mean_queue_depth,
    number_in_system,
    peak_queue_depth,
    queue_depth,
)
from sim.service import Noise, Service
from sim.stage_times import PARTS, at_gpu, expired_early, parts_ns, waits_ns
from sim.stages import Stage, Stages
from sim.theory import MG1, MDc, MMc
from sim.trace import SERVED, Trace
from sim.workload import Workload

REQUESTS = 400_000


def poisson(rate_per_ms, requests=REQUESTS, seed=1):
    rng = np.random.default_rng(seed)
    arrival_ns = (rng.exponential(MS / rate_per_ms, requests)).cumsum().astype(np.int64)
    return Workload(length=np.ones(requests, dtype=np.int32), arrival_ns=arrival_ns)


def exponential(mean_ms, workers, seed, requests=REQUESTS):
    rng = np.random.default_rng(seed)
    return Stage(workers, mean_ms * MS, factors=rng.exponential(1, requests).astype(np.float32))


def gpu(ms, largest=1, **more):
    return Service(np.full((1, largest, 1), round(ms * MS)), np.array([1]), **more)


def instant():
    """A GPU that costs nothing worth mentioning: 1 ns, for everybody who is there."""
    return Service(np.ones((1, 64, 1), dtype=np.int64), np.array([1]))


def run(workload, service):
    return kernel.run(Greedy(), workload, service)


def inside(estimate, value, slack=1.5):
    """Within the interval, widened: fixed seeds, so a failure is a change, not bad luck."""
    half = (estimate.high - estimate.low) / 2
    return abs(estimate.value - value) <= slack * half


@pytest.mark.parametrize("workers", [1, 4])
class TestStagesAreQueuesWithKnownAnswers:
    def test_exponential_workers_are_the_queue_of_erlang(self, workers):
        theory = MMc(0.8 * workers, 1.0, workers)
        service = replace(instant(), stages=Stages(exponential(1.0, workers, 2), None))
        found = measure(run(poisson(0.8 * workers), service), service)
        (stage,) = found.stages.stages
        assert inside(stage.wait_ms["mean"], theory.mean_wait)
        assert inside(stage.wait_ms["p99"], theory.wait_quantile(0.99))
        assert inside(stage.utilisation, theory.utilisation)
        assert inside(found.overall.latency_ms["mean"], theory.mean_latency)
        assert inside(found.overall.latency_ms["p99"], theory.latency_quantile(0.99))
        assert not inside(stage.wait_ms["mean"], MMc(0.83 * workers, 1.0, workers).mean_wait)

    def test_constant_workers_are_the_queue_of_crommelin(self, workers):
        theory = MDc(0.8 * workers, 1.0, workers)
        service = replace(instant(), stages=Stages(None, Stage(workers, 1.0 * MS)))
        found = measure(run(poisson(0.8 * workers), service), service)
        (stage,) = found.stages.stages
        assert stage.name == "postprocessing"
        assert inside(stage.wait_ms["mean"], theory.mean_wait)
        assert inside(stage.wait_ms["p99"], theory.wait_quantile(0.99))


def test_exponential_stages_in_tandem_are_independent_queues():
    # Burke, Operations Research 4, 1956: what leaves M/M/c is Poisson again
    stages = Stages(exponential(1.0, 1, 2), exponential(2.2, 3, 3))
    rng = np.random.default_rng(4)
    noise = Noise(rng.exponential(1, (1, 1, REQUESTS)).astype(np.float32))
    service = gpu(0.9, noise=noise, stages=stages)
    found = measure(run(poisson(0.7), service), service)
    queues = MMc(0.7, 1.0), MMc(0.7, 1 / 0.9), MMc(0.7, 1 / 2.2, 3)
    total = sum(queue.mean_latency for queue in queues)
    assert inside(found.overall.latency_ms["mean"], total)
    assert inside(found.overall.mean_number_in_system, 0.7 * total)
    waits = [found.stages.spent.mean_ms[name] for name in ("pre_wait", "queue_wait", "post_wait")]
    assert all(inside(one, queue.mean_wait) for one, queue in zip(waits, queues, strict=True))
    assert not inside(waits[2], 1.15 * queues[2].mean_wait)


def test_a_stage_that_depends_on_length_has_the_moments_of_the_lengths():
    rng = np.random.default_rng(5)
    length = rng.integers(1, 11, REQUESTS).astype(np.int32)
    workload = replace(poisson(0.1), length=length)
    service = replace(instant(), stages=Stages(Stage(1, 0.5 * MS, 1.0 * MS), None))
    times = 0.5 + np.arange(1, 11)
    theory = MG1(0.1, times.mean(), (times**2).mean())
    found = measure(run(workload, service), service)
    assert inside(found.stages.stages[0].wait_ms["mean"], theory.mean_wait)
    assert inside(found.stages.stages[0].utilisation, theory.utilisation)


class TestWhereLatencyIsSpent:
    def test_the_parts_add_up_to_the_latency_of_every_request(self):
        for seed in range(60):
            trace = kernel.run(*staged_run(seed))
            served = trace.status == SERVED
            total = np.sum(list(parts_ns(trace).values()), axis=0)
            assert (total == (trace.finish_ns - trace.arrival_ns)[served]).all()
            assert all((values >= 0).all() for values in parts_ns(trace).values())

    def test_the_means_and_the_slowest_add_up_too(self):
        stages = Stages(exponential(2.0, 3, 2), exponential(1.0, 2, 3))
        service = gpu(3.0, 8, stages=stages)
        trace = run(poisson(1.2), service)
        found = measure(trace, service)
        total = sum(one.value for one in found.stages.spent.mean_ms.values())
        assert total == pytest.approx(found.overall.latency_ms["mean"].value, rel=1e-12)
        spent = (trace.finish_ns - trace.arrival_ns)[REQUESTS // 10 :] / MS
        slow = spent[spent >= np.sort(spent)[int(np.ceil(0.99 * len(spent))) - 1]]
        total = sum(one.value for one in found.stages.spent.slowest_ms.values())
        assert total == pytest.approx(slow.mean(), rel=1e-12)

    def test_the_parts_of_the_tiers_are_of_their_own_requests(self):
        rng = np.random.default_rng(6)
        tiers = (Tier("short"), Tier("long"))
        tier = rng.integers(0, 2, 50_000).astype(np.int8)
        length = np.where(tier == 0, 1, 9).astype(np.int32)
        workload = replace(poisson(0.3, 50_000), tier=tier, length=length, tiers=tiers)
        service = gpu(1.0, 8, stages=Stages(Stage(2, 0.0, 0.5 * MS), None))
        found = measure(run(workload, service), service)
        spent = found.stages.tiers
        works = [spent[name].mean_ms["pre_service"].value for name in ("short", "long")]
        assert works == pytest.approx([0.5, 4.5])
        for group in found.tiers:
            total = sum(one.value for one in spent[group.name].mean_ms.values())
            assert total == pytest.approx(group.latency_ms["mean"].value, rel=1e-12)

    def test_without_stages_there_is_only_the_queue_and_the_gpu(self):
        trace = run(poisson(0.5, 2000), gpu(1.0))
        parts = parts_ns(trace)
        assert tuple(parts) == PARTS
        assert (parts["queue_wait"] == trace.start_ns - trace.arrival_ns).all()
        assert (parts["gpu_service"] == MS).all()
        empty = ("pre_wait", "pre_service", "post_wait", "post_service")
        assert not any(parts[name].any() for name in empty)
        assert measure(trace, gpu(1.0)).stages is None
        assert at_gpu(trace) is trace
        assert (waits_ns(trace) == trace.start_ns - trace.arrival_ns).all()

    def test_a_run_too_short_for_p99_has_no_slowest(self):
        service = gpu(1.0, stages=Stages(Stage(1, 1.0 * MS), None))
        found = measure(run(poisson(0.5, 20_000), service), service).stages.spent
        assert found.mean_ms["pre_wait"].value is not None
        assert found.slowest_ms["pre_wait"].value is None
        assert found.slowest_ms["pre_wait"].needs == 100_000

    def test_numbers_of_the_gpu_are_of_the_gpu(self):
        service = gpu(1.0)
        staged = replace(service, stages=Stages(None, Stage(9, 40.0 * MS)))
        workload = poisson(0.5, 50_000)
        alone, together = (measure(run(workload, one), one) for one in (service, staged))
        busy = together.overall.utilisation.value
        assert busy == pytest.approx(alone.overall.utilisation.value, rel=1e-9)
        assert together.overall.wait_ms["mean"] == alone.overall.wait_ms["mean"]

    def test_the_queue_is_that_of_the_gpu_and_the_system_is_everything(self):
        for seed in range(40):
            trace = kernel.run(*staged_run(seed))
            inner, stages = at_gpu(trace), trace.stages
            at_ns = np.arange(0, int(trace.finish_ns.max()) + MS, MS // 2)
            stop = np.where(inner.status == SERVED, inner.start_ns, inner.finish_ns)
            never = inner.status == 3
            stop[inner.status == 1] = -1
            waiting = [
                ((inner.arrival_ns <= t) & ((stop > t) | never) & (inner.status != 1)).sum()
                for t in at_ns
            ]
            assert queue_depth(trace, at_ns).value.tolist() == waiting
            leave = np.where(trace.finish_ns >= 0, trace.finish_ns, np.iinfo(np.int64).max)
            there = trace.status != 1
            number = [(there & (trace.arrival_ns <= t) & (leave > t)).sum() for t in at_ns]
            assert number_in_system(trace, at_ns).value.tolist() == number
            assert stages is not None

    def test_bins_of_the_queue_integrate_its_depth(self):
        trace = kernel.run(*staged_run(5))
        at_ns = np.arange(0, int(trace.finish_ns.max()), 1000)
        depth = queue_depth(trace, at_ns).value
        (mean,) = mean_queue_depth(trace, np.array([0, at_ns[-1]])).value
        assert mean == pytest.approx(depth.mean(), rel=0.01)
        (peak,) = peak_queue_depth(trace, np.array([0, at_ns[-1]])).value
        assert peak >= depth.max()
        (inside_,) = mean_number_in_system(trace, np.array([0, at_ns[-1]])).value
        assert inside_ == pytest.approx(number_in_system(trace, at_ns).value.mean(), rel=0.01)


class TestTraces:
    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_a_trace_with_stages_is_saved_and_loaded(self, kind, tmp_path):
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        trace = kernel.run(*staged_run(4))
        assert Trace.load(trace.save(tmp_path / kind, kind)).equals(trace)

    def test_traces_that_differ_in_a_stage_alone_are_not_equal(self):
        trace = kernel.run(*staged_run(4))
        assert not trace.equals(replace(trace, stages=None))
        later = trace.stages._replace(post_start_ns=trace.stages.post_start_ns + 1)
        assert not trace.equals(replace(trace, stages=later))
        assert not trace.equals(replace(trace, stages=trace.stages._replace(pre_workers=99)))
        assert trace.equals(replace(trace, stages=trace.stages._replace()))

    def test_a_frame_has_the_columns_of_the_stages(self):
        frame = kernel.run(*staged_run(4)).to_frame()
        assert {"pre_start_ns", "queued_ns", "post_start_ns"} <= set(frame.columns)


def overtaken(times):
    """The first request that was in pre-processing beside the next starts after it."""
    first = int(np.argmax(times.pre_start_ns[1:] + 1 < times.queued_ns[:-1]))
    start_ns = times.pre_start_ns.copy()
    start_ns[first] = start_ns[first + 1] + 1
    return {"pre_start_ns": start_ns}


BREAKS = {
    17: lambda t: {"queued_ns": t.pre_start_ns},
    18: overtaken,
    19: lambda t: {"pre_workers": t.pre_workers + 1},
}


def checked_run():
    workload = replace(poisson(0.9, 300), timeout_ns=np.full(300, 6 * MS))
    stages = Stages(exponential(1.9, 2, 3, 300), exponential(0.5, 1, 4, 300))
    service = gpu(0.5, 8, stages=stages)
    trace = run(workload, service)
    trace.check(service, workload)
    return trace, service, workload


@pytest.mark.parametrize("number", BREAKS)
def test_a_broken_trace_is_named_by_its_invariant(number):
    trace, service, workload = checked_run()
    broken = replace(trace, stages=trace.stages._replace(**BREAKS[number](trace.stages)))
    with pytest.raises(AssertionError, match=f"invariant {number},"):
        broken.check(service, workload)


def test_a_trace_of_other_patience_workers_or_times_is_noticed():
    trace, service, workload = checked_run()
    assert expired_early(trace).sum() > 10
    with pytest.raises(AssertionError, match="invariant 20,"):
        trace.check(service, replace(workload, timeout_ns=workload.timeout_ns + MS))
    pre = service.stages.pre
    for other in (replace(pre, workers=3), replace(pre, base_ns=pre.base_ns + 5)):
        with pytest.raises(AssertionError, match="invariant 21"):
            trace.check(replace(service, stages=replace(service.stages, pre=other)), workload)
