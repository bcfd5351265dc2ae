"""What a report says of the largest rates, and of the servers that a rate needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from . import outcome_tables as tables
from .amounts import Facts, count, rate, share, statistic, text
from .elements import Markup, element, folded
from .found import Run
from .looks import looks_of
from .of_policies import every_number, gallery
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written


def taken(run: Run) -> Iterator[Markup | None]:
    """Rates with intervals, how they differ, what it is like there, and the servers."""
    found = run.result
    at = {name: one["at_capacity"] for name, one in found["policies"].items()
          if one.get("at_capacity")}  # fmt: skip
    yield element("h3", "Results")
    yield written(rates_table(found))
    yield written(tables.differences_table(found["differences"], "requests/s"))
    yield written(servers_table(found))
    yield gallery(rates_chart(found))
    if at:
        yield folded("Every number at the largest rate", *every_number(at))


def targets(found: Facts) -> str:
    """``p99 <= 20 ms`` or ``every SLO``."""
    if len(found["slos"]) != 1:
        return "every SLO"
    (slo,) = found["slos"]
    return f"p{slo['percentile']:g} <= {slo['ms']:g} ms"


def rates_table(found: Facts) -> Table:
    """One row a policy."""
    best, tied = found["best"], found["tied_with_best"]
    rows = [
        Row(rate_cells(name, one, best, tied), rate_tone(name, one, best, tied))
        for name, one in found["policies"].items()
    ]
    heads = ["policy", "capacity, /s", "interval", "of the possible, %", "tail there, ms",
             "limit", "unstable above, /s", "numbers"]  # fmt: skip
    title = f"Largest rate with {targets(found)}"
    possible = f"The largest possible rate is {rate(found['rate_max_per_s'])} requests/s."
    note = ". ".join(part for part in (tables.legend({}, best, tied), possible) if part)
    return Table(title, heads, rows, note=note, words=("limit", "numbers"))


def rate_cells(name: str, one: Facts, best: str | None, tied: list[str]) -> list[str]:
    """A policy's cells."""
    limit = one["capacity_per_s"]
    value = (
        f"needs {count(limit['needs'])} requests" if limit.get("needs") else rate(limit["value"])
    )
    return [
        name + tables.mark(name, best, tied), value, ends(limit), share(one["share_of_possible"]),
        "-" if limit.get("tail_ms") is None else f"{limit['tail_ms']:.4g}",
        limit_words(limit), rate(limit["saturation_per_s"]), tables.settings(one["parameters"]),
    ]  # fmt: skip


def rate_tone(name: str, one: Facts, best: str | None, tied: list[str]) -> str | None:
    """How a policy's row is coloured."""
    return tables.tone(name, {"stable": one["capacity_per_s"]["value"] is not None}, best, tied)


def ends(limit: Facts) -> str:
    """``2,287 to 2,337``."""
    return "" if limit["low"] is None else f"{rate(limit['low'])} to {rate(limit['high'])}"


def limit_words(limit: Facts) -> str:
    """What ends the rates."""
    if limit["bound"] == "slo":
        return str(limit.get("tier") or "SLO")
    return {"nothing": "no rate"}.get(limit["bound"], str(limit["bound"]))


def servers_table(found: Facts) -> Table:
    """The servers that a given rate needs."""
    rows = []
    for name, one in found["policies"].items():
        fleet, outcome = one.get("servers"), one.get("with_servers")
        if fleet is None:
            continue
        if fleet.get("servers") is None or outcome is None:
            many = f"needs {count(fleet['needs'])} requests" if fleet.get("needs") else "too many"
            rows.append(Row([name, many, "", "", ""], "bad"))
            continue
        figures = ("latency_ms.p99", "utilisation", "mean_batch_size")
        rows.append(Row([name, str(fleet["servers"]),
                         *(text(statistic(outcome, s)) for s in figures)]))  # fmt: skip
    title = f"Fewest servers for {rate(found.get('rate_per_s'))} requests/s with {targets(found)}"
    return Table(title, ["policy", "servers", "p99, ms", "busy, %", "mean batch"], rows)


def rates_chart(found: Facts) -> Markup | None:
    """A bar a policy, largest first; the thin mark is where it becomes unstable."""
    look = looks_of(found["policies"])
    lines = [rate_line(name, one, look[name]) for name, one in found["policies"].items()]
    lines.sort(key=lambda one: -(one.value or 0.0))
    own = found["scenario"].get("offered_rate_per_s")
    return lines_drawn(Lines(
        f"Largest rate with {targets(found)}", "requests/s", lines, bars=True, target=own,
        alarm=False, target_text="" if own is None else f"scenario: {rate(own)}/s",
        note="The thin mark is where a policy becomes unstable.",
    ))  # fmt: skip


def rate_line(name: str, one: Facts, look: Any) -> Line:
    """A policy's bar."""
    limit = one["capacity_per_s"]
    stop = limit["saturation_per_s"]
    words = "no rate" if limit["value"] is None else f"{rate(limit['value'])}/s ({ends(limit)})"
    return Line(
        name, limit["value"], words, look, limit["low"], limit["high"],
        start=limit.get("from_per_s"),
        end=stop if stop and math.isfinite(stop) else None,
    )  # fmt: skip
