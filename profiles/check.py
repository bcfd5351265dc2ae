"""Whether a profile is fine enough: how far it is from what it was not shown, and where most.

1. The error that counts is the mean over the shapes that were measured off the grid, where the raw
   calls of a measurement lie beside the profile; otherwise that over the points left out
   (:mod:`profiles.left_out`): inner ones where there are :data:`ENOUGH`, else all but the corners,
   where every form goes beyond what it knows.
2. It is that of the form that a simulation uses, by default the profile's own.
3. A gap between two lengths or batch sizes is as wrong as the shapes that were measured in it, on
   average.  Without such shapes it is estimated from the points at its ends: with steps h and k
   beside it a point left out is off by ``f'' h k / 2``, the middle of a gap g by ``f'' g^2 / 8``,
   both for a smooth curve.
4. Where noise alone would give most of the error, more points would not help, but more calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calls import Call, raw_path, read_calls
from .distil import HoldOut, Predicted, predicted
from .fit import fitted
from .forms import FORMULAS, form_of, smooth
from .latency import FloatArray, Profile
from .left_out import MEAN_OF_NORMAL, beside, inner, left_out
from .sampling import Sampling, sampling
from .store import load

BOUND = 0.05
"""As wrong as runs of the same machine on two days: finer grids are lost in that."""
ENOUGH = 5
"""Inner points whose mean says something; a grid of three by three has one."""
MOSTLY_NOISE = 0.7
"""Share of the error from which noise alone explains it: half of its square."""
BETTER = 0.8
"""Another form is recommended where its error is below this share."""
MEDIAN_OF_NORMAL = 0.6745
"""Median of ``|z|`` of a standard normal z."""


class FormErrors(NamedTuple):
    """How far one form is off, as shares of the measured time; None where it is not known."""

    form: str
    hold_out: HoldOut | None
    fit: float | None = None
    """Of the formula alone, without its map: mean over the grid."""
    inner: float | None = None
    """Points left out that have neighbours on both sides: mean."""
    every: float | None = None
    """All points left out that can be predicted: mean."""
    worst: float | None = None
    """The worst of them."""
    worst_at: tuple[int, int] | None = None
    """Its batch size and length."""
    left_out: float | None = None
    """The points left out that count (rule 1): mean."""
    noise: float | None = None
    """Their mean error by noise alone."""
    points: int = 0
    """How many they are."""

    @property
    def counts(self) -> float | None:
        """The error that counts (rule 1)."""
        if self.hold_out is not None:
            return float(np.mean([abs(shape.error) for shape in self.hold_out.shapes]))
        return self.left_out

    @property
    def by_noise(self) -> float | None:
        """What noise alone would make of it."""
        if self.hold_out is not None:
            return self.hold_out.noise_error * MEAN_OF_NORMAL / MEDIAN_OF_NORMAL
        return self.noise


class Gap(NamedTuple):
    """Two neighbours on an axis of the grid, and how wrong the profile is between them."""

    axis: str
    """``length`` or ``batch_size``."""
    below: int
    above: int
    error: float
    measured: bool
    """Whether shapes were measured in it; otherwise the error is estimated (rule 3)."""


@dataclass(frozen=True)
class Check:
    """What came of it."""

    profile: Profile
    form: str
    """The form that counts."""
    forms: tuple[FormErrors, ...]
    sampled: Sampling | None
    gaps: tuple[Gap, ...]
    """The worst first."""
    bound: float

    @property
    def used(self) -> FormErrors:
        """The errors of the form that counts."""
        return next(one for one in self.forms if one.form == self.form)

    @property
    def within(self) -> bool:
        """Whether the error is known and not above the bound."""
        return self.used.counts is not None and self.used.counts <= self.bound

    @property
    def mostly_noise(self) -> bool:
        """Whether noise alone explains the error (rule 4)."""
        error, noise = self.used.counts, self.used.by_noise
        return error is not None and noise is not None and noise >= MOSTLY_NOISE * error > 0.0

    @property
    def better(self) -> FormErrors | None:
        """A form that is clearly nearer, if there is one."""
        mine = self.used.counts
        known = [one for one in self.forms if one.counts is not None and one.form != self.form]
        if mine is None or not known or self.mostly_noise:
            return None
        best = min(known, key=lambda one: one.counts or 0.0)
        return best if (best.counts or 0.0) < BETTER * mine else None


def checked(name_or_path: str | Path, *, bound: float = BOUND, form: str | None = None) -> Check:
    """Check a profile, with the raw calls beside it where there are any.

    Args:
        name_or_path: as :func:`profiles.load` takes it.
        bound: the error up to which a profile is fine.
        form: the form that counts, one of :data:`profiles.forms.FORMS`.

    Raises:
        ProfileError: there is no such profile or form, or a file is broken.
    """
    profile, path = load(name_or_path), raw_path(name_or_path)
    raw = read_calls(path) if path is not None and profile.samples is not None else []
    return check_of(profile, raw, bound=bound, form=form)


def check_of(
    profile: Profile, raw: Sequence[Call] = (), *, bound: float = BOUND, form: str | None = None
) -> Check:
    """Check a profile against its own points and raw calls.

    Raises:
        ProfileError: there is no such form.
    """
    form = form_of(profile, form)
    names = ("grid", *FORMULAS) if form != "bucket" else ("bucket", "grid")
    forms = tuple(_errors(profile, one, raw) for one in names)
    used = next(one for one in forms if one.form == form)
    off = () if used.hold_out is None else used.hold_out.shapes
    found = () if form == "bucket" else tuple(_gaps(profile, form, off))
    return Check(profile, form, forms, sampling(profile), found, bound)


def _errors(profile: Profile, form: str, raw: Sequence[Call]) -> FormErrors:
    hold_out = predicted(profile, raw, form) if raw else None
    if form == "bucket":
        return FormErrors(form, hold_out)
    found = left_out(profile, form)
    known, inside = ~np.isnan(found.error), inner(profile)
    counted = inside if np.count_nonzero(inside) >= ENOUGH else beside(profile)
    off = np.abs(np.where(known, found.error, 0.0))
    row, column = np.unravel_index(int(np.argmax(off)), off.shape)
    noise = found.mean_noise(counted) if profile.samples is not None and counted.any() else None
    worst_at = (int(profile.batch_size[row]), int(profile.length[column]))
    return FormErrors(
        form,
        hold_out,
        fit=_fit_error(profile, form),
        inner=_mean(off, inside & known),
        every=_mean(off, known),
        worst=float(off.max()) if known.any() else None,
        worst_at=worst_at if known.any() else None,
        left_out=_mean(off, counted),
        noise=noise,
        points=int(np.count_nonzero(counted)),
    )


def _mean(off: FloatArray, where: NDArray[np.bool_]) -> float | None:
    return float(off[where].mean()) if where.any() else None


def _fit_error(profile: Profile, form: str) -> float | None:
    """Mean error of a formula without its map."""
    if form not in FORMULAS:
        return None
    fit = fitted(profile, FORMULAS[form])
    sizes = profile.batch_size.astype(np.float64)[:, np.newaxis]
    times = fit.latency_ns(sizes, profile.length.astype(np.float64))
    return float(np.abs(times / profile.latency_ns - 1.0).mean())


def _gaps(profile: Profile, form: str, off: Sequence[Predicted]) -> list[Gap]:
    """Every gap of both axes, the worst first."""
    values = profile.latency_ns.astype(np.float64)
    if form in FORMULAS:
        values = np.exp(smooth(profile, form).log_ratio)
    axes = {
        "length": (profile.length.tolist(), values, [s.length for s in off]),
        "batch_size": (profile.batch_size.tolist(), values.T, [s.batch_size for s in off]),
    }
    gaps = []
    for name, (axis, rows, places) in axes.items():
        bends = _bends(np.array(axis, dtype=np.float64), rows)
        for place, (below, above) in enumerate(pairwise(axis)):
            if above - below < 2:
                continue
            here = [abs(s.error) for s, at in zip(off, places, strict=True) if below < at < above]
            sides = slice(place, place + 2)
            middle_off = bends[:, sides].max(axis=1) * (above - below) ** 2 / 8.0
            estimate = (middle_off / rows[:, sides].mean(axis=1)).mean()
            error = float(np.mean(here) if here else estimate)
            gaps.append(Gap(name, below, above, error, bool(here)))
    return sorted(gaps, key=lambda gap: -gap.error)


def _bends(axis: FloatArray, rows: FloatArray) -> FloatArray:
    """float64 (rows, values of the axis): size of the second derivative; 0 at the ends."""
    bends = np.zeros_like(rows)
    for place in range(1, len(axis) - 1):
        before, after = axis[place] - axis[place - 1], axis[place + 1] - axis[place]
        share = before / (before + after)
        line = rows[:, place - 1] + share * (rows[:, place + 1] - rows[:, place - 1])
        bends[:, place] = 2.0 * np.abs(line - rows[:, place]) / (before * after)
    return bends
