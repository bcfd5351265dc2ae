"""The noise of a profile as theory takes it: a table of quantiles under the normal score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policies.contract import FloatArray, IntArray

from .errors import require
from .service import SCORE_LIMIT
from .theory_noise import FINE, NODES_MAX, Mixture

NODE, NODE_WEIGHT = np.polynomial.legendre.leggauss(3)
"""Three Gauss-Legendre nodes a piece."""

WIDEST = 0.125
"""Of a piece, in normal scores: with three nodes moments have twelve right digits."""


@dataclass(frozen=True, eq=False)
class Quantiles:
    """The factor of a profile: a table that is read, linearly, at a clipped normal score.

    The law of :func:`sim.service.noise_factor` with independent scores.
    """

    quantiles: FloatArray
    """float64 (classes, knots), as in :class:`sim.service.Noise`; each row increasing."""
    class_of_size: IntArray
    """int64 (largest batch + 1,)."""

    def _rows(self, largest: int) -> FloatArray:
        return np.asarray(self.quantiles[self.class_of_size[1 : largest + 1]])

    @property
    def _score(self) -> FloatArray:
        return np.linspace(-SCORE_LIMIT, SCORE_LIMIT, self.quantiles.shape[1])

    def mean(self, largest: int) -> FloatArray:
        """By quadrature of a polynomial under the bell."""
        return self._mixture(largest, 1.0).mean(largest)

    def square(self, largest: int) -> FloatArray:
        """By quadrature of a polynomial under the bell."""
        return self._mixture(largest, 1.0).square(largest)

    def least(self, largest: int) -> FloatArray:
        """The factor at the lowest score."""
        return np.asarray(self._rows(largest).min(axis=1))

    def below(self, ratio: FloatArray) -> FloatArray:
        """The normal distribution function at the score where the table reaches the ratio."""
        from scipy.special import ndtr

        score = self._score
        result = np.empty(ratio.shape)
        for row, wanted, found in zip(self._rows(len(ratio)), ratio, result, strict=True):
            # the last score that is not above: flat pieces are jumps of the distribution
            right = np.searchsorted(row, wanted, side="right")
            left = np.clip(right - 1, 0, len(row) - 2)
            rise = row[left + 1] - row[left]
            share = np.where(
                rise > 0.0, (wanted - row[left]) / np.where(rise > 0.0, rise, 1.0), 1.0
            )
            inside = ndtr(score[left] + share * (score[1] - score[0]))
            found[...] = np.where(right == 0, 0.0, np.where(right == len(row), 1.0, inside))
        return result

    def arrivals(self, rate: float, time: FloatArray, counts: int) -> FloatArray:
        """A mixture of Poisson laws."""
        mixture = self._mixture(len(time), float(rate * time.max()))
        return mixture.arrivals(rate, time, counts)

    def _mixture(self, largest: int, arrivals: float) -> Mixture:
        """Gauss-Legendre nodes on each piece under the bell, and the two clipped ends.

        Pieces between knots are cut where the factor climbs too steeply for so many arrivals.
        """
        from scipy.special import ndtr

        score, rows = self._score, self._rows(largest)
        climb = np.diff(rows, axis=1).max(axis=0) * math.sqrt(max(arrivals, 1.0) / rows.max())
        wide = np.diff(score) / WIDEST
        cuts = np.ceil(np.maximum(wide, climb / FINE) - 1e-9).astype(np.int64)
        many = len(NODE) * int(cuts.sum())
        require(many < NODES_MAX, f"a table that {NODES_MAX} nodes resolve", nodes=many)
        left = np.repeat(score[:-1], cuts)
        width = np.repeat(np.diff(score) / cuts, cuts)
        place = np.arange(len(left)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
        middle = left + (place + 0.5) * width
        nodes = (middle[:, None] + 0.5 * width[:, None] * NODE).ravel()
        inside = (width[:, None] * NODE_WEIGHT).ravel() * np.exp(-0.5 * nodes**2)
        end = float(ndtr(-SCORE_LIMIT))
        inside *= (1.0 - 2.0 * end) / inside.sum()
        nodes = np.concatenate([[-SCORE_LIMIT], nodes, [SCORE_LIMIT]])
        weight = np.concatenate([[end], inside, [end]])
        classes, which = np.unique(self.class_of_size[1 : largest + 1], return_inverse=True)
        factor = np.stack([np.interp(nodes, score, self.quantiles[row]) for row in classes])
        return Mixture(factor[which], weight)
