"""Figures of a diagnosis: where the time goes, and what each change is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.plots import ALARM, axes_or_new
from experiments.style import FAINT, INK, PALETTE, styled
from experiments.wording import half_width

from .diagnosis import worth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .diagnosis import Diagnosis

COLOURS = {"helps": PALETTE[0], "nothing": FAINT, "harms": PALETTE[2]}


def stages(found: Diagnosis, ax: Axes | None = None) -> Axes:
    """Mean time in each part: pale for all requests, dark for those beyond the percentile."""
    with styled():
        axes = axes_or_new(ax, 7.6, 1.3 + 0.5 * len(found.stages))
        places = np.arange(len(found.stages))[::-1]
        rows = (
            ("all requests", [one.mean_ms for one in found.stages], 0.2, 0.4),
            (f"beyond {found.percentile}", [one.slow_ms for one in found.stages], -0.2, 1.0),
        )
        for label, times, shift, alpha in rows:
            axes.barh(
                places + shift, times, height=0.38, color=PALETTE[0], alpha=alpha, linewidth=0,
                label=label,
            )  # fmt: skip
            for place, time in zip(places.tolist(), times, strict=True):
                axes.text(time, place + shift, f" {time:.3g}", va="center", fontsize=8)
        axes.set_yticks(places, [one.name for one in found.stages])
        axes.set_xlim(0, 1.1 * axes.get_xlim()[1])
        _dress(axes, "mean time, ms", f"Where the time of {found.tier} goes")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return axes


def remedies(found: Diagnosis, ax: Axes | None = None) -> Axes:
    """The percentile after each change, with the interval of the gain; lines: as it is, the SLO.

    Changes after which it falls among requests that are lost have no bar.
    """
    with styled():
        shown = [one for one in found.remedies if one.value_ms < found.lost_ms][::-1]
        axes = axes_or_new(ax, 7.6, 1.4 + 0.34 * len(shown))
        for place, one in enumerate(shown):
            axes.barh(place, one.value_ms, height=0.62, color=COLOURS[worth(one)], linewidth=0)
            half = half_width(one.gain)
            if half:
                axes.errorbar(one.value_ms, place, xerr=half, color=INK, capsize=2.5, linewidth=0.9)
            axes.text(
                1.01, place, f"{one.value_ms:.3g}", transform=axes.get_yaxis_transform(),
                va="center", fontsize=8.5,
            )  # fmt: skip
        axes.set_yticks(range(len(shown)), [one.what for one in shown])
        axes.set_ylim(-0.6, len(shown) + 0.2)
        axes.set_xlim(left=0)
        marks = (("as it is", found.replayed_ms, INK), ("target", found.target_ms, ALARM))
        for name, at, colour in marks:
            if at is not None and at < found.lost_ms:
                axes.axvline(at, color=colour, linewidth=0.9, linestyle=(0, (3, 2)))
                axes.annotate(
                    f"{name} {at:.3g} ms", (at, 1.0), xycoords=("data", "axes fraction"),
                    xytext=(-3, -2), textcoords="offset points", va="top", ha="right",
                    fontsize=8, color=colour,
                )  # fmt: skip
        _dress(axes, f"{found.percentile} latency of {found.tier}, ms", "What each change is worth")
        return axes


def _dress(axes: Axes, below: str, title: str) -> None:
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(below)
    axes.set_title(title)
