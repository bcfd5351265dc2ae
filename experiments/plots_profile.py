"""The picture of a profile: what a batch costs, and how much a full server gets done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import INK, figure, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from profiles import Profile

UNITS = {"tokens": "tokens", "audio_ms": "ms of audio"}


def profile_figure(profile: Profile) -> Figure:
    """Latency and efficiency by batch size, one line a length; the best batch size is marked."""
    from matplotlib import colormaps

    with styled():
        drawn = figure(9.2, 3.9)
        left, right = drawn.subplots(1, 2)
        shades = colormaps["viridis_r"](np.linspace(0.18, 0.95, len(profile.length)))
        for column, (length, shade) in enumerate(zip(profile.length, shades, strict=True)):
            time = profile.latency_ns[:, column] / 1e6
            rate = profile.batch_size / time * 1e3
            label = f"{length:,} {UNITS[profile.length_unit]}"
            dots = {"marker": "o", "markersize": 3.4, "color": shade}
            left.plot(profile.batch_size, time, label=label, **dots)
            right.plot(profile.batch_size, rate, **dots)
            best = int(np.argmax(rate))
            right.plot(
                profile.batch_size[best], rate[best], marker="o", markersize=8,
                markerfacecolor="none", markeredgecolor=INK,
            )  # fmt: skip
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(powers_of_two(profile.largest_batch))
            axes.set_xticklabels([str(size) for size in powers_of_two(profile.largest_batch)])
            axes.minorticks_off()
            axes.set_xlabel("batch size, requests")
        left.set_yscale("log")
        plain_ticks(left, "y")
        left.set_ylabel(f"latency of a batch, ms ({profile.statistic})")
        left.set_title("What a batch costs")
        left.legend(title="padded length", loc="upper left", alignment="left")
        right.set_ylim(bottom=0)
        right.set_ylabel("batch size / latency, requests/s")
        right.set_title("What a full server gets done (ring: best)")
        drawn.suptitle(profile.name, x=0.01, ha="left", fontsize=11, fontweight="bold")
        return drawn


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... up to the largest batch size."""
    return [2**power for power in range(int(largest).bit_length())]
