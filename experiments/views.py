"""The ``.plot`` of results, and how they look in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from . import plots
from .plots_stages import latency_parts
from .plots_sweep import latency_against
from .wording import percent, shown, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .outcome import Outcome
    from .results import Result, Sweep

HEAD = ("policy", "mean, ms", "p99, ms", "busy", "mean batch", "padding")


@dataclass(frozen=True)
class ComparisonPlots:
    """Figures of a simulation or a comparison; each returns the axes that it drew on."""

    result: Result

    def latency_ecdf(self, ax: Axes | None = None) -> Axes:
        """Share of requests slower than a latency, on log axes, one line a policy."""
        return plots.latency_ecdf(self.result.outcomes, ax)

    def batch_sizes(self) -> list[Axes]:
        """Histogram of batch sizes, one panel a policy."""
        return plots.batch_sizes(self.result.outcomes)

    def padding(self, ax: Axes | None = None) -> Axes:
        """Share of the work that is padding, one bar a policy."""
        return plots.padding(self.result.outcomes, ax)

    def queue_depth(self) -> list[Axes]:
        """Waiting requests over time, one panel a policy."""
        return plots.queue_depth(self.result.outcomes)

    def latency_parts(self) -> Figure | None:
        """Where latency is spent, one bar a policy; None where there are no CPU stages."""
        return latency_parts(self.result.outcomes)


@dataclass(frozen=True)
class SweepPlots:
    """Figures of a sweep."""

    sweep: Sweep

    def latency_against(
        self, key: str | None = None, measure: str = "p99", ax: Axes | None = None
    ) -> Axes:
        """A latency against a swept key, one line a policy, with its interval."""
        return latency_against(self.sweep, key, measure, ax)


def html_of(result: Result) -> str:
    """A small table and the verdict."""
    return table(HEAD, [cells(outcome) for outcome in result.outcomes], result.verdict)


def html_of_sweep(sweep: Sweep) -> str:
    """A small table with the swept keys, and the verdict."""
    rows = [
        [*(shown(step.settings[key]) for key in sweep.keys), *cells(outcome)]
        for step in sweep.steps
        for outcome in step.outcomes
    ]
    return table((*sweep.keys, *HEAD), rows, sweep.verdict)


def table(head: tuple[str, ...], rows: list[list[str]], below: str) -> str:
    """An HTML table with a paragraph below it."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    start = f"<table><thead><tr>{names}</tr></thead>"
    return f"{start}<tbody>{body}</tbody></table><p>{escape(below)}</p>"


def cells(outcome: Outcome) -> list[str]:
    """A policy's row of the small table."""
    if not outcome.stable:
        return [outcome.policy, "unstable", "", percent(outcome.value("utilisation")), "", ""]
    return [
        outcome.policy,
        with_interval(outcome.estimate("latency_ms.mean")),
        with_interval(outcome.estimate("latency_ms.p99")),
        percent(outcome.value("utilisation")),
        f"{outcome.value('mean_batch_size') or 0:.1f}",
        percent(outcome.value("padding_waste")),
    ]
