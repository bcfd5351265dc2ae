"""How figures look: one palette, one colour per policy in every figure, units on every axis."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#92dadd",
)
"""Chosen by Petroff for readers who confuse colours (arXiv 2107.02270)."""

BASELINE_LOOKS = {
    "greedy": ("#33373d", "-"),
    "snap": ("#717581", (0, (5, 1.6))),
    "balanced_cap": ("#94a4a2", (0, (1.2, 1.2))),
}
"""The policies that stand beside every other one are grey, told apart by dashes too."""

INK = "#33373d"
FAINT = "#c9cdd3"

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # a fixed place: finding one takes a third of the drawing
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8b9098",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
    "svg.hashsalt": "batchwright",
    "svg.fonttype": "none",
}


def in_notebook() -> bool:
    """Whether figures go to the cells of a notebook."""
    return "inline" in os.environ.get("MPLBACKEND", "")


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style, and leave the user's own settings as they were.

    Only the keys of the style are put back: in a notebook the first figure starts a backend, which
    changes others for good (``rc_context`` would undo them, and cells would show nothing).
    """
    import matplotlib as mpl

    settings: dict[Any, Any] = STYLE
    before = {key: mpl.rcParams[key] for key in settings}
    mpl.rcParams.update(settings)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each policy; the same names in the same order look the same."""
    found: dict[str, dict[str, Any]] = {}
    others = 0
    for name in names:
        if name in BASELINE_LOOKS:
            colour, dashes = BASELINE_LOOKS[name]
        else:
            colour = PALETTE[others % len(PALETTE)]
            dashes = "-" if others < len(PALETTE) else "--"
            others += 1
        found[name] = {"color": colour, "linestyle": dashes}
    return found


def figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """A figure of its own, outside pyplot: nothing is left open and no display is needed.

    In a notebook it is one of pyplot's, so that the cell shows it.
    """
    if in_notebook():
        import matplotlib.pyplot as plt

        return plt.figure(figsize=(width, height), layout=layout)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(drawn)
    return drawn


def plain_ticks(axes: Axes, which: str = "x") -> None:
    """Write the ticks of a log axis as 1, 2, 5, 10, 20 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high / max(low, 1e-12) < 200 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def note(axes: Axes, text: str) -> None:
    """A quiet line of explanation under a panel's title, inside its upper left corner."""
    axes.text(
        0.0, 1.0, text, transform=axes.transAxes, va="top", ha="left", fontsize=8, color="#717581"
    )


def panels(count: int, width: float = 4.6, height: float = 3.8) -> list[Axes]:
    """Axes side by side in a new figure, for figures that take ``ax``."""
    with styled():
        drawn = figure(width * count, height)
        return list(drawn.subplots(1, count, squeeze=False)[0])
