"""How sure the time of each point is: the standard error that a limited number of calls leaves.

1. The spread of calls around their point is pooled over the points of a class of batch sizes (see
   :mod:`profiles.noise`): five calls of one point say little of it.
2. It is robust, the quartiles of the logarithm: a stall must not make every point look unsure.
3. Calls of one point are far apart in time (rounds of random order), so they count as independent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .latency import FloatArray, IntArray, Profile
from .noise import residuals, size_classes

ERROR_OF_MEDIAN = 1.2533
"""Standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)."""
QUARTILES = 1.349
"""Distance of the quartiles of the normal law, in standard deviations."""


class Sampling(NamedTuple):
    """Calls of each point, and what their number leaves open."""

    calls: IntArray
    """int64 (B, L)"""
    error: FloatArray
    """float64 (B, L): standard error of the logarithm of the profile's time."""


def sampling(profile: Profile) -> Sampling | None:
    """The sampling error of each point; None where no calls are kept, so that it is unknown."""
    calls = profile.samples
    if calls is None:
        return None
    row = np.searchsorted(profile.batch_size, calls.batch_size)
    column = np.searchsorted(profile.length, calls.length)
    counts = np.zeros(profile.latency_ns.shape, dtype=np.int64)
    np.add.at(counts, (row, column), 1)
    # A point is the centre of its own calls: of n they lie nearer to it by sqrt(1 - 1/n).
    apart = np.sqrt(1.0 - 1.0 / np.maximum(counts[row, column], 2))
    logs = np.log(residuals(profile, calls)) / apart
    classes = size_classes(profile)
    spread = np.zeros(len(classes))
    for one in np.unique(classes):
        low, high = np.quantile(logs[classes[row] == one], (0.25, 0.75))
        spread[classes == one] = (high - low) / QUARTILES
    factor = ERROR_OF_MEDIAN if profile.statistic == "p50" else 1.0
    return Sampling(counts, factor * spread[:, np.newaxis] / np.sqrt(counts))
