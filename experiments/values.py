"""The values that a scenario's keys take: each checks itself and says what it must be."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any

from pydantic import PlainValidator

from .sentences import choice, wrong

LARGEST_COUNT = 2**31 - 1
"""Request ids are int32 where memory matters."""

DIGITS_MOST = 30
"""Before the point: products of longer ones are infinite floats, and 1e999999 as an integer takes
minutes."""

LONGEST_MS = Decimal(10) ** 12
"""31 years: beyond it int64 nanoseconds would overflow."""


def is_number(value: object) -> bool:
    """Whether a TOML value is a number (true and false are none)."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether a TOML value is a number that can be reckoned with."""
    return (
        isinstance(value, int | Decimal)
        and not isinstance(value, bool)
        and Decimal(value).is_finite()
        and Decimal(value).adjusted() < DIGITS_MOST
    )


def whole(least: int) -> Callable[[Any], int]:
    """A check for whole numbers; ``1e6`` counts as one."""

    def check(value: Any) -> int:
        if is_number(value) and Decimal(value).is_finite():
            if value > LARGEST_COUNT:
                raise wrong(f"at most {LARGEST_COUNT}")
            if value >= least and value == int(value):
                return int(value)
        raise wrong(f"a whole number of at least {least}")

    return check


def decimal(
    right: str, holds: Callable[[Decimal], bool], most: Decimal | None = None
) -> Callable[[Any], Decimal]:
    """A check for finite numbers; ``right`` says which, ``most`` is the largest."""

    def check(value: Any) -> Decimal:
        if not is_number(value) or not Decimal(value).is_finite() or not holds(Decimal(value)):
            raise wrong(right)
        if not is_finite(value):
            raise wrong(f"below 1e{DIGITS_MOST}")
        if most is not None and value > most:
            raise wrong(f"at most {float(most):g}")
        return Decimal(value)

    return check


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise wrong("a text that is not empty")
    return value


def one_of(*words: str) -> PlainValidator:
    """A check for one of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise wrong(choice(value, words))
        return value

    return PlainValidator(check)


def patience(value: Any) -> Decimal:
    """Milliseconds above 0; ``inf`` is no limit."""
    if isinstance(value, Decimal) and value == Decimal("inf"):
        return value
    return decimal("a number of milliseconds above 0, or inf", lambda x: x > 0, LONGEST_MS)(value)


def positives(least: int, right: str) -> PlainValidator:
    """A check for a list of at least ``least`` finite numbers above 0."""

    def check(value: Any) -> tuple[Decimal, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise wrong(right)
        if not all(is_finite(x) and x > 0 for x in value):
            raise wrong(right)
        return tuple(Decimal(x) for x in value)

    return PlainValidator(check)


def rates(value: Any) -> tuple[Decimal, ...]:
    """Two or more rates, none negative, not all 0."""
    good = isinstance(value, list | tuple) and len(value) >= 2
    good = good and all(is_finite(x) and x >= 0 for x in value)
    if not good or not any(value):
        raise wrong("a list of at least two rates, none below 0 and not all 0")
    return tuple(Decimal(x) for x in value)


def points(value: Any) -> tuple[tuple[Decimal, Decimal], ...]:
    """Pairs of seconds and rates, seconds increasing from 0."""
    right = "pairs [seconds, rate per second] with seconds that increase from 0, rates not below 0"
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise wrong(f"at least two {right}")
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise wrong(right)
        if not all(is_finite(x) and x >= 0 for x in pair):
            raise wrong(right)
    if value[0][0] != 0 or any(b[0] <= a[0] for a, b in pairwise(value)):
        raise wrong(right)
    if value[-1][0] > LONGEST_MS / 1000:
        raise wrong(f"{right}, at most {float(LONGEST_MS / 1000):g} seconds")
    if not any(pair[1] for pair in value):
        raise wrong("a curve that is above 0 somewhere")
    return tuple((Decimal(a), Decimal(b)) for a, b in value)


Text = Annotated[str, PlainValidator(text)]
Count = Annotated[int, PlainValidator(whole(1))]
Index = Annotated[int, PlainValidator(whole(0))]
Positive = Annotated[Decimal, PlainValidator(decimal("a number above 0", lambda x: x > 0))]
NonNegative = Annotated[Decimal, PlainValidator(decimal("a number not below 0", lambda x: x >= 0))]
AboveOne = Annotated[Decimal, PlainValidator(decimal("a number above 1", lambda x: x > 1))]
Share = Annotated[
    Decimal, PlainValidator(decimal("a number above 0 and at most 1", lambda x: 0 < x <= 1))
]
Drift = Annotated[
    Decimal,
    PlainValidator(
        decimal("a number from 0 to 0.25, such as 0.03", lambda x: 0 <= x <= Decimal("0.25"))
    ),
]
"""Up to 0.25 the cut of the factor at 0.5 is two standard deviations away."""
Percentile = Annotated[
    Decimal, PlainValidator(decimal("a number above 0 and below 100", lambda x: 0 < x < 100))
]
Milliseconds = Annotated[
    Decimal,
    PlainValidator(decimal("a number of milliseconds, not below 0", lambda x: x >= 0, LONGEST_MS)),
]
MillisecondsAbove0 = Annotated[
    Decimal,
    PlainValidator(decimal("a number of milliseconds above 0", lambda x: x > 0, LONGEST_MS)),
]
Seconds = Annotated[
    Decimal,
    PlainValidator(decimal("a number of seconds above 0", lambda x: x > 0, LONGEST_MS / 1000)),
]
Patience = Annotated[Decimal, PlainValidator(patience)]
Rates = Annotated[tuple[Decimal, ...], PlainValidator(rates)]
Points = Annotated[tuple[tuple[Decimal, Decimal], ...], PlainValidator(points)]
