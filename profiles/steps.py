"""How long the iterations of a model that generates take: a measured grid, and what is made of it.

1. The grid is prefill tokens by decoding sequences by tokens of context of each sequence; the value
   of a point is the median of its calls.  Prefill tokens are those of prompts of ``prompt_tokens``,
   the last one shorter.
2. The formula ``fixed + per prefill token + per sequence + per context token + per pair`` is fitted
   by relative least squares, all coefficients at least zero.  What it leaves is kept as a second
   grid, so that both together give the medians at the points; beyond the last points it stays.
3. The noise is that of the steady calls, in their order: each over the median of its series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .latency import FloatArray, IntArray
from .metadata import ProfileError
from .noise import lag1_of
from .steps_runner import Work

KINDS = ("warmup", "grid", "holdout", "steady")


class StepCall(NamedTuple):
    """One timed iteration."""

    kind: str
    """One of :data:`KINDS`."""
    number: int
    """Of the round; of a steady call that of its series."""
    work: Work
    wall_ns: int
    instant_ns: int
    """When it began, from any origin."""


class StepForm(NamedTuple):
    """The formula, and what is added to it on a grid; as :class:`policies.iteration.times`."""

    fixed_ns: float
    prefill_token_ns: float
    sequence_ns: float
    context_token_ns: float
    pair_ns: float
    prefill: FloatArray
    """float64 (P,): the points of the profile and one just beyond the last."""
    sequences: FloatArray
    context: FloatArray
    grid_ns: FloatArray
    """float64 (P, D, C)"""

    def formula_ns(self, work: Work) -> float:
        """Time of an iteration without the grid."""
        columns = (1.0, work.prefill, work.sequences, work.context, work.pairs)
        return float(np.dot(self[:5], columns))

    def step_ns(self, work: Work) -> float:
        """Time of an iteration."""
        each = work.context / work.sequences if work.sequences else 0.0
        grid = self.grid_ns
        for points, value in (
            (self.prefill, work.prefill),
            (self.sequences, work.sequences),
            (self.context, each),
        ):
            place = np.interp(value, points, np.arange(len(points)))
            left = min(int(place), len(points) - 2)
            grid = grid[left] + (place - left) * (grid[left + 1] - grid[left])
        return self.formula_ns(work) + float(grid)


class HeldOut(NamedTuple):
    """One iteration off the grid, against the profile."""

    work: Work
    measured_ns: float
    predicted_ns: float
    formula_ns: float
    calls: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted_ns / self.measured_ns - 1.0


@dataclass(frozen=True, eq=False)
class StepProfile:
    """A measured grid of iterations.

    Raises:
        ProfileError: axes or values are none of a grid.
    """

    name: str
    prefill: IntArray
    """int64 (P,), increasing from 0."""
    sequences: IntArray
    """int64 (D,), increasing from 0."""
    context: IntArray
    """int64 (C,), increasing from 1: of each sequence."""
    step_ns: IntArray
    """int64 (P, D, C): medians.  Without sequences all contexts are the same; of the iteration
    without prefill tokens and sequences, which there is none of, 0."""
    prompt_tokens: int
    about: Mapping[str, Any] = field(default_factory=dict)
    """What ran, on what and how, when and by which command; plain data."""
    calls: tuple[StepCall, ...] = ()
    """All of them, in their order; none where they were not kept."""

    def __post_init__(self) -> None:
        for axis, first in (("prefill", 0), ("sequences", 0), ("context", 1)):
            points = getattr(self, axis)
            if len(points) < 2 or points[0] < first or np.any(np.diff(points) <= 0):
                raise ProfileError(
                    f"{self.name}: {axis} must be at least two points, increasing from {first}, "
                    f"but got {points.tolist()}"
                )
        if self.prefill[0] or self.sequences[0]:
            raise ProfileError(
                f"{self.name}: the first points of prefill and sequences must be 0, but are "
                f"{self.prefill[0]} and {self.sequences[0]}"
            )

    def work_at(self, p: int, d: int, c: int) -> Work:
        """The iteration of a point of the grid."""
        prefill, sequences = int(self.prefill[p]), int(self.sequences[d])
        return grid_work(prefill, sequences, int(self.context[c]), self.prompt_tokens)

    def form(self) -> StepForm:
        """Formula and residuals of the grid."""
        return fitted_form(self)

    def held_out(self) -> list[HeldOut]:
        """Every iteration off the grid, in order of its first call."""
        form, found = self.form(), []
        calls = [call for call in self.calls if call.kind == "holdout"]
        for work in dict.fromkeys(call.work for call in calls):
            took = [call.wall_ns for call in calls if call.work == work]
            found.append(
                HeldOut(
                    work,
                    float(np.median(took)),
                    form.step_ns(work),
                    form.formula_ns(work),
                    len(took),
                )
            )
        return found

    def noise(self) -> FloatArray:
        """float64 (K,): factors on the medians, in the order in which they were measured.

        Without steady calls those of the grid, and without any calls a single 1.
        """
        steady = [call for call in self.calls if call.kind == "steady"]
        parts = []
        for _, series in groupby(steady, key=lambda call: call.number):
            took = np.array([call.wall_ns for call in series], dtype=np.float64)
            parts.append(took / np.median(took))
        if not parts:
            form = self.form()
            grid = [call for call in self.calls if call.kind == "grid"]
            parts = [np.array([call.wall_ns / form.step_ns(call.work) for call in grid] or [1.0])]
        return np.concatenate(parts)

    @property
    def lag1(self) -> float:
        """Correlation of one iteration's factor with the next one's."""
        return lag1_of(self.noise())

    def counts(self) -> dict[str, int]:
        """How many calls of each kind there are."""
        return {kind: sum(call.kind == kind for call in self.calls) for kind in KINDS}


def grid_prompts(prefill: int, prompt_tokens: int) -> list[int]:
    """Prompts of equal length, and a shorter last one."""
    whole, rest = divmod(prefill, prompt_tokens)
    return [prompt_tokens] * whole + ([rest] if rest else [])


def grid_work(prefill: int, sequences: int, context: int, prompt_tokens: int) -> Work:
    """The four numbers of a point of the grid."""
    pairs = sum(0.5 * n * (n + 1) for n in grid_prompts(prefill, prompt_tokens))
    return Work(prefill, sequences, sequences * context, pairs)


def medians(
    calls: Sequence[StepCall],
    axes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    prompt_tokens: int,
) -> IntArray:
    """int64 (P, D, C): the grid's medians.

    Raises:
        ProfileError: a point was never measured.
    """
    took: dict[Work, list[int]] = {}
    for call in calls:
        if call.kind == "grid":
            took.setdefault(call.work, []).append(call.wall_ns)
    found = np.zeros([len(axis) for axis in axes], dtype=np.int64)
    for p, prefill in enumerate(axes[0]):
        for d, sequences in enumerate(axes[1]):
            for c, context in enumerate(axes[2]):
                if not prefill and not sequences:
                    continue
                work = grid_work(prefill, sequences, context, prompt_tokens)
                if work not in took:
                    raise ProfileError(
                        f"the iteration of {prefill} prefill tokens and {sequences} sequences of "
                        f"{context} tokens was never measured"
                    )
                found[p, d, c] = round(float(np.median(took[work])))
    return found


def fitted_form(profile: StepProfile) -> StepForm:
    """Fit the formula by relative least squares, and keep what it leaves."""
    from scipy.optimize import nnls

    places = [place for place in np.ndindex(*profile.step_ns.shape) if place[0] or place[1]]
    works = [profile.work_at(*place) for place in places]
    columns = np.array([(1.0, *work) for work in works])
    took = np.array([profile.step_ns[place] for place in places], dtype=np.float64)
    scale = np.maximum(columns.max(axis=0), 1.0)
    solution = nnls(columns / scale / took[:, np.newaxis], np.ones(len(took)))[0] / scale
    left = np.zeros(profile.step_ns.shape)
    for place, known in zip(places, took - columns @ solution, strict=True):
        left[place] = known
    left[0, 0] = 0.5 * (left[1, 0] + left[0, 1])  # between its neighbours: there is no such work
    fixed, prefill_token, sequence, context_token, pair = (float(one) for one in solution)
    return StepForm(
        fixed,
        prefill_token,
        sequence,
        context_token,
        pair,
        prefill=_and_beyond(profile.prefill),
        sequences=_and_beyond(profile.sequences),
        context=_and_beyond(profile.context),
        grid_ns=np.pad(left, ((0, 1),) * 3, mode="edge"),
    )


def _and_beyond(axis: IntArray) -> FloatArray:
    """The points, and one just beyond the last, so that the residual stays as it is there."""
    return np.append(axis, axis[-1] + 1).astype(np.float64)
