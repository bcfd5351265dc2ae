"""Policies under MLPerf's LoadGen: its percentiles and verdict beside this project's interval."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.mlperf.early_stopping import CONFIDENCE
from experiments.mlperf.judging import Judgement, Verdict
from experiments.mlperf.shown import within_text

from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written


def judged(run: Run) -> Iterator[Markup | None]:
    """What LoadGen found, both clocks, and its own log."""
    found = Judgement.of(run.result)
    yield element("h3", "Under MLPerf's LoadGen, server scenario")
    yield paragraph(
        f"{found.service}. The target is {found.target_ms:g} ms for {found.percentile:g} % of the "
        "queries."
    )
    yield written(verdicts_table(found))
    yield gallery(*(lines_drawn(chart) for chart in (within_chart(found), latency_chart(found))))
    yield written(clocks_table(found))
    for verdict in found.verdicts:
        lines = [Row([name, str(value)]) for name, value in verdict.log.items()]
        table = Table(_who(found, verdict), ["key", "value"], lines, left=2)
        yield folded(f"LoadGen's own results of {_who(found, verdict)}", written(table))


def verdicts_table(found: Judgement) -> Table:
    """One row a policy and load."""
    rows = [
        Row([
            each.policy, *([f"{each.load:.2f}"] if found.several else []),
            *(f"{value:.1f}" for value in each.latency_ms.values()),
            f"{each.stopping.queries:,}", f"{each.stopping.late:,}", f"{each.stopping.needed:,}",
            within_text(each.within), "VALID" if each.valid else "INVALID",
        ], None if each.valid else "bad")
        for each in found.verdicts
    ]  # fmt: skip
    load = ["load"] if found.several else []
    percentiles = [f"{name}, ms" for name in found.verdicts[0].latency_ms]
    heads = ["policy", *load, *percentiles, "queries", "late", "enough", "within, %", "LoadGen"]
    note = (
        "Percentiles are LoadGen's: sorted[floor(n p)], from the scheduled instant. Enough: how "
        f"many queries its early stopping asks for with so many late ones, at {CONFIDENCE:.0%}, "
        "which takes latencies as independent. Within: share within the target "
        "and its interval of 95 %, of sections of the run, which does not."
    )
    return Table("Verdicts", heads, rows, left=1 + len(load), note=note, words=("LoadGen",))


def within_chart(found: Judgement) -> Lines:
    """The share within the target, with its interval."""
    looks = looks_of([each.policy for each in found.verdicts])
    lines = []
    for each in found.verdicts:
        ends = {name: each.within.get(name) for name in ("value", "low", "high")}
        value, low, high = (None if end is None else 100 * end for end in ends.values())
        text = within_text(each.within)
        lines.append(Line(_who(found, each), value, text, looks[each.policy], low, high))
    return Lines(
        "Queries within the target", "within the target, %", lines,
        target=found.percentile, target_text=f"{found.percentile:g} %",
    )  # fmt: skip


def latency_chart(found: Judgement) -> Lines:
    """The largest percentile by LoadGen's clock."""
    name = list(found.verdicts[0].latency_ms)[-1]
    looks = looks_of([each.policy for each in found.verdicts])
    lines = [
        Line(_who(found, each), each.latency_ms[name], f"{each.latency_ms[name]:.1f} ms",
             looks[each.policy])
        for each in found.verdicts
    ]  # fmt: skip
    return Lines(
        f"{name} by LoadGen's clock", f"{name}, ms", lines,
        target=found.target_ms, target_text=f"{found.target_ms:g} ms",
    )  # fmt: skip


def clocks_table(found: Judgement) -> Table:
    """LoadGen's percentiles and this project's, of the same queries."""
    rows = [
        Row([
            _who(found, each), name, f"{value:.2f}", f"{each.own_latency_ms[name]:.2f}",
            f"{value - each.own_latency_ms[name]:+.2f}",
        ])
        for each in found.verdicts
        for name, value in each.latency_ms.items()
    ]  # fmt: skip
    heads = ["policy", "percentile", "LoadGen, ms", "own record, ms", "difference, ms"]
    note = (
        "LoadGen counts from the instant that it had scheduled, and up to when it is told; the own "
        "record from the instant of issue to the end of the batch."
    )
    return Table("Both clocks", heads, rows, left=2, note=note)


def _who(found: Judgement, verdict: Verdict) -> str:
    """The policy, with its load where there are several."""
    return f"{verdict.policy} at load {verdict.load:.2f}" if found.several else verdict.policy
