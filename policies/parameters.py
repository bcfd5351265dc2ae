"""How rules check their parameters when they are bound: one sentence with the rule and the value.

Rules of this module:

1. ``max_batch_size = 0`` stands for the profile's largest batch, wherever it is allowed.
2. Binding is repeatable: a bound rule bound again to the same profile comes back the same.
3. Arrays come back as copies: int64, contiguous and writable, so that compiled types never change.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .contract import NEVER, FloatArray, IntArray, Tier

NO_VALUES: IntArray = np.zeros(0, dtype=np.int64)
"""Default of an array parameter: nothing was said."""

NO_NUMBERS: FloatArray = np.zeros(0, dtype=np.float64)
"""The same for numbers that need not be whole."""

LOOSE = 10
"""A tier without an objective is held to so many times the loosest of the others: long enough that
the others go first, and not forever."""


def require(holds: bool, rule: str, **values: object) -> None:
    """Raise ``ValueError`` with the rule and the values, unless it holds."""
    if not holds:
        given = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ValueError(f"`{rule}` must hold, but got ({given})")


def within(name: str, value: int, low: int, high: int = NEVER) -> int:
    """``value``, which has to be a whole number from ``low`` to ``high``."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(whole, f"{name} is a whole number", **{name: value})
    rule = f"{low} <= {name}" if high == NEVER else f"{low} <= {name} <= {high}"
    require(low <= value <= high, rule, **{name: value})
    return int(value)


def largest_or(value: int, service_ns: IntArray) -> int:
    """``max_batch_size``, or the profile's largest batch where it is 0."""
    largest = service_ns.shape[0]
    return within("max_batch_size", value, 0, largest) or largest


def whole_array(name: str, values: int | Iterable[int] | IntArray) -> IntArray:
    """A copy as int64 (n,); a single number becomes an array of one."""
    given: NDArray[np.generic] = np.atleast_1d(np.array(values))
    whole = given.ndim == 1 and (given.size == 0 or given.dtype.kind in "iu")
    require(whole, f"{name} is a list of whole numbers", **{name: values})
    return given.astype(np.int64, order="C", copy=True)


def one_per_lane(
    name: str, values: IntArray, lanes: int, low: int, high: int, default: int, what: str = "lane"
) -> IntArray:
    """A value for each lane, or tier: none given means ``default``, a single one is for all."""
    given = whole_array(name, values)
    if given.size == 0:
        given = np.array([default], dtype=np.int64)
    if given.size == 1:
        given = np.repeat(given, lanes)
    many = f" or {lanes}, one a {what}" if lanes > 1 else f": there is one {what}"
    require(given.size == lanes, f"{name} has 1 value{many}", **{name: given.tolist()})
    for value in given.tolist():
        within(name, value, low, high)
    return given


def positive_per_tier(name: str, values: FloatArray, default: FloatArray) -> FloatArray:
    """A number above 0 for each tier, float64 (tiers,); none given means the default."""
    given: FloatArray = np.atleast_1d(np.array(values, dtype=np.float64))
    if given.size == 0:
        given = default
    tiers = len(default)
    rule = f"{name} has a value for each of the {tiers} tiers"
    require(given.shape == default.shape, rule, **{name: given.tolist()})
    good = bool((np.isfinite(given) & (given > 0.0)).all())
    require(good, f"{name} > 0", **{name: given.tolist()})
    return given


def whole_boundaries(boundaries: int | Iterable[int] | IntArray) -> IntArray:
    """Boundaries between length buckets, int64 (buckets - 1,); none given: one bucket."""
    given = whole_array("boundaries", boundaries)
    require(
        bool((given >= 1).all() and (given[1:] > given[:-1]).all()),
        "boundaries are positive and increasing",
        boundaries=given.tolist(),
    )
    return given


def interactive_tiers(interactive: IntArray, tiers: tuple[Tier, ...]) -> IntArray:
    """The tiers named, int64, or else those with an SLO, or else the first."""
    given = whole_array("interactive", interactive)
    if given.size == 0:
        found = [number for number, tier in enumerate(tiers) if tier.slo_ns < NEVER]
        return np.array(found or [0], dtype=np.int64)
    for tier in given.tolist():
        within("interactive", tier, 0, len(tiers) - 1)
    return np.unique(given)


def tightest_slo_ns(slo_ns: int, tiers: tuple[Tier, ...]) -> int:
    """The objective given, or the tightest among the tiers where it is 0."""
    if within("slo_ns", slo_ns, 0) == 0:
        slo_ns = min(tier.slo_ns for tier in tiers)
    require(0 < slo_ns < NEVER, "slo_ns > 0, or a tier has an SLO", slo_ns=slo_ns % NEVER)
    return int(slo_ns)


def slo_per_tier_ns(slo_ns: int, tiers: tuple[Tier, ...]) -> IntArray:
    """Objective of each tier, int64 (tiers,): ``slo_ns`` for all where it is given.

    A tier without an objective is held to the loosest of the others, so that none waits forever.
    """
    tightest = tightest_slo_ns(slo_ns, tiers)
    if slo_ns > 0:
        return np.full(len(tiers), tightest, dtype=np.int64)
    loosest = max(tier.slo_ns for tier in tiers if tier.slo_ns < NEVER)
    return np.array([min(tier.slo_ns, loosest) for tier in tiers], dtype=np.int64)


def deadlines_of_tiers(slo_ns: IntArray, default_ns: int, tiers: tuple[Tier, ...]) -> IntArray:
    """Objective of each tier, int64 (tiers,), where those given go before their own.

    A tier without one is held to ``default_ns``, or where that is 0 to 10 times the loosest; a
    backlog has none: NEVER.
    """
    within("default_slo_ns", default_ns, 0)
    given = whole_array("slo_ns", slo_ns)
    if given.size:
        return one_per_lane("slo_ns", given, len(tiers), 1, NEVER, NEVER, "tier")
    known = [tier.slo_ns for tier in tiers if tier.slo_ns < NEVER]
    rule = "a tier has an SLO, or slo_ms or default_slo_ms is given"
    require(bool(known) or default_ns > 0, rule, default_slo_ns=default_ns)
    rest = default_ns or min(LOOSE * max(known), NEVER)
    found = [rest if tier.slo_ns == NEVER and not tier.backlog else tier.slo_ns for tier in tiers]
    return np.array(found, dtype=np.int64)
