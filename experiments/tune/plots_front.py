"""The figure of two objectives: what was tried, and the judged front with its intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from experiments.plots import Panels, axes_or_new, legend_right, panels_or_new
from experiments.style import FAINT, INK, figure, styled

from .looks import axis_name, in_order, log_where_wide, look_of, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .goal import Measure
    from .judging import Judged
    from .result import Tuning

MOST_NAMED = 8
"""Settings on the front that are named one by one; of more, each policy is."""

LIMIT = "#bd1f01"
"""The colour of what must not be exceeded."""

SHAPES = {"baseline": "s", "present": "P", "optimal": "d"}
"""Marks of those that are not on the front by search."""


def front(found: Tuning, first: int = 0, second: int = 1, ax: Axes | None = None) -> Axes:
    """Two objectives against each other: trials grey, judged settings with both intervals.

    Raises:
        ValueError: there is one objective.
    """
    _two(found)
    with styled():
        axes = axes_or_new(ax, 8.6, 4.6)
        _panel(axes, found, first, second)
        axes.set_title("What the objectives cost each other")
        legend_right(axes, "judged on fresh runs")
        return axes


def fronts(found: Tuning, ax: Panels | None = None) -> list[Axes]:
    """Every pair of objectives, side by side.

    Raises:
        ValueError: there is one objective, or there are not as many axes as pairs.
    """
    _two(found)
    pairs = list(combinations(range(len(found.goal.objectives)), 2))
    given = None if ax is None else panels_or_new(ax, len(pairs))[1]
    if len(pairs) == 1:
        return [front(found, ax=None if given is None else given[0])]
    columns = min(3, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    with styled():
        if given is None:
            drawn = figure(4.1 * columns + 1.9, 3.9 * rows)
            given = list(drawn.subplots(rows, columns, squeeze=False).flat)
        panels = given
        for axes, (first, second) in zip(panels, pairs, strict=False):
            _panel(axes, found, first, second)
        for spare in panels[len(pairs) :]:
            spare.remove()
        panels[0].set_title("What the objectives cost each other")
        right = panels[min(columns, len(pairs)) - 1]
        right.legend(
            handles=panels[0].get_legend_handles_labels()[0], loc="upper left",
            bbox_to_anchor=(1.01, 1.0), title="judged on fresh runs", alignment="left",
            title_fontproperties={"size": 8.5, "weight": "bold"},
        )  # fmt: skip
        return panels[: len(pairs)]


def _two(found: Tuning) -> None:
    if len(found.goal.objectives) < 2:
        raise ValueError(
            "a front needs two objectives: give them as tune.objective = "
            f'["{found.goal.objectives[0].name}", "busy"]'
        )


def _panel(axes: Axes, found: Tuning, first: int, second: int) -> None:
    """One pair of objectives."""
    pair = (found.goal.objectives[first], found.goal.objectives[second])
    times = (scale(pair[0]), scale(pair[1]))
    tried = [
        (times[0] * one.score.values[first], times[1] * one.score.values[second])
        for one in found.tried
        if one.score.feasible and one.score.values is not None
    ]
    axes.plot([x for x, _ in tried], [y for _, y in tried], ls="", marker="o", ms=3.4,
              color="#b4b9c1", mew=0, zorder=1, label=f"{len(tried)} feasible trials")  # fmt: skip
    shown = [one for one in in_order(found) if _has_both(one, first, second)]
    ranked = sorted(shown, key=lambda one: pair[0].sign * (one.worth[first].value or 0.0))
    look, on_front = look_of(found), {one.name for one in found.front}
    labels = _labels(found, ranked)
    for one in ranked:
        if one.role != "tuned" or one.name in on_front or one is found.winner:
            _mark(axes, found, one, (first, second), look[one.name]["color"], labels[one.name])
    _limits(axes, found, pair)
    if len(found.goal.objectives) == 2:
        line = [(times[0] * (one.worth[0].value or 0.0), times[1] * (one.worth[1].value or 0.0))
                for one in found.front if _has_both(one, 0, 1)]  # fmt: skip
        axes.plot([x for x, _ in line], [y for _, y in line], color=INK, lw=0.9, zorder=2,
                  drawstyle="steps-post")  # fmt: skip
    xs = [x for x, _ in tried] + [times[0] * (one.worth[first].value or 0.0) for one in shown]
    ys = [y for _, y in tried] + [times[1] * (one.worth[second].value or 0.0) for one in shown]
    log_where_wide(axes, xs, "x")
    log_where_wide(axes, ys, "y")
    axes.set_xlabel(axis_name(pair[0]) + (" (log scale)" if axes.get_xscale() == "log" else ""))
    axes.set_ylabel(axis_name(pair[1]) + (" (log scale)" if axes.get_yscale() == "log" else ""))


def _labels(found: Tuning, settings: Sequence[Judged]) -> dict[str, str]:
    """Names in the legend, with what is special; of many on the front each policy stands once."""
    on_front = {one.name for one in found.front}
    many = [one for one in settings if one.role == "tuned" and one.name in on_front]
    together = len(many) > MOST_NAMED
    counts = Counter(one.setting.name for one in many if one is not found.winner)
    named, labels = set(), {}
    for one in settings:
        if together and one.role == "tuned" and one is not found.winner:
            policy = one.setting.name
            labels[one.name] = "" if policy in named else f"{policy}: {counts[policy]} on the front"
            named.add(policy)
            continue
        notes = [text for text, true in (
            ("winner", one is found.winner),
            ("breaks a constraint", not one.feasible),
            ("front", one.name in on_front and one.role != "tuned" and one is not found.winner),
        ) if true]  # fmt: skip
        labels[one.name] = one.name + (f" ({', '.join(notes)})" if notes else "")
    return labels


def _limits(axes: Axes, found: Tuning, pair: tuple[Measure, Measure]) -> None:
    """Lines at the SLO of a tier's percentile, and at what no rule can exceed of a backlog."""
    for measure, draw in zip(pair, (axes.axvline, axes.axhline), strict=True):
        bound = found.scenario.get("backlogs", {}).get(measure.tier)
        if bound is not None and measure.name == "throughput":
            per_s = float(bound["bound_per_s"])
            draw(per_s, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=0.8,
                 label=f"no rule above {per_s:.4g}/s")  # fmt: skip
        slo_ms = found.goal.slos_ms.get((measure.name, measure.tier))
        if slo_ms is not None:
            draw(slo_ms, color=LIMIT, lw=0.9, ls=(0, (4, 3)), alpha=0.7, zorder=0.8,
                 label=f"SLO {slo_ms:g} ms")  # fmt: skip


def _has_both(one: Judged, first: int, second: int) -> bool:
    return one.stable and None not in (one.worth[first].value, one.worth[second].value)


def _mark(
    axes: Axes, found: Tuning, one: Judged, which: tuple[int, int], colour: str, label: str
) -> None:
    """One judged setting with its intervals."""
    measures = [found.goal.objectives[k] for k in which]
    x, y = (one.worth[k].scaled(scale(m)) for k, m in zip(which, measures, strict=True))
    assert x.value is not None, "it is known"
    assert y.value is not None, "it is known"
    ends: dict[str, Any] = {}
    for name, found_at in (("xerr", x), ("yerr", y)):
        if found_at.low is not None and found_at.high is not None and found_at.value is not None:
            low, high = found_at.value - found_at.low, found_at.high - found_at.value
            ends[name] = [[max(low, 0.0)], [max(high, 0.0)]]
    winner = one is found.winner
    shape = "*" if winner else SHAPES.get(one.role, "o")
    size = 14 if winner else 6
    axes.errorbar(
        x.value, y.value, **ends, color=colour, marker=shape, ms=size, ls="", elinewidth=1.0,
        mec="white" if one.feasible else colour, mfc=colour if one.feasible else "white",
        mew=0.6 if one.feasible else 1.0, label=label or None, zorder=5 if winner else 4,
        ecolor=colour if one.feasible else FAINT,
    )  # fmt: skip
