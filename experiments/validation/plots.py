"""Figures of a validation: distributions of latency, and predictions against measurements.

Policies keep their colour of the other figures; what was measured is drawn in full lines and dots,
what was predicted as a shade from the 5th to the 95th percentile of the replications.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from experiments.plots import TAIL, Panels, axes_or_new, panels_or_new
from experiments.style import FAINT, INK, figure, looks, plain_ticks, styled

from .summary import SHARES
from .verdict import at

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


class Shown(Protocol):
    """What the figures need of a validation, of batches or of iterations."""

    @property
    def loads(self) -> tuple[float | None, ...]:
        """Loads with windows that count."""
        ...

    @property
    def policies(self) -> tuple[str, ...]:
        """Policies with windows that count."""
        ...

    @property
    def matches(self) -> tuple[Any, ...]:
        """Each with ``load``, ``policy``, ``curves`` and ``cell(statistic)``."""
        ...


SLOWER = 1.0 - SHARES
TICKS = {1.0: "100 %", 0.1: "10 %", 0.01: "1 %", 0.001: "0.1 %"}
ACROSS = 3
"""Panels of a row."""
NEAR = 0.1
"""Half of the grey band along the line where predicted is measured."""
DOTS: dict[str, dict[str, Any]] = {
    "p50": {"marker": "o", "markerfacecolor": "white", "markersize": 5.5},
    "p99": {"marker": "o", "markersize": 5.5},
}


def ecdf(found: Shown, ax: Panels | None = None, what: str = "latency") -> list[Axes]:
    """Share of requests slower than a latency, on log axes, one panel a load.

    A thin line is one live window.

    Raises:
        ValueError: no window was accepted, or there are not as many axes as loads.
    """
    needs_windows(found)
    with styled():
        loads = found.loads
        columns = min(len(loads), ACROSS)
        panels = (
            _panels(len(loads), columns, what) if ax is None else panels_or_new(ax, len(loads))[1]
        )
        look = looks(found.policies)
        for axes, load in zip(panels, loads, strict=False):
            for match in found.matches:
                if match.load == load:
                    _distribution(axes, match, look[match.policy]["color"])
            _dress(axes, at(load), what)
        for first in panels[::columns]:
            first.set_ylabel("requests slower than that")
        handles = _lines(found)
        panels[columns - 1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return panels


def _panels(count: int, columns: int, what: str) -> list[Axes]:
    """Of a new figure."""
    rows = math.ceil(count / columns)
    drawn = figure(1.6 + 3.1 * columns, 0.5 + 3.0 * rows)
    drawn.suptitle(
        f"{capital(what)}, live and predicted", x=0.01, ha="left", fontsize=11, fontweight="bold"
    )
    panels: list[Axes] = list(drawn.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for spare in panels[count:]:
        spare.remove()
    return panels[:count]


def _dress(axes: Axes, title: str, what: str) -> None:
    """Log axes, so that the p99 is visible."""
    axes.axhline(TAIL, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(SLOWER[-1], 1.15)
    axes.set_yticks(list(TICKS), list(TICKS.values()))
    axes.minorticks_off()
    plain_ticks(axes)
    axes.set_xlabel(f"{what}, ms (log scale)")
    axes.set_title(capital(title))


def _lines(found: Shown) -> list[Artist]:
    """A colour for each policy, a thin line for a window, a shade for a prediction."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        *_colours(found),
        Line2D([], [], color=INK, linewidth=0.9, label="one live window"),
        Patch(color=INK, alpha=0.25, linewidth=0, label="predicted, 90 %"),
    ]


def _colours(found: Shown) -> list[Artist]:
    from matplotlib.lines import Line2D

    look = looks(found.policies)
    return [
        Line2D([], [], color=look[name]["color"], linewidth=2.4, label=name)
        for name in found.policies
    ]


def _distribution(axes: Axes, match: Any, colour: str) -> None:
    curves = match.curves
    axes.fill_betweenx(
        SLOWER, curves.low, curves.high, color=colour, alpha=0.25, linewidth=0, zorder=1
    )
    for live in curves.live:
        axes.plot(live, SLOWER, color=colour, linewidth=0.9)


def calibration(found: Shown, ax: Axes | None = None, title: str = "") -> Axes:
    """Predicted against measured p50 (rings) and p99 (dots), over all loads and policies.

    Bars: the range of the windows, and the interval of 90 % for one window.

    Raises:
        ValueError: no window was accepted.
    """
    needs_windows(found)
    with styled():
        axes = axes_or_new(ax, 6.6, 4.8)
        look = looks(found.policies)
        ends = []
        for match in found.matches:
            for statistic, dots in DOTS.items():
                ends += _point(axes, match, statistic, dots, look[match.policy]["color"])
        low, high = min(ends, default=1.0) / 1.2, max(ends, default=1.0) * 1.2
        line = np.array([low, high])
        axes.fill_between(
            line,
            line * (1 - NEAR),
            line * (1 + NEAR),
            color=FAINT,
            alpha=0.4,
            linewidth=0,
            zorder=0.6,
        )  # fmt: skip
        axes.plot(line, line, color=INK, linewidth=0.8, zorder=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_box_aspect(1)
        plain_ticks(axes)
        plain_ticks(axes, "y")
        axes.set_xlabel("measured, ms (log scale)")
        axes.set_ylabel("predicted from the calibration, ms (log scale)")
        axes.set_title(title or "Predicted against measured, every load and policy")
        _keys(axes, found)
        return axes


def _point(
    axes: Axes, match: Any, statistic: str, dots: dict[str, Any], colour: str
) -> list[float]:
    """One statistic of one policy at one load; returns what the axes have to show."""
    cell = match.cell(statistic)
    x, y = cell.measured, cell.predicted
    if not np.isfinite([x, y, *cell.live]).all():
        return []  # nobody was served
    axes.errorbar(
        x, y,
        xerr=[[x - min(cell.live)], [max(cell.live) - x]],
        yerr=[[max(y - cell.low, 0.0)], [max(cell.high - y, 0.0)]],
        color=colour, linewidth=0.9, linestyle="none", zorder=2, **dots,
    )  # fmt: skip
    return [end for end in (x, y, cell.low, cell.high) if np.isfinite(end)]


def _keys(axes: Axes, found: Shown) -> None:
    """Colours for policies, forms for statistics."""
    from matplotlib.lines import Line2D

    shapes = [
        Line2D([], [], color=INK, linestyle="none", label=name, **dots)
        for name, dots in DOTS.items()
    ]
    band = Line2D([], [], color=FAINT, linewidth=6, alpha=0.6, label="within 10 %")
    handles = [*_colours(found), *shapes, band]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def needs_windows(found: Shown) -> None:
    """Figures show what counts.

    Raises:
        ValueError: nothing does.
    """
    if not found.matches:
        raise ValueError("no window was accepted, so that there is nothing to draw")


def capital(text: str) -> str:
    """With a capital letter."""
    return text[0].upper() + text[1:]


__all__ = ["calibration", "ecdf", "needs_windows"]
