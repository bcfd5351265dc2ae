"""A latency profile: how long a batch takes, by batch size and by the longest length in it.

Rules that others rely on:

1. Between measured points the profile is linear in batch size and in length, nothing smoother:
   real curves are staircases, and a larger batch may be less efficient than a smaller one.
2. Below the smallest measured batch size or length, a batch costs what the smallest costs: it is
   padded up to it.
3. Above the grid there is no answer, only an error that names the range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .metadata import Metadata, ProfileError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

LENGTH_UNITS = ("tokens", "audio_ms")
STATISTICS = ("p50", "mean")
PERCENTILES = (50, 90, 95, 99)
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LATENCY_NS_MAX = 10**15
"""11 days: whatever is longer was given in the wrong unit."""
AXIS_MAX = {"batch_size": 10**5, "length": 10**9}
"""Tables have a row per batch size; 10^9 is 11 days of audio in ms."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Raw timed calls, in the order in which they were made; warm-up is left out.  S calls."""

    batch_size: IntArray
    """int64 (S,)"""
    length: IntArray
    """int64 (S,)"""
    start_ns: IntArray
    """int64 (S,), not decreasing: start of the call, from any origin."""
    latency_ns: IntArray
    """int64 (S,), positive."""

    def __len__(self) -> int:
        return int(self.latency_ns.shape[0])


@dataclass(frozen=True, eq=False)
class Profile:
    """Measured latency of one model on one device.  B batch sizes, L lengths.

    Compare two profiles by :func:`profiles.fingerprint`.

    Raises:
        ProfileError: the grid is not one; the sentence says where and what would be right.
    """

    name: str
    batch_size: IntArray
    """int64 (B,), positive, increasing."""
    length: IntArray
    """int64 (L,), positive, increasing, in ``length_unit``."""
    latency_ns: IntArray
    """int64 (B, L): time of the whole batch, all of it padded to the length."""
    length_unit: str
    """``tokens`` or ``audio_ms``."""
    statistic: str
    """What ``latency_ns`` is of the calls at one point: ``p50`` or ``mean``."""
    metadata: Metadata
    percentiles_ns: Mapping[int, IntArray] = field(default_factory=dict)
    """Percentile (50, 90, 95 or 99) to int64 (B, L), where the source gives it everywhere."""
    samples: Samples | None = None
    lag1: float | None = None
    """Correlation of consecutive calls of one shape, where steady series were measured."""

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ProfileError(f"profile {self.name}: {problem}")

    @property
    def largest_batch(self) -> int:
        """Largest measured batch size."""
        return int(self.batch_size[-1])

    @property
    def longest(self) -> int:
        """Largest measured length."""
        return int(self.length[-1])


def _problems(profile: Profile) -> Iterator[str]:
    """What is wrong with a profile, most basic first; the first one stops the construction."""
    if not FILE_NAME.fullmatch(profile.name):
        yield "a name must be letters, digits, dots, dashes and underscores, since files have it"
    if profile.length_unit not in LENGTH_UNITS:
        yield f"length_unit must be tokens or audio_ms, but got {profile.length_unit!r}"
    if profile.statistic not in STATISTICS:
        yield f"statistic must be p50 or mean, but got {profile.statistic!r}"
    for key in ("batch_size", "length"):
        yield from _axis_problems(key, getattr(profile, key))
    shape = (profile.batch_size.shape[0], profile.length.shape[0])
    yield from _grid_problems("latency_ns", profile.latency_ns, shape, profile)
    for percentile, values in profile.percentiles_ns.items():
        if percentile not in PERCENTILES:
            yield f"percentiles_ns may hold 50, 90, 95 and 99, but got {percentile}"
        yield from _grid_problems(f"p{percentile}", values, shape, profile)
    yield from _order_problems(profile)
    if profile.lag1 is not None and not -1.0 < profile.lag1 < 1.0:
        yield f"lag1 must be between -1 and 1, but got {profile.lag1!r}"
    yield from _sample_problems(profile)


def _axis_problems(key: str, axis: IntArray) -> Iterator[str]:
    if axis.dtype != np.int64 or axis.ndim != 1 or axis.shape[0] == 0:
        yield f"{key} must be int64 with at least one value, but got {axis.dtype} {axis.shape}"
    if axis.min() < 1 or axis.max() > AXIS_MAX[key]:
        wrong = axis.min() if axis.min() < 1 else axis.max()
        yield f"{key} must be from 1 to {AXIS_MAX[key]}, but got {wrong}"
    for left, right in pairwise(axis.tolist()):
        if right == left:
            yield f"{key} must have no duplicates, but {left} is there twice"
        if right < left:
            yield f"{key} must increase, but {right} follows {left}"


def _grid_problems(
    key: str, values: IntArray, shape: tuple[int, int], profile: Profile
) -> Iterator[str]:
    if values.dtype != np.int64 or values.shape != shape:
        yield f"{key} must be int64 {shape}, but got {values.dtype} {values.shape}"
    wrong = np.argwhere((values < 1) | (values > LATENCY_NS_MAX))
    for i, j in wrong:
        yield (
            f"{key} at {_point(profile, i, j)} must be a positive time below 11 days, "
            f"but got {values[i, j]} ns"
        )


def _order_problems(profile: Profile) -> Iterator[str]:
    ladder = [(f"p{key}", profile.percentiles_ns[key]) for key in sorted(profile.percentiles_ns)]
    if profile.statistic == "p50":
        ladder.insert(0, ("p50", profile.latency_ns))
    for (low_key, low), (high_key, high) in pairwise(ladder):
        for i, j in np.argwhere(high < low):
            yield (
                f"{high_key} at {_point(profile, i, j)} is {high[i, j] / 1e6:g} ms, "
                f"but {low_key} is {low[i, j] / 1e6:g} ms and must not be above it"
            )
    if profile.statistic == "mean" and 99 in profile.percentiles_ns:
        p99 = profile.percentiles_ns[99]
        for i, j in np.argwhere(p99 < profile.latency_ns):
            yield (
                f"the mean at {_point(profile, i, j)} is {profile.latency_ns[i, j] / 1e6:g} ms, "
                f"above p99 ({p99[i, j] / 1e6:g} ms), so warm-up or stalls are in it: use p50"
            )


def _sample_problems(profile: Profile) -> Iterator[str]:
    samples = profile.samples
    if samples is None:
        return
    columns = (samples.batch_size, samples.length, samples.start_ns, samples.latency_ns)
    if any(column.dtype != np.int64 or column.shape != (len(samples),) for column in columns):
        yield "the columns of samples must be int64 and equally long"
    if np.any(samples.latency_ns < 1):
        yield "every sample must be a positive time"
    if np.any(np.diff(samples.start_ns) < 0):
        yield "samples must be in the order of their start_ns"
    measured = set(zip(samples.batch_size.tolist(), samples.length.tolist(), strict=True))
    points = {(size, length) for size in profile.batch_size for length in profile.length}
    for size, length in sorted(measured ^ points):
        where = (
            "has no sample" if (size, length) in points else "has samples but is not on the grid"
        )
        yield f"batch size {size}, length {length} {where}"


def _point(profile: Profile, i: int, j: int) -> str:
    return f"batch size {profile.batch_size[i]}, length {profile.length[j]}"


def from_samples(name: str, samples: Samples, length_unit: str, metadata: Metadata) -> Profile:
    """Profile of medians, with p90, p95 and p99, from raw calls.

    Raises:
        ProfileError: the calls do not cover a full grid of batch sizes and lengths.
    """
    sizes, lengths = np.unique(samples.batch_size), np.unique(samples.length)
    values = {key: np.ones((sizes.shape[0], lengths.shape[0]), np.int64) for key in PERCENTILES}
    for i, size in enumerate(sizes):
        for j, length in enumerate(lengths):
            here = samples.latency_ns[(samples.batch_size == size) & (samples.length == length)]
            if here.shape[0] == 0:
                raise ProfileError(
                    f"profile {name}: batch size {size}, length {length} has no sample"
                )
            for key, value in zip(PERCENTILES, np.percentile(here, PERCENTILES), strict=True):
                values[key][i, j] = np.rint(value)
    return Profile(
        name, sizes, lengths, values.pop(50), length_unit, "p50", metadata, values, samples
    )


def table_ns(profile: Profile) -> IntArray:
    """Time of every batch size from 1 to the largest, at the measured lengths.

    Returns:
        int64 (largest batch, L); row ``k - 1`` is batch size ``k``.  Linear between measured batch
        sizes, rounded half to even; below the smallest measured one padded up to it.
    """
    sizes = np.arange(1, profile.largest_batch + 1)
    columns = [np.interp(sizes, profile.batch_size, column) for column in profile.latency_ns.T]
    table: IntArray = np.rint(np.stack(columns, axis=1)).astype(np.int64)
    return table


def latency_at(profile: Profile, size: int, length: float) -> float:
    """Time in ns of a batch whose longest request has this length.

    Raises:
        ProfileError: above the grid, or not positive.
    """
    unit = profile.length_unit
    if not 1 <= size <= profile.largest_batch:
        raise ProfileError(
            f"profile {profile.name} knows batch sizes 1 to {profile.largest_batch}, but got {size}"
        )
    if not 0 < length <= profile.longest:
        raise ProfileError(
            f"profile {profile.name} knows lengths up to {profile.longest} {unit}, "
            f"but got {length} {unit}"
        )
    at_size = [np.interp(size, profile.batch_size, column) for column in profile.latency_ns.T]
    return float(np.interp(length, profile.length, at_size))


def best_cost_ns(profile: Profile | IntArray) -> FloatArray:
    """Cheapest time per request at each length, ``min_k S(k, l) / k``: what a full server needs.

    Args:
        profile: a profile, or its int64 (largest batch, L) table.

    Returns:
        float64 (L,).
    """
    table = table_ns(profile) if isinstance(profile, Profile) else profile
    sizes = np.arange(1, table.shape[0] + 1)
    cheapest: FloatArray = (table / sizes[:, np.newaxis]).min(axis=0)
    return cheapest


__all__ = [
    "LENGTH_UNITS",
    "PERCENTILES",
    "STATISTICS",
    "FloatArray",
    "IntArray",
    "Metadata",
    "Profile",
    "ProfileError",
    "Samples",
    "best_cost_ns",
    "from_samples",
    "latency_at",
    "table_ns",
]
