"""Figures of latency models: formulas through measured points, their errors, and the noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from profiles import fitted, noise_label, noise_table
from profiles.noise import SCORE_LIMIT, SCORE_OF_PERCENTILE, size_classes

from .form_errors import LEFT_OUT, form_errors
from .plots import axes_or_new
from .plots_profile import UNITS
from .style import INK, PALETTE, note, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from profiles import Profile

FORM_COLOURS = {
    "affine": PALETTE[1],
    "quadratic": PALETTE[0],
    "fitted": PALETTE[0],
    "hinge": PALETTE[2],
    "grid": "#94a4a2",
}


def formulas(profile: Profile, ax: Axes | None = None, title: str = "") -> Axes:
    """Time against tokens: measured points, and the formulas of :mod:`profiles.fit` through them.

    The quadratic one depends on the length too; it is drawn at the shortest and the longest.
    """
    with styled():
        axes = axes_or_new(ax, 6.4, 4.2)
        tokens = profile.batch_size[:, np.newaxis] * profile.length
        _points(axes, profile)
        line = np.geomspace(tokens.min(), tokens.max(), 200)
        for form in ("affine", "quadratic", "hinge"):
            fit = fitted(profile, form)
            label = f"{form}   {100 * fit.median_error:.0f} %"
            look: dict[str, Any] = {"color": FORM_COLOURS[form], "linewidth": 1.4}
            lengths = profile.length[[0, -1]] if form == "quadratic" else profile.length[:1]
            for length in lengths.tolist():
                here = line[(line >= length) & (line <= length * profile.largest_batch)]
                here = line if form != "quadratic" else here
                axes.plot(here, fit.latency_ns(here / length, length) / 1e6, label=label, **look)
                label = "_"
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_ticks(axes)
        plain_ticks(axes, "y")
        unit = UNITS[profile.length_unit]
        axes.set_xlabel(f"batch size x padded length, {unit} (log scale)")
        axes.set_ylabel("latency of a batch, ms (log scale)")
        axes.set_title(title or profile.name)
        axes.legend(title="median error", loc="upper left", alignment="left")
        return axes


def _points(axes: Axes, profile: Profile) -> None:
    """The measured grid, darker the longer."""
    from matplotlib import colormaps

    shades = colormaps["Greys"](np.linspace(0.4, 0.95, len(profile.length)))
    for column, (length, shade) in enumerate(zip(profile.length.tolist(), shades, strict=True)):
        axes.plot(
            profile.batch_size * length, profile.latency_ns[:, column] / 1e6, "o", markersize=4,
            color=shade, zorder=3, label=f"{length:,} {UNITS[profile.length_unit]}",
        )  # fmt: skip


def left_out(known: Sequence[Profile], ax: Axes | None = None, title: str = "") -> Axes:
    """Mean error of the points that a form is not shown, a bar a form, a group a profile.

    A mark stands where noise alone explains so much, where the calls were kept.
    """
    with styled():
        axes = axes_or_new(ax, 8.2, 1.3 + 0.62 * len(known))
        frame = form_errors(known)
        places = np.arange(len(known))[::-1]
        for shift, form in zip((0.26, 0.0, -0.26), LEFT_OUT, strict=True):
            errors = 100 * frame[f"left out, {form}"].to_numpy(float)
            axes.barh(
                places + shift, errors, height=0.25, color=FORM_COLOURS[form], label=form,
                linewidth=0,
            )  # fmt: skip
            for place, error in zip((places + shift).tolist(), errors.tolist(), strict=True):
                axes.text(error, place, f" {error:.1f}", va="center", fontsize=8)
        label = "noise alone"
        for place, noise in zip(places.tolist(), frame["noise"].tolist(), strict=True):
            if np.isfinite(noise):
                ends = [place - 0.42, place + 0.42]
                axes.plot([100 * noise] * 2, ends, color=INK, linewidth=1.2, label=label)
                label = "_"
        axes.set_yticks(places, [profile.name for profile in known])
        axes.set_xlim(0, 1.1 * axes.get_xlim()[1])
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("mean error of the points left out, %")
        axes.set_title(title or "How far each form is from what it was not shown")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return axes


def noise(profile: Profile, ax: Axes | None = None, title: str = "") -> Axes:
    """Calls over the time of their point, by batch size: bars to 5 and 95 %, dots at 1 and 99 %."""
    with styled():
        axes = axes_or_new(ax, 5.4, 3.6)
        table = noise_table(profile)
        scores = np.linspace(-SCORE_LIMIT, SCORE_LIMIT, table.quantiles.shape[1])
        sides = [SCORE_OF_PERCENTILE[95], SCORE_OF_PERCENTILE[99]]
        for place, row in enumerate(table.quantiles):
            low, high = (np.interp([side * sides[0] for side in (-1, 1)], scores, row)).tolist()
            far = np.interp([-sides[1], sides[1]], scores, row)
            axes.bar(place, high - low, bottom=low, width=0.5, color=PALETTE[0], alpha=0.55)
            axes.plot([place] * 2, far, "o", color=PALETTE[0], markersize=4.5)
            axes.annotate(
                f"{far[1]:.2f}", (place + 0.27, far[1]), xytext=(2, 2), textcoords="offset points",
                va="center", fontsize=8,
            )  # fmt: skip
        axes.axhline(1.0, color=INK, linewidth=0.9)
        axes.set_xticks(range(len(table.quantiles)), _classes(profile))
        axes.set_xlim(-0.6, len(table.quantiles) - 0.3)
        axes.set_xlabel("batch size, requests")
        axes.set_ylabel(f"call over its {profile.statistic}")
        axes.set_title(title or profile.name)
        axes.margins(y=0.16)
        note(axes, noise_label(profile))
        return axes


def _classes(profile: Profile) -> list[str]:
    """The measured batch sizes that share one row of noise: ``1-3``."""
    rows = size_classes(profile)
    names = []
    for row in np.unique(rows):
        sizes = profile.batch_size[rows == row]
        names.append(f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]}-{sizes[-1]}")
    return names
