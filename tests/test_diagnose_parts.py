"""The parts of a diagnosis: fitted times, replays, stretches, bursts, and who met what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_faults import plant, sound_run
from planted_services import REQUESTS, through

from experiments.config import load_scenario
from experiments.diagnose import diagnose, diagnose_scenario
from experiments.diagnosis.fitting import BEYOND, extended, fitted_service
from experiments.diagnosis.gain import Judged, difference
from experiments.diagnosis.opened import Asked, opened, queues_apart
from experiments.diagnosis.pace import pace_of, table_ns
from experiments.diagnosis.retuning import cap_of, with_cap, with_wait
from experiments.diagnosis.seen import seen_of
from experiments.diagnosis.servers import on_one_queue, with_servers
from experiments.diagnosis.stretches import burst_of, stretches_of
from experiments.diagnosis.world import Workers, play
from experiments.diagnosis.world import through as through_workers
from policies import POLICIES
from policies.greedy import Greedy
from policies.length_bucketed import LengthBucketed
from policies.size_or_timeout import SizeOrTimeout
from policies.static import Static
from sim.arrivals import Clumped, Poisson, draw_arrivals
from sim.intervals import Estimate
from sim.kernel import run
from sim.service import Service
from sim.trace import EXPIRED
from sim.workload import Workload

MS = 1_000_000
SEED = 1


def look_of(planted, **known):
    return opened(seen_of(planted.trace), Asked(planted.service, planted.policy, **known)).look


def test_a_fitted_table_is_near_the_true_one_where_batches_were_seen():
    planted = sound_run(SEED)
    seen = seen_of(planted.trace)
    fitted = fitted_service(seen)
    size, longest = seen.batch_size, seen.batch_longest
    own = table_ns(fitted, 0, size, longest)
    true = table_ns(planted.service, 0, size, longest)
    assert np.median(np.abs(own / true - 1)) < 0.03
    assert np.quantile(np.abs(own / true - 1), 0.95) < 0.12
    assert (np.diff(fitted.service_ns, axis=1) >= 0).all()


def test_slow_stretches_do_not_move_a_fitted_table():
    planted = plant("noisy_neighbour", SEED)
    seen = seen_of(planted.trace)
    ratio = table_ns(fitted_service(seen), 0, seen.batch_size, seen.batch_longest) / table_ns(
        planted.service, 0, seen.batch_size, seen.batch_longest
    )
    assert 0.9 < np.median(ratio) < 1.1
    assert np.quantile(ratio, 0.98) < 1.3


def test_times_beyond_the_known_sizes_go_on_with_their_slope():
    table = (np.arange(1, 9) * 2 + 3)[None, :, None] * MS
    service = extended(Service(table, np.array([1])))
    assert service.largest_batch == 8 * BEYOND
    assert service.service_ns[0, :, 0].tolist() == [(2 * k + 3) * MS for k in range(1, 33)]
    only = extended(Service(table[:, :1], np.array([1])))
    assert only.service_ns[0, :, 0].tolist() == [5 * MS * k for k in range(1, 5)]


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


@pytest.mark.parametrize("cv", [0.1, 0.3, 1.0])
def test_independent_service_times_have_no_slow_stretches(cv):
    alarms, seen = 0, seen_of(sound_run(SEED).trace)
    for seed in range(40):
        noise = np.random.default_rng(seed).gamma(1 / cv**2, cv**2, len(seen.batch_size))
        alarms += bool(stretches_of(seen, noise).slow.any())
    assert alarms <= 2, "a false-alarm rate of 5 % at most"


@pytest.mark.parametrize(("cv", "slower"), [(0.1, 1.8), (0.3, 2.5)])
def test_slow_stretches_are_found_where_they_are(cv, slower):
    seen = seen_of(sound_run(SEED).trace)
    noise = np.random.default_rng(5).gamma(1 / cv**2, cv**2, len(seen.batch_size))
    noise[400:700] *= slower
    found = stretches_of(seen, noise)
    assert found.slow[400:700].mean() > 0.8
    assert found.slow[700:].mean() < 0.02
    assert found.stretches >= 1


def test_poisson_arrivals_are_no_burst_and_clumps_are():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = burst_of(draw_arrivals(Poisson(1_000.0), rng, 5_000))
        alarms += found.dispersion > max(2.0, found.limit)
    assert alarms == 0
    clumped = burst_of(draw_arrivals(Clumped(8, 0, 1_000.0), np.random.default_rng(1), 5_000))
    assert clumped.dispersion == pytest.approx(8.0, rel=0.35)


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


def test_who_met_a_batch_is_told_request_by_request():
    look = look_of(plant("tier_blocking", SEED))
    s = look.seen
    kind = np.zeros(len(s.batch_size), dtype=bool)
    kind[s.batch[(s.tier == 1) & (s.batch >= 0)]] = True
    ids = np.flatnonzero(s.tier == 0)[::97]
    for request, met in zip(ids, look.met(ids, kind), strict=True):
        over = (s.batch_start_ns < s.start_ns[request]) & (s.batch_finish_ns > s.queued_ns[request])
        assert met == bool((over & kind).any() or kind[s.batch[request]])


def test_time_beside_an_idle_server_is_what_a_timer_holds():
    service = Service(np.full((1, 4, 1), 2 * MS), np.array([1]))
    arrival = np.array([0, 1, 20, 40, 41]) * MS
    workload = Workload(np.ones(5, np.int32), arrival)
    trace = run(SizeOrTimeout(4, 5 * MS), workload, service)
    seen = seen_of(trace)
    held = seen.batch_start_ns - np.maximum(seen.oldest_ns, seen.idle_since_ns)
    assert held.tolist() == [5 * MS, 5 * MS, 5 * MS]


def test_a_lost_request_counts_as_twice_the_longest():
    planted = sound_run(SEED)
    status, finish = planted.trace.status.copy(), planted.trace.finish_ns.copy()
    status[::10] = EXPIRED
    seen = seen_of(replace(planted.trace, status=status, finish_ns=finish))
    longest = int(seen.latency_ns.max())
    judged = Judged(-1, 0.99, 2 * longest)
    assert judged.value_ns(seen) == 2 * longest
    assert judged.value_ns(seen, served=True) <= longest
    assert judged.lost_share(seen) == pytest.approx(0.1)


def test_an_error_of_the_model_widens_the_gain():
    first = Estimate(10.0, 9.0, 11.0, 100, sections=(9.0, 10.0, 11.0, 10.0))
    second = Estimate(20.0, 19.0, 21.0, 100, sections=(19.0, 20.0, 21.0, 20.0))
    plain, wide = difference(first, second), difference(first, second, 0.2)
    assert plain.low == plain.high == -10.0
    assert (wide.low, wide.high) == (-12.0, -8.0)
    assert difference(first, second, 1.5).verdict == "tie"


def test_rules_are_retuned_whatever_they_call_their_size():
    service = Service(np.arange(1, 33)[None, :, None] * MS, np.array([1]))
    for rule, cap in ((Greedy(), 32), (Static(8), 8), (SizeOrTimeout(4, MS), 4)):
        assert cap_of(rule, service) == cap
        assert cap_of(with_cap(rule, 2), service) == 2
    bucketed = LengthBucketed(np.array([10]))
    assert cap_of(bucketed, service) == 32
    assert cap_of(with_cap(bucketed, 3), service) == 3
    assert with_wait(bucketed, 5, 3).max_wait_ns.tolist() == [5]
    assert with_cap(SizeOrTimeout(16, MS, 12), 8).min_batch_size == 8
    for kind in ("snap", "aimd", "token_budget", "priority_fill"):
        assert hasattr(POLICIES[kind], "max_batch_size"), kind


def test_a_long_run_is_looked_at_by_its_first_part(monkeypatch):
    from experiments.diagnosis import opened as module

    monkeypatch.setattr(module, "MOST", 5_000)
    planted = plant("burst", SEED)
    found = diagnose(planted.trace, planted.service, planted.policy)
    assert found.notes[0] == f"only the first 5,000 of {REQUESTS:,} requests are looked at"
    assert 4_900 < found.requests <= 5_000
    assert found.replayed_ms == pytest.approx(found.value_ms, rel=0.05)
