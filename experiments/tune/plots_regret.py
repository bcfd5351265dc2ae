"""The figure of regret: what one setting for all loads costs at each of them."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

from experiments.plots import axes_or_new, legend_right
from experiments.style import INK, styled

from .looks import EDGE, in_order, is_best_at, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .judging import Judged
    from .result import Tuning

SHAPES = ("^", "v", "D", "P", "X", "<", ">", "h")
"""Marks of the best settings for one load: of one policy, they share its colour."""


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
        shapes = cycle(SHAPES)
        for one in drawn:
            shape = next(shapes) if is_best_at(one) else "o"
            _regret_line(axes, found, one, look[one.name], shape)
        axes.set_yscale("symlog", linthresh=1.0, linscale=0.5)
        axes.set_yticks([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_locator(_none())
        worst = max(
            (100 * r for one in drawn for r in found.regret[one.name] if math.isfinite(r)),
            default=1.0,
        )
        axes.set_ylim(-0.15, max(1.6 * worst, 2.0))
        axes.set_xticks([x for x in found.judged[0].loads if x is not None])
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.set_xlabel("load (share of the largest possible rate)")
        measure = found.goal.objectives[0]
        axes.set_ylabel(f"{measure.title} worse than the best setting there, %")
        axes.set_title("Regret over the loads")
        if any(math.isinf(max(found.regret[one.name])) for one in drawn):
            axes.plot([], [], ls="", marker="x", ms=5, color=INK, label="cannot keep up")
        legend_right(axes, "largest regret")
        return axes


def has_regret(found: Tuning) -> bool:
    """Whether there is regret to draw."""
    return bool(found.judged) and len(found.judged[0].loads) > 1 and bool(found.regret)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _regret_line(axes: Axes, found: Tuning, one: Judged, look: dict[str, Any], shape: str) -> None:
    """One setting: a gap where it is unstable, with a tick at the upper edge."""
    each, colour = found.regret[one.name], look["color"]
    loads = [load if load is not None else math.nan for load in one.loads]
    y = [100 * r if math.isfinite(r) else math.nan for r in each]
    worst = max(each)
    text = "unstable" if math.isinf(worst) else f"{100 * worst:.2g} %"
    winner, single = one is found.winner, is_best_at(one)
    style: dict[str, Any] = {"lw": 1.3, "ls": look["linestyle"], "marker": "o", "ms": 3.2}
    if winner:
        style = {"lw": 2.6, "ls": "-", "marker": "o", "ms": 6.0, "zorder": 4}
    elif single:
        style = {"lw": 1.1, "ls": (0, (4, 2)), "marker": shape, "ms": 4.5}
    name = f"{one.name} (winner)" if winner else one.name
    axes.plot(loads, y, color=colour, label=f"{name}   {text}", **style)
    lost = [x for x, r in zip(loads, each, strict=True) if math.isinf(r)]
    axes.plot(lost, [EDGE] * len(lost), ls="", marker="x", ms=5, color=colour,
              transform=axes.get_xaxis_transform())  # fmt: skip
    if single:
        home = float(one.name.removeprefix("best_at_").partition("_")[0])
        at = [(x, v) for x, v in zip(loads, y, strict=True) if math.isclose(x, home)]
        x, v = [place for place, _ in at], [value for _, value in at]
        axes.plot(x, v, ls="", marker="*", ms=10, color=colour, mec="white", zorder=5)
