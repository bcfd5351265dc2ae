"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim.sections import WARM_UP

if TYPE_CHECKING:
    from sim.intervals import Difference, Estimate


def half_width(found: Estimate | Difference) -> float | None:
    """Half of an interval's width; None without one."""
    if found.low is None or found.high is None:
        return None
    return (found.high - found.low) / 2


def with_interval(found: Estimate) -> str:
    """``14.62 ± 0.08``: as many digits as the interval supports, or how many requests it needs."""
    if found.value is None:
        return "-" if found.needs is None else f"needs {short(whole_run(found.needs))}"
    half = half_width(found)
    if not half:
        return f"{found.value:.4g}"
    digits = decimals(found.value, half)
    return f"{found.value:.{digits}f} ± {shown_half(half, digits):.{digits}f}"


def whole_run(needs: int) -> int:
    """Requests of a run that has so many after its warm-up."""
    return math.ceil(needs / (1 - WARM_UP))


def decimals(value: float, half: float) -> int:
    """Decimal places that show a half-width with one digit, and a value with at most four."""
    by_half = -math.floor(math.log10(half))
    by_value = 3 - math.floor(math.log10(abs(value))) if value else by_half
    return max(0, min(by_half, by_value))


def shown_half(half: float, digits: int) -> float:
    """A half-width with so many decimals, and never nothing."""
    return max(round(half, digits), 10.0**-digits)


def amount(value: float) -> str:
    """Two significant digits, and whole numbers from 100 on."""
    return f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.2g}"


def signed(found: Difference) -> str:
    """``+3.6 ± 0.2``, ``tie``, or a dash."""
    half = half_width(found)
    if found.verdict == "tie":
        return "tie"
    if found.value is None or not half:
        return "-" if found.value is None else f"{found.value:+.3g}"
    digits = decimals(found.value, half)
    return f"{found.value:+.{digits}f} ± {shown_half(half, digits):.{digits}f}"


def short(count: float) -> str:
    """``1.2M``, ``112k``, ``900``: rounded up, so that it suffices."""
    if count >= 1e6:
        return f"{math.ceil(count / 1e5) / 10:g}M"
    return f"{math.ceil(count / 1e3)}k" if count >= 1e3 else f"{count:.0f}"


def percent(value: float | None) -> str:
    """A share as ``97.3 %``, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"


def hundred(value: float | None) -> str:
    """A share in per cent without its sign, for columns that name it; or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def settings_text(settings: Mapping[str, Any]) -> str:
    """``servers 2, load 0.7``: the last part of each key and its value."""
    return ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in settings.items())


def shown(value: Any) -> str:
    """A setting's value: numbers without trailing zeros."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def joined(names: list[str] | tuple[str, ...]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
