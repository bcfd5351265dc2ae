"""Which shapes are calibrated: lengths that requests can reach, batch sizes as time allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from policies.contract import IntArray

Shape = tuple[int, int]
"""Batch size and length."""

LEAST_PASSES = 2
"""In each block, so that a stall cannot spoil both calls of a shape."""


def sizes_to_try(largest: int) -> Iterator[list[int]]:
    """All batch sizes up to the largest, then fewer and fewer."""
    every = list(range(1, largest + 1))
    yield every
    yield [s for s in every if s <= 8 or s % 2 == 0 or s == largest]
    yield [s for s in every if s <= 4 or s % 4 == 0 or s == largest]
    yield [s for s in every if s & (s - 1) == 0 or s == largest]


def edges_to_reach(edges: IntArray, shortest: int, longest: int) -> list[int]:
    """The length edges between which requests lie, one below and one above included.

    Args:
        edges: int64 (L,), increasing.
        shortest: of the requests.
        longest: of the requests.
    """
    first = max(0, int(np.searchsorted(edges, shortest, side="right")) - 1)
    last = min(len(edges) - 1, int(np.searchsorted(edges, longest, side="left")))
    return [int(edge) for edge in edges[first : last + 1]]


def shapes_within(
    table_ns: IntArray, edges: IntArray, lengths: list[int], largest: int, budget_ns: float
) -> tuple[list[Shape], int]:
    """The most shapes that can be called twice within a budget, and how often they can be.

    Args:
        table_ns: int64 (sizes, L), what a call is thought to take.
        edges: int64 (L,).
        lengths: those to calibrate.
        largest: batch size.
        budget_ns: of one block.
    """
    columns = [int(np.searchsorted(edges, length)) for length in lengths]
    for sizes in sizes_to_try(largest):
        shapes = [(size, length) for size in sizes for length in lengths]
        cost_ns = sum(float(table_ns[s - 1, c]) for s in sizes for c in columns)
        if LEAST_PASSES * cost_ns <= budget_ns:
            break
    return shapes, max(LEAST_PASSES, int(budget_ns / cost_ns))
