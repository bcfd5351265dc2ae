"""How long an iteration takes: a formula, a measured grid, or both added up.

The work of an iteration is four numbers: the ``prefill`` tokens (of prompts, of chunks, and of what
is computed again), the ``sequences`` that decode, the tokens of ``context`` whose keys and values
these read, and the ``pairs`` of query and key in the attention of the prefill tokens: t tokens
behind c others make ``t (c + (t + 1) / 2)`` of them.

On a grid the axes are prefill tokens, sequences, and context *per sequence*; between points it is
linear in each, beyond the last ones it goes on as between the last two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray

from .inlined import shared

NO_GRID: FloatArray = np.zeros((0, 0, 0))
NO_POINTS: FloatArray = np.zeros(0)


class StepTimes(NamedTuple):
    """Time of an iteration without noise, in ns."""

    fixed_ns: float = 0.0
    """Of every iteration."""
    prefill_token_ns: float = 0.0
    sequence_ns: float = 0.0
    """Of each sequence that decodes."""
    context_token_ns: float = 0.0
    pair_ns: float = 0.0
    prefill: FloatArray = NO_POINTS
    """(P,) increasing from 0: prefill tokens of the grid; empty where there is none."""
    sequences: FloatArray = NO_POINTS
    """(D,) increasing from 0: sequences that decode."""
    context: FloatArray = NO_POINTS
    """(C,) increasing: tokens of context of each of them."""
    grid_ns: FloatArray = NO_GRID
    """(P, D, C), added to the formula."""


@shared
def step_ns(
    times: StepTimes, prefill: float, sequences: float, context: float, pairs: float
) -> float:
    """Time of an iteration, float64.

    Args:
        times: formula and grid.
        prefill: tokens of prompts and chunks.
        sequences: how many decode.
        context: tokens in memory of all who decode.
        pairs: of query and key, of the prefill tokens.
    """
    found = times.fixed_ns + times.prefill_token_ns * prefill + times.sequence_ns * sequences
    found += times.context_token_ns * context + times.pair_ns * pairs
    if times.grid_ns.shape[0] > 0:
        each = context / sequences if sequences > 0 else 0.0
        found += on_grid(times, prefill, sequences, each)
    return found


@shared
def on_grid(times: StepTimes, prefill: float, sequences: float, context: float) -> float:
    """The measured part, linear between the points."""
    p, s, c = (
        left_of(times.prefill, prefill),
        left_of(times.sequences, sequences),
        left_of(times.context, context),
    )
    along = share_of(times.context, c, context)
    across = share_of(times.sequences, s, sequences)
    low = _plane(times, p, s, c, across, along)
    if times.prefill.shape[0] == 1:
        return low
    high = _plane(times, p + 1, s, c, across, along)
    return low + share_of(times.prefill, p, prefill) * (high - low)


@shared
def _plane(times: StepTimes, p: int, s: int, c: int, across: float, along: float) -> float:
    """At one point of prefill tokens."""
    low = _line(times, p, s, c, along)
    if times.sequences.shape[0] == 1:
        return low
    return low + across * (_line(times, p, s + 1, c, along) - low)


@shared
def _line(times: StepTimes, p: int, s: int, c: int, along: float) -> float:
    """At one point of prefill tokens and sequences."""
    low = float(times.grid_ns[p, s, c])
    if times.context.shape[0] == 1:
        return low
    return low + along * (float(times.grid_ns[p, s, c + 1]) - low)


@shared
def left_of(points: FloatArray, value: float) -> int:
    """The last place but one whose point is not above a value; 0 where there is none."""
    left = 0
    while left < points.shape[0] - 2 and points[left + 1] <= value:
        left += 1
    return left


@shared
def share_of(points: FloatArray, left: int, value: float) -> float:
    """How far a value is from its left point to the next: below the first point 0."""
    if points.shape[0] == 1 or value <= points[left]:
        return 0.0
    return float((value - points[left]) / (points[left + 1] - points[left]))
