"""Probabilities of lengths as a finite table: for drawing requests, and for theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .errors import WorkloadError, require

BLOCK = 1_048_576
"""Requests drawn at a time."""


@dataclass(frozen=True, eq=False)
class LengthPmf:
    """Probabilities of lengths: exact, finite, increasing."""

    length: IntArray
    """int64 (V,), increasing, at least 1."""
    probability: FloatArray
    """float64 (V,), sums to 1."""

    @classmethod
    def of_counts(cls, length: NDArray[Any], weight: NDArray[Any]) -> Self:
        """Probabilities in proportion to weights; lengths may repeat and come in any order."""
        values, place = np.unique(np.asarray(length, dtype=np.int64), return_inverse=True)
        sums = np.bincount(place, weights=weight)
        return cls(values[sums > 0], sums[sums > 0] / sums.sum())

    @cached_property
    def _cumulative(self) -> FloatArray:
        sums = np.cumsum(self.probability)
        shares: FloatArray = sums / sums[-1]
        return shares

    @property
    def mean(self) -> float:
        """Mean length."""
        return float(self.length @ self.probability)

    @property
    def cv(self) -> float:
        """Standard deviation over mean."""
        square = float((self.length - self.mean) ** 2 @ self.probability)
        return float(np.sqrt(square)) / self.mean

    @property
    def longest(self) -> int:
        """Largest length that occurs."""
        return int(self.length[-1])

    def quantile(self, share: float) -> int:
        """Smallest length that at least this share of requests does not exceed."""
        require(0 <= share <= 1, "0 <= share <= 1", share=share)
        place = int(np.searchsorted(self._cumulative, share, side="left"))
        return int(self.length[min(place, len(self.length) - 1)])

    def expected(self, function: Callable[[IntArray], FloatArray]) -> float:
        """Exact mean of a function of the length; it takes and gives arrays of shape (V,)."""
        return float(np.asarray(function(self.length), dtype=np.float64) @ self.probability)

    def share_above(self, limit: int) -> float:
        """Share of requests that are longer than a limit."""
        return float(self.probability[self.length > limit].sum())

    def truncated(self, limit: int) -> LengthPmf:
        """What is left when longer requests are cut to the limit."""
        return LengthPmf.of_counts(np.minimum(self.length, limit), self.probability)

    def admitted(self, limit: int) -> LengthPmf:
        """What is left when longer requests are turned away.

        Raises:
            WorkloadError: every request is longer.
        """
        keep = self.length <= limit
        if not keep.any():
            raise WorkloadError(f"every request is longer than {limit}, so none would be admitted")
        return LengthPmf.of_counts(self.length[keep], self.probability[keep])

    def draw(self, rng: np.random.Generator, requests: int) -> NDArray[np.int32]:
        """Lengths of requests by inversion, int32 (requests,)."""
        if len(self.length) == 1:
            return np.full(requests, self.length[0], dtype=np.int32)
        drawn = np.empty(requests, dtype=np.int32)
        values = self.length.astype(np.int32)
        for begin in range(0, requests, BLOCK):
            uniform = rng.random(min(BLOCK, requests - begin))
            place = np.searchsorted(self._cumulative, uniform, side="right")
            drawn[begin : begin + BLOCK] = values[place]
        return drawn


def mixture(parts: list[tuple[float, LengthPmf]]) -> LengthPmf:
    """Lengths of several streams together, each with a weight (its rate)."""
    total = sum(weight for weight, _ in parts)
    return LengthPmf.of_counts(
        np.concatenate([pmf.length for _, pmf in parts]),
        np.concatenate([pmf.probability * (weight / total) for weight, pmf in parts]),
    )
