"""The figures of a run.

Every function takes a result of :mod:`experiments.results` and returns the axes that it drew on.
Policies keep one colour in all figures; legends are sorted by what the figure shows, best first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .style import INK, figure, looks, plain_ticks, styled
from .wording import half_width, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .outcome import Outcome

ALARM = "#bd1f01"
"""Targets."""

BATCHES = "How large the batches are"
QUEUE = "Queue depth (line: mean, shade: peak)"

Panels: TypeAlias = "Axes | Sequence[Axes]"
"""Where several panels are drawn: one axes each, as ``plt.subplots`` gives them."""

TAIL = 0.01
"""The share of requests above the 99th percentile."""


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> Axes:
    """The given axes, or those of a new figure."""
    return figure(width, height).add_subplot() if ax is None else ax


def panels_or_new(
    ax: Panels | None, count: int, width: float = 2.5
) -> tuple[Figure | None, list[Axes]]:
    """The given axes, or small multiples in a new figure, which comes along.

    Raises:
        ValueError: there are not as many axes as panels.
    """
    if ax is None:
        return grid_of_panels(count, width)
    given: list[Axes] = np.ravel(np.asarray(ax, dtype=object)).tolist()
    if len(given) != count:
        raise ValueError(
            f"`one axes for each panel` must hold, but got (axes={len(given)}, panels={count})"
        )
    return None, given


def latency_ecdf(outcomes: Sequence[Outcome], ax: Axes | None = None, title: str = "") -> Axes:
    """Share of requests that are slower than a latency, on log axes, so that the p99 is visible."""
    with styled():
        axes = axes_or_new(ax, 7.6, 4.3)
        look = looks(outcome.policy for outcome in outcomes)
        for outcome in sorted(outcomes, key=by_tail):
            curve = outcome.curves
            label = f"{outcome.policy}   {tail_label(outcome)}"
            axes.plot(curve.latency_ms, curve.slower, label=label, **look[outcome.policy])
        axes.set_xscale("log")
        axes.set_yscale("log")
        smallest = min((float(o.curves.slower.min(initial=TAIL)) for o in outcomes), default=TAIL)
        axes.axhline(TAIL, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.annotate(
            "p99", (1.0, TAIL), xycoords=("axes fraction", "data"), xytext=(-3, 3),
            textcoords="offset points", ha="right", fontsize=8.5, color=INK,
        )  # fmt: skip
        axes.set_yticks([1, 0.1, 0.01, 1e-3, 1e-4, 1e-5])
        axes.set_yticklabels(["100 %", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %"])
        axes.set_ylim(max(smallest, 1e-5), 1.15)
        plain_ticks(axes)
        mark_slo(axes, outcomes)
        axes.set_xlabel("latency, ms (log scale)")
        axes.set_ylabel("requests slower than that")
        axes.set_title(title or "Latency of each policy")
        legend_right(axes, "p99, ms")
        return axes


def mark_slo(axes: Axes, outcomes: Sequence[Outcome], *, upright: bool = True) -> None:
    """A line at the latency target, where there is one and it is in view."""
    target = next((o.slo_ms for o in outcomes if o.slo_ms is not None), None)
    low, high = axes.get_xlim() if upright else axes.get_ylim()
    if target is None or not low <= target <= high:
        return
    draw = axes.axvline if upright else axes.axhline
    draw(target, color=ALARM, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0.5)
    if upright:
        place, where, shift, side = (target, 0.97), ("data", "axes fraction"), (-4, -6), "right"
    else:
        place, where, shift, side = (0.01, target), ("axes fraction", "data"), (3, 3), "left"
    axes.annotate(
        f"SLO {target:g} ms", place, xycoords=where, xytext=shift, ha=side,
        textcoords="offset points", fontsize=8, color=ALARM,
    )  # fmt: skip


def by_tail(outcome: Outcome) -> float:
    """Order of a legend about latency: stable policies by p99, the unstable last."""
    value = outcome.value("latency_ms.p99")
    return value if outcome.stable and value is not None else math.inf


def tail_label(outcome: Outcome) -> str:
    """The p99 with its interval, or why there is none."""
    if not outcome.stable:
        return "unstable"
    estimate = outcome.estimate("latency_ms.p99")
    if estimate.value is None:
        return "too few requests"
    return with_interval(estimate)


def legend_right(axes: Axes, heading: str) -> None:
    """A legend beside the panel, in the order of drawing; none where nothing was drawn."""
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), title=heading, alignment="left",
        title_fontproperties={"size": 8.5, "weight": "bold"}, handlelength=2.2,
    )  # fmt: skip


def grid_of_panels(
    count: int, width: float = 2.5, height: float = 1.9
) -> tuple[Figure, list[Axes]]:
    """Small multiples that share their x axis, up to four a row."""
    columns = min(count, 4 if count > 6 or count == 4 else 3)
    rows = math.ceil(count / columns)
    # The margins are known, and a layout engine takes long to find them.
    drawn = figure(width * columns + 0.3, height * rows + 0.7, layout=None)
    panels = drawn.subplots(rows, columns, sharex=True, squeeze=False)
    wide, high = drawn.get_size_inches()
    drawn.subplots_adjust(
        left=0.72 / wide, right=1 - 0.12 / wide, bottom=0.58 / high, top=1 - 0.62 / high,
        wspace=0.27, hspace=0.36,
    )  # fmt: skip
    flat = list(panels.flat)
    for spare in flat[count:]:
        spare.remove()
    for index in range(count):
        flat[index].tick_params(labelbottom=index + columns >= count)
    return drawn, flat[:count]


def frame(
    drawn: Figure | None, panels: Sequence[Axes], below: str, beside: str, title: str
) -> None:
    """Title and axis names of small multiples; on axes of somebody else's figure names alone."""
    if drawn is None:
        for axes in panels:
            axes.set_xlabel(below)
            axes.set_ylabel(beside)
        return
    wide, high = drawn.get_size_inches()
    style: dict[str, Any] = {"fontsize": 9.5, "color": INK}
    drawn.text(0.5, 0.1 / high, below, ha="center", va="bottom", **style)
    drawn.text(0.08 / wide, 0.5, beside, va="center", rotation=90, **style)
    drawn.text(
        0.08 / wide, 1 - 0.06 / high, title, va="top", fontsize=11, color=INK, fontweight="bold"
    )


def batch_sizes(
    outcomes: Sequence[Outcome], title: str = "", ax: Panels | None = None
) -> list[Axes]:
    """Histogram of batch sizes, one panel a policy; each has its own scale of shares."""
    from matplotlib.ticker import MaxNLocator

    with styled():
        drawn, panels = panels_or_new(ax, len(outcomes))
        look = looks(outcome.policy for outcome in outcomes)
        widest = max(int(o.curves.batch_size.max(initial=1)) for o in outcomes) + 1
        for axes, outcome in zip(panels, outcomes, strict=True):
            sizes, share = outcome.curves.batch_size, outcome.curves.batch_share
            colour = look[outcome.policy]["color"]
            axes.bar(sizes, 100 * share, width=0.86, color=colour, linewidth=0)
            mean = outcome.value("mean_batch_size") or 0.0
            axes.axvline(mean, color=INK, linewidth=1.0, linestyle=(0, (3, 2)))
            left = mean > 0.55 * widest
            axes.annotate(
                f"mean {mean:.1f}", (mean, 0.96), xycoords=("data", "axes fraction"),
                xytext=(-4 if left else 4, -6), textcoords="offset points", fontsize=8, color=INK,
                ha="right" if left else "left",
            )  # fmt: skip
            axes.set_title(outcome.policy)
            axes.grid(visible=False, axis="x")
            axes.set_ylim(0, 118 * share.max(initial=0.01))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in panels:
            axes.set_xlim(0, widest)
        frame(drawn, panels, "batch size, requests", "share of batches, %", title or BATCHES)
        return panels


def padding(outcomes: Sequence[Outcome], ax: Axes | None = None, title: str = "") -> Axes:
    """Share of the padded work that is padding, one bar a policy, least first."""
    with styled():
        axes = axes_or_new(ax, 7.6, 0.9 + 0.42 * len(outcomes))
        ranked = sorted(outcomes, key=lambda o: o.value("padding_waste") or 0.0, reverse=True)
        look = looks(outcome.policy for outcome in outcomes)
        waste = [100 * (o.value("padding_waste") or 0.0) for o in ranked]
        places = np.arange(len(ranked))
        colours = [look[o.policy]["color"] for o in ranked]
        axes.barh(places, waste, height=0.62, color=colours, linewidth=0)
        for place, share, outcome in zip(places.tolist(), waste, ranked, strict=True):
            half = 100 * (half_width(outcome.estimate("padding_waste")) or 0.0)
            axes.text(
                share + half, place, f"  {share:.1f}" + (f" ± {half:.1g} %" if half else " %"),
                va="center", fontsize=8.5,
            )  # fmt: skip
            if half:
                axes.errorbar(share, place, xerr=half, color=INK, capsize=2.5, linewidth=0.9)
        axes.set_yticks(places, [o.policy for o in ranked])
        axes.set_xlim(0, max([*waste, 1.0]) * 1.22)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of the padded work that is padding, %")
        axes.set_title(title or "Padding waste")
        return axes


def queue_depth(
    outcomes: Sequence[Outcome], title: str = "", ax: Panels | None = None
) -> list[Axes]:
    """Waiting requests over time, one panel a policy: mean as a line, peak as a shade.

    Stable policies share one scale; each unstable one has its own.
    """
    with styled():
        drawn, panels = panels_or_new(ax, len(outcomes))
        look = looks(outcome.policy for outcome in outcomes)
        steady = [o for o in outcomes if o.stable] or outcomes
        highest = max(float(o.curves.queue_peak.max(initial=1)) for o in steady)
        latest = max(float(o.curves.queue_time_s.max(initial=0)) for o in steady)
        for axes, outcome in zip(panels, outcomes, strict=True):
            curve, colour = outcome.curves, look[outcome.policy]["color"]
            axes.fill_between(
                curve.queue_time_s, 0, curve.queue_peak, color=colour, alpha=0.22, linewidth=0,
                step="mid",
            )  # fmt: skip
            axes.plot(curve.queue_time_s, curve.queue_mean, color=colour, linewidth=1.2)
            own = float(curve.queue_peak[curve.queue_time_s <= latest].max(initial=1))
            axes.set_ylim(0, 1.08 * (highest if outcome.stable else own))
            axes.set_title(outcome.policy)
            if not outcome.stable:
                axes.text(
                    0.04, 0.93, "unstable", transform=axes.transAxes, va="top", fontsize=8.5,
                    color=ALARM,
                )  # fmt: skip
            axes.yaxis.set_major_formatter(thousands())
        for axes in panels:
            axes.set_xlim(0, latest)
        frame(drawn, panels, "time, s", "waiting requests", title or QUEUE)
        return panels


def thousands() -> Any:
    """Ticks as 100, 1k, 20k."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda y, _: f"{y / 1e3:g}k" if abs(y) >= 1e3 else f"{y:g}")
