"""Figures of the tuning of rules of continuous batching: the course, and the main number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.figures import owner, save
from experiments.plots import axes_or_new, legend_right
from experiments.style import INK, looks, plain_ticks, styled
from experiments.tune.looks import axis_name
from experiments.tune.plots import history

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .tune_result import TokenTuning

USUAL = ("max_num_batched_tokens", "chunk_tokens", "max_num_seqs")
"""Numbers that are shown where the search does not say which matters, in this order."""


def axes_of(found: TokenTuning) -> dict[str, Axes]:
    """The figures by name."""
    told: Any = found
    drawn = {"history": history(told)}
    key = main_number(found)
    if key is not None:
        drawn["parameter"] = against(found, key)
    return drawn


def main_number(found: TokenTuning) -> str | None:
    """The number that matters most of the winner's rule, or the most usual one that was tried."""
    varied: dict[str, set[Any]] = {}
    for one in found.tried:
        for key, value in one.setting.table.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                varied.setdefault(key, set()).add(value)
    names = [key for key, values in varied.items() if len(values) > 2]
    best = None if found.winner is None else found.winner.setting
    if best is not None:
        for each in found.importances:
            most = next(iter(each.shares))
            if each.policy in (best.name, best.table["kind"]) and most in names:
                return most
    return next((key for key in USUAL if key in names), names[0] if names else None)


def against(found: TokenTuning, key: str, ax: Axes | None = None) -> Axes:
    """The objective of every trial against a number, a colour a policy; hollow: breaks a target.

    What the search saw is drawn, on one run: for looking at.
    """
    measure = found.goal.objectives[0]
    names = dict.fromkeys(one.setting.name for one in found.tried)
    with styled():
        axes = axes_or_new(ax, 8.2, 4.2)
        for name, look in looks(names).items():
            rows = [
                (float(one.setting.table[key]), one.score.values[0], one.score.feasible)
                for one in found.tried
                if one.setting.name == name
                and key in one.setting.table
                and one.score.values is not None
                and math.isfinite(one.score.values[0])
            ]
            for kept in (True, False):
                own = [(x, y) for x, y, feasible in rows if feasible == kept]
                if own:
                    axes.plot(
                        [x for x, _ in own],
                        [y for _, y in own],
                        "o",
                        color=look["color"],
                        markersize=4.5 if kept else 3.5,
                        markerfacecolor=look["color"] if kept else "none",
                        label=name if kept or not any(f for *_, f in rows) else None,
                    )
        _mark_winner(axes, found, key)
        if axes.get_xlim()[0] > 0 or key in USUAL:
            axes.set_xscale("log")
            plain_ticks(axes)
        axes.set(xlabel=key, ylabel=axis_name(measure))
        axes.set_title(f"{found.scenario['name']}: every trial by its {key}", loc="left")
        if axes.get_legend_handles_labels()[0]:
            legend_right(axes, "policy")
        return axes


def _mark_winner(axes: Axes, found: TokenTuning, key: str) -> None:
    """A ring around the winner, at its judged value."""
    best = found.winner
    if best is None or key not in best.setting.table or best.worth[0].value is None:
        return
    at = (float(best.setting.table[key]), best.worth[0].value)
    axes.plot(*at, "o", markersize=11, markerfacecolor="none", color=INK, label="winner, judged")


def write_figures(found: TokenTuning, folder: Path) -> list[str]:
    """Every figure as PNG and SVG; returns the names of the files."""
    written: list[str] = []
    for name, axes in axes_of(found).items():
        written += save(owner(axes), folder / name)
    return written
