"""Which figures a run gets, and their files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from . import plots
from .plots_stages import latency_parts
from .plots_sweep import load_figure
from .results import Comparison, Result, Sweep
from .runs import write_atomic
from .style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .tune.result import Tuning


def figures_of(result: Result | Sweep | Tuning) -> dict[str, Figure]:
    """Figures by file name."""
    if not isinstance(result, Result | Sweep):
        from .tune.figures import figures_of as figures_of_tuning

        return figures_of_tuning(result)
    drawn: dict[str, Figure] = {}
    if isinstance(result, Sweep):
        for key in result.keys:
            if len({step.settings[key] for step in result.steps}) > 1 and result.is_numeric(key):
                drawn[f"against-{key.rpartition('.')[2]}"] = load_figure(result, key)
        return drawn
    if any(len(outcome.curves.latency_ms) for outcome in result.outcomes):
        drawn["latency"] = owner(plots.latency_ecdf(result.outcomes))
    drawn["batch-sizes"] = owner(plots.batch_sizes(result.outcomes)[0])
    drawn["padding"] = owner(plots.padding(result.outcomes))
    drawn["queue-depth"] = owner(plots.queue_depth(result.outcomes)[0])
    if (parts := latency_parts(result.outcomes)) is not None:
        drawn["latency-parts"] = parts
    if isinstance(result, Comparison) and result.load_curve is not None:
        drawn["load"] = load_figure(result.load_curve)
    return drawn


def owner(axes: object) -> Figure:
    """The figure that axes belong to."""
    return axes.figure  # type: ignore[attr-defined,no-any-return]


def save(drawn: Figure, stem: Path) -> list[str]:
    """Write a figure as PNG and SVG, each whole or not at all; returns the names."""
    written = []
    with styled():
        if drawn.get_layout_engine() is not None:
            drawn.draw_without_rendering()
        drawn.set_layout_engine("none")  # laid out once, not once a file
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            drawn.savefig(buffer, format=kind, metadata=metadata)
            path = stem.with_suffix(f".{kind}")
            write_atomic(path, buffer.getvalue())
            written.append(path.name)
    return written


def write_figures(result: Result | Sweep | Tuning, folder: Path) -> list[str]:
    """Write every figure of a result as PNG and SVG; returns the names of the files."""
    written: list[str] = []
    for name, drawn in figures_of(result).items():
        written += save(drawn, folder / name)
    return written
