"""Replicas that fail, or that an autoscaler starts late, are named as the cause."""

import numpy as np
import pytest

from experiments.config import load_scenario
from experiments.diagnose import diagnose_scenario
from experiments.diagnosis.opened import Asked, opened
from experiments.diagnosis.seen import seen_of
from experiments.diagnosis.servers import always_there, started_at_once, with_servers
from experiments.diagnosis.world import replicas_over_time
from policies.greedy import Greedy
from sim import kernel

SCENARIO = """
name = "coming"
[workload]
requests = 60_000
arrivals = {arrivals}
[[workload.tiers]]
name = "all"
slo = {{ ms = 100 }}
[service]
model = {{ base_ms = 4, per_request_ms = 2.0, max_batch_size = 16 }}
servers = 6
[service.cluster]
router = "least_loaded"
{cluster}
[seeds]
arrivals = {seed}
[policies.greedy]
kind = "greedy"
"""
SPIKE = (
    '{ process = "rate_curve", points = [[0, 150], [60, 150], [65, 900], [110, 900], [115, 150]] }'
)
STEADY = '{ process = "poisson", rate_per_s = 900 }'
LATE = (
    'autoscaler = { kind = "ray_serve", min_replicas = 1, target_ongoing_requests = 4, '
    "upscale_delay_ms = 6000 }\ncold_start_ms = %d"
)
FAILING = "outages = [%s]"


def outages(begin_s, lasts_s, count):
    return ", ".join(
        f"{{ replica = {k}, at_s = {begin_s}, lasts_s = {lasts_s} }}" for k in range(count)
    )


def diagnosed(tmp_path, arrivals, cluster, seed):
    path = tmp_path / "coming.toml"
    path.write_text(SCENARIO.format(arrivals=arrivals, cluster=cluster, seed=seed))
    return diagnose_scenario(load_scenario(path))


@pytest.mark.parametrize(("seed", "cold_ms"), [(1, 2_000), (2, 8_000), (3, 20_000)])
def test_an_autoscaler_that_starts_replicas_late_is_named(tmp_path, seed, cold_ms):
    found = diagnosed(tmp_path, SPIKE, LATE % cold_ms, seed)
    assert found.fault == "absent"
    assert found.remedies[0].what == "all 6 replicas always there"
    assert "one that is started takes" in found.findings[0].evidence


@pytest.mark.parametrize(("seed", "failing"), [(4, 5), (5, 4)])
def test_replicas_that_fail_are_named(tmp_path, seed, failing):
    found = diagnosed(tmp_path, STEADY, FAILING % outages(20, 6, failing), seed)
    assert found.fault == "absent"
    assert found.value_ms > 1.5 * found.findings[0].without_ms


@pytest.mark.parametrize("seed", [6, 7])
def test_an_outage_that_nobody_notices_is_no_fault(tmp_path, seed):
    found = diagnosed(tmp_path, STEADY, FAILING % outages(20, 3, 1), seed)
    assert found.healthy
    assert found.fault is None


def test_a_world_with_one_more_server_keeps_the_outages_of_the_others(tmp_path):
    path = tmp_path / "coming.toml"
    cluster = FAILING % outages(20, 6, 2)
    path.write_text(SCENARIO.format(arrivals=STEADY, cluster=cluster, seed=1))
    scenario = load_scenario(path)
    found = diagnose_scenario(scenario)
    assert any(one.name == "another_server" for one in found.remedies)
    service = scenario.draw()[1]
    grown = with_servers(_world(scenario, service), 7).service.cluster
    assert grown.outages_ns.shape[0] == 7
    assert np.array_equal(grown.outages_ns[:6], service.cluster.outages_ns)
    steady = always_there(_world(scenario, service))
    assert replicas_over_time(steady) is None
    assert len(replicas_over_time(_world(scenario, service))) == 3
    assert started_at_once(_world(scenario, service)).service.cluster.cold_start_ns == 0


def _world(scenario, service):
    workload, _ = scenario.draw()
    trace = kernel.run(Greedy(), workload, service)
    return opened(seen_of(trace), Asked(service, Greedy())).look.world
