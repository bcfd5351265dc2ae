"""Results of continuous batching as tables on the terminal, at most 100 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from experiments.terminal import table
from experiments.wording import hundred, with_interval

from .outcome import TokenOutcome, judged_by, ties

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .results import TokenComparison


def heading(found: TokenComparison) -> str:
    """What ran."""
    facts = found.scenario
    runs = facts["replications"]
    often = f", {runs} runs" if runs > 1 else ""
    return (
        f"[bold]{facts['name']}[/bold]   {facts['service']}, {facts['requests']:,} requests, "
        f"{facts['offered_rate_per_s']:.4g}/s{often}"
    )


def result_table(found: TokenComparison) -> Table:
    """One row a rule; the best is bold and starred, ties are marked, the unstable say so."""
    slo = any(o.promised for o in found.outcomes)
    drawn = table(
        "policy",
        "TTFT\nms",
        "TTFT p99\nms",
        "TPOT\nms",
        "gap p99\nms",
        "latency\nms",
        *(["SLO\n%"] if slo else []),
        "batch",
        "KV\n%",
    )
    tied = ties(found.outcomes)
    for outcome in found.outcomes:
        best = bool(tied) and outcome.policy == tied[0] and len(found.outcomes) > 1
        mark = " *" if best else " =" if outcome.policy in tied and len(tied) > 1 else ""
        style = "bold green" if best else "green" if mark else "" if outcome.stable else "red"
        drawn.add_row(*row(outcome, mark, slo=slo), style=style)
    return drawn


def row(outcome: TokenOutcome, mark: str, *, slo: bool) -> list[str]:
    """A rule's cells."""
    attained = [hundred(outcome.value("slo_attainment"))] if slo else []
    rest = [
        f"{outcome.value('mean_sequences') or 0:.1f}",
        hundred(outcome.value("memory_used")),
    ]
    if not outcome.stable:
        return [outcome.policy + mark, "unstable", "", "", "", "", *attained, *rest]
    times = [
        with_interval(outcome.estimate(name))
        for name in ("ttft_ms.mean", "ttft_ms.p99", "tpot_ms.mean", "itl_ms.p99", "latency_ms.mean")
    ]
    return [outcome.policy + mark, *times, *attained, *rest]


def legend(found: TokenComparison) -> Text:
    """What the marks and the columns mean."""
    tied = ties(found.outcomes)
    words = "TTFT to the first token, TPOT a token after it, gap between two tokens, KV memory used"
    if tied and len(found.outcomes) > 1:
        what = "most within the targets" if judged_by(found.outcomes) == "goodput_per_s" else ""
        first = f"* {what or 'lowest mean latency'}"
        words = first + ("   = tie with it" if len(tied) > 1 else "") + "\n" + words
    return Text(words, style="dim")


def tier_table(found: TokenComparison) -> Table | None:
    """One row a rule and tier, where there are several tiers."""
    if len(found.outcomes[0].measures.tiers) < 2:
        return None
    slo = any(o.promised for o in found.outcomes)
    drawn = table(
        "policy",
        "tier",
        "TTFT\nmean, ms",
        "TTFT\np95, ms",
        "TPOT\nmean, ms",
        "latency\nmean, ms",
        *(["SLO\n%"] if slo else []),
        "tokens\n/s",
        left=2,
    )
    for outcome in found.outcomes:
        if not outcome.stable:
            continue
        for tier in outcome.measures.tiers:
            known = tier.estimates()
            attained = known.get("slo_attainment")
            drawn.add_row(
                outcome.policy if tier is outcome.measures.tiers[0] else "",
                tier.name,
                *(
                    with_interval(known[name])
                    for name in ("ttft_ms.mean", "ttft_ms.p95", "tpot_ms.mean", "latency_ms.mean")
                ),
                *([hundred(None if attained is None else attained.value)] if slo else []),
                f"{known['output_tokens_per_s'].value or 0:,.0f}",
            )
    return drawn


def print_result(screen: Console, found: TokenComparison) -> None:
    """The tables and the verdict."""
    screen.print(heading(found))
    screen.print(result_table(found))
    screen.print(legend(found))
    tiers = tier_table(found)
    if tiers is not None:
        screen.print(tiers)
    if found.verdict:
        screen.print(f"\n{found.verdict}")
