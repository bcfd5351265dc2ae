import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from profiles import Metadata, Profile, Samples, from_samples, load, noise_label, noise_table
from profiles.noise import SCORE_LIMIT
from sim.service import SCORE_LIMIT as SIMULATED_LIMIT
from sim.service import noise_factor

METADATA = Metadata(
    model="m", device="d", precision="FP16", framework="f", timed="a call", licence="CC0-1.0"
)


def profile(ratio, statistic, percentile=99, sizes=(1, 2, 4, 8, 16, 32, 64, 128), **metadata):
    """Percentile over statistic is ``ratio`` (a number, or one per batch size) everywhere."""
    latency_ns = np.full((len(sizes), 2), 10**9, dtype=np.int64)
    above = np.rint(latency_ns * np.broadcast_to(ratio, len(sizes))[:, np.newaxis])
    return Profile(
        name="jitter",
        batch_size=np.array(sizes),
        length=np.array([10, 20]),
        latency_ns=latency_ns,
        length_unit="tokens",
        statistic=statistic,
        metadata=dataclasses.replace(METADATA, **metadata),
        percentiles_ns={} if percentile is None else {percentile: above.astype(np.int64)},
    )


def factor(table, score, size=1):
    draws = np.full((1, 1, 1), score, dtype=np.float32)
    return noise_factor(draws, table.quantiles, table.class_of_size, 0, 0, 0, size)


def mean_factor(table, row):
    """Mean of the factor as the simulator reads it, by quadrature over every piece."""
    scores = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, table.quantiles.shape[1])
    quantiles = table.quantiles[row]

    def weighed(score):
        return np.interp(score, scores, quantiles) * stats.norm.pdf(score)

    inside = sum(
        integrate.fixed_quad(weighed, left, right, n=12)[0]
        for left, right in itertools.pairwise(scores)
    )
    return inside + stats.norm.sf(SCORE_LIMIT) * (quantiles[0] + quantiles[-1])


def test_the_table_has_the_shape_that_the_simulator_reads():
    table = noise_table(profile(1.2, "mean"))
    assert table.quantiles.dtype == np.float64
    assert table.quantiles.shape == (4, 65)
    assert table.class_of_size.dtype == np.int64
    assert table.class_of_size.shape == (129,)
    assert SCORE_LIMIT == SIMULATED_LIMIT


@pytest.mark.parametrize("ratio", [1.0, 1.01, 1.3, 2.0])
def test_where_the_statistic_is_the_mean_the_factor_has_mean_one(ratio):
    table = noise_table(profile(ratio, "mean"))
    assert mean_factor(table, 0) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 1.01, 1.3, 2.0])
def test_where_the_statistic_is_the_median_the_factor_has_median_one(ratio):
    table = noise_table(profile(ratio, "p50"))
    assert factor(table, 0.0) == 1.0
    sigma = math.log(ratio) / stats.norm.ppf(0.99)
    assert mean_factor(table, 0) == pytest.approx(math.exp(sigma**2 / 2.0), rel=1e-3)


@pytest.mark.parametrize("statistic", ["mean", "p50"])
@pytest.mark.parametrize(("percentile", "score"), [(90, 1.281552), (95, 1.644854), (99, 2.326348)])
def test_the_lognormal_meets_the_published_percentile(statistic, percentile, score):
    table = noise_table(profile(1.25, statistic, percentile))
    assert factor(table, score) == pytest.approx(1.25, rel=1e-3)


def test_jitter_goes_by_class_of_batch_size_and_takes_the_median_of_its_points():
    ratio = [1.5, 1.5, 1.2, 1.2, 1.1, 1.1, 1.0, 1.0]
    table = noise_table(profile(ratio, "p50"))
    np.testing.assert_array_equal(
        table.class_of_size[[1, 2, 4, 8, 16, 32, 64, 128]] // 1, [0, 0, 1, 1, 2, 2, 3, 3]
    )
    met = [factor(table, 2.326348, size) for size in (1, 4, 16, 64)]
    np.testing.assert_allclose(met, [1.5, 1.2, 1.1, 1.0], rtol=1e-3)


def test_a_size_between_measured_ones_has_the_class_of_the_next_measured_one():
    table = noise_table(profile(1.2, "p50", sizes=(1, 8, 32)))
    assert table.class_of_size[1] == 0
    assert set(table.class_of_size[2:9]) == {1}
    assert set(table.class_of_size[9:]) == {2}


@pytest.mark.parametrize(("execution", "sigma"), [("engine", 0.03), ("eager", 0.1)])
def test_without_percentiles_the_default_is_assumed_and_says_so(execution, sigma):
    bare = profile(1.0, "p50", None, execution=execution)
    assert factor(noise_table(bare), 1.0) == pytest.approx(math.exp(sigma), rel=1e-12)
    label = f"assumed default: lognormal, sigma {sigma:g} ({execution})"
    assert noise_label(bare) == label


def test_a_fitted_lognormal_is_labelled_as_assumed():
    label = "assumed: lognormal fitted to p99 over mean by batch size"
    assert noise_label(load("bert-base-a100-tensorrt-fp16")) == label


def raw(residuals, base_ns=10**9):
    """Two batch sizes by turns; the second takes three times as long."""
    calls = len(residuals)
    size = np.tile([1, 8], calls // 2)
    latency = np.rint(residuals * np.where(size == 1, base_ns, 3 * base_ns)).astype(np.int64)
    samples = Samples(size, np.full(calls, 7), np.cumsum(latency), latency)
    return from_samples("raw", samples, "tokens", METADATA)


def test_raw_samples_give_their_own_quantiles():
    rng = np.random.default_rng(20)
    table = noise_table(raw(rng.gamma(100.0, 0.01, 20_000)))
    assert factor(table, 0.0) == 1.0
    median = stats.gamma.ppf(0.5, 100.0)
    for chance in (0.05, 0.5, 0.9, 0.99):
        expected = stats.gamma.ppf(chance, 100.0) / median
        assert factor(table, stats.norm.ppf(chance), 8) == pytest.approx(expected, rel=0.01)


def test_raw_samples_of_one_class_do_not_leak_into_another():
    rng = np.random.default_rng(21)
    sigma = np.tile([0.3, 0.01], 2_000)
    measured = raw(np.exp(sigma * rng.standard_normal(4_000)))
    table = noise_table(measured)
    assert factor(table, 2.0, 1) == pytest.approx(math.exp(0.6), rel=0.05)
    assert factor(table, 2.0, 8) == pytest.approx(math.exp(0.02), rel=0.01)
    assert noise_label(measured) == "measured: quantiles of 4,000 calls"


@pytest.mark.parametrize("phi", [0.0, 0.65])
def test_lag1_is_the_correlation_of_consecutive_calls(phi):
    rng = np.random.default_rng(22)
    shocks = rng.standard_normal(20_000) * math.sqrt(1.0 - phi**2)
    scores = np.zeros(20_000)
    for k in range(1, 20_000):
        scores[k] = phi * scores[k - 1] + shocks[k]
    # Standard error of the estimate is below 0.0071; four of them.
    assert noise_table(raw(np.exp(0.1 * scores))).lag1 == pytest.approx(phi, abs=0.028)


def test_lag1_is_zero_for_few_or_constant_calls():
    rng = np.random.default_rng(23)
    assert noise_table(raw(np.exp(0.1 * rng.standard_normal(20)))).lag1 == 0.0
    assert noise_table(raw(np.ones(1_000))).lag1 == 0.0


def test_published_profiles_have_no_lag1():
    assert noise_table(profile(1.2, "mean")).lag1 == 0.0
