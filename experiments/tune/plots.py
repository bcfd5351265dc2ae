"""The figure of a search: every trial in its order, and what the winner is worth.

What the search saw is drawn as dots, and what was judged on fresh runs with its interval: the two
are told apart, since the best of many trials is partly luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plots import axes_or_new
from experiments.style import INK, styled

from .looks import (
    EDGE,
    axis_name,
    log_where_wide,
    look_of,
    marker,
    palette,
    scale,
    worded,
)
from .rounds import BATCH
from .search import Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .goal import Measure
    from .result import Tuning

FAR = 6.0
"""Trials that are so many times worse than the best are drawn at the edge."""


def in_rounds(tried: Sequence[Tried]) -> list[Tried]:
    """The trials as the policies took turns: the first batch of each, the second of each, ..."""
    order = {name: k for k, name in enumerate(dict.fromkeys(one.setting.name for one in tried))}
    return sorted(tried, key=lambda t: (t.place // BATCH, order[t.setting.name], t.place))


def running_best(tried: Sequence[Tried], objective: int, sign: float) -> np.ndarray:
    """float64 (trials,): the best feasible value so far; NaN before the first one."""
    worth = [
        sign * one.score.values[objective]
        if one.score.feasible and one.score.values is not None
        else math.inf
        for one in tried
    ]
    best = np.minimum.accumulate(np.array(worth, dtype=np.float64))
    best[~np.isfinite(best)] = np.nan
    return sign * best


def history(found: Tuning, objective: int = 0, ax: Axes | None = None) -> Axes:
    """An objective of every trial, the best so far, and what the winner is worth when judged.

    Values that are far worse than the best stand as arrows at the edge of the panel.
    """
    measure = found.goal.objectives[objective]
    times, tried = scale(measure), in_rounds(found.tried)
    with styled():
        axes = axes_or_new(ax, 8.8, 4.3)
        best = times * running_best(tried, objective, measure.sign)
        values = [times * t.score.values[objective] for t in tried if t.score.values is not None]
        far = _far(best, measure.sign)
        handles = _dots(axes, found, tried, objective, far)
        handles += _best_line(axes, best, found)
        handles += _judged_band(axes, found, objective)
        shown = [v for v in values if not _beyond(v, far, measure.sign)]
        log_where_wide(axes, shown)
        if not values and found.winner is None:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no trial has a value", transform=axes.transAxes, ha="center")
        axes.set_xlim(0, len(tried) + 1)
        axes.set_xlabel("trial (policies take turns)")
        axes.set_ylabel(axis_name(measure) + (" (log scale)" if axes.get_yscale() == "log" else ""))
        axes.set_title(_title(measure))
        unit = axis_name(measure).partition(", ")[2]
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), alignment="left",
            title="best of each policy" + (f", {unit}" if unit else ""), handlelength=1.6,
            title_fontproperties={"size": 8.5, "weight": "bold"},
        )  # fmt: skip
        return axes


def _title(measure: Measure) -> str:
    if measure.name == "capacity":
        return f"The search for the {measure.title}"
    return f"The search for the {'most' if measure.sign < 0 else 'least'} {measure.title}"


def _far(best: np.ndarray, sign: float) -> float:
    """The value from which on trials stand at the edge; infinite where nothing is feasible."""
    known = best[np.isfinite(best)]
    if not len(known) or known[-1] <= 0.0:
        return sign * math.inf
    return float(known[-1] * FAR**sign)


def _beyond(value: float, far: float, sign: float) -> bool:
    return sign * value > sign * far


def _dots(
    axes: Axes, found: Tuning, tried: Sequence[Tried], objective: int, far: float
) -> list[Any]:
    """Feasible, infeasible and unstable trials, policy by policy; legend entries, best first."""
    measure = found.goal.objectives[objective]
    times, sign, entries = scale(measure), measure.sign, []
    for name, look in palette(found).items():
        own = [(k + 1, one.score) for k, one in enumerate(tried) if one.setting.name == name]
        if not own:
            continue
        colour, shape = look["color"], marker(look)
        steady = [(x, times * s.values[objective], s.feasible) for x, s in own if s.values]
        near = [each for each in steady if not _beyond(each[1], far, sign)]
        good = [(x, y) for x, y, feasible in near if feasible]
        bad = [(x, y) for x, y, feasible in near if not feasible]
        _plot(axes, bad, shape, colour, hollow=True)
        _plot(axes, good, shape, colour)
        _edge(axes, [x for x, _, _ in steady if (x not in {a for a, _, _ in near})],
              "^" if sign > 0 else "v", colour, 0.955 if sign > 0 else 0.02)  # fmt: skip
        _edge(axes, [x for x, s in own if s.values is None], "|", colour, EDGE)
        best = min((sign * y for _, y in good), default=math.inf)
        text = f"{sign * best:.4g}" if good else "none feasible" if steady else "none"
        shape = shape if steady else "|"
        entries.append((best, _key(f"{name}   {text}", shape, colour, hollow=not good)))
    entries.sort(key=lambda entry: entry[0])
    return [dot for _, dot in entries] + _marks_of(found, tried, axes)


def _plot(
    axes: Axes, points: Sequence[tuple[float, float]], shape: str, colour: str, *,
    hollow: bool = False,
) -> None:  # fmt: skip
    """Feasible trials are full dots, others small and hollow."""
    x, y = _columns(points)
    if hollow:
        axes.plot(x, y, ls="", marker=shape, ms=3, mfc="none", mec=colour, mew=0.7, alpha=0.75)
    else:
        axes.plot(x, y, ls="", marker=shape, ms=4.4, color=colour, mew=0)


def _edge(axes: Axes, x: Sequence[float], shape: str, colour: str, height: float) -> None:
    """Marks at a fixed height of the panel."""
    axes.plot(x, [height] * len(x), ls="", marker=shape, ms=6 if shape == "|" else 3.6, mew=0.9,
              color=colour, mfc="none", transform=axes.get_xaxis_transform())  # fmt: skip


def _key(label: str, shape: str, colour: str, *, hollow: bool = False) -> Any:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker=shape, color=colour, ms=6 if shape == "|" else 4.6,
                  mfc="none" if hollow else colour, mew=0.9, label=label)  # fmt: skip


def _marks_of(found: Tuning, tried: Sequence[Tried], axes: Axes) -> list[Any]:
    """Entries for the marks that are not full dots, as far as there are any."""
    handles = []
    scores = [one.score for one in tried]
    if any(s.values is not None and not s.feasible for s in scores):
        handles.append(_key("breaks a constraint", "o", INK, hollow=True))
    drawn = {str(line.get_marker()) for line in axes.get_lines() if np.size(line.get_xdata())}
    handles += [_key("beyond the panel", s, INK, hollow=True) for s in ("^", "v") if s in drawn]
    if any(s.values is None for s in scores):
        reason = "meets the SLO at no rate" if found.goal.finds_load else "cannot keep up"
        handles.append(_key(reason, "|", INK))
    return handles


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _best_line(axes: Axes, best: np.ndarray, found: Tuning) -> list[Any]:
    """The best feasible value so far, as steps; of a rate it is the lower end, as in the search."""
    known = best[np.isfinite(best)]
    if not len(known):
        return []
    what = "surest rate so far" if found.goal.finds_load else "best so far"
    label = f"{what}, in the end {known[-1]:.4g}"
    places = np.arange(1, len(best) + 1)
    return list(axes.step(places, best, where="post", color=INK, lw=1.1, label=label))


def _judged_band(axes: Axes, found: Tuning, objective: int) -> list[Any]:
    """What the winner is worth on fresh runs: a line in the band of its interval."""
    if found.winner is None:
        return []
    measure, worth = found.goal.objectives[objective], found.winner.worth[objective]
    if worth.value is None:
        return []
    times, colour = scale(measure), look_of(found)[found.winner.name]["color"]
    if worth.low is not None and worth.high is not None:
        axes.axhspan(
            times * worth.low, times * worth.high, color=colour, alpha=0.28, lw=0, zorder=0
        )
    return [
        axes.axhline(
            times * worth.value, color=colour, lw=1.1, ls=(0, (4, 2)),
            label=f"winner, judged {worded(measure, worth)}",
        )
    ]  # fmt: skip
