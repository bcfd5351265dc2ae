"""Figures of continuous batching; each takes ``ax=`` and returns the axes that it drew on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.plots import axes_or_new, legend_right
from experiments.style import figure, looks, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .outcome import TokenOutcome

NAMES = {
    "ttft_ms": "time to first token, ms",
    "tpot_ms": "time per output token, ms",
    "latency_ms": "latency, ms",
}
LIMITS = {"ttft_ms": 0, "tpot_ms": 1, "latency_ms": 2}


def distribution(
    outcomes: Sequence[TokenOutcome], which: str, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Share of requests slower than a time, on log axes, one line a rule."""
    with styled():
        axes = axes_or_new(ax)
        steady = [o for o in outcomes if o.stable and o.curves is not None]
        for name, look in looks(o.policy for o in outcomes).items():
            shown = next((o for o in steady if o.policy == name), None)
            if shown is None:
                continue
            curve = getattr(shown.curves, which)
            slower = np.maximum(1.0 - curve.share, 1e-6)
            kept = np.asarray(curve.value) > 0
            axes.plot(np.asarray(curve.value)[kept], slower[kept], label=name, **look)
        axes.set(
            xscale="log", yscale="log", xlabel=NAMES[which], ylabel="requests slower than that"
        )
        axes.set_yticks([1, 0.1, 0.01, 1e-3])
        axes.set_yticklabels(["100 %", "10 %", "1 %", "0.1 %"])
        axes.set_ylim(5e-4, 1.15)
        low, high = axes.get_xlim()
        for limit in sorted({each[LIMITS[which]] for o in outcomes for each in o.targets}):
            if limit < 2**62:
                axes.axvline(limit / 1e6, color="#717581", linewidth=0.8, linestyle=":")
                high = max(high, 1.2 * limit / 1e6)
        axes.set_xlim(low, high)
        if steady:
            plain_ticks(axes)
        axes.set_title(title, loc="left")
        legend_right(axes, "policy")
        return axes


def trade_off(outcomes: Sequence[TokenOutcome], ax: Axes | None = None, title: str = "") -> Axes:
    """The first token against those after it: mean times of each rule."""
    with styled():
        axes = axes_or_new(ax)
        for name, look in looks(o.policy for o in outcomes).items():
            shown = next(o for o in outcomes if o.policy == name)
            first, after = shown.value("ttft_ms.mean"), shown.value("tpot_ms.mean")
            if first is not None and after is not None:
                axes.plot(first, after, "o", color=look["color"], label=name, markersize=7)
        axes.set(xscale="log", xlabel="mean time to first token, ms")
        axes.set_ylabel("mean time per output token, ms")
        axes.margins(0.15)
        plain_ticks(axes)
        axes.set_title(title, loc="left")
        legend_right(axes, "policy")
        return axes


def over_time(outcome: TokenOutcome, ax: Sequence[Axes] | None = None) -> list[Axes]:
    """What a rule made of the run: sequences, memory, and prompt tokens an iteration."""
    with styled():
        panels = list(ax) if ax is not None else list(figure(7.2, 5.2).subplots(3, 1, sharex=True))
        assert outcome.curves is not None
        over = outcome.curves.over
        panels[0].plot(over.time_s, over.sequences, label="in the batch")
        panels[0].plot(over.time_s, over.waiting, label="waiting", color="#b3541e", linewidth=0.9)
        panels[0].set_ylabel("sequences")
        panels[0].legend(loc="upper right", ncols=2)
        panels[0].set_title(outcome.policy, loc="left")
        panels[1].fill_between(over.time_s, 100 * over.memory, alpha=0.35, linewidth=0)
        panels[1].set(ylabel="KV memory, %", ylim=(0, 105))
        panels[2].plot(over.time_s, over.prefill, linewidth=0.9)
        panels[2].set(ylabel="prompt tokens\nan iteration", xlabel="time, s")
        return panels
