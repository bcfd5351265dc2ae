"""The figure of two kinds of users: what a backlog gets done against the p99 of those who wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .plots import axes_or_new, legend_right, mark_slo
from .style import INK, looks, styled
from .wording import half_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sim.intervals import Estimate
    from sim.measures import Group

    from .outcome import Outcome


NEAR = 0.015
"""Dots that are nearer to each other, as a share, would cover each other."""


class Spot(NamedTuple):
    """One policy."""

    name: str
    p99: Estimate
    backlog: Group


def tiers(outcomes: Sequence[Outcome], ax: Axes | None = None, title: str = "") -> Axes:
    """Throughput of the first backlog against the p99 of the most urgent other tier.

    Upper left is best.  A line at the top stands for what no rule can exceed.

    Raises:
        ValueError: no tier is a backlog, or no policy serves the others.
    """
    spots = [spot for outcome in outcomes if (spot := _spot(outcome)) is not None]
    if not spots:
        raise ValueError(
            "no policy with a backlog serves the other tiers: there is nothing to draw"
        )
    with styled():
        axes = axes_or_new(ax, 7.6, 4.3)
        look = looks(outcome.policy for outcome in outcomes)
        ranked = sorted(spots, key=lambda spot: -(spot.backlog.throughput_per_s.value or 0.0))
        for place, spot in enumerate(ranked):
            covered = sum(_same_place(spot, other) for other in ranked[:place])
            _draw(axes, spot, look[spot.name]["color"], covered)
        _mark_bound(axes, spots)
        axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
        low, high = axes.get_xlim()
        slo = next((o.slo_ms for o in outcomes if o.slo_ms is not None), low)
        axes.set_xlim(min(low, 0.85 * slo), max(high, 1.05 * slo))
        mark_slo(axes, outcomes)
        others, backlog = _names(outcomes)
        axes.set_xlabel(f"p99 latency of {others}, ms")
        axes.set_ylabel(f"throughput of {backlog}, requests/s")
        axes.set_title(title or f"What {backlog} gets, and what {others} pays")
        legend_right(axes, "policy")
        return axes


def _same_place(one: Spot, other: Spot) -> bool:
    """Whether two dots would cover each other."""
    ends = ((one.p99, other.p99), (one.backlog.throughput_per_s, other.backlog.throughput_per_s))
    return all(math.isclose(a.value or 0.0, b.value or 0.0, rel_tol=NEAR) for a, b in ends)


def _draw(axes: Axes, spot: Spot, colour: str, covered: int) -> None:
    """A dot with its intervals; a ring around those that it would cover."""
    x, y = spot.p99, spot.backlog.throughput_per_s
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.6} if covered else {}
    axes.errorbar(
        x.value or 0.0, y.value or 0.0, xerr=half_width(x) or 0.0, yerr=half_width(y) or 0.0,
        marker="o", markersize=6 + 5 * covered, linestyle="none", label=spot.name, linewidth=1.0,
        color=colour, **ring,
    )  # fmt: skip


def _spot(outcome: Outcome) -> Spot | None:
    """Where a policy stands; None where it does not serve everybody, or there is no backlog."""
    backlog = next((t for t in outcome.measures.tiers if t.share_of_bound is not None), None)
    others = next((t for t in outcome.measures.tiers if t.share_of_bound is None), None)
    if backlog is None or others is None or not outcome.stable:
        return None
    p99 = others.latency_ms["p99"]
    return None if p99.value is None else Spot(outcome.policy, p99, backlog)


def _names(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """Of the tier that waits and of the backlog."""
    known = outcomes[0].measures.tiers
    backlog = next(tier.name for tier in known if tier.share_of_bound is not None)
    return next(tier.name for tier in known if tier.share_of_bound is None), backlog


def _mark_bound(axes: Axes, spots: Sequence[Spot]) -> None:
    """What no rule can exceed, of the policy for which it is largest."""
    bounds = [found.value for spot in spots if (found := spot.backlog.bound_per_s) is not None]
    bound = max((value for value in bounds if value is not None), default=None)
    if bound is None:
        return
    axes.axhline(bound, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.5)
    axes.annotate(
        f"no rule above {bound:.4g}/s on these arrivals", (0.5, bound),
        xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
        ha="center", fontsize=8, color=INK,
    )  # fmt: skip
