"""The ``.plot`` of results, and how they look in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from . import plots
from .plots_stages import latency_parts
from .plots_sweep import latency_against
from .tier_words import tier_rows
from .wording import percent, shown, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .outcome import Outcome
    from .plots import Panels
    from .results import Result, Sweep

HEAD = ("policy", "mean, ms", "p99, ms", "busy", "mean batch", "padding")


@dataclass(frozen=True)
class ComparisonPlots:
    """Figures of a simulation or a comparison; each returns the axes that it drew on.

    The figure of axes is their ``.figure``.  ``ax`` takes axes of a figure of your own; where there
    is a panel a policy, one axes for each, as ``plt.subplots`` gives them.
    """

    result: Result

    def latency_ecdf(self, ax: Axes | None = None) -> Axes:
        """Share of requests slower than a latency, on log axes, one line a policy."""
        return plots.latency_ecdf(self.result.outcomes, ax)

    def differences(
        self, against: str | None = None, measure: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """Paired differences of a latency, one interval a policy; grey where it holds zero.

        Args:
            against: ``greedy``, ``snap``, ``balanced_cap`` or, by default, the best policy.
            measure: ``mean`` or ``p99``; by default ``p99`` where it is known.
            ax: where to draw.

        Raises:
            ValueError: there is no such difference.
        """
        from .plots_differences import differences

        return differences(self.result, against, measure, ax)

    def batch_sizes(self, ax: Panels | None = None) -> list[Axes]:
        """Histogram of batch sizes, one panel a policy."""
        return plots.batch_sizes(self.result.outcomes, ax=ax)

    def padding(self, ax: Axes | None = None) -> Axes:
        """Share of the work that is padding, one bar a policy."""
        return plots.padding(self.result.outcomes, ax)

    def queue_depth(self, ax: Panels | None = None) -> list[Axes]:
        """Waiting requests over time, one panel a policy."""
        return plots.queue_depth(self.result.outcomes, ax=ax)

    def tiers(self, ax: Axes | None = None) -> Axes:
        """What a backlog gets done against the p99 of those who wait, one dot a policy.

        Raises:
            ValueError: no tier is a backlog, or no policy serves the others.
        """
        from .plots_tiers import tiers

        return tiers(self.result.outcomes, ax)

    def latency_parts(self, ax: Panels | None = None) -> Figure | None:
        """Where latency is spent, one bar a policy: a figure, None where there are no CPU stages.

        On axes of your own: one for all requests, or two, the second for the slowest.
        """
        return latency_parts(self.result.outcomes, ax)


@dataclass(frozen=True)
class SweepPlots:
    """Figures of a sweep; each returns the axes that it drew on."""

    sweep: Sweep

    def latency_against(
        self, key: str | None = None, measure: str = "p99", ax: Axes | None = None
    ) -> Axes:
        """A latency against a swept key, one line a policy, with its interval.

        Values that are names, as of routers, stand beside each other.

        Args:
            key: a swept key, or its last part; by default the first.
            measure: ``mean``, ``p50``, ``p90``, ``p95``, ``p99`` or ``p999``.
            ax: where to draw.
        """
        return latency_against(self.sweep, key, measure, ax)


def html_of(result: Result) -> str:
    """A small table, one of the tiers where there are several, and the verdict."""
    rows = [cells(outcome) for outcome in result.outcomes]
    apart = tier_rows(result)
    if apart is None:
        return table(HEAD, rows, result.verdict)
    return table(HEAD, rows) + table(apart.head, apart.rows, result.verdict)


def html_of_sweep(sweep: Sweep) -> str:
    """A small table with the swept keys, and the verdict."""
    rows = [
        [*(shown(step.settings[key]) for key in sweep.keys), *cells(outcome)]
        for step in sweep.steps
        for outcome in step.outcomes
    ]
    return table((*sweep.keys, *HEAD), rows, sweep.verdict)


def table(head: tuple[str, ...], rows: list[list[str]], below: str = "") -> str:
    """An HTML table with a paragraph below it, where there is something to say."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    start = f"<table><thead><tr>{names}</tr></thead>"
    words = f"<p>{escape(below)}</p>" if below else ""
    return f"{start}<tbody>{body}</tbody></table>{words}"


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
