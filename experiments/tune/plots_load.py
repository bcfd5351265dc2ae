"""The figure of load: a latency of the winner and the baselines, and where each is unstable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.plots import axes_or_new
from experiments.plots_sweep import latency_against
from experiments.style import looks, styled

from .looks import EDGE, look_of
from .words import percentile_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.results import Sweep

    from .result import Tuning

MEASURES = ("mean", "p50", "p90", "p95", "p99", "p999")
"""Latencies that a curve over loads has."""

QUIET = "#94a4a2"
"""Of the lines at the loads that were tuned for."""


def load(found: Tuning, measure: str | None = None, ax: Axes | None = None) -> Axes:
    """A latency against load; a mark at the upper edge where each becomes unstable.

    Args:
        found: with a curve over loads.
        measure: ``mean`` or a percentile; by default that of the goal.
        ax: where to draw; a new figure where None.

    Raises:
        ValueError: there is no curve, as without a winner or in a closed loop.
    """
    curve = found.load_curve
    if curve is None:
        raise ValueError(
            "there is no curve over loads: tune with load_curve=True, open arrivals and at least "
            "one feasible setting"
        )
    chosen = measure or measure_of(found, curve)
    with styled():
        axes = axes_or_new(ax, 8.6, 4.3)
        colours = look_of(found)
        # A curve that was made for other settings than the judged ones has colours of its own.
        look = {name: colours.get(name, one) for name, one in looks(curve.policies).items()}
        title = f"{chosen} latency against load"
        latency_against(curve, None, chosen, axes, title, look, slo=_is_target(curve, chosen))
        _thicken(axes, found)
        _mark_limits(axes, found, look)
        _mark_own(axes, found)
        _legend(axes, found, curve, chosen)
        return axes


def measure_of(found: Tuning, curve: Sweep) -> str:
    """The latency of the goal: of its objectives, then its constraints; p99 or mean otherwise."""
    wanted = [one.word.statistic for one in found.goal.objectives]
    wanted += [one.measure.word.statistic for one in found.goal.constraints]
    names = [text.removeprefix("latency_ms.") for text in wanted if text.startswith("latency_ms.")]
    known = [
        name
        for name in (*names, "p99", "mean")
        if name in MEASURES
        and any(o.value(f"latency_ms.{name}") is not None for o in curve.outcomes)
    ]
    return known[0] if known else "mean"


def _is_target(curve: Sweep, measure: str) -> bool:
    """Whether the SLO is about this latency: one of a p99 says nothing of a mean."""
    known = [o.slo_percentile for o in curve.outcomes if o.slo_ms is not None]
    return bool(known) and measure == percentile_name(known[0] / 100)


def _thicken(axes: Axes, found: Tuning) -> None:
    """The winner's line is the thick one under the others, also where a baseline has its colour."""
    for line in axes.get_lines():
        if found.winner is not None and line.get_label() == found.winner.name:
            line.set(linewidth=3.4, markersize=6.5, zorder=1.9)


def _mark_limits(axes: Axes, found: Tuning, look: dict[str, dict[str, object]]) -> None:
    """A triangle at the upper edge of the panel where a setting stops keeping up."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, max(high, 1.02))
    for one in found.judged:
        if one.name in look and one.unstable_above is not None:
            axes.plot(
                [one.unstable_above], [EDGE], ls="", marker="v", ms=6.5, mec="white", mew=0.5,
                color=str(look[one.name]["color"]), transform=axes.get_xaxis_transform(), zorder=6,
            )  # fmt: skip


def _mark_own(axes: Axes, found: Tuning) -> None:
    """Thin lines at the loads that were tuned for."""
    own = found.scenario.get("load")
    loads = found.judged[0].loads if found.judged else ()
    for one in loads:
        place = own if one is None else one
        if place is not None and not found.goal.finds_load:
            axes.axvline(place, color=QUIET, lw=0.9, ls=(0, (1, 2)), zorder=0.5)


def _legend(axes: Axes, found: Tuning, curve: Sweep, measure: str) -> None:
    """Best first at the load that is tuned for, with the load from which on each is unstable."""
    judged = {one.name: one for one in found.judged}

    def worth(name: str) -> float:
        one = judged.get(name)
        if one is None or not one.outcomes[0].stable:
            return math.inf
        value = one.outcomes[0].value(f"latency_ms.{measure}")
        return math.inf if value is None else value

    handles, labels = axes.get_legend_handles_labels()
    by_name = dict(zip(labels, handles, strict=True))
    ranked = sorted(curve.policies, key=worth)
    for name in ranked:
        limit = judged[name].unstable_above if name in judged else None
        mark = " (winner)" if found.winner is not None and name == found.winner.name else ""
        by_name[name].set_label(f"{name}{mark}   {'-' if limit is None else f'{limit:.2f}'}")
    axes.legend(
        handles=[by_name[name] for name in ranked], loc="upper left", bbox_to_anchor=(1.01, 1.0),
        title="unstable above load (triangle)", alignment="left",
        title_fontproperties={"size": 8.5, "weight": "bold"}, handlelength=2.2,
    )  # fmt: skip
