"""Noise of service times as theory takes it: the law of the factor on a batch's mean time.

1. A law is a frozen dataclass with the methods of :class:`ServiceNoise`; arrays are by batch size,
   row ``k - 1`` for a batch of k.
2. Factors of different batches are independent.  Neighbours of an AR(1) stream are not, and none
   of these laws stands for them.
3. Arrivals during a batch are Poisson given its time.  A constant time leaves them Poisson, a gamma
   time makes them negative binomial (Greenwood and Yule, J. Royal Statistical Society 83, 1920),
   and any other law is integrated by quadrature: nodes lie so close that the Poisson laws of
   neighbours overlap, so that what is left out is far below what is printed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from policies.contract import FloatArray

from .errors import is_positive, require
from .theory_chain import poisson_table

FINE = 0.5
"""Steps between nodes, in standard deviations of the arrivals: Poisson laws that overlap."""

COARSE = 0.25
"""Steps between nodes at most, in standard deviations of the normal score."""

NODES_MAX = 8192
"""Of one quadrature; a law that needs more is refused."""

HIGHEST = 8.5
"""Normal scores beyond it have less than 1e-16 of the probability."""


class ServiceNoise(Protocol):
    """What every law of the factor has."""

    def mean(self, largest: int) -> FloatArray:
        """Mean factor by batch size, float64 (largest,)."""
        ...

    def square(self, largest: int) -> FloatArray:
        """Mean square of the factor by batch size, float64 (largest,)."""
        ...

    def least(self, largest: int) -> FloatArray:
        """Smallest possible factor by batch size, float64 (largest,)."""
        ...

    def below(self, ratio: FloatArray) -> FloatArray:
        """Probability of a factor of at most ``ratio``; both float64 (largest, ...)."""
        ...

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """Probabilities of 0 to ``counts - 1`` Poisson arrivals in a batch, by size.

        Args:
            rate: of the arrivals.
            time: float64 (largest,), without noise.
            counts: how many columns.

        Returns:
            float64 (largest, counts).
        """
        ...


@dataclass(frozen=True)
class Constant:
    """No noise: the factor is 1."""

    def mean(self, largest: int) -> FloatArray:
        """All 1."""
        return np.ones(largest)

    square = least = mean

    def below(self, ratio: FloatArray) -> FloatArray:
        """A step at 1."""
        return np.where(ratio >= 1.0, 1.0, 0.0)

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """Poisson."""
        return poisson_table(rate * time, counts)


@dataclass(frozen=True)
class Gamma:
    """A gamma factor of mean 1; ``cv = 1`` is exponential."""

    cv: float

    def __post_init__(self) -> None:
        require(is_positive(self.cv), "cv > 0", cv=self.cv)

    def mean(self, largest: int) -> FloatArray:
        """All 1."""
        return np.ones(largest)

    def square(self, largest: int) -> FloatArray:
        """``1 + cv^2``."""
        return np.full(largest, 1.0 + self.cv**2)

    def least(self, largest: int) -> FloatArray:
        """Any time above 0 is possible."""
        return np.zeros(largest)

    def below(self, ratio: FloatArray) -> FloatArray:
        """The distribution function."""
        from scipy.special import gammainc

        shape = 1.0 / self.cv**2
        return np.asarray(gammainc(shape, shape * np.maximum(ratio, 0.0)))

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """Negative binomial."""
        from scipy.stats import nbinom

        shape, mean = 1.0 / self.cv**2, rate * time[:, None]
        return np.asarray(nbinom.pmf(np.arange(counts), shape, shape / (shape + mean)))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Finitely many factors."""

    factor: FloatArray
    """float64 (largest, nodes), or (1, nodes) where the size of the batch does not matter."""
    weight: FloatArray
    """float64 (nodes,), adding up to 1."""

    def __post_init__(self) -> None:
        factor, weight = self.factor, self.weight
        good = factor.ndim == 2 and weight.shape == (factor.shape[1],)
        rule = "factor (sizes, nodes) and weight (nodes,), not negative, weights adding up to 1"
        good = good and bool((factor >= 0.0).all() and (weight >= 0.0).all())
        good = good and bool(np.isfinite(factor).all() and abs(weight.sum() - 1.0) < 1e-9)
        require(good, rule, factor=factor, weight=weight)

    def _factor(self, largest: int) -> FloatArray:
        rows = self.factor.shape[0]
        require(rows in (1, largest), f"factor has 1 or {largest} rows", rows=rows)
        return np.broadcast_to(self.factor, (largest, self.factor.shape[1]))

    def mean(self, largest: int) -> FloatArray:
        """Weighted by size."""
        return np.asarray(self._factor(largest) @ self.weight)

    def square(self, largest: int) -> FloatArray:
        """Weighted by size."""
        return np.asarray(self._factor(largest) ** 2 @ self.weight)

    def least(self, largest: int) -> FloatArray:
        """Of the nodes that have any weight."""
        return np.asarray(self._factor(largest)[:, self.weight > 0].min(axis=1))

    def below(self, ratio: FloatArray) -> FloatArray:
        """Weight of the nodes at or below."""
        flat = ratio.reshape(len(ratio), -1)
        inside = self._factor(len(ratio))[:, None, :] <= flat[:, :, None]
        return np.asarray(np.minimum(inside @ self.weight, 1.0)).reshape(ratio.shape)

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """A mixture of Poisson laws."""
        rows = zip(time, self._factor(len(time)), strict=True)
        return np.stack(
            [self.weight @ poisson_table(rate * own * factor, counts) for own, factor in rows]
        )


@dataclass(frozen=True)
class Lognormal:
    """A lognormal factor of mean 1."""

    cv: float

    def __post_init__(self) -> None:
        require(is_positive(self.cv), "cv > 0", cv=self.cv)

    @property
    def sigma(self) -> float:
        """Of the logarithm."""
        return math.sqrt(math.log1p(self.cv**2))

    def mean(self, largest: int) -> FloatArray:
        """All 1."""
        return np.ones(largest)

    def square(self, largest: int) -> FloatArray:
        """``1 + cv^2``."""
        return np.full(largest, 1.0 + self.cv**2)

    def least(self, largest: int) -> FloatArray:
        """Any time above 0 is possible."""
        return np.zeros(largest)

    def below(self, ratio: FloatArray) -> FloatArray:
        """The distribution function."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore"):
            score = np.log(np.maximum(ratio, 0.0)) / self.sigma + self.sigma / 2.0
        return np.asarray(ndtr(score))

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """By the trapezoidal rule over the normal score, which is all but exact under its bell."""
        most = float(rate * time.max() * math.exp(3.0 * self.sigma))
        step = min(COARSE, FINE / (self.sigma * math.sqrt(max(most, 1.0))))
        half = math.ceil(HIGHEST / step)
        require(2 * half < NODES_MAX, "a cv and a batch that fewer nodes resolve", cv=self.cv)
        score = np.arange(-half, half + 1) * step
        weight = np.exp(-0.5 * score**2)
        factor = np.exp(self.sigma * score - self.sigma**2 / 2.0)[None]
        return Mixture(factor, weight / weight.sum()).arrivals(rate, time, counts)


CONSTANT = Constant()
