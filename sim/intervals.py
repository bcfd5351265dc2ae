r"""Estimates with confidence intervals for dependent data, or a refusal that says what is needed.

Intervals come from sectioning: with the statistic :math:`\theta` of the whole run and
:math:`\theta_s` of each of b sections,

.. math:: \theta \pm t_{b-1,\,0.975} \sqrt{\sum_s (\theta_s - \theta)^2 / ((b - 1)\, b)}.

Successive latencies depend on each other: intervals that take them as independent cover 27-50 %
where 95 % is meant, these cover 91-95 % (Nakayama 2014; our own coverage study is in the tests).

The rules of refusal:

1. A percentile p needs ``100 / (1 - p)`` requests in each section: 2 000 after the warm-up for p50,
   10 000 for p90, 20 000 for p95, 100 000 for p99, and 1 000 000 for p99.9, over ten sections.
2. A mean, a rate or a share needs 100 requests in each section.
3. A section that holds less than half of its share is too short as well.
4. A percentile or a mean of latencies that is refused has no value at all; a rate or a share of a
   short run has its value, which is a fact of that run, and no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from policies.contract import FloatArray, IntArray

from .sections import SECTIONS

COVERAGE = 0.95
"""Coverage of every interval."""

TAIL_PER_SECTION = 100
"""Requests that a section must have beyond the percentile: below it the quantiles of sections are
biased, and the intervals cover too little."""

MEAN_PER_SECTION = 100
"""Requests that a section must have for a mean, a rate or a share."""

LATEST_CUT = 0.25
"""Where MSER-5 wants to drop more than a quarter of a run, the run is too short."""

Verdict = Literal["lower", "higher", "tie", "unknown"]


@dataclass(frozen=True)
class Estimate:
    """A number that a run estimates, with its interval of 95 %."""

    value: float | None
    """None where the run cannot say it: see ``needs`` and ``reason``."""
    low: float | None
    """Lower end of the interval; None without one."""
    high: float | None
    """Upper end of the interval; None without one."""
    n: int
    """Requests after the warm-up that the number rests on."""
    needs: int | None = None
    """Requests after the warm-up that it would need, where the run is too short."""
    reason: str = ""
    """Why there is no value, where a longer run would not help."""
    sections: tuple[float, ...] = field(default=(), repr=False)
    """The statistic in each section, for paired differences; empty without an interval."""

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit."""
        value, low, high = (
            None if end is None else end * factor for end in (self.value, self.low, self.high)
        )
        parts = tuple(part * factor for part in self.sections)
        return replace(self, value=value, low=low, high=high, sections=parts)

    def to_json(self) -> dict[str, Any]:
        """``{value, low, high}``, ``{value: null, needs: n}`` or ``{value: null, reason: ...}``."""
        if self.value is not None:
            return {"value": self.value, "low": self.low, "high": self.high}
        if self.needs is not None:
            return {"value": None, "needs": self.needs}
        return {"value": None, "reason": self.reason}


@dataclass(frozen=True)
class Difference:
    """How much a policy differs from another one on the same arrivals."""

    value: float | None
    """First minus second; None where either is refused."""
    low: float | None
    high: float | None
    n: int
    needs: int | None
    verdict: Verdict
    """Of the first against the second: ``tie`` where the interval holds 0, ``unknown`` without an
    interval.
    """


def percentile_needs(share: float, sections: int = SECTIONS, tail: int = TAIL_PER_SECTION) -> int:
    """Requests after the warm-up that a percentile needs (rule 1); ``share`` is 0.99 for p99."""
    return sections * round(tail / (1.0 - share))


def mean_needs(sections: int = SECTIONS) -> int:
    """Requests after the warm-up that a mean, a rate or a share needs (rule 2)."""
    return sections * MEAN_PER_SECTION


def is_long_enough(counts: IntArray, needs: int) -> bool:
    """Whether sections of these counts hold what is needed (rules 1 to 3)."""
    return int(counts.sum()) >= needs and 2 * len(counts) * int(counts.min()) >= needs


def sectioned(
    value: float,
    sections: Sequence[float] | FloatArray,
    n: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """The interval of a statistic from its values on the whole and in each section.

    Args:
        value: the statistic of the whole run, the centre of the interval.
        sections: (b,) the statistic of each section, b at least 2.
        n: the requests that it rests on.
        bounds: the interval is clipped to what the statistic can be.
    """
    parts = np.asarray(sections, dtype=np.float64)
    half = half_width(parts - value)
    low, high = max(value - half, bounds[0]), min(value + half, bounds[1])
    return Estimate(float(value), float(low), float(high), n, sections=tuple(parts.tolist()))


def half_width(deviations: FloatArray) -> float:
    """Half the width of the interval, from the deviations of the sections from the whole."""
    b = len(deviations)
    student = float(stdtrit(b - 1, 0.5 + COVERAGE / 2.0))
    return student * float(np.sqrt(np.square(deviations).sum() / ((b - 1) * b)))


def refused(n: int, needs: int | None = None, reason: str = "") -> Estimate:
    """No value: the run is too short, or the number does not exist."""
    return Estimate(None, None, None, n, needs, reason)


def percentile(values: NDArray[Any], share: float) -> float:
    """Smallest value that at least ``share`` of all values do not exceed."""
    rank = rank_of(len(values), share)
    return float(np.partition(values, rank)[rank])


def rank_of(n: int, share: float) -> int:
    """Index of a percentile among n sorted values: ``ceil(share * n) - 1``."""
    return min(max(int(np.ceil(round(share * n, 6))) - 1, 0), n - 1)


def percentiles(
    values: NDArray[Any], cuts: IntArray, shares: Sequence[float], tail: int = TAIL_PER_SECTION
) -> list[Estimate]:
    """Percentiles of values in order of arrival, each with its interval or its refusal.

    ``values`` is reordered in place: ten million latencies are not copied.

    Args:
        values: (n,) of any number type.
        cuts: int64 (sections + 1,): section s is ``values[cuts[s]:cuts[s + 1]]``.
        shares: the percentiles as shares, 0.99 for p99.
        tail: requests that a section must have beyond the percentile.
    """
    n, counts = int(cuts[-1] - cuts[0]), np.diff(cuts)
    needs = [percentile_needs(share, len(counts), tail) for share in shares]
    granted = [k for k in range(len(shares)) if is_long_enough(counts, needs[k])]
    parts = np.zeros((len(granted), len(counts)))
    for s, (low, high) in enumerate(pairwise(cuts)):
        if granted:
            parts[:, s] = _partitioned(values[low:high], [shares[k] for k in granted])
    whole = _partitioned(values, [shares[k] for k in granted]) if granted else []
    found = {k: sectioned(whole[i], parts[i], n, (0.0, np.inf)) for i, k in enumerate(granted)}
    return [found.get(k) or refused(n, needs[k]) for k in range(len(shares))]


def _partitioned(values: NDArray[Any], shares: Sequence[float]) -> list[float]:
    """Percentiles by partition in place."""
    ranks = [rank_of(len(values), share) for share in shares]
    values.partition(ranks)
    return [float(values[rank]) for rank in ranks]


def ratio(
    top: FloatArray | IntArray,
    bottom: FloatArray | IntArray,
    counts: IntArray,
    bounds: tuple[float, float] = (0.0, np.inf),
) -> Estimate:
    """A mean, a rate or a share: sum over sum, with an interval where the run is long enough.

    Args:
        top: (sections,) numerators.
        bottom: (sections,) denominators.
        counts: int64 (sections,) requests in each section.
        bounds: what the ratio can be.
    """
    n, needs, total = int(counts.sum()), mean_needs(len(counts)), float(bottom.sum())
    if total <= 0.0:
        return refused(n, needs)
    value = float(top.sum()) / total
    if not is_long_enough(counts, needs) or bottom.min() <= 0:
        return Estimate(value, None, None, n, needs)
    return sectioned(value, top / bottom, n, bounds)


def paired(first: Estimate, second: Estimate) -> Difference:
    """Difference of one statistic between two policies on the same arrivals, section by section.

    Common random numbers: what the arrivals do to both cancels, which makes the interval 2 to 11
    times narrower than that of independent runs.
    """
    n = min(first.n, second.n)
    if not first.sections or len(first.sections) != len(second.sections):
        needs = max((one.needs for one in (first, second) if one.needs is not None), default=None)
        return Difference(None, None, None, n, needs, "unknown")
    if first.value is None or second.value is None:
        raise ValueError("an estimate that has sections must have a value")
    value = first.value - second.value
    parts = np.asarray(first.sections) - np.asarray(second.sections)
    half = half_width(parts - value)
    low, high = value - half, value + half
    verdict: Verdict = "lower" if high < 0.0 else "higher" if low > 0.0 else "tie"
    return Difference(value, low, high, n, None, verdict)


def paired_difference(
    first: Sequence[NDArray[Any]],
    second: Sequence[NDArray[Any]],
    statistic: Callable[[NDArray[Any]], float],
) -> Difference:
    """Like :func:`paired`, from the data of matched sections and any statistic.

    Args:
        first: the values of each section under the first policy.
        second: the same sections, which hold the same arrivals, under the second.
        statistic: a function of the values, such as ``numpy.mean``.
    """
    if len(first) != len(second):
        raise ValueError(
            f"`as many sections in both` must hold, but got ({len(first)} and {len(second)})"
        )

    def estimate(sections: Sequence[NDArray[Any]]) -> Estimate:
        counts = np.array([len(section) for section in sections])
        if not is_long_enough(counts, mean_needs(len(counts))):
            return refused(int(counts.sum()), mean_needs(len(counts)))
        whole = float(statistic(np.concatenate(sections)))
        return sectioned(whole, [float(statistic(part)) for part in sections], int(counts.sum()))

    return paired(estimate(first), estimate(second))


def mser5(values: NDArray[Any]) -> float:
    """Share of a run that MSER-5 would drop as warm-up: the d that minimises ``s2(d) / (k - d)``.

    Batches of five, d at most half (White, Cobb and Spratt 2000).  Use it to detect a run that is
    too short, not to cut: it likes to cut where a lucky low stretch begins.
    """
    k = len(values) // 5
    if k < 2:
        return 0.0
    means = values[: 5 * k].reshape(k, 5).mean(axis=1)
    means -= means.mean()
    left = np.arange(k, 0, -1)
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum(np.square(means)[::-1])[::-1]
    error = (squares - np.square(total) / left) / np.square(left)
    return int(np.argmin(error[: k // 2 + 1])) / k
