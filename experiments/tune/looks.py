"""How settings look in the figures of tuning: one colour a policy, and the names of axes.

1. A setting has the colour of its policy in every figure; baselines are grey.
2. Where there are more policies than colours, the second round has diamonds in place of dots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.style import looks, plain_ticks
from experiments.wording import with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sim.intervals import Estimate

    from .goal import Measure
    from .judging import Judged
    from .result import Tuning

WIDE = 4.0
"""Values that differ by more than this factor are drawn on a log axis."""

EDGE = 0.985
"""Where marks stand that have no value, as a share of the panel."""

BEST_AT = "best_at_"
"""The names of settings that the search found best at one of several loads begin so."""

SHARES = ("busy", "useful", "padding", "attainment")
"""Measures that are written in per cent."""


def palette(found: Tuning) -> dict[str, dict[str, Any]]:
    """Colour and dashes by the name of a policy."""
    tried = (one.setting.name for one in found.tried)
    return looks(dict.fromkeys([*tried, *(one.setting.name for one in found.judged)]))


def look_of(found: Tuning) -> dict[str, dict[str, Any]]:
    """Colour and dashes by the name of a judged setting: those of its policy."""
    known = palette(found)
    return {one.name: known[one.setting.name] for one in found.judged}


def marker(look: dict[str, Any]) -> str:
    """A dot, or a diamond in the second round of the colours."""
    return "D" if look["linestyle"] == "--" else "o"


def axis_name(measure: Measure) -> str:
    """A measure with its unit: ``p99 latency of interactive, ms``."""
    if measure.name in SHARES:
        return f"{measure.title}, %"
    unit = measure.word.unit
    title = measure.title
    if measure.word.statistic.startswith("latency_ms.p"):
        title = title.replace(measure.word.title, f"{measure.word.title} latency", 1)
    if unit == "/s":
        return f"{title}, requests/s"
    return f"{title}, {unit}" if unit else title


def scale(measure: Measure) -> float:
    """From the unit of a measure to that of its axis."""
    return 100.0 if measure.name in SHARES else 1.0


def worded(measure: Measure, estimate: Estimate) -> str:
    """A value with its interval in the unit of its axis: ``8.79 ± 0.09 ms``."""
    unit = "%" if measure.name in SHARES else measure.word.unit
    text = with_interval(estimate.scaled(scale(measure)))
    return f"{text} {unit}" if unit and estimate.value is not None else text


def log_where_wide(axes: Axes, values: Sequence[float], which: str = "y") -> None:
    """A log axis where the values differ much and are all positive."""
    known = [value for value in values if math.isfinite(value)]
    if not known or min(known) <= 0.0 or max(known) < WIDE * min(known):
        return
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    plain_ticks(axes, which)


def is_best_at(one: Judged) -> bool:
    """Whether a setting is judged because the search found it best at one of several loads."""
    return len(one.loads) > 1 and one.role == "tuned" and one.name.startswith(BEST_AT)


def in_order(found: Tuning) -> list[Judged]:
    """The winner, finalists, the best at each load, baselines, present settings, the optimum."""

    def place(one: Judged) -> int:
        if one is found.winner:
            return 0
        if is_best_at(one):
            return 2
        return {"tuned": 1, "baseline": 3, "present": 4, "optimal": 5}[one.role]

    return sorted(found.judged, key=place)
