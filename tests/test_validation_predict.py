"""Replay, a-priori and drift-corrected predictions, on windows whose truth is known.

Statistical checks have fixed seeds; each has a control that must be rejected.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from windows_by_hand import (
    ABOUT,
    CV,
    POLICIES,
    calibrated,
    device,
    true_ns,
    validated,
    windows_of,
    workload_at,
)

from experiments.validation import Calibration, judged
from experiments.validation.luck import drawn_luck, drifts, resampled
from experiments.validation.predict import (
    drift_of,
    drift_spread,
    mean_factors,
    predicted,
    replayed,
)
from profiles.latency import Samples, from_samples, table_ns
from profiles.noise import noise_table
from sim import kernel
from sim.service import Noise

ONE_BLOCK = (1.0,)


def luck_of(calibration, replications=40, batches=1000, seed=3):
    return drawn_luck(calibration, calibration.service(), batches, replications, seed)


def test_a_replay_of_simulated_windows_has_no_error_at_all():
    found = validated(loads=(0.4,), rounds=2, drift=1.1, replications=2)
    assert {error for cell in found.cells for error in cell.replay_errors} == {0.0}
    apart = [one for match in found.matches for one in match.replay_distance]
    assert {(one.w1_over_mean, one.cdf_gap) for one in apart} == {(0.0, 0.0)}
    assert all(match.shared_batches == (1.0, 1.0) for match in found.matches)


def test_a_replay_shows_a_live_rule_that_is_not_the_simulated_one():
    workload = workload_at(0.4)
    live = kernel.run(POLICIES["patient"], workload, device(1))
    service = calibrated().service()
    honest = replayed(POLICIES["patient"], workload, service, live)
    other = replayed(POLICIES["patient"]._replace(max_wait_ns=4_000_000), workload, service, live)
    assert honest.trace.equals(live)
    assert not other.trace.equals(live)
    assert other.shared_batches < 0.9


# a priori


def covered(seed, slow=1.0, sd=0.02, blocks=6):
    """Figures inside their intervals, of windows that drift as the calibration's blocks did."""
    rng = np.random.default_rng(seed)
    factors = 1.0 + sd * rng.standard_normal(blocks)
    calibration = calibrated(seed, 60, slow * factors.mean(), tuple(factors / factors.mean()))
    workloads = {0.35: workload_at(0.35, 400, seed)}
    windows = []
    for place in range(3):
        drift = 1.0 + sd * rng.standard_normal()
        windows += windows_of(workloads, 1, drift, 1000 * seed + 10 * place)
    found = judged(
        {}, POLICIES, workloads, calibration, windows, calibration.service(), device={},
        replications=100, seed=seed,
    )  # fmt: skip
    return found.coverage.inside, found.coverage.total


def test_nine_of_ten_live_figures_are_inside_their_intervals():
    counts = np.array([covered(seed) for seed in range(1, 13)])
    inside, total = counts.sum(axis=0)
    # Figures of one window move together: 36 independent drifts, 0.9 +- 3 sd is 0.75 to 1.
    assert 0.78 <= inside / total <= 0.98


def test_with_a_calibration_that_is_15_percent_off_most_figures_are_outside():
    counts = np.array([covered(seed, slow) for seed in (1, 2) for slow in (0.85, 1.15)])
    inside, total = counts.sum(axis=0)
    assert inside / total < 0.4


def test_few_calls_make_intervals_wider():
    workload, widths = workload_at(0.4, 300), []
    for calls in (3, 200):
        calibration = calibrated(2, calls, blocks=ONE_BLOCK)
        luck = luck_of(calibration, 60)
        found = predicted(POLICIES["greedy"], workload, calibration.service(), luck)
        low, high = found.interval("mean")
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1]


def test_the_error_of_a_resampled_median_is_that_of_a_median():
    profile = calibrated(4, 50).profile
    tables = np.stack(list(resampled(profile, 300, 3)))
    spread = (tables.std(axis=0) / tables.mean(axis=0))[0]
    expected = 1.2533 * CV / math.sqrt(50)
    assert spread == pytest.approx(expected, rel=0.5)
    assert abs(tables.mean(axis=0) / table_ns(profile) - 1.0).max() < 0.01


def test_without_raw_calls_the_table_is_the_profiles():
    profile = replace(calibrated().profile, samples=None)
    assert all(np.array_equal(table, table_ns(profile)) for table in resampled(profile, 3, 3))


def test_replications_differ_and_another_seed_gives_others():
    calibration, workload = calibrated(), workload_at(0.4, 200)
    runs = [
        predicted(
            POLICIES["greedy"], workload, calibration.service(), luck_of(calibration, 5, seed=seed)
        ).values["mean"]
        for seed in (3, 3, 4)
    ]
    assert len(set(runs[0].tolist())) == 5
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_both_engines_predict_the_same_where_policies_see_no_running_batch():
    calibration, workload = calibrated(), workload_at(0.4, 200)
    for policy in POLICIES.values():
        found = [
            predicted(policy, workload, calibration.service(), luck_of(calibration, 3), engine)
            for engine in ("kernel", "simpy")
        ]
        assert all(
            np.array_equal(found[0].values[name], found[1].values[name]) for name in found[0].values
        )


# drift


def test_the_drift_of_a_prediction_is_the_usual_prediction_interval():
    assert drift_spread(calibrated(blocks=ONE_BLOCK)) == 0.0
    four = calibrated(blocks=(0.97, 1.0, 1.01, 1.02))
    widened = four.drift_sd * math.sqrt(1.25) * 2.353363 / 1.644854
    assert drift_spread(four) == pytest.approx(widened, rel=1e-5)
    drawn = np.log(drifts(drift_spread(four), 4000, 3))
    assert drawn.std() == pytest.approx(widened, rel=0.05)
    assert drawn.mean() == pytest.approx(0.0, abs=4 * widened / math.sqrt(4000))
    assert set(drifts(0.0, 5, 3)) == {1.0}


def test_a_drift_is_not_in_the_table_that_policies_know():
    calibration = calibrated()
    luck = luck_of(calibration, 1)[0]
    slowed = luck.slowed(1.2)
    assert np.array_equal(slowed.service_ns, luck.service_ns)
    assert np.allclose(slowed.noise.quantiles, 1.2 * luck.noise.quantiles)


def test_a_pure_drift_is_seen_and_corrected():
    calibration = calibrated(3, 200, blocks=ONE_BLOCK)
    found = validated(loads=(0.3,), drift=1.08, calibration=calibration, replications=40)
    for match in found.matches:
        assert match.drift == pytest.approx([1.08] * 3, abs=0.01)
        mean = match.cell("mean")
        assert mean.error < -0.04
        assert abs(mean.corrected_error) < 0.015
        assert not mean.is_inside


def test_without_drift_there_is_none_even_where_calls_sometimes_stall():
    rng = np.random.default_rng(1)
    shapes = np.array([(1, 32), (8, 32)] * 1000)
    stalls = np.where(rng.random(2000) < 0.05, 3.0, 1.0) * rng.normal(1.0, 0.02, 2000)
    took = np.array([true_ns(*shape) for shape in shapes.tolist()]) * stalls
    columns = (shapes[:, 0], shapes[:, 1], np.cumsum(took) - took, took)
    profile = from_samples(
        "stalling", Samples(*(c.astype(np.int64) for c in columns)), "tokens", ABOUT
    )
    calibration = Calibration(profile, ONE_BLOCK)
    jitter = noise_table(profile)
    stalling = Noise(
        rng.permutation(stalls).astype(np.float32).reshape(1, 1, 2000), np.zeros((0, 0))
    )
    live = kernel.run(
        POLICIES["greedy"],
        replace(workload_at(0.2, 2000), length=np.full(2000, 32, dtype=np.int32)),
        replace(calibration.service(), noise=stalling),
    )
    assert mean_factors(jitter) == pytest.approx(
        [stalls[::2].mean(), stalls[1::2].mean()], abs=0.02
    )
    assert drift_of(live, calibration.service(), jitter) == pytest.approx(1.0, abs=0.04)


def test_each_batch_is_expected_to_jitter_as_its_class_of_sizes_does():
    calibration = calibrated()
    live = kernel.run(POLICIES["greedy"], workload_at(0.5, 300), calibration.service())
    usual = noise_table(calibration.profile)
    assert usual.class_of_size.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    jitter = usual._replace(quantiles=np.array([[1.0, 1.0], [2.0, 2.0]]))
    took_ns = live.batch_finish_ns - live.batch_start_ns
    expected = took_ns.sum() / (took_ns * np.where(live.batch_size < 3, 1.0, 2.0)).sum()
    assert drift_of(live, calibration.service(), jitter) == pytest.approx(expected, rel=1e-6)
    assert 0.5 < expected < 1.0
