"""What a diagnosis names first, held against faults that were planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_faults import FAULTS, is_sound, p99_ms, plant, sound_run
from planted_services import write_log

from experiments.diagnose import diagnose, diagnose_log
from experiments.diagnosis.diagnosis import worth

SEEDS = (1, 2)
"""Never used while thresholds were chosen: those were chosen on seeds from 100 on."""

UNSEEN_IN_LOGS = {"shared_gpu"}
"""Nothing in a log tells which servers share a GPU once all of them are always busy."""

LIMITED = {"memory_limit"}
"""The user has to say what fits: a log does not."""

CASES = [
    (kind, seed, how)
    for kind in FAULTS
    for seed, how in zip(SEEDS, ("trace", "log"), strict=True)
    if not (how == "log" and kind in UNSEEN_IN_LOGS)
]


def diagnosed(planted, how, folder):
    """From a trace whose service and rule are known, or from nothing but a log."""
    if how == "trace" and planted.stages is None:
        return diagnose(planted.trace, planted.service, planted.policy, slo_ms=planted.slo_ms)
    most = planted.service.largest_batch if planted.kind in LIMITED else None
    log = write_log(planted, folder / "log.csv")
    return diagnose_log(log, slo_ms=planted.slo_ms, largest_batch=most)


def test_of_the_planted_faults_nine_in_ten_are_named_first(tmp_path):
    named = {case: diagnosed(plant(case[0], case[1]), case[2], tmp_path).fault for case in CASES}
    missed = {case: fault for case, fault in named.items() if fault != case[0]}
    assert len(named) >= 20
    assert len(missed) <= len(named) // 10, missed


@pytest.mark.parametrize("how", ["trace", "log"])
def test_five_healthy_runs_have_no_fault(how, tmp_path):
    for seed in range(1, 6):
        found = diagnosed(sound_run(seed), how, tmp_path)
        assert found.fault is None, (seed, found.verdict)
        assert found.healthy
        assert found.verdict.startswith("no fault: p99 is ")


def test_a_planted_fault_makes_a_difference_and_its_twin_is_sound():
    spoilt = plant("burst", SEEDS[0])
    twin = FAULTS["burst"](np.random.default_rng([1, sorted(FAULTS).index("burst"), 0]), False)
    assert is_sound(twin)
    assert not is_sound(spoilt)
    assert p99_ms(spoilt) > 1.5 * p99_ms(twin)


def test_a_run_without_the_planted_fault_is_not_blamed_for_it(tmp_path):
    for kind, fault in FAULTS.items():
        twin = fault(np.random.default_rng([7, sorted(FAULTS).index(kind), 0]), False)
        if is_sound(twin):
            assert diagnosed(twin, "trace", tmp_path).fault is None, kind


def test_the_replay_of_a_simulated_run_is_exact():
    for kind in ("timer", "noisy_neighbour", "slow_server", "routing", "shared_gpu"):
        planted = plant(kind, SEEDS[0])
        found = diagnose(planted.trace, planted.service, planted.policy)
        assert found.replayed_ms == found.value_ms, kind
        assert not any("replay" in note for note in found.notes)


def test_what_helps_most_is_the_remedy_of_the_cause():
    remedies = {
        "overload": {"another_server"},
        "small_batch": {"larger_batch", "another_server"},
        "timer": {"shorter_wait"},
        "memory_limit": {"more_memory", "another_server"},
        "cold_start": {"warm"},
        "noisy_neighbour": {"quiet"},
        "slow_server": {"repair"},
        "routing": {"one_queue"},
        "shared_gpu": {"own_gpus"},
        "burst": {"smooth"},
        "long_requests": {"buckets"},
        "tier_blocking": {"priority"},
    }
    for kind, wanted in remedies.items():
        planted = plant(kind, SEEDS[0])
        found = diagnose(planted.trace, planted.service, planted.policy)
        assert found.remedies[0].name in wanted, (kind, found.remedies[0])
        assert worth(found.remedies[0]) == "helps"


def test_gains_are_those_of_simulating_the_change():
    planted = plant("timer", SEEDS[0])
    found = diagnose(planted.trace, planted.service, planted.policy)
    from sim.kernel import run
    from sim.workload import Workload

    workload = Workload(planted.trace.length, planted.trace.arrival_ns)
    eager = replace_wait(planted.policy)
    trace = run(eager, workload, planted.service)
    simulated = float(np.quantile(trace.finish_ns - trace.arrival_ns, 0.99)) / 1e6
    (remedy,) = [one for one in found.remedies if one.name == "shorter_wait"]
    assert remedy.value_ms == pytest.approx(simulated, rel=0.05)
    assert remedy.gain.low <= remedy.value_ms - found.replayed_ms <= remedy.gain.high


def replace_wait(policy):
    return policy._replace(max_wait_ns=0)


def test_a_target_that_is_met_is_no_fault_and_one_that_is_missed_is(tmp_path):
    planted = plant("burst", SEEDS[0])
    arguments = (planted.trace, planted.service, planted.policy)
    value = diagnose(*arguments).value_ms
    assert diagnose(*arguments, slo_ms=1.01 * value).fault is None
    assert diagnose(*arguments, slo_ms=0.99 * value).fault == "burst"


def test_the_urgent_tier_is_judged_and_another_one_can_be():
    planted = plant("tier_blocking", SEEDS[0])
    arguments = (planted.trace, planted.service, planted.policy)
    assert diagnose(*arguments).tier == "interactive"
    assert diagnose(*arguments, tier="offline", percentile=90).tier == "offline"


def test_requests_that_are_lost_count_as_the_slowest():
    planted = plant("overload", SEEDS[0])
    found = diagnose(planted.trace, planted.service, planted.policy)
    (shed,) = [one for one in found.remedies if one.name == "shed"]
    assert shed.lost > 0.01
    assert shed.served_ms < shed.value_ms
    assert worth(shed) == "harms"


def test_the_same_run_gives_the_same_diagnosis():
    planted = plant("burst", SEEDS[0])
    twice = [diagnose(planted.trace, planted.service, planted.policy).to_dict() for _ in range(2)]
    assert twice[0] == twice[1]
    assert replace(planted, slo_ms=None).kind == "burst"
