"""Figure of a load test: distributions of latency, measured and predicted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from experiments.plots import TAIL
from experiments.style import INK, PALETTE, figure, plain_ticks, styled

from .words import at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .outcome import Loaded

TICKS = {1.0: "100 %", 0.1: "10 %", 0.01: "1 %", 0.001: "0.1 %"}
ACROSS = 3
"""Panels of a row."""


def figures_of(found: Loaded) -> dict[str, Figure]:
    """Figures by file name; none where nobody was served."""
    if not any(each.measured_ms for each in found.shapes):
        return {}
    with styled():
        return {"latency": latency(found)}


def latency(found: Loaded) -> Figure:
    """Share of requests slower than a latency, one panel a load."""
    shapes = [each for each in found.shapes if each.measured_ms]
    columns = min(len(shapes), ACROSS)
    rows = math.ceil(len(shapes) / columns)
    drawn = figure(0.8 + 3.1 * columns, 0.5 + 3.0 * rows)
    title = f"Latency over HTTP, {found.scenario['name']}"
    drawn.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    panels = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[len(shapes) :]:
        spare.remove()
    for place, (axes, each) in enumerate(zip(panels, shapes, strict=False)):
        slower = 1.0 - np.array(each.shares)
        axes.plot(each.measured_ms, slower, color=PALETTE[0], label="measured")
        if each.predicted_ms:
            axes.plot(each.predicted_ms, slower, color=INK, linestyle=(0, (4, 2)), linewidth=1.2,
                      label="predicted")  # fmt: skip
        axes.axhline(TAIL, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(slower[-1], 1.15)
        axes.set_yticks(list(TICKS), list(TICKS.values()))
        axes.minorticks_off()
        plain_ticks(axes)
        axes.set_title(at(each.load).strip() or "as the scenario has it", fontsize=9.5)
        axes.set_xlabel("latency, ms (log scale)")
        axes.legend(loc="lower left")
        if place % ACROSS == 0:
            axes.set_ylabel("requests slower than that")
    return drawn


__all__ = ["figures_of", "latency"]
