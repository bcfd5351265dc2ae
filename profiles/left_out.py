"""How well a form predicts a measured point that it is not shown.

1. A point is left out and predicted from its neighbours: by the straight lines along both axes,
   averaged, or along one where it lies at an edge of the grid.  A form with a formula is fitted
   again without the point, and its map is predicted so.
2. At a corner there is no line: the grid says nothing there, and a form with a formula goes on with
   the map of the nearest points.
3. The gap is twice as wide with the point left out, so on a smooth curve the error between the
   points that were measured is smaller: a quarter of it in the middle of equal gaps.
4. Noise alone makes errors, of the point and of its neighbours; what it should give is told along.
5. ``bucket`` predicts nothing between points: that a captured shape is flat can be measured off
   the grid only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fit import Fit, fitted_points
from .forms import FORMULAS, error_of, trust
from .latency import FloatArray, Profile

MEAN_OF_NORMAL = 0.7979
"""Mean of |z| of a standard normal z: sqrt(2 / pi)."""

Weights = list[tuple[int, int, float]]
"""Row, column and weight of each neighbour; the weights add up to 1."""


class LeftOut(NamedTuple):
    """What became of each point."""

    error: FloatArray
    """float64 (B, L): predicted over measured, minus one; nan where nothing is predicted."""
    noise: FloatArray
    """float64 (B, L): standard deviation that the error has by noise alone; 0 where unknown."""

    def mean_noise(self, where: NDArray[np.bool_]) -> float:
        """Mean absolute error by noise alone over some points."""
        return MEAN_OF_NORMAL * float(self.noise[where].mean())


def left_out(profile: Profile, form: str) -> LeftOut:
    """Leave out every point once.

    Args:
        profile: what was measured.
        form: ``grid``, ``fitted`` or ``hinge``.
    """
    shape = profile.latency_ns.shape
    error, noise = np.full(shape, np.nan), np.zeros(shape)
    sampled = error_of(profile)
    for row, column in np.ndindex(shape):
        near = neighbours(profile, row, column)
        if not near and form in FORMULAS:
            near = nearest(shape, row, column)
        if not near:
            continue
        measured = float(profile.latency_ns[row, column])
        level, believed = _without(profile, form, row, column, sampled)
        values = profile.latency_ns / level
        shrunk = np.exp(believed * np.log(values)) if form in FORMULAS else values
        parts = [(weight * shrunk[i, j], believed[i, j] * sampled[i, j]) for i, j, weight in near]
        predicted = sum(part for part, _ in parts)
        error[row, column] = predicted * level[row, column] / measured - 1.0
        spread = sum((part / predicted * unsure) ** 2 for part, unsure in parts)
        noise[row, column] = np.sqrt(sampled[row, column] ** 2 + spread)
    return LeftOut(error, noise)


def neighbours(profile: Profile, row: int, column: int) -> Weights:
    """The points whose lines cross a point; none at a corner, nor where an axis is too short."""
    rows = [(i, column, w) for i, w in _line(profile.batch_size, row)]
    columns = [(row, j, w) for j, w in _line(profile.length, column)]
    both = 0.5 if rows and columns else 1.0
    return [(i, j, both * weight) for i, j, weight in (*rows, *columns)]


def nearest(shape: tuple[int, ...], row: int, column: int) -> Weights:
    """The points beside a point along both axes."""
    steps = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    there = [(i, j) for i, j in steps if 0 <= i < shape[0] and 0 <= j < shape[1]]
    return [(i, j, 1.0 / len(there)) for i, j in there]


def inner(profile: Profile) -> NDArray[np.bool_]:
    """Bool (B, L): points with neighbours on both sides, along each axis that has three values."""
    shape = profile.latency_ns.shape
    inside = np.full(shape, max(shape) > 2)
    if shape[0] > 2:
        inside[[0, -1], :] = False
    if shape[1] > 2:
        inside[:, [0, -1]] = False
    return inside


def beside(profile: Profile) -> NDArray[np.bool_]:
    """Bool (B, L): points that lie between two others along some axis, so all but the corners."""
    shape = profile.latency_ns.shape
    found = np.array([bool(neighbours(profile, *place)) for place in np.ndindex(shape)])
    return found.reshape(shape)


def _line(axis: NDArray[np.int64], place: int) -> list[tuple[int, float]]:
    """The two places beside one on an axis with the weights of the line between them."""
    if not 0 < place < len(axis) - 1:
        return []
    share = float((axis[place] - axis[place - 1]) / (axis[place + 1] - axis[place - 1]))
    return [(place - 1, 1.0 - share), (place + 1, share)]


def _without(
    profile: Profile, form: str, row: int, column: int, sampled: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fitted time of every point and trust in its map, both found without one point."""
    if form not in FORMULAS:
        ones = np.ones(profile.latency_ns.shape)
        return ones, ones
    kept = np.ones(profile.latency_ns.shape, dtype=np.bool_)
    kept[row, column] = False
    level = fit_without(profile, form, kept).latency_ns(*_axes(profile))
    raw = np.log(profile.latency_ns / level)
    believed = np.zeros_like(raw)
    believed[kept] = trust(raw[kept], sampled[kept])
    return level, believed


def fit_without(profile: Profile, form: str, kept: NDArray[np.bool_]) -> Fit:
    """The formula of a form, fitted to some points of the grid."""
    sizes, lengths = np.broadcast_arrays(*_axes(profile))
    time = profile.latency_ns[kept].astype(np.float64)
    return fitted_points(sizes[kept], lengths[kept], time, FORMULAS[form])


def _axes(profile: Profile) -> tuple[FloatArray, FloatArray]:
    """Batch sizes as a column and lengths as a row."""
    sizes = profile.batch_size.astype(np.float64)[:, np.newaxis]
    return sizes, profile.length.astype(np.float64)[np.newaxis]
