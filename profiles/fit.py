"""A profile as a formula: for reading, for smoothing few samples, and for theory.

``tokens`` is batch size times padded length; all coefficients are at least zero.

``affine``     ``base + per_token * tokens``
``quadratic``  ``base + per_token * tokens + per_token_length * tokens * length`` (attention)
``hinge``      ``max(floor, base + per_token * tokens)`` (eager frameworks: launch-bound at first)

The coefficients minimise the sum of squared relative errors, so that a batch of one counts as much
as a batch of a hundred.  Simulation uses the measured grid: a formula hides the good batch sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .latency import FloatArray, Profile

FORMS = ("affine", "quadratic", "hinge")


@dataclass(frozen=True)
class Fit:
    """One formula with its coefficients, in ns, and how well it fits."""

    form: str
    """One of :data:`FORMS`."""
    base_ns: float
    per_token_ns: float
    """Per token, or per ms of audio."""
    per_token_length_ns: float
    floor_ns: float
    median_error: float
    """Median of ``|fitted / measured - 1|`` over the grid."""
    max_error: float

    def latency_ns(self, size: FloatArray | float, length: FloatArray | float) -> FloatArray:
        """Fitted time; sizes and lengths broadcast as numpy arrays do."""
        tokens = np.asarray(size, dtype=np.float64) * length
        line = self.base_ns + tokens * (self.per_token_ns + self.per_token_length_ns * length)
        return np.maximum(line, self.floor_ns)

    @property
    def knee(self) -> float:
        """Tokens in a batch at which the fixed and the variable cost are equal."""
        return max(self.base_ns, self.floor_ns) / self.per_token_ns if self.per_token_ns else np.inf


def fitted(profile: Profile, form: str = "affine") -> Fit:
    """Fit one of the formulas to the grid.

    Raises:
        ValueError: the form is not one of :data:`FORMS`.
    """
    size, length = (axis.ravel() for axis in _points(profile))
    return fitted_points(size, length, profile.latency_ns.ravel().astype(np.float64), form)


def fitted_points(size: FloatArray, length: FloatArray, time: FloatArray, form: str) -> Fit:
    """Fit one of the formulas to any points.

    Args:
        size: float64 (points,), batch sizes.
        length: float64 (points,).
        time: float64 (points,), in ns.
        form: one of :data:`FORMS`.

    Raises:
        ValueError: the form is not one of :data:`FORMS`.
    """
    tokens = size * length
    floor = 0.0
    if form == "affine":
        base, per_token, per_token_length = *_nonnegative(time, np.ones_like(time), tokens), 0.0
    elif form == "quadratic":
        columns = (np.ones_like(time), tokens, tokens * length)
        base, per_token, per_token_length = _nonnegative(time, *columns)
    elif form == "hinge":
        floor, base, per_token = _hinge(time, tokens)
        per_token_length = 0.0
    else:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, but got {form!r}")
    coefficients = (form, base, per_token, per_token_length, floor)
    error = np.abs(Fit(*coefficients, 0.0, 0.0).latency_ns(size, length) / time - 1.0)
    return Fit(*coefficients, float(np.median(error)), float(error.max()))


def best_fit(profile: Profile) -> Fit:
    """The formula with the smallest median error."""
    return min((fitted(profile, form) for form in FORMS), key=lambda found: found.median_error)


def _points(profile: Profile) -> tuple[FloatArray, FloatArray]:
    size, length = np.meshgrid(profile.batch_size, profile.length, indexing="ij")
    return size.astype(np.float64), length.astype(np.float64)


def _nonnegative(time: FloatArray, *columns: FloatArray) -> list[float]:
    """Coefficients of the columns by relative least squares."""
    from scipy.optimize import nnls

    scale = np.array([column.max() for column in columns])
    matrix = np.stack(columns, axis=1) / scale
    solution = nnls(matrix / time[:, np.newaxis], np.ones_like(time))[0] / scale
    return [float(coefficient) for coefficient in solution]


def _hinge(time: FloatArray, tokens: FloatArray) -> tuple[float, float, float]:
    """Floor, base and slope.

    For every number of points on the floor (those with the fewest tokens) floor and line are fitted
    apart; the best of these as a maximum of both, or the affine form, is then refined together.
    """
    from scipy.optimize import least_squares

    def error(found: FloatArray) -> FloatArray:
        residual: FloatArray = np.maximum(found[0], found[1] + found[2] * tokens) / time - 1.0
        return residual

    def scaled_error(found: FloatArray) -> FloatArray:
        return error(found * scale)

    order = np.argsort(tokens, kind="stable")
    start = np.array([0.0, *_nonnegative(time, np.ones_like(time), tokens)])
    least = float(np.sum(error(start) ** 2))
    for split in range(1, len(time) - 1):
        flat, line = order[:split], order[split:]
        found = np.array(
            [
                *_nonnegative(time[flat], np.ones(split)),
                *_nonnegative(time[line], np.ones(len(line)), tokens[line]),
            ]
        )
        cost = float(np.sum(error(found) ** 2))
        if cost < least:
            start, least = found, cost
    scale = np.array([time.max(), time.max(), time.max() / tokens.max()])
    refined = least_squares(scaled_error, start / scale, bounds=(0.0, np.inf))
    if float(np.sum(refined.fun**2)) < least:
        start = refined.x * scale
    floor, base, per_token = (float(value) for value in start)
    return floor, base, per_token
