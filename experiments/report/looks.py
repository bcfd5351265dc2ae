"""Colours of series: those of the other figures, by CSS, so that they follow the dark mode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from experiments.style import BASELINE_LOOKS, PALETTE, looks

DARK = ("#66a9e8", "#ffb733", "#ef5a42", "#b57be0", "#c48f80", "#ff8a3d", "#cfc48b", "#92dadd")
"""The palette on a dark ground: the same hues, light enough to be seen."""

DARK_BASELINES = ("#d5d9df", "#a3a8b3", "#7f8d8b")
"""Greys in the order of :data:`experiments.style.BASELINE_LOOKS`."""


class Look(NamedTuple):
    """How a series is drawn."""

    tone: str
    """A class of the style sheet that sets ``--c``."""
    dashes: str | None = None


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """By name; the same names in the same order look as they do in the other figures."""
    greys = [colour for colour, _ in BASELINE_LOOKS.values()]
    found = {}
    for name, look in looks(names).items():
        colour, style = look["color"], look["linestyle"]
        place = greys.index(colour) if colour in greys else PALETTE.index(colour)
        tone = f"{'g' if colour in greys else 's'}{place}"
        found[name] = Look(tone, dashes_of(style))
    return found


def dashes_of(style: object) -> str | None:
    """A line style of matplotlib as SVG writes it."""
    if isinstance(style, tuple):
        return " ".join(f"{2 * part:g}" for part in style[1])
    return "6 3" if style == "--" else None


def colour_rules() -> str:
    """Custom properties of all colours, light and dark, and a class for each."""
    names = [f"s{place}" for place in range(len(PALETTE))]
    greys = [f"g{place}" for place in range(len(BASELINE_LOOKS))]
    light = [*PALETTE, *(colour for colour, _ in BASELINE_LOOKS.values())]
    dark = [*DARK, *DARK_BASELINES]
    every = [*names, *greys]
    classes = "".join(f".{name}{{--c:var(--{name})}}" for name in every)
    return (
        f":root{{{properties(every, light)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{properties(every, dark)}}}}}\n"
        f"{classes}\n"
    )


def properties(names: Iterable[str], colours: Iterable[str]) -> str:
    """``--s0:#3f90da;...``."""
    return "".join(f"--{name}:{colour};" for name, colour in zip(names, colours, strict=True))
