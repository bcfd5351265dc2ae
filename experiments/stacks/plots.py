"""Figures of a trial: distributions of latency and of batch sizes, measured and predicted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from experiments.plots import TAIL
from experiments.style import INK, PALETTE, figure, plain_ticks, styled

from .words import at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .outcome import Shapes, Trial

TICKS = {1.0: "100 %", 0.1: "10 %", 0.01: "1 %", 0.001: "0.1 %"}
ACROSS = 3
"""Panels of a row."""


def figures_of(found: Trial) -> dict[str, Figure]:
    """Figures by file name; none where nothing was measured."""
    if not found.shapes:
        return {}
    with styled():
        return {"latency": latency(found), "batch-sizes": batch_sizes(found)}


def latency(found: Trial) -> Figure:
    """Share of requests slower than a latency at the client, one panel a variant and load."""
    title = f"Latency at the client, {found.stack['title']} and predicted"
    drawn, panels = _panels(found, title, 3.0)
    for axes, each in zip(panels, found.shapes, strict=True):
        slower = 1.0 - np.array(each.shares)
        colour = _colour(found, each)
        axes.plot(each.measured_ms, slower, color=colour, label="measured")
        axes.plot(each.predicted_ms, slower, color=INK, linestyle=(0, (4, 2)), linewidth=1.2,
                  label="predicted")  # fmt: skip
        axes.axhline(TAIL, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(slower[-1], 1.15)
        axes.set_yticks(list(TICKS), list(TICKS.values()))
        axes.minorticks_off()
        plain_ticks(axes)
        axes.set_xlabel("latency, ms (log scale)")
        axes.legend(loc="lower left")
    for first in panels[::ACROSS]:
        first.set_ylabel("requests slower than that")
    return drawn


def batch_sizes(found: Trial) -> Figure:
    """Share of the batches by size, one panel a variant and load."""
    from matplotlib.ticker import MaxNLocator

    title = f"Sizes of batches, {found.stack['title']} (bars) and predicted (dots)"
    drawn, panels = _panels(found, title, 2.4)
    for axes, each in zip(panels, found.shapes, strict=True):
        sizes = np.arange(1, 1 + len(each.measured_sizes))
        measured, predicted = (
            100 * np.array(each.measured_sizes),
            100 * np.array(each.predicted_sizes),
        )
        axes.bar(sizes, measured, width=0.86, color=_colour(found, each), alpha=0.75, linewidth=0)
        axes.plot(sizes, predicted, ".", color=INK, markersize=5)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(0.3, sizes[-1] + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel("batch size, requests")
    for first in panels[::ACROSS]:
        first.set_ylabel("share of batches, %")
    return drawn


def _panels(found: Trial, title: str, high: float) -> tuple[Figure, list[Axes]]:
    """A new figure with a panel a variant and load, each with its title."""
    count = len(found.shapes)
    columns = min(count, ACROSS)
    rows = math.ceil(count / columns)
    drawn = figure(0.8 + 3.1 * columns, 0.5 + high * rows)
    drawn.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    panels: list[Axes] = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[count:]:
        spare.remove()
    for axes, each in zip(panels, found.shapes, strict=False):
        axes.set_title(f"{each.variant}{at(each.load)}", fontsize=9.5)
    return drawn, panels[:count]


def _colour(found: Trial, shapes: Shapes) -> str:
    return PALETTE[list(found.variants).index(shapes.variant) % len(PALETTE)]
