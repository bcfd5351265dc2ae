"""The form of a latency model: what a batch costs at and between the measured points.

``grid``
    linear between measured points, nothing smoother
``fitted``
    ``a + b BL + c B L^2`` times a map of what was measured over it: B requests, all padded to
    length L; a plain CPU or a busy GPU
``hinge``
    ``max(floor, a + b BL)`` times such a map: an eager framework on a GPU, which is bound by
    launches until batches are large
``bucket``
    what the next measured batch size and the next measured length cost, with no slope between:
    CUDA graphs, which pad every batch up to the next captured shape

1. Each form becomes what the drivers take, a table by batch size and length edges; above the grid
   no form has an answer.
2. The map holds measured over fitted at the measured points, is linear in batch size and length
   between them, and constant outside.  Without samples a form with a map therefore meets every
   measured point, steps of caches included, and only differs between points.
3. Where calls are kept, the logarithm of the map is shrunk by ``t / (t + s)``: s is the variance
   that the number of calls leaves at a point, t that of the map itself, by moments.  A point of
   five noisy calls leans on the formula, one of two hundred does not.
4. Below the smallest measured batch size or length a formula goes on, with the map's edge; where
   only one was measured, nothing is known of the slope, and a batch is padded up to it, as with the
   forms without a formula.
5. Edges of a form with a map lie so close that straight lines between them are within
   :data:`STRAIGHT` of it; those of ``bucket`` stand at each measured length and right after it, so
   that whole lengths cost exactly the step.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .fit import Fit, fitted
from .latency import FloatArray, IntArray, Profile, ProfileError, table_ns
from .sampling import sampling

FORMS = ("grid", "fitted", "hinge", "bucket")
FORMULAS = {"fitted": "quadratic", "hinge": "hinge"}
"""The formula of :mod:`profiles.fit` that a form with a map multiplies."""
STRAIGHT = 5e-3
"""Far below what a profile is right to; a driver walks along the edges, so they should be few."""
PROBES = 16
"""Lengths at which the distance from a straight line is looked at."""


class Costs(NamedTuple):
    """A latency model as the drivers take it."""

    table_ns: IntArray
    """int64 (largest batch, edges); row ``k - 1`` is batch size ``k``."""
    length_edges: IntArray
    """int64 (edges,), increasing."""

    def latency_ns(self, size: int, length: float) -> float:
        """Time of one batch, linear between the edges as in a driver."""
        return float(np.interp(length, self.length_edges, self.table_ns[size - 1]))


class Smooth(NamedTuple):
    """A formula times a map."""

    fit: Fit
    batch_size: IntArray
    length: IntArray
    log_ratio: FloatArray
    """float64 (B, L): logarithm of the map at the measured points."""

    def latency_ns(self, sizes: IntArray, lengths: IntArray) -> FloatArray:
        """float64 (sizes, lengths): time of batches of every size at every length."""
        by_size = [np.interp(sizes, self.batch_size, col) for col in np.exp(self.log_ratio).T]
        rows = np.stack(by_size, axis=1)
        ratio = np.stack([np.interp(lengths, self.length, row) for row in rows])
        size, length = _padded(sizes, self.batch_size), _padded(lengths, self.length)
        times: FloatArray = self.fit.latency_ns(size[:, np.newaxis], length) * ratio
        return times


def default_form(profile: Profile) -> str:
    """``bucket`` for a model that was measured with CUDA graphs, ``grid`` for every other."""
    return "bucket" if profile.metadata.versions.get("mode") == "graphs" else "grid"


def form_of(profile: Profile, form: str | None) -> str:
    """The form that was asked for, by default the profile's own.

    Raises:
        ProfileError: it is not one of :data:`FORMS`.
    """
    if form is not None and form not in FORMS:
        raise ProfileError(f"form must be one of {', '.join(FORMS)}, but got {form!r}")
    return default_form(profile) if form is None else form


def costs(profile: Profile, form: str | None = None) -> Costs:
    """What batches cost under a form, by default the profile's own.

    Raises:
        ProfileError: the form is not one of :data:`FORMS`.
    """
    form = form_of(profile, form)
    if form == "grid":
        return Costs(table_ns(profile), profile.length)
    if form == "bucket":
        return _stepped(profile)
    surface = smooth(profile, form)
    sizes, edges = np.arange(1, profile.largest_batch + 1), _edges(surface)
    times = np.rint(surface.latency_ns(sizes, edges)).astype(np.int64)
    return Costs(np.maximum(times, 1), edges)


def smooth(profile: Profile, form: str) -> Smooth:
    """The formula of ``fitted`` or ``hinge`` with its map."""
    fit = fitted(profile, FORMULAS[form])
    size, length = (axis.astype(np.float64) for axis in (profile.batch_size, profile.length))
    raw = np.log(profile.latency_ns / fit.latency_ns(size[:, np.newaxis], length))
    return Smooth(fit, profile.batch_size, profile.length, raw * trust(raw, error_of(profile)))


def error_of(profile: Profile) -> FloatArray:
    """float64 (B, L): sampling error of each point; 0 where it is unknown."""
    found = sampling(profile)
    return np.zeros(profile.latency_ns.shape) if found is None else found.error


def trust(log_ratio: FloatArray, error: FloatArray) -> FloatArray:
    """float64 (B, L): how much of each deviation from the formula is believed (rule 3)."""
    own = max(0.0, float(np.mean(np.square(log_ratio) - np.square(error))))
    weight = np.ones_like(log_ratio)
    unsure = error > 0.0
    weight[unsure] = own / (own + np.square(error[unsure]))
    return weight


def _padded(asked: IntArray, axis: IntArray) -> FloatArray:
    """Batch sizes or lengths as the formula takes them (rule 4)."""
    return np.maximum(asked, axis[0] if len(axis) == 1 else 1).astype(np.float64)


def _stepped(profile: Profile) -> Costs:
    """The staircase: the next measured batch size, the next measured length."""
    sizes = np.arange(1, profile.largest_batch + 1)
    edges = np.unique(np.append(profile.length, profile.length[:-1] + 1))
    rows = np.searchsorted(profile.batch_size, sizes)
    columns = np.searchsorted(profile.length, edges)
    return Costs(profile.latency_ns[np.ix_(rows, columns)], edges)


def _edges(surface: Smooth) -> IntArray:
    """int64: the measured lengths, and halvings of the gaps where the surface is not straight."""
    measured = surface.length.tolist()
    gaps = list(pairwise([1, *measured] if measured[0] > 1 and len(measured) > 1 else measured))
    edges = {measured[0], *(below for below, _ in gaps), measured[-1]}
    while gaps:
        below, above = gaps.pop()
        middle = (below + above) // 2
        if below < middle and not _is_straight(surface, below, above):
            edges.add(middle)
            gaps += [(below, middle), (middle, above)]
    return np.array(sorted(edges), dtype=np.int64)


def _is_straight(surface: Smooth, below: int, above: int) -> bool:
    """Whether the line across a gap is near enough at every batch size."""
    sizes = np.arange(1, int(surface.batch_size[-1]) + 1)
    probes = np.unique(np.linspace(below, above, PROBES + 2).astype(np.int64))
    times = surface.latency_ns(sizes, probes)
    share = (probes - below) / (above - below)
    line = times[:, :1] + share * (times[:, -1:] - times[:, :1])
    return bool(np.abs(line / times - 1.0).max() <= STRAIGHT)
