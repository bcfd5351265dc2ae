"""Runs are replayed as they were, with stages, clusters, backlogs, patience and slow stretches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_faults import plant, sound_run
from planted_services import REQUESTS, through

from experiments.config import load_scenario
from experiments.diagnose import diagnose, diagnose_scenario
from experiments.diagnosis.causes_batches import padded
from experiments.diagnosis.opened import Asked, opened, queues_apart
from experiments.diagnosis.pace import Pace, pace_of
from experiments.diagnosis.retuning import with_cap
from experiments.diagnosis.seen import seen_of
from experiments.diagnosis.servers import on_one_queue, with_servers
from experiments.diagnosis.stretches import stretches_of
from experiments.diagnosis.world import Workers, play
from experiments.diagnosis.world import through as through_workers
from sim.kernel import run
from sim.workload import Workload

MS = 1_000_000
SEED = 1


def look_of(planted, **known):
    return opened(seen_of(planted.trace), Asked(planted.service, planted.policy, **known)).look


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_are_a_fifo_queue(workers):
    rng = np.random.default_rng(workers)
    ready = np.sort(rng.integers(0, 10_000, 500))
    takes = rng.integers(1, 60 * workers, 500)
    mine = through_workers(Workers(workers, takes), ready)
    assert np.array_equal(mine[0], through(ready, takes, workers)[0])
    assert np.array_equal(mine[1], through(ready, takes, workers)[1])


def test_a_scenario_with_cpu_stages_is_replayed_exactly_and_its_look_up_is_found():
    found = diagnose_scenario(load_scenario("recommender", ["workload.requests=20_000"]))
    assert found.replayed_ms == found.value_ms
    assert found.fault == "slow_pre"
    assert found.bottleneck == "pre-processing"
    names = [one.name for one in found.remedies]
    assert set(names[:2]) == {"faster_pre", "more_pre"}
    stages = {stage.name: stage.slow_share for stage in found.stages}
    assert max(stages, key=stages.get) == "waiting for pre-processing"


def test_tiers_that_are_never_served_are_told_so():
    scenario = load_scenario("mixed_sla", ["workload.requests=3_000"])
    found = diagnose_scenario(scenario, "one_queue")
    assert found.fault == "tier_blocking"
    assert found.verdict.startswith("the interactive requests are never served because urgent")
    assert found.lost == 1.0
    assert found.remedies[0].name == "priority"
    assert found.remedies[0].lost == 0.0


def test_a_closed_loop_and_a_cluster_are_replayed_to_a_few_nanoseconds():
    for name in ("closed_loop", "cluster_8"):
        found = diagnose_scenario(load_scenario(name, ["workload.requests=20_000"]), "greedy")
        assert found.lost == 0.0
        assert found.replayed_ms == pytest.approx(found.value_ms, abs=1e-4), name


def test_patience_and_bounded_queues_are_replayed_exactly():
    for name in ("mm4_abandon", "mm1k"):
        found = diagnose_scenario(load_scenario(name, ["workload.requests=20_000"]))
        assert found.lost > 0.0, name
        assert not any("replay" in note for note in found.notes), name


def test_another_rule_meets_the_slow_stretches_when_they_were():
    planted = plant("noisy_neighbour", SEED)
    look = look_of(planted)
    slow = stretches_of(look.seen, look.slowdown).slow
    starts = look.seen.batch_start_ns[slow]
    other = play(
        replace(look.world, policy=with_cap(planted.policy, planted.policy.max_batch_size // 2))
    )
    pace = pace_of(other, look.world.service)
    factor = np.concatenate(pace.slowdown)[np.argsort(np.concatenate(pace.start_ns), kind="stable")]
    inside = (other.batch_start_ns >= starts.min()) & (other.batch_start_ns <= starts.max())
    assert np.median(factor[~inside]) < 1.15
    assert np.quantile(factor[inside], 0.95) > 1.6


def test_queues_apart_are_told_from_one_queue():
    assert queues_apart(seen_of(plant("routing", SEED).trace))
    assert not queues_apart(seen_of(plant("slow_server", SEED).trace))
    assert not queues_apart(seen_of(plant("tier_blocking", SEED).trace))


def test_recorded_routes_are_taken_again_and_one_queue_is_better():
    planted = plant("routing", SEED)
    seen = seen_of(planted.trace)
    look = opened(seen, Asked(replace(planted.service, cluster=None), planted.policy)).look
    assert look.world.route is not None
    assert np.array_equal(look.replayed.start_ns, seen.start_ns)
    together = look.judged.value_ns(play(on_one_queue(look.world)))
    assert together < 0.8 * look.base_ns
    more = play(with_servers(look.world, seen.servers + 1))
    assert more.servers == seen.servers + 1
    assert len(np.unique(more.batch_server)) == seen.servers + 1


def test_a_long_run_is_looked_at_by_its_first_part(monkeypatch):
    from experiments.diagnosis import opened as module

    monkeypatch.setattr(module, "MOST", 5_000)
    planted = plant("burst", SEED)
    found = diagnose(planted.trace, planted.service, planted.policy)
    assert found.notes[0] == f"only the first 5,000 of {REQUESTS:,} requests are looked at"
    assert 4_900 < found.requests <= 5_000
    assert found.replayed_ms == pytest.approx(found.value_ms, rel=0.05)


def test_servers_that_open_late_are_a_cold_start():
    planted = sound_run(SEED)
    ready = int(planted.trace.arrival_ns[REQUESTS // 20])
    workload = Workload(planted.trace.length, np.maximum(planted.trace.arrival_ns, ready))
    late = run(planted.policy, workload, planted.service)
    late = replace(late, arrival_ns=planted.trace.arrival_ns)
    found = diagnose(late, planted.service, planted.policy)
    assert found.fault == "cold_start"
    assert "the first batch started" in found.findings[0].evidence
    assert found.remedies[0].name == "warm"
    assert found.replayed_ms == pytest.approx(found.value_ms, rel=0.01)


def test_the_level_of_an_instant_is_that_of_the_recorded_batches_around_it():
    start = np.arange(100) * 10
    slowdown = np.where((start >= 300) & (start < 600), 3.0, 1.0)
    pace = Pace((start,), (slowdown,))
    assert pace.at(0, np.array([0, 104, 297, 305, 450, 590, 606, 2_000])).tolist() == [
        1, 1, 3, 3, 3, 3, 1, 1,
    ]  # fmt: skip
    assert pace.at(3, np.array([450])).tolist() == [3.0]


def test_padding_is_told_where_a_target_is_missed_for_it():
    scenario = load_scenario("bert", ["workload.requests=20_000"])
    found = diagnose_scenario(scenario)
    assert found.fault == "padding"
    assert found.remedies[0].name == "buckets"
    loose = diagnose_scenario(scenario, slo_ms=1_000.0)
    assert loose.fault is None
    planted = sound_run(SEED)
    same = Workload(np.full(REQUESTS, 60, np.int32), planted.trace.arrival_ns)
    trace = run(planted.policy, same, planted.service)
    assert padded(opened(seen_of(trace), Asked(planted.service, planted.policy)).look) is None


def test_a_backlog_is_no_load():
    scenario = load_scenario("mixed_sla", ["workload.requests=3_000"])
    found = diagnose_scenario(scenario, "priority")
    assert found.load == pytest.approx(0.25, rel=0.1)
    assert "overload" not in [one.name for one in found.findings]
