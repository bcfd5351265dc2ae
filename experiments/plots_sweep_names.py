"""The figure of a sweep over names, as of routers: no order and no line between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import legend_right, mark_slo
from .style import plain_ticks
from .wording import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .results import Point, Sweep

APART = 0.7
"""Share of the place of a name over which its policies spread."""


def by_name(
    axes: Axes, sweep: Sweep, key: str, measure: str, look: Mapping[str, dict[str, Any]], slo: bool
) -> None:
    """A latency under each name, one dot a policy; a cross at the top where it is unstable."""
    lines = {name: sweep.line(key, name, measure) for name in sweep.policies}
    names = list(dict.fromkeys(step.settings[key] for step in sweep.steps))
    shift = np.linspace(-APART / 2, APART / 2, len(lines)) if len(lines) > 1 else np.zeros(1)
    unstable = False
    for (policy, points), offset in zip(lines.items(), shift, strict=True):
        colour = look[policy]["color"]
        known = [point for point in points if point.value is not None]
        axes.errorbar(
            [names.index(point.x) + offset for point in known],
            [point.value or 0.0 for point in known],
            yerr=[point.half_width or 0.0 for point in known], marker="o", markersize=5.5,
            linestyle="none", color=colour, capsize=2.5, linewidth=1.0, label=policy,
        )  # fmt: skip
        unstable = _mark(axes, points, names, float(offset), colour) or unstable
    some = any(point.value is not None for line in lines.values() for point in line)
    axes.set_yscale("log" if some else "linear")
    axes.set_xticks(range(len(names)), [shown(name) for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")
    if some:
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.1, high * (1.5 if unstable else 1.1))
        plain_ticks(axes, "y")
    if slo:
        mark_slo(axes, sweep.outcomes, upright=False)
    legend_right(axes, "policy (cross: unstable)" if unstable else "policy")


def _mark(axes: Axes, points: list[Point], names: list[Any], offset: float, colour: str) -> bool:
    """Crosses where a policy is unstable; whether there is one."""
    places = [names.index(point.x) + offset for point in points if not point.stable]
    axes.plot(
        places, [0.96] * len(places), marker="x", markersize=6, linestyle="none", color=colour,
        transform=axes.get_xaxis_transform(), markeredgewidth=1.6,
    )  # fmt: skip
    return bool(places)
