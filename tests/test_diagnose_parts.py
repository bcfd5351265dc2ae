"""The parts of a diagnosis: fitted times, stretches, bursts, who met what, and single causes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_faults import p99_ms, plant, sound_run

from experiments.diagnose import diagnose
from experiments.diagnosis.causes_batches import small_batch
from experiments.diagnosis.causes_device import slow_server
from experiments.diagnosis.fitting import BEYOND, extended, fitted_service
from experiments.diagnosis.gain import Judged, difference
from experiments.diagnosis.opened import Asked, opened
from experiments.diagnosis.pace import table_ns
from experiments.diagnosis.remedies import Gain, best_of
from experiments.diagnosis.retuning import cap_of, with_cap, with_wait
from experiments.diagnosis.seen import seen_of
from experiments.diagnosis.stretches import burst_of, stretches_of
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


def test_a_device_slower_than_its_profile_is_told_from_a_loaded_one():
    planted = sound_run(SEED)
    faster = replace(planted.service, service_ns=planted.service.service_ns // 2)
    found = diagnose(planted.trace, faster, planted.policy, slo_ms=0.8 * p99_ms(planted))
    assert found.fault == "slow_device"
    assert "2" in found.findings[0].evidence.split(" times as long as the profile says")[0][-4:]


def test_of_the_worlds_of_a_remedy_the_one_within_the_target_that_serves_most_is_told():
    look = look_of(plant("burst", SEED))
    gains = [
        Gain("a", "", value, difference(look.base, look.base), 0.0, rate, 0.0, value, False)
        for value, rate in ((5.0, 10.0), (8.0, 20.0), (9.0, 30.0))
    ]
    assert best_of(replace(look, target_ns=8.5 * MS), gains).value_ms == 8.0
    assert best_of(replace(look, target_ns=0.0), gains).value_ms == 5.0


def test_who_met_a_batch_of_another_queue_did_not_meet_it():
    look = look_of(plant("routing", SEED))
    s, kind = look.seen, np.zeros(len(look.seen.batch_size), dtype=bool)
    kind[::7] = True
    ids = np.flatnonzero(s.batch >= 0)[::97]
    for request, met in zip(ids, look.met(ids, kind), strict=True):
        own = s.batch_server == s.batch_server[s.batch[request]]
        over = (s.batch_start_ns < s.start_ns[request]) & (s.batch_finish_ns > s.queued_ns[request])
        assert met == bool((own & over & kind).any() or kind[s.batch[request]])


def test_sizes_that_ran_in_slow_stretches_alone_are_not_taken_for_slow_sizes():
    for seed in (100, 101, 102):
        planted = plant("noisy_neighbour", seed)
        assert diagnose(planted.trace).fault == "noisy_neighbour", seed


def test_a_small_batch_that_hardly_ever_fills_is_no_cause():
    planted = plant("small_batch", SEED)
    arrival = planted.trace.arrival_ns * 4
    trace = run(planted.policy, Workload(planted.trace.length, arrival), planted.service)
    look = opened(seen_of(trace), Asked(planted.service, planted.policy)).look
    assert small_batch(look) is None
    assert small_batch(look_of(planted)) is not None


def test_a_server_that_is_slow_only_at_times_is_not_slow_throughout():
    planted = plant("slow_server", SEED)
    look = look_of(planted)
    assert slow_server(look) is not None
    usual = np.random.default_rng(1).random(len(look.seen.batch_size)) < 0.4
    ratio = look.slowdown.copy()
    worst = int(slow_server(look).words.split()[1])
    mine = look.seen.batch_server == worst
    ratio[mine & usual] /= 1.3 * np.median(ratio[mine])
    object.__setattr__(look, "slowdown", ratio)
    assert slow_server(look) is None
