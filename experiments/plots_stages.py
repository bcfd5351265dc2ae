"""Where latency is spent, as bars: waits and services before, on and after the GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .stage_words import STATIONS, values_of
from .style import PALETTE, figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .outcome import Outcome
    from .plots import Panels

COLOURS = dict(zip(STATIONS, (PALETTE[1], PALETTE[0], PALETTE[3]), strict=True))
"""One a station; its wait is paler."""

PALE = 0.42


def latency_parts(outcomes: Sequence[Outcome], ax: Panels | None = None) -> Figure | None:
    """The parts of mean latency, and those of the slowest requests where they are known.

    Args:
        outcomes: of policies; those without stages, or unstable, are left out.
        ax: where to draw: one axes for all requests, or two, the second for the slowest.

    Returns:
        The figure; None where nothing is left.
    """
    panels = {"All requests": "mean_ms", "The slowest 1 %": "slowest_ms"}
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for title, name in panels.items():
        for outcome in outcomes:
            measures = outcome.measures.stages
            values = None if measures is None else values_of(getattr(measures.spent, name))
            if values is not None:
                found.setdefault(title, {})[outcome.policy] = values
    if not found:
        return None
    if ax is not None:
        return _on(np.ravel(np.asarray(ax, dtype=object)).tolist(), found)
    with styled():
        width = 5.4 if len(found) == 1 else 9.4
        drawn = figure(width + 1.6, 1.5 + 0.36 * max(map(len, found.values())))
        axes = drawn.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for one, (title, bars) in zip(axes, found.items(), strict=True):
            _bars(one, bars)
            one.set_title(title)
        drawn.supxlabel("latency, ms", fontsize=9.5)
        handles, labels = axes[-1].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside right upper")
        return drawn


def _on(given: Sequence[Axes], found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Draw on axes of somebody else's figure, as many panels as there are axes."""
    with styled():
        for one, (title, bars) in zip(given, found.items(), strict=False):
            _bars(one, bars)
            one.set_title(title)
            one.set_xlabel("latency, ms")
        given[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    drawn: Figure = given[0].figure  # type: ignore[assignment]
    return drawn


def _bars(axes: Axes, bars: Mapping[str, Mapping[str, float]]) -> None:
    """One stacked bar a policy, the first on top."""
    places = np.arange(len(bars))[::-1]
    left = np.zeros(len(bars))
    for station, parts in STATIONS.items():
        busy = "on" if station == "the GPU" else "in"
        for part, what, alpha in zip(parts, ("waiting for", busy), (PALE, 1.0), strict=True):
            spent = np.array([values[part] for values in bars.values()])
            if spent.any():
                axes.barh(
                    places, spent, left=left, height=0.62, color=COLOURS[station], alpha=alpha,
                    linewidth=0, label=f"{what} {station}",
                )  # fmt: skip
                left += spent
    for place, total in zip(places.tolist(), left.tolist(), strict=True):
        axes.text(total, place, f" {total:.3g}", va="center", fontsize=8.5)
    axes.set_yticks(places, list(bars))
    axes.set_xlim(0, 1.13 * left.max(initial=1e-9))
    axes.set_ylim(-0.7, len(bars) - 0.3)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
