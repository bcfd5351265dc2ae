"""What a report says of a simulation or a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import outcome_charts as charts
from . import outcome_tables as tables
from .amounts import Facts, statistic
from .elements import Markup, element, folded, joined, paragraph
from .found import Run
from .pictures import pictures
from .tables import Table, written

PICTURES = {
    "latency": "Share of requests that are slower than a latency, by policy",
    "batch-sizes": "How large the batches are, by policy",
    "queue-depth": "Waiting requests over time, by policy",
    "latency-parts": "Where latency is spent, by policy",
}
"""Figures of such a run that no number of its result could draw again."""


def simulated(run: Run) -> Iterator[Markup | None]:
    """Tables and charts of the policies, and latency against load where that was run."""
    found = run.result
    policies, best = found["policies"], found.get("best")
    slo = slo_of(run.manifest)
    yield element("h3", "Results")
    yield written(tables.policies_table(policies, best, found.get("tied_with_best") or ()))
    yield gallery(
        *(charts.latency_chart(policies, measure, slo) for measure in measures(policies)),
        charts.percentile_chart(policies, slo),
        *(charts.line_charts(found["load_curve"], slo) if found.get("load_curve") else ()),
        charts.share_chart(policies, "padding_waste", "Padding"),
        charts.share_chart(policies, "utilisation", "How busy the servers are"),
    )
    yield written(tables.differences_table(found.get("differences") or ()))
    for table in more_tables(found["scenario"], policies):
        yield written(table)
    for warning in tables.warnings_of(policies):
        yield paragraph(warning, "note")
    yield pictures(run.folder, PICTURES)
    yield folded("Every number", *every_number(policies))


def more_tables(scenario: Facts, policies: tables.Policies) -> list[Table]:
    """What only some scenarios have; without a row none is written."""
    return [
        tables.tiers_table(policies),
        tables.exact_table(scenario, policies),
        tables.stages_table(policies),
        tables.parts_table(policies),
        tables.replicas_table(policies),
        tables.sequences_table(policies),
        tables.parameters_table(policies),
    ]


def every_number(policies: tables.Policies) -> list[Markup | None]:
    """All statistics of all requests, and of each of several tiers."""
    names = list(dict.fromkeys(tier for one in policies.values() for tier in one["tiers"]))
    groups: list[tuple[str, dict[str, Any]]] = [("", dict(policies))]
    groups += [
        (f" of {tier}", {name: one["tiers"][tier] for name, one in policies.items()
                         if tier in one["tiers"]})
        for tier in names
        if len(names) > 1
    ]  # fmt: skip
    return [written(tables.numbers_table(each, of)) for of, each in groups]


def measures(policies: tables.Policies) -> list[str]:
    """Mean, and p99 where any policy has one."""
    known = any(statistic(one, "latency_ms.p99").value is not None for one in policies.values())
    return ["p99", "mean"] if known else ["mean"]


def slo_of(manifest: Facts) -> float | None:
    """The target of the first tier that has one, in ms, where it is of the p99."""
    workload = (manifest.get("scenario") or {}).get("workload") or {}
    targets = [tier["slo"] for tier in workload.get("tiers") or () if tier.get("slo")]
    return float(targets[0]["ms"]) if targets and targets[0].get("percentile") == 99 else None


def gallery(*figures: Markup | None) -> Markup | None:
    """Charts side by side, where there are any."""
    shown = [figure for figure in figures if figure is not None]
    return element("div", joined(shown), class_="charts") if shown else None
