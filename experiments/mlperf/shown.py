"""What LoadGen says, on the terminal, beside this project's own interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.text import Text

from experiments.terminal import table

from .early_stopping import CONFIDENCE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .judging import Judgement, Verdict


def judgement_tables(found: Judgement) -> Iterator[RenderableType]:
    """Head, table, legend and a sentence for each policy."""
    target = f"{found.target_ms:g} ms for {found.percentile:g} %"
    yield Text(f"{found.scenario}   {found.service}, MLPerf LoadGen, server scenario, {target}\n")
    several = found.several
    drawn = table(
        "policy", *(["load"] if several else []), "p50, ms", "p90, ms", "p99, ms", "queries",
        "late", "enough", "LoadGen", "within, %",
    )  # fmt: skip
    for verdict in found.verdicts:
        drawn.add_row(*_row(verdict, several=several), style="green" if verdict.valid else "")
    yield drawn
    yield Text(
        "percentiles are LoadGen's: sorted[floor(n p)], from the scheduled instant\n"
        f"enough: queries that its early stopping asks for with so many late ones, "
        f"{CONFIDENCE:.0%}\n"
        "within: share within the target and its interval of 95 %, of sections of the run\n",
        style="dim",
    )
    for said in sentences(found):
        yield Text(said)


def sentences(found: Judgement) -> list[str]:
    """What may be said of each policy, at each load."""
    return [sentence(found, verdict, several=found.several) for verdict in found.verdicts]


def _row(verdict: Verdict, *, several: bool) -> list[str]:
    """One policy at one load."""
    return [
        verdict.policy,
        *([f"{verdict.load:.2f}"] if several else []),
        *(f"{value:.1f}" for value in verdict.latency_ms.values()),
        f"{verdict.stopping.queries:,}",
        f"{verdict.stopping.late:,}",
        f"{verdict.stopping.needed:,}",
        "VALID" if verdict.valid else "INVALID",
        within_text(verdict.within),
    ]


def within_text(found: dict[str, Any]) -> str:
    """A share with the half of its interval."""
    value = found.get("value")
    if value is None:
        return f"needs {found['needs']:,}" if found.get("needs") else "-"
    if found.get("low") is None:
        return f"{100 * value:.2f}"
    half = (found["high"] - found["low"]) / 2
    return f"{100 * value:.2f} ± {100 * half:.2f}"


def sentence(found: Judgement, verdict: Verdict, *, several: bool) -> str:
    """What may be said of a policy."""
    who = f"{verdict.policy} at load {verdict.load:.2f}" if several else verdict.policy
    if verdict.failed:
        said = f"is not judged valid: {verdict.failed:,} queries were refused or failed"
    elif verdict.valid:
        said = "is MLPerf-compatible, if its latencies were independent"
    elif not verdict.stopped_early:
        more = f"{verdict.stopping.more:,}"
        said = (
            f"is not judged valid: early stopping asks for {more} more queries, none of them late"
        )
    else:
        said = "is not judged valid"
    return f"{who} {said}; {_own(found, verdict)}."


def _own(found: Judgement, verdict: Verdict) -> str:
    """What the interval says, which holds for queues as well."""
    ends, wanted = verdict.within, found.percentile / 100.0
    if ends.get("low") is None:
        return "the run is too short for an interval of its own"
    if ends["low"] >= wanted:
        return "its interval keeps the target"
    if ends["high"] < wanted:
        return "its interval misses the target"
    return "its interval holds both"
