"""Nanoseconds in the whole units of a stack, and the note where that changes them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal, NamedTuple

from policies.contract import NEVER

Unit = Literal["us", "ms"]

NS_PER_UNIT: dict[Unit, int] = {"us": 1_000, "ms": 1_000_000}


class Rounded(NamedTuple):
    """A time in whole units."""

    value: int
    note: str | None
    """Clause that says what was rounded; None where nothing changed."""


def in_whole(duration_ns: int, unit: Unit, what: str) -> Rounded:
    """A finite time in whole units, halves to even; a time above 0 is at least 1 unit.

    Args:
        duration_ns: not NEVER.
        unit: ``us`` or ``ms``.
        what: how the note calls it, as ``max_wait``.
    """
    exact = Decimal(duration_ns) / NS_PER_UNIT[unit]
    whole = int(exact.to_integral_value(ROUND_HALF_EVEN))
    if duration_ns > 0:
        whole = max(whole, 1)
    if whole == exact:
        return Rounded(whole, None)
    return Rounded(whole, f"{what} of {exact:f} {unit} is written as {whole} {unit}")


def in_seconds(duration_ns: int) -> Decimal:
    """Seconds, exact."""
    return (Decimal(duration_ns) / 10**9).normalize()


def in_ms(duration_ns: int) -> int | Decimal:
    """Milliseconds as a scenario file has them, exact: whole where they are, inf for NEVER."""
    if duration_ns == NEVER:
        return Decimal("inf")
    exact = Decimal(duration_ns) / 10**6
    return int(exact) if exact == exact.to_integral_value() else exact.normalize()
