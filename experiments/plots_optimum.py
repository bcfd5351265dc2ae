"""Figures of the best possible: what rules take, and how far they are above the optimum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import axes_or_new
from .style import PALETTE, looks, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from policies.contract import IntArray

BEST: dict[str, Any] = {"color": PALETTE[0], "linestyle": "-"}


def takes(
    tables: Mapping[str, IntArray], ax: Axes | None = None, title: str = "", most: int = 0
) -> Axes:
    """How many a rule serves of those that wait; 0 waits for more.

    Args:
        tables: by rule, how many of 0, 1, 2, ... to serve; the last entry holds beyond.
        ax: where to draw; a new figure where None.
        title: above the panel.
        most: the longest queue that is shown; by default as long as the longest table.
    """
    with styled():
        axes = axes_or_new(ax, 6.4, 4.0)
        most = most or max(len(table) for table in tables.values()) - 1
        waiting = np.arange(most + 1)
        look = _looks(tables)
        for name, table in tables.items():
            served = table[np.minimum(waiting, len(table) - 1)]
            axes.step(waiting, served, where="mid", label=name, **look[name])
        axes.set_xlabel("requests that wait")
        axes.set_ylabel("requests that are served")
        axes.set_ylim(bottom=-0.6)
        axes.set_title(title or "What to serve")
        axes.legend(loc="upper left")
        return axes


def above_optimum(
    found: pd.DataFrame, ax: Axes | None = None, title: str = "", most: float = 1.0
) -> Axes:
    """How far each rule's mean latency is above the optimum, against load.

    Args:
        found: of :func:`experiments.distances.exact_distances`.
        ax: where to draw; a new figure where None.
        title: above the panel.
        most: the share at which the panel ends.
    """
    with styled():
        axes = axes_or_new(ax, 6.4, 4.0)
        names = [name for name in found.columns if not name.endswith("_ms")]
        look = _looks(names)
        for name in names:
            above = found[name].to_numpy(float)
            steady = np.isfinite(above)
            load = found.index.to_numpy(float)
            axes.plot(load[steady], 100 * above[steady], marker="o", markersize=3.2, label=name,
                      **look[name])  # fmt: skip
        axes.set_ylim(0, 100 * min(most, 1.08 * _highest(found, names)))
        axes.set_xlabel("load (share of the largest possible rate)")
        axes.set_ylabel("mean latency above the optimum, %")
        axes.set_title(title or "Above the optimum")
        axes.legend(loc="upper left")
        return axes


def _highest(found: pd.DataFrame, names: list[str]) -> float:
    values = found[names].to_numpy(float)
    return float(values[np.isfinite(values)].max(initial=0.01))


def _looks(names: Mapping[str, Any] | list[str]) -> dict[str, dict[str, Any]]:
    """Rules keep their looks; the optimum stands out."""
    return {**looks(names), "optimal": BEST}
