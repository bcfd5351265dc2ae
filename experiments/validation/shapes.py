"""Which shapes are calibrated: lengths that requests can reach, batch sizes as time allows.

1. An emulated device is calibrated at its own length edges, between which it is linear.
2. A real one is calibrated at quantiles of the requests' lengths, so that its calls are of as many
   shapes, and of the same ones, as those of a window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from policies.contract import IntArray

Shape = tuple[int, int]
"""Batch size and length."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97)
"""Of the requests' lengths; batches have longer ones than requests."""

LEAST_CALLS, MOST_CALLS = 2, 200
"""Of a shape in a block; of two calls a stall spoils one at most."""


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


def quantile_lengths(pool: IntArray, longest: int) -> list[int]:
    """Lengths that divide those of the requests, more of them at the long end.

    Args:
        pool: int64 (N,), lengths of requests.
        longest: possible.
    """
    found = np.quantile(pool, QUANTILES, method="nearest")
    return sorted({*(int(length) for length in found), longest})


def shapes_within(
    table_ns: IntArray, edges: IntArray, lengths: list[int], largest: int, budget_ns: float
) -> dict[Shape, int]:
    """The most shapes that can be called twice within a budget, and how often to call each.

    All shapes get the same time, so that small batches, which most policies run most, are known
    best.

    Args:
        table_ns: int64 (sizes, L), what a call is thought to take.
        edges: int64 (L,).
        lengths: those to calibrate.
        largest: batch size.
        budget_ns: of one block.

    Returns:
        Calls in a block, by shape.
    """
    for sizes in sizes_to_try(largest):
        costs = {
            (s, n): float(np.interp(n, edges, table_ns[s - 1])) for s in sizes for n in lengths
        }
        if LEAST_CALLS * sum(costs.values()) <= budget_ns:
            break
    each_ns = budget_ns / len(costs)
    return {
        shape: min(MOST_CALLS, max(LEAST_CALLS, int(each_ns / cost_ns)))
        for shape, cost_ns in costs.items()
    }
