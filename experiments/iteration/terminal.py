"""Results of continuous batching as tables on the terminal, at most 100 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from experiments.terminal import table
from experiments.tune.shown import WIDTH, shortened
from experiments.wording import amount, hundred, with_interval

from .outcome import TokenOutcome, judged_by, ties

if TYPE_CHECKING:
    from rich.table import Table

    from .results import TokenComparison


LONGEST = 60
"""Characters of a rule's name that are shown where there is room."""
TAILS = ("itl_ms.p99", "ttft_ms.p99")
TIMES = ("ttft_ms.mean", "ttft_ms.p99", "tpot_ms.mean", "itl_ms.p99", "latency_ms.mean")
FITTING = (
    *((LONGEST, TAILS[:count]) for count in range(3)),
    *((room, TAILS) for room in range(24, 11, -2)),
    *((room, TIMES) for room in range(20, 7, -2)),
)
"""Room for names, and numbers without their interval: the first that fits is shown."""


def heading(found: TokenComparison) -> str:
    """What ran."""
    facts = found.scenario
    runs = facts["replications"]
    often = f", {runs} runs" if runs > 1 else ""
    return (
        f"[bold]{facts['name']}[/bold]   {facts['service']}, {facts['requests']:,} requests, "
        f"{facts['offered_rate_per_s']:.4g}/s{often}"
    )


def result_table(found: TokenComparison, width: int = WIDTH) -> Table:
    """One row a rule; the best is bold and starred, ties are marked, the unstable say so.

    Where it is too wide, tails lose their intervals, and then names their middle.
    """
    console = Console(width=10_000)
    drawn = _table(found, LONGEST, bare=())
    for room, bare in FITTING:
        drawn = _table(found, room, bare)
        if Measurement.get(console, console.options, drawn).maximum <= min(width, WIDTH):
            break
    return drawn


def _table(found: TokenComparison, room: int, bare: tuple[str, ...]) -> Table:
    """With so many characters of a rule's name, and some numbers without their interval."""
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
    names = shortened([o.policy for o in found.outcomes], room)
    for outcome, name in zip(found.outcomes, names, strict=True):
        best = bool(tied) and outcome.policy == tied[0] and len(found.outcomes) > 1
        mark = " *" if best else " =" if outcome.policy in tied and len(tied) > 1 else ""
        style = "bold green" if best else "green" if mark else "" if outcome.stable else "red"
        drawn.add_row(name + mark, *row(outcome, slo=slo, bare=bare), style=style)
    return drawn


def row(outcome: TokenOutcome, *, slo: bool, bare: tuple[str, ...] = ()) -> list[str]:
    """A rule's cells behind its name."""
    attained = [hundred(outcome.value("slo_attainment"))] if slo else []
    rest = [
        f"{outcome.value('mean_sequences') or 0:.1f}",
        hundred(outcome.value("memory_used")),
    ]
    if not outcome.stable:
        return ["unstable", "", "", "", "", *attained, *rest]
    times = [
        amount(outcome.value(name) or 0.0)
        if name in bare and outcome.value(name) is not None
        else with_interval(outcome.estimate(name))
        for name in TIMES
    ]
    return [*times, *attained, *rest]


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
    screen.print(result_table(found, screen.width))
    screen.print(legend(found))
    tiers = tier_table(found)
    if tiers is not None:
        screen.print(tiers)
    if found.verdict:
        screen.print(f"\n{found.verdict}")
