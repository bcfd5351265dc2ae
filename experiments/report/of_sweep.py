"""What a report says of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from experiments.wording import settings_text

from . import outcome_charts as charts
from .amounts import PERCENTILES, STATISTICS, Facts, statistic, text
from .elements import Markup, element
from .found import Run
from .of_policies import gallery, slo_of
from .tables import Row, Table, written

LATENCIES = {"mean": "mean", **PERCENTILES}


def swept(run: Run) -> Iterator[Markup | None]:
    """A latency by step and policy, its charts, and everything of every step."""
    steps: Sequence[Facts] = run.result["steps"]
    known = any(
        statistic(one, "latency_ms.p99").value is not None
        for step in steps
        for one in step["policies"].values()
    )
    yield element("h3", "Results")
    for measure in ("p99", "mean") if known else ("mean",):
        yield written(latencies(steps, measure))
    yield gallery(*charts.line_charts(run.result, slo_of(run.manifest)))
    yield written(whole(steps))


def latencies(steps: Sequence[Facts], measure: str) -> Table:
    """One row a step, one column a policy."""
    names = list(dict.fromkeys(name for step in steps for name in step["policies"]))
    rows = [Row([settings_text(step["settings"]), *cells(step, names, measure)]) for step in steps]
    title = "Mean latency, ms" if measure == "mean" else f"{measure} latency, ms"
    return Table(f"{title} (* the lowest value)", ["step", *names], rows)


def cells(step: Facts, names: Sequence[str], measure: str) -> list[str]:
    """A step's latencies; the lowest is starred."""
    found = {name: statistic(step["policies"][name], f"latency_ms.{measure}")
             for name in names if name in step["policies"]}  # fmt: skip
    known = [one.value for one in found.values() if one.value is not None]
    least = min(known, default=None)
    return [
        "" if name not in found
        else text(found[name]) + (" *" if least is not None and found[name].value == least else "")
        for name in names
    ]  # fmt: skip


def whole(steps: Sequence[Facts]) -> Table:
    """One row a step and policy, with every number."""
    known: dict[str, Any] = {
        f"latency_ms.{key}": f"{title}, ms" for key, title in LATENCIES.items()
    }
    known |= {each: STATISTICS[each] for each in STATISTICS if has(steps, each)}
    rows = [
        Row([settings_text(step["settings"]), name, *(text(statistic(one, s)) for s in known)],
            "bad" if one.get("stable") is False else None)
        for step in steps
        for name, one in step["policies"].items()
    ]  # fmt: skip
    heads = ["step", "policy", *known.values()]
    return Table("Every step and policy", heads, rows, left=2)


def has(steps: Sequence[Facts], name: str) -> bool:
    """Whether a statistic is anywhere."""
    return any(name in one["intervals"] for step in steps for one in step["policies"].values())
