"""The figures of a sweep: a latency against a swept key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import axes_or_new, legend_right, mark_slo
from .plots_sweep_names import by_name
from .style import figure, looks, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .results import Sweep

FAR = 30.0
"""A dotted line towards instability ends so many times above the panel."""


def latency_against(
    sweep: Sweep, key: str | None = None, measure: str = "p99", ax: Axes | None = None,
    title: str = "", look: Mapping[str, dict[str, Any]] | None = None,
    slo: bool = True,
) -> Axes:  # fmt: skip
    """A latency against a swept key, one line a policy; dotted towards where it is unstable.

    Args:
        sweep: the result of :func:`experiments.compare.sweep`.
        key: one of its keys; the first where None.
        measure: ``mean``, ``p50``, ``p90``, ``p95``, ``p99`` or ``p999``.
        ax: where to draw; a new figure where None.
        title: above the panel.
        look: colour and dashes of each policy; by default those of their order.
        slo: whether a line shows the latency target, where there is one.
    """
    chosen = sweep.key_called(key)
    with styled():
        axes = axes_or_new(ax, 7.6, 4.3)
        look = look or looks(sweep.policies)
        if not sweep.is_numeric(chosen):
            by_name(axes, sweep, chosen, measure, look, slo)
            _name_axes(axes, chosen, measure, title)
            return axes
        ends: list[tuple[str, float, float, float]] = []
        known = False
        for name in sweep.policies:
            points = sweep.line(chosen, name, measure)
            steady = [p for p in points if p.value is not None]
            known = known or bool(steady)
            x = [p.x for p in steady]
            y = np.array([p.value for p in steady], dtype=float)
            half = np.array([p.half_width or 0.0 for p in steady])
            axes.plot(x, y, marker="o", markersize=3.2, label=name, **look[name])
            axes.fill_between(
                x, np.maximum(y - half, y * 0.02), y + half, color=look[name]["color"], alpha=0.16,
                linewidth=0,
            )  # fmt: skip
            beyond = [p.x for p in points if steady and p.x > x[-1] and not p.stable]
            if beyond:
                ends.append((name, x[-1], float(y[-1]), beyond[0]))
        axes.set_yscale("log" if known else "linear")  # a log axis needs something on it
        top = axes.get_ylim()[1]
        for name, x_last, y_last, x_next in ends:
            axes.plot(
                [x_last, x_next], [y_last, FAR * top], color=look[name]["color"], linewidth=1.1,
                linestyle=(0, (1, 1.6)), scalex=False, scaley=False,
            )  # fmt: skip
        axes.set_ylim(top=top)
        if known:
            plain_ticks(axes, "y")
        if slo:
            mark_slo(axes, sweep.outcomes, upright=False)
        _name_axes(axes, chosen, measure, title)
        legend_right(axes, "policy")
        return axes


def _name_axes(axes: Axes, key: str, measure: str, title: str) -> None:
    axes.set_xlabel(axis_name(key))
    axes.set_ylabel(f"{measure} latency, ms (log scale)")
    axes.set_title(title or f"{measure} latency against {axis_name(key)}")


def axis_name(key: str) -> str:
    """A scenario key in words."""
    known = {
        "workload.arrivals.load": "load (share of the largest possible rate)",
        "workload.arrivals.rate_per_s": "arrival rate, requests/s",
        "service.servers": "servers",
        "service.cluster.router": "router",
    }
    return known.get(key, key)


def load_figure(sweep: Sweep, key: str | None = None) -> Figure:
    """Mean and p99 latency against a swept key, side by side; the mean alone without a p99."""
    known = any(o.value("latency_ms.p99") is not None for o in sweep.outcomes)
    with styled():
        drawn = figure(10.4 if known else 7.6, 4.2)
        if not known:
            latency_against(sweep, key, "mean", drawn.add_subplot())
            return drawn
        left, right = drawn.subplots(1, 2)
        latency_against(sweep, key, "mean", left)
        left.get_legend().remove()
        latency_against(sweep, key, "p99", right)
        both = (*left.get_ylim(), *right.get_ylim())
        for axes in (left, right):
            axes.set_ylim(min(both), max(both))
            plain_ticks(axes, "y")
        right.set_ylabel("")
        left.set_title("Mean latency")
        right.set_title("p99 latency (dotted: unstable beyond)")
        left.set_ylabel("latency, ms (log scale)")
        return drawn
