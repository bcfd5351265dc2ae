"""The figure of paired differences: what each policy costs or saves against one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .outcome import judged_by
from .plots import axes_or_new
from .style import FAINT, INK, PALETTE, styled
from .wording import half_width, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .outcome import Gap
    from .results import Result

FASTER, SLOWER = PALETTE[0], PALETTE[2]
"""Colours that readers who confuse red and green tell apart."""


def differences(
    found: Result, against: str | None = None, measure: str | None = None, ax: Axes | None = None
) -> Axes:
    """Paired differences of a latency with their intervals, fastest on top.

    Args:
        found: a comparison.
        against: the policy that the others are held against; by default the best.
        measure: ``mean`` or ``p99``; by default ``p99`` where it is known.
        ax: where to draw; a new figure where None.

    Raises:
        ValueError: there is no such difference.
    """
    gaps: tuple[Gap, ...] = getattr(found, "differences", ())
    measure = measure or judged_by(found.outcomes)
    rival = against or getattr(found, "best", None)
    shown = [gap for gap in gaps if (gap.against, gap.measure) == (rival, measure)]
    shown = [gap for gap in shown if gap.ms.value is not None]
    if not shown:
        known = ", ".join(dict.fromkeys(f"{gap.measure} against {gap.against}" for gap in gaps))
        raise ValueError(
            f"there is no difference of {measure} against {rival}; there is {known or 'none'}"
        )
    with styled():
        axes = axes_or_new(ax, 7.6, 1.2 + 0.36 * len(shown))
        shown.sort(key=lambda gap: -(gap.ms.value or 0.0))
        for place, gap in enumerate(shown):
            _row(axes, place, gap)
        axes.axvline(0.0, color=INK, linewidth=0.9, zorder=0.5)
        axes.set_yticks(range(len(shown)), [gap.policy for gap in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"{measure} latency, ms: left of the line is faster than {rival}")
        axes.set_title(f"Against {rival}, on the same arrivals")
        return axes


def _row(axes: Axes, place: int, gap: Gap) -> None:
    """One policy: a dot, its interval, and the number beside the panel."""
    value, half = gap.ms.value or 0.0, half_width(gap.ms)
    colour = {"lower": FASTER, "higher": SLOWER}.get(gap.ms.verdict, "#8b9098")
    axes.plot([0.0, value], [place, place], color=FAINT, linewidth=1.2, zorder=0.8)
    axes.errorbar(
        value, place, xerr=half or 0.0, marker="o", markersize=5, color=colour, capsize=3,
        linewidth=1.4, linestyle="none",
    )  # fmt: skip
    axes.text(
        1.01, place, signed(gap.ms), transform=axes.get_yaxis_transform(), va="center",
        fontsize=8.5, color=colour,
    )  # fmt: skip
