"""The figures of a search: every trial in its order, and regret over loads.

What the search saw is drawn as dots, and what was judged on fresh runs with its interval: the two
are told apart, since the best of many trials is partly luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plots import axes_or_new, legend_right
from experiments.style import INK, styled

from .looks import (
    axis_name,
    in_order,
    is_best_at,
    log_where_wide,
    look_of,
    marker,
    palette,
    scale,
    worded,
)
from .search import BATCH, Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .result import Tuning

EDGE = 0.985
"""Where marks stand that have no value, as a share of the panel."""


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
    """An objective of every trial, the best so far, and what the winner is worth when judged."""
    measure = found.goal.objectives[objective]
    times, tried = scale(measure), in_rounds(found.tried)
    with styled():
        axes = axes_or_new(ax, 8.6, 4.3)
        handles = _dots(axes, found, tried, objective)
        best = times * running_best(tried, objective, measure.sign)
        handles += _best_line(axes, best)
        handles += _judged_band(axes, found, objective)
        values = [times * t.score.values[objective] for t in tried if t.score.values is not None]
        log_where_wide(axes, values)
        axes.set_xlim(0, len(tried) + 1)
        axes.set_xlabel("trial (policies take turns)")
        axes.set_ylabel(axis_name(measure) + _log(axes))
        axes.set_title(f"The search for {'most' if measure.sign < 0 else 'least'} {measure.title}")
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), alignment="left",
            title="best of each policy", handlelength=1.6,
            title_fontproperties={"size": 8.5, "weight": "bold"},
        )  # fmt: skip
        return axes


def _log(axes: Axes) -> str:
    return " (log scale)" if axes.get_yscale() == "log" else ""


def _dots(axes: Axes, found: Tuning, tried: Sequence[Tried], objective: int) -> list[Any]:
    """Feasible, infeasible and unstable trials, policy by policy; legend entries, best first."""
    from matplotlib.lines import Line2D

    measure = found.goal.objectives[objective]
    times, entries = scale(measure), []
    for name, look in palette(found).items():
        own = [(k + 1, one.score) for k, one in enumerate(tried) if one.setting.name == name]
        if not own:
            continue
        colour, shape = look["color"], marker(look)
        steady = [(x, s.values[objective], s.feasible) for x, s in own if s.values is not None]
        good = [(x, times * y) for x, y, feasible in steady if feasible]
        bad = [(x, times * y) for x, y, feasible in steady if not feasible]
        lost = [x for x, s in own if s.values is None]
        axes.plot(*_columns(bad), ls="", marker=shape, ms=3, mfc="none", mec=colour, mew=0.7,
                  alpha=0.75)  # fmt: skip
        axes.plot(*_columns(good), ls="", marker=shape, ms=4.4, color=colour, mew=0)
        axes.plot(lost, [EDGE] * len(lost), ls="", marker="|", ms=6, mew=0.9, color=colour,
                  transform=axes.get_xaxis_transform())  # fmt: skip
        best = min((measure.sign * y for _, y in good), default=math.inf)
        text = f"{measure.sign * best:.4g}" if good else "none feasible" if steady else "unstable"
        dot = Line2D([], [], ls="", marker=shape, color=colour, ms=4.8, label=f"{name}   {text}")
        entries.append((best, dot))
    entries.sort(key=lambda entry: entry[0])
    handles = [dot for _, dot in entries]
    scores = [one.score for one in tried]
    if any(s.values is not None and not s.feasible for s in scores):
        handles.append(Line2D([], [], ls="", marker="o", ms=3.2, mfc="none", mec=INK, mew=0.8,
                              label="breaks a constraint"))  # fmt: skip
    if any(s.values is None for s in scores):
        reason = "meets the SLO at no rate" if found.goal.finds_load else "cannot keep up"
        handles.append(Line2D([], [], ls="", marker="|", ms=6, color=INK, label=reason))
    return handles


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _best_line(axes: Axes, best: np.ndarray) -> list[Any]:
    """The best feasible value so far, as steps."""
    known = best[np.isfinite(best)]
    if not len(known):
        return []
    label = f"best so far, in the end {known[-1]:.4g}"
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


def regret(found: Tuning, ax: Axes | None = None) -> Axes:
    """How much worse than the best at each load: the winner, baselines and the best per load.

    Raises:
        ValueError: the tuning is for one load.
    """
    if not has_regret(found):
        raise ValueError("regret is over several loads: give tune.loads = [0.3, 0.5, 0.7]")
    with styled():
        axes = axes_or_new(ax, 8.6, 4.3)
        look = look_of(found)
        drawn = [
            one
            for one in in_order(found)
            if one is found.winner or one.role == "baseline" or is_best_at(one)
        ]
        drawn.sort(key=lambda one: max(found.regret[one.name]))
        for one in drawn:
            _regret_line(axes, found, one, look[one.name]["color"])
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.5)
        axes.set_yticks([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_locator(_none())
        worst = max(
            (100 * r for one in drawn for r in found.regret[one.name] if math.isfinite(r)),
            default=1.0,
        )
        axes.set_ylim(-0.15, max(1.6 * worst, 2.0))
        axes.set_xlabel("load (share of the largest possible rate)")
        measure = found.goal.objectives[0]
        axes.set_ylabel(f"{measure.title} worse than the best at that load, %")
        axes.set_title("Regret over the loads")
        legend_right(axes, "largest regret")
        return axes


def has_regret(found: Tuning) -> bool:
    """Whether there is regret to draw."""
    return bool(found.judged) and len(found.judged[0].loads) > 1 and bool(found.regret)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _regret_line(axes: Axes, found: Tuning, one: Any, colour: str) -> None:
    """One setting: a gap where it is unstable, with a tick at the upper edge."""
    each = found.regret[one.name]
    loads = [load if load is not None else math.nan for load in one.loads]
    y = [100 * r if math.isfinite(r) else math.nan for r in each]
    worst = max(each)
    text = "unstable" if math.isinf(worst) else f"{100 * worst:.2g} %"
    winner, single = one is found.winner, is_best_at(one)
    style: dict[str, Any] = {"lw": 1.3, "ls": "-", "marker": "o", "ms": 3.2}
    if winner:
        style = {"lw": 2.6, "ls": "-", "marker": "o", "ms": 6.0, "zorder": 4}
    elif single:
        style = {"lw": 1.1, "ls": (0, (4, 2)), "marker": "o", "ms": 3.2}
    name = f"{one.name} (winner)" if winner else one.name
    axes.plot(loads, y, color=colour, label=f"{name}   {text}", **style)
    lost = [x for x, r in zip(loads, each, strict=True) if math.isinf(r)]
    axes.plot(lost, [EDGE] * len(lost), ls="", marker="x", ms=5, color=colour,
              transform=axes.get_xaxis_transform())  # fmt: skip
    if single:
        home = float(one.name.removeprefix("best_at_").partition("_")[0])
        at = [(x, v) for x, v in zip(loads, y, strict=True) if math.isclose(x, home)]
        axes.plot(*_columns(at), ls="", marker="*", ms=10, color=colour, mec="white", zorder=5)
