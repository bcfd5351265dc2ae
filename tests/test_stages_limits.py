"""What CPU stages let through, whatever the policy does, and what is said if it is too little."""

from dataclasses import replace

import numpy as np
import pytest
from random_runs import MS
from test_stages import gpu, poisson, run

from policies.greedy import Greedy
from policies.size_or_timeout import SizeOrTimeout
from sim import kernel, live
from sim.errors import WorkloadError
from sim.metrics import measure
from sim.stability import assess, saturation_per_s
from sim.stage_limits import stage_limit
from sim.stages import Stage, Stages


def test_a_slow_stage_is_the_limit_of_every_policy():
    service = gpu(2.0, 8, stages=Stages(Stage(3, 4.0 * MS), Stage(2, 1.0 * MS)))
    workload = poisson(0.9, 20_000)
    for policy in (Greedy(), SizeOrTimeout(max_batch_size=4, max_wait_ns=MS)):
        found = assess(policy, workload, service, kernel.run, rate_per_s=900.0)
        assert (found.stable, found.stage) == (False, "pre-processing (3 workers)")
        assert found.saturation_per_s == pytest.approx(750.0)
        assert found.message == (
            "unstable: 900.0 requests/s arrive, pre-processing (3 workers) can serve 750.0/s "
            "(load 1.20)"
        )
        assert saturation_per_s(policy, workload, service, kernel.run) == pytest.approx(750.0)


def test_a_fast_stage_leaves_the_gpu_as_the_limit():
    stages = Stages(Stage(9, 4.0 * MS), Stage(9, 1.0 * MS))
    alone, with_stages = gpu(2.0), gpu(2.0, stages=stages)
    found = [
        assess(Greedy(), poisson(0.4, 9000), one, kernel.run, rate_per_s=400.0)
        for one in (alone, with_stages)
    ]
    assert found[0].saturation_per_s == found[1].saturation_per_s
    assert (found[1].stable, found[1].stage) == (True, "")


def test_a_bounded_queue_does_not_help_a_slow_stage_before_it():
    service = gpu(1.0, stages=Stages(Stage(1, 2.0 * MS), None), capacity=5)
    found = assess(Greedy(), poisson(0.6, 9000), service, kernel.run, rate_per_s=600.0)
    assert not found.stable
    assert found.message.startswith("unstable: 600.0 requests/s arrive, pre-processing (1 wor")
    relaxed = assess(Greedy(), poisson(0.4, 9000), service, kernel.run, rate_per_s=400.0)
    assert relaxed.stable


def test_a_live_run_has_no_stages():
    service = gpu(1.0, stages=Stages(Stage(1, 2.0 * MS), None))
    with pytest.raises(WorkloadError, match="`no CPU stages in a live run` must hold"):
        live.run(Greedy(), poisson(0.5, 10), service, world=None)


def test_post_processing_sees_only_what_the_gpu_lets_through():
    behind = Stages(None, Stage(1, 1.5 * MS))
    slower_gpu = gpu(2.0, stages=behind, capacity=5)
    found = assess(Greedy(), poisson(0.9, 9000), slower_gpu, kernel.run, rate_per_s=900.0)
    assert found.stable
    faster_gpu = gpu(1.0, stages=behind, capacity=5)
    found = assess(Greedy(), poisson(0.9, 9000), faster_gpu, kernel.run, rate_per_s=900.0)
    assert (found.stable, found.stage) == (False, "post-processing (1 worker)")


def test_too_long_requests_cost_pre_processing_and_no_post_processing():
    length = np.where(np.arange(1000) % 4 == 0, 100, 1).astype(np.int32)
    workload = replace(poisson(0.1, 1000), length=length)
    stages = Stages(Stage(1, 0.0, 1.0 * MS), None)
    before = gpu(0.001, stages=stages, longest_admitted=50)
    assert stage_limit(workload, before).per_s == pytest.approx(0.75 * 1000 / 25.75)
    after = gpu(0.001, stages=Stages(None, stages.pre), longest_admitted=50)
    assert stage_limit(workload, after).per_s == pytest.approx(1000.0)


def test_measures_of_an_unstable_run_tell_who_is_busy_but_no_waits():
    service = gpu(1.0, 8, stages=Stages(Stage(1, 2.0 * MS), None))
    workload = poisson(0.6, 30_000)
    stability = assess(Greedy(), workload, service, kernel.run, rate_per_s=600.0)
    (stage,) = measure(run(workload, service), service, stability=stability).stages.stages
    assert stage.utilisation.value == pytest.approx(1.0, abs=0.01)
    assert stage.wait_ms["mean"].value is None
    assert stage.service_ms["mean"].value == pytest.approx(2.0)
