"""Milliseconds of files into the integer nanoseconds of everything else, and back for people.

Decimals are exact: 2.35 ms is 2,350,000 ns.  Halves of a nanosecond go to the even one.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from policies.contract import NEVER

NS_PER_MS = 10**6
NS_PER_S = 10**9


def ms_to_ns(milliseconds: Decimal | int) -> int:
    """Nanoseconds; ``inf`` is NEVER."""
    if not Decimal(milliseconds).is_finite():
        return NEVER
    return int((Decimal(milliseconds) * NS_PER_MS).to_integral_value(ROUND_HALF_EVEN))


def s_to_ns(seconds: Decimal | int) -> int:
    """Nanoseconds."""
    return int((Decimal(seconds) * NS_PER_S).to_integral_value(ROUND_HALF_EVEN))


def ns_to_ms(nanoseconds: int) -> float:
    """Milliseconds for people."""
    return nanoseconds / NS_PER_MS
