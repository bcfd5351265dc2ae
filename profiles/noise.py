"""Jitter of a profile: how far a call lies from the profile's time, as a table of factors.

A factor multiplies the interpolated time.  The table is read at a normal score: score 0 is the
median call, +2.33 the 99th percentile.

1. From raw samples where there are any: quantiles of sample over its point's statistic, pooled over
   the lengths of a class of batch sizes.
2. Otherwise *assumed*: a lognormal whose high percentile over the statistic is the class's median.
3. Without percentiles *assumed default*: a lognormal with sigma 0.03 for engines and 0.1 for
   eager frameworks, consistent with 1,500 published rows of p99 over centre (median 1.01-1.13).

The autocorrelation is the profile's own where it was measured on steady series, since the calls of
a grid are of changing shapes; otherwise that of the raw samples in their order.  As one number it
makes the scores an AR(1); :mod:`profiles.blocks` replays the steady series instead.

Where the statistic is p50 the factor has median 1; where it is the mean it has mean 1, exactly so
under the linear interpolation between knots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .latency import FloatArray, IntArray, Profile, Samples

KNOTS = 65
"""Odd, so that score 0 is a knot; spacing 1/8."""
SCORE_LIMIT = 4.0
"""Scores are clipped to +-4: 6e-5 of all draws."""
CLASS_STARTS = (1, 4, 16, 64, 256)
"""First batch size of each class.  Jitter shrinks as batches grow: small ones are launch-bound."""
DEFAULT_SIGMA = {"engine": 0.03, "eager": 0.1}
SCORE_OF_PERCENTILE = {90: 1.2815515655446004, 95: 1.6448536269514722, 99: 2.3263478740408408}
ENOUGH_PAIRS = 30
"""Below this many pairs of consecutive calls the lag-1 correlation counts as 0."""


class NoiseTable(NamedTuple):
    """What a simulation needs to draw service times around a profile."""

    quantiles: FloatArray
    """float64 (classes, knots): the factor at equally spaced normal scores, -4 to +4."""
    class_of_size: IntArray
    """int64 (largest batch + 1,): row of ``quantiles`` for each batch size; entry 0 is unused."""
    lag1: float
    """Correlation of the normal scores of consecutive calls."""


def noise_table(profile: Profile) -> NoiseTable:
    """Quantiles of the factor on the profile's time, by class of batch size."""
    class_of_measured = size_classes(profile)
    class_of_size = np.zeros(profile.largest_batch + 1, dtype=np.int64)
    sizes = np.arange(1, profile.largest_batch + 1)
    class_of_size[1:] = class_of_measured[np.searchsorted(profile.batch_size, sizes)]
    classes = range(int(class_of_measured[-1]) + 1)
    if profile.samples is None:
        sigmas = [_sigma(profile, class_of_measured == row) for row in classes]
        rows = [np.exp(sigma * _scores()) for sigma in sigmas]
        lag1 = 0.0
    else:
        factors = residuals(profile, profile.samples)
        class_of_call = class_of_size[profile.samples.batch_size]
        rows = [np.quantile(factors[class_of_call == row], _chances()) for row in classes]
        lag1 = lag1_of(factors) if profile.lag1 is None else profile.lag1
    quantiles = [row / _centre(row, profile.statistic) for row in rows]
    return NoiseTable(np.stack(quantiles), class_of_size, lag1)


def noise_label(profile: Profile) -> str:
    """Where the factors come from, in one line; says *assumed* where they were not measured."""
    if profile.samples is not None:
        return f"measured: quantiles of {len(profile.samples):,} calls"
    percentile = _top_percentile(profile)
    if percentile is None:
        kind = profile.metadata.execution
        return f"assumed default: lognormal, sigma {DEFAULT_SIGMA[kind]:g} ({kind})"
    return f"assumed: lognormal fitted to p{percentile} over {profile.statistic} by batch size"


def size_classes(profile: Profile) -> IntArray:
    """int64 (B,): class of each measured batch size, numbered from 0 without gaps."""
    raw = np.searchsorted(CLASS_STARTS, profile.batch_size, side="right")
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def _scores() -> FloatArray:
    return np.linspace(-SCORE_LIMIT, SCORE_LIMIT, KNOTS)


def _chances() -> FloatArray:
    """Normal distribution function at the knots."""
    return np.array([0.5 * (1.0 + math.erf(score / math.sqrt(2.0))) for score in _scores()])


def _top_percentile(profile: Profile) -> int | None:
    return max((key for key in profile.percentiles_ns if key in SCORE_OF_PERCENTILE), default=None)


def _sigma(profile: Profile, rows: NDArray[np.bool_]) -> float:
    """Sigma of the lognormal that has the class's median ratio of percentile over statistic."""
    percentile = _top_percentile(profile)
    if percentile is None:
        return DEFAULT_SIGMA[profile.metadata.execution]
    ratio = np.median(profile.percentiles_ns[percentile][rows] / profile.latency_ns[rows])
    score, log_ratio = SCORE_OF_PERCENTILE[percentile], max(0.0, math.log(ratio))
    if profile.statistic == "p50":
        return log_ratio / score
    # Mean 1: log ratio = sigma score - sigma^2 / 2, of which the smaller root is meant.
    return score - math.sqrt(max(0.0, score**2 - 2.0 * log_ratio))


def _centre(quantiles: FloatArray, statistic: str) -> float:
    """Median or mean of a factor whose table is read linearly at a clipped normal score."""
    if statistic == "p50":
        return float(quantiles[KNOTS // 2])
    scores, chances = _scores(), _chances()
    density = np.exp(-0.5 * scores**2) / math.sqrt(2.0 * math.pi)
    slope = np.diff(quantiles) / np.diff(scores)
    # On a piece: integral of (q + slope (z - z0)) phi(z) dz, with d phi = -z phi dz.
    pieces = (quantiles[:-1] - slope * scores[:-1]) * np.diff(chances) - slope * np.diff(density)
    tails = quantiles[0] * chances[0] + quantiles[-1] * (1.0 - chances[-1])
    return float(pieces.sum() + tails)


def residuals(profile: Profile, samples: Samples) -> FloatArray:
    """float64 (S,): each call over the statistic of its point."""
    row = np.searchsorted(profile.batch_size, samples.batch_size)
    column = np.searchsorted(profile.length, samples.length)
    factors: FloatArray = samples.latency_ns / profile.latency_ns[row, column]
    return factors


def lag1_of(factors: FloatArray) -> float:
    """Correlation of consecutive calls, after each became a normal score by its rank."""
    from scipy.special import ndtri

    calls = factors.shape[0]
    if calls <= ENOUGH_PAIRS or np.ptp(factors) == 0.0:
        return 0.0
    _, place, ties = np.unique(factors, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(ties) - 0.5 * ties
    scores = ndtri(mean_rank[place] / calls)
    return float(np.clip(np.corrcoef(scores[:-1], scores[1:])[0, 1], -0.99, 0.99))
