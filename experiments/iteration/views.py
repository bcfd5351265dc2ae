"""The ``.plot`` of results of continuous batching, and how they look in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from experiments.wording import percent, with_interval

from . import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .results import TokenComparison

HEAD = ("policy", "TTFT, ms", "TPOT, ms", "latency, ms", "within targets", "tokens/s", "KV used")


@dataclass(frozen=True)
class TokenPlots:
    """Figures of a comparison; ``ax`` takes axes of a figure of your own."""

    result: TokenComparison

    def ttft(self, ax: Axes | None = None) -> Axes:
        """Share of requests whose first token takes longer, one line a rule."""
        return plots.distribution(self.result.outcomes, "ttft_ms", ax)

    def tpot(self, ax: Axes | None = None) -> Axes:
        """Share of requests whose later tokens take longer, one line a rule."""
        return plots.distribution(self.result.outcomes, "tpot_ms", ax)

    def latency(self, ax: Axes | None = None) -> Axes:
        """Share of requests that take longer, one line a rule."""
        return plots.distribution(self.result.outcomes, "latency_ms", ax)

    def trade_off(self, ax: Axes | None = None) -> Axes:
        """The first token against those after it, one point a rule."""
        return plots.trade_off(self.result.outcomes, ax)

    def over_time(self, policy: str | None = None, ax: Sequence[Axes] | None = None) -> list[Axes]:
        """Sequences, memory and prompt tokens over time of one rule, by default the best."""
        name = policy or self.result.best or self.result.outcomes[0].policy
        return plots.over_time(self.result.outcome(name), ax)


def html_of(found: TokenComparison) -> str:
    """A table and the verdict."""
    rows = []
    for o in found.outcomes:
        times = ("ttft_ms.mean", "tpot_ms.mean", "latency_ms.mean")
        cells = [with_interval(o.estimate(name)) if o.stable else "unstable" for name in times]
        share = percent(o.value("slo_attainment"))
        tokens, used = o.value("output_tokens_per_s") or 0, percent(o.value("memory_used"))
        cells = [o.policy, *cells, share, f"{tokens:,.0f}", used]
        bold = ' style="font-weight:600"' if o.policy == found.best else ""
        rows.append(f"<tr{bold}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in HEAD)
    return (
        f"<p><b>{escape(str(found.scenario['name']))}</b> {escape(found.verdict)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
