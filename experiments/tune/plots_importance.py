"""The figure of the numbers that matter: one panel a policy, one bar a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.plots import Panels, panels_or_new
from experiments.style import INK, figure, styled

from .importance import Importance, importances
from .looks import palette, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .goal import Measure
    from .result import Tuning

WIDEST = 1.05
"""A mark further right is an arrow there."""


def importance(found: Tuning, objective: int = 0, ax: Panels | None = None) -> list[Axes]:
    """Which number of each policy matters, one panel a policy, the best policy first.

    Raises:
        ValueError: no policy has enough settings, or there are not as many axes as policies.
    """
    known = importances(found, objective)
    if not known:
        raise ValueError(
            "no policy was tried often enough to say which of its numbers matters: give more "
            "trials, as tune.trials = 500"
        )
    with styled():
        look = palette(found)
        measure = found.goal.objectives[objective]
        panels = panels_or_new(ax, len(known))[1] if ax is not None else _panels(known, measure)
        for axes, one in zip(panels, known, strict=True):
            _bars(axes, one, look[one.policy]["color"], measure)
        panels[-1].set_xlim(0, WIDEST + 0.03)
        panels[-1].set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100"])
        panels[-1].set_xlabel(
            "share of what separates the best settings from the others, %\n"
            "(mark: what chance alone exceeds once in 20 times; pale: not beyond it)"
        )
        return panels


def _panels(known: Sequence[Importance], measure: Measure) -> list[Axes]:
    """Of a new figure, as high as they have bars."""
    bars = [len(one.shares) for one in known]
    drawn = figure(7.6, 0.9 + sum(0.3 * count + 0.55 for count in bars))
    drawn.suptitle(
        f"Which number matters for {measure.title}", x=0.01, ha="left", fontsize=11,
        fontweight="bold", color=INK,
    )  # fmt: skip
    ratios = {"height_ratios": [count + 0.4 for count in bars]}
    panels = drawn.subplots(len(known), 1, sharex=True, squeeze=False, gridspec_kw=ratios)
    return list(panels[:, 0])


def _bars(axes: Axes, one: Importance, colour: str, measure: Measure) -> None:
    """One policy: a bar a number, pale where chance explains it."""
    times = scale(measure)
    unit = "%" if times != 1.0 else measure.word.unit
    keys = list(one.shares)[::-1]
    for place, key in enumerate(keys):
        share, chance = one.shares[key], one.chance[key]
        axes.barh(place, share, height=0.62, color=colour, lw=0, alpha=1 if share > chance else 0.3)
        if chance > WIDEST:
            axes.plot([WIDEST], [place], ls="", marker=">", ms=5, color=INK)
        else:
            axes.plot([chance] * 2, [place - 0.36, place + 0.36], color=INK, lw=1.3)
    axes.set_yticks(range(len(keys)), [_worded(key) for key in keys])
    axes.set_ylim(-0.6, len(keys) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    span = f"{times * one.best:.4g} to {times * one.worst:.4g} {unit}".strip()
    axes.set_title(
        f"{one.policy}: best {one.top} of {one.settings} settings; feasible ones have {span}",
        fontsize=9, fontweight="normal",
    )  # fmt: skip


def _worded(key: str) -> str:
    """A key without underscores: ``max wait, ms``, or ``max wait of offline, ms``."""
    name, of, tier = key.partition(" of ")
    unit = ", ms" if name.endswith("_ms") else ""
    return name.removesuffix("_ms").replace("_", " ") + of + tier + unit
