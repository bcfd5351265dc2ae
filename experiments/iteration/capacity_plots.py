"""The figure of capacities: shares within the targets against the rate, one line a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.capacity_words import per_second
from experiments.plots import legend_right
from experiments.style import INK, figure, looks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .capacities import TokenCapacities
    from .capacity_rate import Promise


def drawn(found: TokenCapacities) -> list[Axes]:
    """One panel a tier that is promised something; without any, bars of what is served at most."""
    with styled():
        if not found.promises:
            return [bars(found)]
        count = len(found.promises)
        panels = figure(3.4 + 4.2 * count, 4.3).subplots(1, count, squeeze=False, sharex=True)[0]
        for axes, promise in zip(panels, found.promises, strict=True):
            shares(axes, found, promise)
        panels[0].set_ylabel("requests within their targets, %")
        if panels[-1].get_legend_handles_labels()[0]:
            legend_right(panels[-1], "policy")
        return list(panels)


def shares(axes: Axes, found: TokenCapacities, promise: Promise) -> None:
    """One tier: a line a rule, a dot where the rates end, the promise as a dotted line."""
    percent, marked = promise.targets.percent, []
    for name, look in looks(one.policy for one in found.capacities).items():
        one = found.of(name)
        if not one.course.rates or not one.course.shares:
            continue
        each = one.course.shares[promise.name]
        axes.plot(one.course.rates, [100 * s.value for s in each], label=name, **look)
        if one.value is not None:
            marked.append(one.value)
            at = 100 * each[one.course.rates.index(one.value)].value
            axes.plot(one.value, at, "o", color=look["color"], markersize=5)
    axes.axhline(percent, color=INK, linewidth=0.8, linestyle=":")
    own = found.scenario["offered_rate_per_s"]
    axes.axvline(own, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        f"scenario: {per_second(own)}/s",
        (own, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=INK,
    )
    low = max(0.0, 100.0 - 6.0 * (100.0 - percent))
    axes.set_ylim(low, 100.0 + 0.04 * (100.0 - low))
    rates = [rate for one in found.capacities for rate in one.course.rates]
    if rates:
        axes.set_xlim(0.5 * min(marked, default=min(rates)), 1.03 * max(rates))
    axes.set_xlabel("arrival rate, requests/s")
    axes.set_title(f"{promise.name}: {percent:g} % promised (dots: largest rate)")


def bars(found: TokenCapacities) -> Axes:
    """What each rule serves at most, largest first, with its interval."""
    axes: Axes = figure(8.2, 1.3 + 0.4 * len(found.capacities)).add_subplot()
    look = looks(one.policy for one in found.capacities)
    ranked = sorted(found.capacities, key=lambda one: one.value or 0.0)
    for place, one in enumerate(ranked):
        limit = one.limit
        if limit.value is None or limit.low is None or limit.high is None:
            continue
        axes.barh(place, limit.value, height=0.6, color=look[one.policy]["color"], linewidth=0)
        ends = np.array([[limit.value - limit.low], [limit.high - limit.value]])
        axes.errorbar(
            limit.value, place, xerr=np.maximum(ends, 0.0), color=INK, capsize=2.5, linewidth=0.9
        )
    axes.set_yticks(np.arange(len(ranked)), [one.policy for one in ranked])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("requests/s that are served at most")
    axes.set_title(str(found.scenario["name"]))
    return axes
