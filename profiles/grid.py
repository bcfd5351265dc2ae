"""From the rows of a table, one measured point each, to a full grid of batch size by length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import combinations
from typing import NamedTuple

import numpy as np

from .latency import LATENCY_NS_MAX, IntArray
from .metadata import ProfileError

NAMED_HOLES = 5
"""How many holes an error message names before it counts the rest."""
SUBSETS_MAX = 16
"""Axes up to this long are searched whole for the largest complete part (2^16 subsets)."""


class Point(NamedTuple):
    """One row: where it stands, and its times."""

    line: int
    batch_size: int
    length: int
    times_ns: tuple[int, ...]
    """One per column of times."""


def count(text: str | None, column: str, place: str, least: int = 1) -> int:
    """A whole number from a cell, ``least`` to 2^62.

    Raises:
        ProfileError: it is none.
    """
    value = _number(text)
    if value is None or not least <= value <= 2**62 or value != int(value):
        raise ProfileError(
            f"{place}: {column} must be a whole number from {least}, but got {text!r}"
        )
    return int(value)


def time_ns(text: str | None, column: str, place: str) -> int:
    """A cell in ms as ns, rounded half to even; every digit down to the ns counts.

    Raises:
        ProfileError: it is not a positive time below 11 days.
    """
    value = _number(text)
    if value is None or not 1 <= round(value * 10**6) <= LATENCY_NS_MAX:
        raise ProfileError(
            f"{place}: {column} must be a positive time in ms below 11 days, but got {text!r}"
        )
    return round(value * 10**6)


def _number(text: str | None) -> Decimal | None:
    try:
        value = Decimal((text or "").strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() and value.adjusted() < 20 else None


def grid(points: Sequence[Point], place: str) -> tuple[IntArray, IntArray, list[IntArray]]:
    """Batch sizes, lengths, and one int64 (B, L) array per column of times; any order of rows.

    Raises:
        ProfileError: no point, a point given twice, or holes.
    """
    if not points:
        raise ProfileError(f"{place}: there must be at least one row of data, but there is none")
    seen: dict[tuple[int, int], Point] = {}
    for point in points:
        key = (point.batch_size, point.length)
        if key in seen:
            raise ProfileError(
                f"{place}: batch size {key[0]}, length {key[1]} must be there once, "
                f"but is on lines {seen[key].line} and {point.line}"
            )
        seen[key] = point
    sizes, lengths = sorted({key[0] for key in seen}), sorted({key[1] for key in seen})
    holes = [(size, length) for size in sizes for length in lengths if (size, length) not in seen]
    if holes:
        named = ", ".join(f"{size} x {length}" for size, length in holes[:NAMED_HOLES])
        rest = f" and {len(holes) - NAMED_HOLES} more" if len(holes) > NAMED_HOLES else ""
        raise ProfileError(
            f"{place}: every batch size must have every length, but {len(holes)} of "
            f"{len(sizes) * len(lengths)} points are missing (batch size x length): {named}{rest}"
        )
    times = [
        np.array([[seen[i, j].times_ns[k] for j in lengths] for i in sizes], dtype=np.int64)
        for k in range(len(points[0].times_ns))
    ]
    return np.array(sizes, dtype=np.int64), np.array(lengths, dtype=np.int64), times


def complete_part(points: Sequence[Point]) -> list[Point]:
    """The points of the largest grid without holes; of equals the one with more lengths.

    Exact where batch sizes or lengths number at most 16; else rows and columns with holes are taken
    away, the emptiest first.
    """
    cells = {(point.batch_size, point.length) for point in points}
    sizes, lengths = {size for size, _ in cells}, {length for _, length in cells}
    if len(lengths) <= SUBSETS_MAX:
        by_length = {j: {i for i in sizes if (i, j) in cells} for j in lengths}
        chosen, others = _largest(by_length, prefer_more=True)
        keep = {(i, j) for i in others for j in chosen}
    elif len(sizes) <= SUBSETS_MAX:
        by_size = {i: {j for j in lengths if (i, j) in cells} for i in sizes}
        chosen, others = _largest(by_size, prefer_more=False)
        keep = {(i, j) for i in chosen for j in others}
    else:
        keep = _trimmed(cells)
    return [point for point in points if (point.batch_size, point.length) in keep]


def _largest(having: dict[int, set[int]], *, prefer_more: bool) -> tuple[set[int], set[int]]:
    """The subset of keys, and the values that all of them have, with the largest product."""
    best: tuple[tuple[int, int], set[int], set[int]] = ((0, 0), set(), set())
    for number in range(1, len(having) + 1):
        for keys in combinations(sorted(having), number):
            shared = set.intersection(*(having[key] for key in keys))
            score = (number * len(shared), number if prefer_more else len(shared))
            if score > best[0]:
                best = (score, set(keys), shared)
    return best[1], best[2]


def _trimmed(cells: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    keep = set(cells)
    while True:
        sizes, lengths = {i for i, _ in keep}, {j for _, j in keep}
        fullness = {
            (axis, value): sum(cell[axis] == value for cell in keep) / width
            for axis, values, width in ((0, sizes, len(lengths)), (1, lengths, len(sizes)))
            for value in values
        }
        emptiest = min(fullness, key=lambda line: (fullness[line], line))
        if fullness[emptiest] == 1.0:
            return keep
        keep = {cell for cell in keep if cell[emptiest[0]] != emptiest[1]}
