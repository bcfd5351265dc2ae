"""Results as tables on the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from sim.trace import STATUS_NAMES

from .exact_waits import rows_of
from .outcome import judged_by, leaders
from .tier_words import tier_rows
from .wording import hundred, settings_text, signed, with_interval

if TYPE_CHECKING:
    from .outcome import Gap, Outcome
    from .results import Comparison, Result, Sweep


SHARES = ("SLO\n%", "busy\n%", "useful\n%", "mean\nbatch", "padding\n%")
"""Heads of the narrow columns."""


def table(*columns: str, left: int = 1, title: str = "") -> Table:
    """A quiet table: a line under the head, numbers to the right, the first columns to the left."""
    drawn = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, name in enumerate(columns):
        drawn.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    return drawn


def result_table(found: Result) -> Table:
    """One row a policy; the best is bold and starred, ties are marked, the unstable say so."""
    slo = any(o.slo_ms is not None for o in found.outcomes)
    columns = ("policy", "mean, ms", "p50, ms", "p99, ms", *(SHARES if slo else SHARES[1:]))
    drawn = table(*columns)
    best, tied = getattr(found, "best", None), getattr(found, "tied", ())
    for outcome in found.outcomes:
        mark = " *" if outcome.policy == best else " =" if outcome.policy in tied else ""
        style = "bold green" if mark == " *" else "green" if mark else ""
        if not outcome.stable:
            style = "red"
        drawn.add_row(*row(outcome, mark, slo=slo), style=style)
    return drawn


def row(outcome: Outcome, mark: str, *, slo: bool) -> list[str]:
    """A policy's cells."""
    name = outcome.policy + mark
    attained = [hundred(outcome.value("slo_attainment"))] if slo else []
    rest = [
        hundred(outcome.value("utilisation")),
        hundred(outcome.value("useful_fraction")),
        f"{outcome.value('mean_batch_size') or 0:.1f}",
        hundred(outcome.value("padding_waste")),
    ]
    if not outcome.stable:
        return [name, "unstable", "", "", *attained, *rest]
    latencies = [with_interval(outcome.estimate(f"latency_ms.{m}")) for m in ("mean", "p50", "p99")]
    return [name, *latencies, *attained, *rest]


def legend(found: Result) -> Text:
    """What the marks mean, where there are any."""
    tied = getattr(found, "tied", ())
    if not tied:
        return Text()
    words = f"* lowest {judged_by(found.outcomes)}" + ("   = tie with it" if len(tied) > 1 else "")
    added = [o.policy for o in found.outcomes if o.baseline]
    if added:
        words += f"   baselines: {', '.join(added)}"
    return Text(words, style="dim")


def difference_table(found: Comparison) -> Table | None:
    """What each policy costs (+) or saves (-) against greedy and against the best, paired."""
    rivals = dict.fromkeys(name for name in ("greedy", found.best) if name is not None)
    measures = dict.fromkeys(("mean", judged_by(found.outcomes)))
    known = {gap.against for gap in found.differences}
    pairs = [(m, rival) for rival in rivals if rival in known for m in measures]
    drawn = table("paired, ms", *(f"{m} against\n{rival}" for m, rival in pairs))
    for outcome in found.outcomes:
        gaps = [found.difference(outcome.policy, rival, m) for m, rival in pairs]
        if any(gap is not None for gap in gaps):
            cells = (Text("") if gap is None else gap_text(gap) for gap in gaps)
            drawn.add_row(outcome.policy, *cells)
    return drawn if drawn.row_count else None


def gap_text(gap: Gap) -> Text:
    """Green where the policy is faster, red where it is slower."""
    style = {"lower": "green", "higher": "red"}.get(gap.ms.verdict, "dim")
    return Text(signed(gap.ms), style=style)


def tier_table(found: Result) -> Table | None:
    """One row a policy and tier, where there are several tiers."""
    known = tier_rows(found)
    if known is None:
        return None
    drawn = table(*known.head, left=2)
    for cells in known.rows:
        drawn.add_row(*cells)
    return drawn


def exact_table(found: Result) -> Table | None:
    """Mean waits that were measured beside those of theory, where theory knows them."""
    rows = rows_of(found.scenario, found.outcomes)
    if not rows:
        return None
    drawn = table("policy", "tier", "mean wait, ms", "exactly", "known from", left=2)
    for policy, tier, measured, exact, source in rows:
        drawn.add_row(policy, tier, with_interval(measured), f"{exact:.5g}", source)
    return drawn


def lost_table(found: Result) -> Table | None:
    """Requests that were not served, where there are any; what a backlog has left is no loss."""
    counts = ["rejected", "expired", "unfinished", "lost"]
    lost = [lost_of(outcome) for outcome in found.outcomes]
    if not any(each[name] for each in lost for name in counts):
        return None
    if not any(each["lost"] for each in lost):
        counts.remove("lost")  # only replicas that fail lose requests
    shown = ["requests", "served", *counts]
    drawn = table("policy", *shown)
    for outcome, each in zip(found.outcomes, lost, strict=True):
        drawn.add_row(outcome.policy, *(f"{each[name]:,}" for name in shown))
    return drawn


def lost_of(outcome: Outcome) -> dict[str, int]:
    """Requests, and what became of them, of the tiers that are no backlog."""
    names = ("requests", *STATUS_NAMES)
    tiers = [tier for tier in outcome.measures.tiers if tier.share_of_bound is None]
    return {name: sum(getattr(tier, name) for tier in tiers) for name in names}


def sweep_table(sweep: Sweep, measure: str = "p99") -> Table:
    """One row a step, one column a policy: a latency; the lowest and its ties are bold."""
    names = sweep.policies
    drawn = table("step", *names, title=f"{measure} latency, ms")
    for step in sweep.steps:
        values = {o.policy: o for o in step.outcomes}
        known = {
            name: value
            for name, o in values.items()
            if o.stable and (value := o.value(f"latency_ms.{measure}")) is not None
        }
        first = leaders(step.outcomes)
        cells: list[Text] = []
        for name in names:
            if name in known:
                style = "bold green" if name in first else ""
                cells.append(Text(f"{known[name]:.4g}", style=style))
            else:
                steady = name in values and values[name].stable
                cells.append(
                    Text("too few" if steady else "unstable", style="dim" if steady else "red")
                )
        drawn.add_row(settings_text(step.settings), *cells)
    return drawn


def rows_table(
    rows: Iterable[Sequence[Any]], *columns: str, left: int = 1, title: str = ""
) -> Table:
    """Any rows as text; the last column may wrap."""
    drawn = table(*columns, left=left, title=title)
    drawn.columns[-1].no_wrap = False
    for cells in rows:
        drawn.add_row(*(str(cell) for cell in cells))
    return drawn


def facts(pairs: Mapping[str, Any]) -> Table:
    """Names and values, one a line; a value may wrap."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column()
    for name, value in pairs.items():
        if value not in (None, "", ()):
            drawn.add_row(name, str(value))
    return drawn
