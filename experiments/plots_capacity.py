"""The figure of capacities: a bar a policy, its interval, and where it becomes unstable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .capacity_words import objective, per_second
from .plots import axes_or_new
from .style import FAINT, INK, looks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .capacities import Capacities, Capacity


@dataclass(frozen=True)
class CapacityPlots:
    """Figures of capacities; each returns the axes that it drew on."""

    found: Capacities

    def rates(self, ax: Axes | None = None) -> Axes:
        """The largest rate of each policy with its interval, largest first."""
        return rates(self.found, ax)


def rates(found: Capacities, ax: Axes | None = None, title: str = "") -> Axes:
    """The largest rate that meets the SLOs, one bar a policy, largest first.

    A thin mark stands where the policy becomes unstable, a line where the scenario's own rate is.
    """
    with styled():
        axes = axes_or_new(ax, 8.2, 1.3 + 0.4 * len(found.capacities))
        ranked = sorted(found.capacities, key=lambda one: one.value or 0.0)
        look = looks(one.policy for one in found.capacities)
        widest = max(
            [found.rate_max_per_s, *(edge(one) for one in ranked)],
            default=1.0,
        )
        for place, one in enumerate(ranked):
            draw_bar(axes, place, one, look[one.policy]["color"])
            axes.text(
                1.01, place, label(found, one), va="center", fontsize=8.5, color=INK,
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        axes.set_yticks(np.arange(len(ranked)), [one.policy for one in ranked])
        axes.set_xlim(0, 1.02 * widest)
        axes.set_ylim(-0.6, len(ranked) - 0.2)  # room for a word above the bars
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
        axes.set_xlabel("arrival rate, requests/s   (thin mark: unstable above; grey: possible)")
        axes.set_title(title or f"Largest rate with {objective(found)}")
        mark_rates(axes, found)
        return axes


def edge(one: Capacity) -> float:
    """The furthest that a policy's row reaches; a saturation that is infinite is not drawn."""
    known = [one.limit.high or 0.0, one.limit.saturation_per_s]
    return max(rate for rate in known if np.isfinite(rate))


def draw_bar(axes: Axes, place: int, one: Capacity, colour: str) -> None:
    """One policy: where it meets the SLOs, the interval, and the mark of saturation."""
    limit = one.limit
    if np.isfinite(limit.saturation_per_s):
        axes.plot([limit.saturation_per_s] * 2, [place - 0.34, place + 0.34], color=INK, lw=1.1)
    if limit.value is None or limit.low is None or limit.high is None:
        return
    start = limit.from_per_s or 0.0
    axes.barh(place, limit.value - start, left=start, height=0.6, color=colour, linewidth=0)
    ends = np.array([[limit.value - limit.low], [limit.high - limit.value]])
    axes.errorbar(
        limit.value, place, xerr=np.maximum(ends, 0.0), color=INK, capsize=2.5, linewidth=0.9
    )


def label(found: Capacities, one: Capacity) -> str:
    """The rate and its share of the largest possible one."""
    if one.limit.needs is not None:
        return "too few requests"
    share = found.share(one)
    return "no rate" if share is None else f"{per_second(one.value)}/s   {100 * share:.0f} %"


def mark_rates(axes: Axes, found: Capacities) -> None:
    """The largest possible rate as a shade's edge, and the scenario's own rate as a line."""
    axes.axvspan(0, found.rate_max_per_s, color=FAINT, alpha=0.25, linewidth=0, zorder=0)
    own = found.scenario.get("offered_rate_per_s")
    if own is None or not own <= axes.get_xlim()[1]:
        return
    axes.axvline(own, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        f"scenario: {per_second(own)}/s", (own, 1.0), xycoords=("data", "axes fraction"),
        xytext=(3, -2), textcoords="offset points", va="top", fontsize=8, color=INK,
    )  # fmt: skip
