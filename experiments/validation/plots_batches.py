"""The figure of batch sizes, live and predicted: what the policies did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.plots import Panels, frame, panels_or_new
from experiments.style import INK, looks, styled

from .plots import needs_windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .result import Validation

TITLE = "Sizes of batches, live (bars) and predicted (dots)"
SMALL = 0.001
"""Sizes that are rarer than this on both sides are not shown beyond the last that is not."""


def batch_sizes(found: Validation, ax: Panels | None = None) -> list[Axes]:
    """Share of the batches by size, one panel a policy and load, in the order of the policies.

    Raises:
        ValueError: no window was accepted.
    """
    from matplotlib.ticker import MaxNLocator

    needs_windows(found)
    with styled():
        drawn, panels = panels_or_new(ax, len(found.matches), 2.7)
        look = looks(found.policies)
        widest = max(_last(match.curves.batches_live) for match in found.matches)
        widest = max(widest, *(_last(match.curves.batches_predicted) for match in found.matches))
        matches = sorted(found.matches, key=lambda one: found.policies.index(one.policy))
        for axes, match in zip(panels, matches, strict=True):
            live = 100 * np.array(match.curves.batches_live)
            predicted = 100 * np.array(match.curves.batches_predicted)
            sizes = np.arange(len(live))
            colour = look[match.policy]["color"]
            axes.bar(sizes, live, width=0.86, color=colour, alpha=0.75, linewidth=0)
            likely = predicted > 0.0
            axes.plot(sizes[likely], predicted[likely], ".", color=INK, markersize=5)
            known = match.load is not None and len(found.loads) > 1
            load = f", load {match.load:g}" if known else ""
            axes.set_title(match.policy + load, fontsize=9.5)
            axes.grid(visible=False, axis="x")
            axes.set_ylim(0, 1.15 * max(live.max(), predicted.max()))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in panels:
            axes.set_xlim(0.3, widest + 0.7)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        frame(drawn, panels, "batch size, requests", "share of batches, %", TITLE)
        return panels


def _last(shares: tuple[float, ...]) -> int:
    """The largest size that is not rare."""
    return int(np.flatnonzero(np.array(shares) > SMALL).max(initial=1))
