"""What a report says of rules of continuous batching, and of their largest rates and tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import outcome_tables as tables
from .amounts import Facts, count, difference, estimate, rate, text
from .charts import Axis, Chart, Mark, Series, drawn
from .elements import Markup, element, folded
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .pictures import pictures
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written

KIND = "iterations"
"""How results of scenarios with an ``[engine]`` begin their ``kind``."""

TIMES = {
    "ttft_ms.mean": "Mean time to the first token",
    "itl_ms.p99": "p99 of the gap between tokens",
    "tpot_ms.mean": "Mean time per output token",
    "latency_ms.mean": "Mean latency",
}
HEADS = {
    "ttft_ms.mean": "first token, ms",
    "ttft_ms.p99": "p99, ms",
    "tpot_ms.mean": "a token after it, ms",
    "itl_ms.p99": "gap p99, ms",
    "latency_ms.mean": "latency, ms",
    "slo_attainment": "within targets, %",
    "output_tokens_per_s": "tokens/s",
    "mean_sequences": "batch",
    "memory_used": "memory, %",
    "preemptions_per_request": "put back",
}
IN_PER_CENT = ("slo_attainment", "memory_used", "memory_peak", "busy", "recomputed")
PICTURES = {
    "ttft": "Share of requests whose first token takes longer",
    "tpot": "Share of requests whose later tokens take longer",
    "latency": "Share of requests that take longer",
    "over_time": "Sequences, memory and prompts over time",
    "capacity": "Share of requests within their targets, by rate",
    "course": "The search, trial by trial",
    "parameter": "The objective by its main parameter",
}

Policies = Mapping[str, Facts]


def compared(run: Run) -> Iterator[Markup | None]:
    """Tables and charts of a simulation or a comparison."""
    found = run.result
    policies, best = found["policies"], found.get("best")
    tied = found.get("tied_with_best") or []
    yield element("h3", "Results")
    yield written(policies_table(policies, best, tied))
    yield gallery(*(chart(policies, name) for name in TIMES), trade_off(policies))
    yield written(differences_table(found.get("differences") or ()))
    yield written(tiers_table(policies))
    yield written(parameters_table(policies))
    yield pictures(run.folder, PICTURES)
    yield folded("Every number", written(every_number(policies)))


def value_of(one: Facts, name: str) -> Any:
    """An estimate by its name; shares in per cent."""
    table, _, key = name.partition(".")
    found = one.get(table) or {}
    one_of = estimate(found.get(key) if key else found or None)
    return one_of.scaled(100.0) if table in IN_PER_CENT else one_of


def said(one: Facts, name: str) -> str:
    """The same in words; of an unstable rule no times."""
    if not one["stable"] and name.partition(".")[0].endswith("_ms"):
        return "unstable" if name == "ttft_ms.mean" else ""
    return text(value_of(one, name))


def shown(policies: Policies) -> list[str]:
    """Statistics that any of the rules has."""
    return [
        name
        for name in HEADS
        if any(value_of(one, name).value is not None for one in policies.values())
    ]


def policies_table(policies: Policies, best: str | None, tied: Sequence[str]) -> Table:
    """One row a rule."""
    names = shown(policies)
    rows = [
        Row(
            [name + tables.mark(name, best, list(tied)), *(said(one, s) for s in names)],
            tables.tone(name, one, best, list(tied)),
        )
        for name, one in policies.items()
    ]
    note = "* the best   = tie with it" if len(tied) > 1 else "* the best" if tied else ""
    return Table("Rules", ["policy", *(HEADS[s] for s in names)], rows, note=note)


def chart(policies: Policies, name: str) -> Markup | None:
    """One statistic of each rule with its interval, the lowest first."""
    look = looks_of(policies)
    lines = [
        Line(label, found.value, said(one, name) + " ms" * (found.value is not None), look[label],
             found.low, found.high)
        for label, one in policies.items()
        for found in [value_of(one, name)]
    ]  # fmt: skip
    lines.sort(key=lambda line: math.inf if line.value is None else line.value)
    return lines_drawn(Lines(TIMES[name], "ms", lines))


def trade_off(policies: Policies) -> Markup | None:
    """The first token against those after it."""
    look, series = looks_of(policies), []
    for name, one in policies.items():
        first, after = value_of(one, "ttft_ms.mean"), value_of(one, "tpot_ms.mean")
        if first.value is None or after.value is None:
            continue
        tip = f"{name}: first token {text(first)} ms, then {text(after)} ms a token"
        mark = Mark(first.value, after.value, tip, after.low, after.high)
        series.append(Series(name, [mark], look[name], line=False, band=False))
    if len(series) < 2:
        return None
    axes = Axis("mean time to the first token, ms"), Axis("mean time per token after it, ms")
    return drawn(Chart("The first token against those after it", series, *axes))


def differences_table(found: Sequence[Facts], words: Mapping[str, str] | None = None) -> Table:
    """Paired differences, those that tie left dim; ``words`` are further names of measures."""
    heads_of = HEADS | dict(words or {})
    rows = [
        Row(
            [one["policy"], one["against"], heads_of.get(one["measure"], str(one["measure"])),
             difference(one)],
            "dim" if one["verdict"] == "tie" else None,
        )
        for one in found
    ]  # fmt: skip
    heads = ["policy", "against", "measure", "difference"]
    return Table("Differences on the same arrivals", heads, rows, left=3, fold=True)


def tiers_table(policies: Policies) -> Table:
    """One row a rule and tier, where there are several tiers."""
    rows, names = [], [n for n in shown(policies) if n not in ("mean_sequences", "memory_used")]
    names.remove("preemptions_per_request") if "preemptions_per_request" in names else None
    for name, one in policies.items():
        if len(one["tiers"]) < 2:
            continue
        for tier, numbers in one["tiers"].items():
            cells = (said({**numbers, "stable": one["stable"]}, s) for s in names)
            rows.append(Row([name, tier, *cells]))
    return Table("Tiers", ["policy", "tier", *(HEADS[s] for s in names)], rows, left=2)


def parameters_table(policies: Policies) -> Table:
    """Kind and numbers of each rule."""
    rows = [
        Row([name, str(one["parameters"].get("kind", "")), tables.settings(one["parameters"])])
        for name, one in policies.items()
    ]
    return Table("Settings", ["policy", "kind", "numbers"], rows, left=2, words=("numbers",))


def every_number(policies: Policies) -> Table:
    """All statistics of all requests."""
    names = [
        f"{table}.{key}"
        for table in ("ttft_ms", "tpot_ms", "itl_ms", "latency_ms")
        for key in ("mean", "p50", "p90", "p95", "p99")
    ]
    names += [
        *("requests_per_s", "goodput_per_s", "slo_attainment"),
        *("output_tokens_per_s", "prompt_tokens_per_s", "busy", "mean_sequences"),
        *("mean_waiting", "memory_used", "memory_peak", "preemptions_per_request", "recomputed"),
    ]
    rows = [
        Row([name, *(text(value_of(one, name)) for one in policies.values())]) for name in names
    ]
    rows += [
        Row([name, *(count(one[name]) for one in policies.values())])
        for name in ("requests", "served", "rejected", "unfinished")
    ]
    limits = (rate(one.get("saturation_per_s")) for one in policies.values())
    rows.append(Row(["saturation_per_s", *limits]))
    return Table("Every number", ["", *policies], rows)
