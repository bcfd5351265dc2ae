"""Figures as few digits as a reader wants."""

from __future__ import annotations

import math
from decimal import Decimal


def percent(share: float) -> str:
    """``0.31 %``, ``81 %``, ``99.6 %``."""
    return f"{share:.3g} %" if share >= 99.0 else f"{share:.2g} %"


def tidy_up(value: float) -> Decimal:
    """The next value with two significant digits."""
    power = math.floor(math.log10(value)) - 1
    return Decimal(math.ceil(value / 10.0**power - 1e-9)).scaleb(power)
