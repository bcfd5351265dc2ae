"""Evidence of a cause."""

from __future__ import annotations

from typing import NamedTuple

from .world import World


class Sign(NamedTuple):
    """What was seen, and the world without the cause."""

    words: str
    world: World


def hundred(share: float) -> str:
    """``63 %``."""
    return f"{100 * share:.0f} %"


def ms(ns: float) -> str:
    """``12.3 ms`` with three digits, and seconds from ten on."""
    return f"{ns / 1e6:.3g} ms" if ns < 1e10 else f"{ns / 1e9:.3g} s"
