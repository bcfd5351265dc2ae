"""What a report says of a tuning of rules of continuous batching."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import of_tuning
from .amounts import Facts, estimate, rate, text
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .of_tokens import differences_table, every_number, parameters_table, said
from .pictures import pictures
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written

GOALS = {
    "goodput": ("within targets", "/s"),
    "ttft_p99": ("p99 time to first token", "ms"),
    "tpot_p99": ("p99 time per output token", "ms"),
    "latency_p99": ("p99 latency", "ms"),
    "latency_mean": ("mean latency", "ms"),
    "tokens": ("tokens at saturation", "/s"),
}
"""Objectives: their words and their unit."""
BESIDE = {
    "slo_attainment": "within targets, %",
    "ttft_ms.mean": "first token, ms",
    "tpot_ms.mean": "a token after it, ms",
    "itl_ms.p99": "gap p99, ms",
    "latency_ms.mean": "latency, ms",
}
ROLES = {"tuned": "found", "present": "present", "default": "default", "baseline": "baseline"}
PICTURES = {"parameter": "The objective by its main parameter, as tried"}


def tuned(run: Run) -> Iterator[Markup | None]:
    """The judged settings first: what was tried is for looking at, not for quoting."""
    found = run.result
    yield paragraph(f"Goal: {found['goal']}.")
    yield element("h3", "Results")
    yield written(judged_table(found))
    yield written(parameters_table({n: found["policies"][n] for n in names_of(found)}))
    yield gallery(judged_chart(found), of_tuning.history_chart(as_of_batches(found)))
    yield written(differences_table(found.get("differences") or (), words(found)))
    yield pictures(run.folder, PICTURES)
    yield folded("Every number, on fresh runs", written(every_number(found["policies"])))
    yield written(of_tuning.tried_table(as_of_batches(found)))


def goal_of(found: Facts) -> tuple[str, str]:
    """Words and unit of the objective."""
    name = str(found["objective"])
    return GOALS.get(name, (name, ""))


def words(found: Facts) -> dict[str, str]:
    """The objective as a head of a table."""
    title, unit = goal_of(found)
    return {str(found["objective"]): f"{title}, {unit}"}


def in_order(found: Facts) -> list[Facts]:
    """The winner, then as they were judged."""
    return sorted(found["judged"], key=lambda one: one["name"] != found["winner"])


def names_of(found: Facts) -> list[str]:
    """Judged settings in their order."""
    return [str(one["name"]) for one in in_order(found)]


def judged_table(found: Facts) -> Table:
    """The objective with its interval, what is beside it, and the numbers of each setting."""
    title, unit = goal_of(found)
    beside = {key: head for key, head in BESIDE.items() if head != f"{title}, {unit}"}
    rows = []
    for one in in_order(found):
        outcome = found["policies"][one["name"]]
        unstable = "stable" in one["broken"]
        star = " *" if one["name"] == found["winner"] else ""
        worth = "unstable" if unstable else text(estimate(one["objective"]))
        rows.append(Row([
            one["name"] + star, ROLES.get(one["role"], str(one["role"])), worth,
            *("" if unstable else said(outcome, key) for key in beside),
            of_tuning.held(one), rate(one["saturation_per_s"]["value"]),
        ], of_tuning.tone(found, one, unstable=unstable)))  # fmt: skip
    heads = ["setting", "role", f"{title}, {unit}", *beside.values(), "targets",
             "most, /s"]  # fmt: skip
    note = (
        "* recommended. Most: requests/s when they never run out. All figures are of fresh runs, "
        "not of the search."
    )
    return Table("Judged settings", heads, rows, left=2, note=note,
                 words=("targets",))  # fmt: skip


def judged_chart(found: Facts) -> Markup | None:
    """The objective of the stable settings with its interval, best first."""
    title, unit = goal_of(found)
    look = looks_of(dict.fromkeys(str(one["table"].get("kind")) for one in found["judged"]))
    lines = [
        Line(one["name"] + (" *" if one["name"] == found["winner"] else ""), value.value,
             f"{text(value)} {unit}", look[str(one["table"].get("kind"))], value.low, value.high)
        for one in found["judged"]
        if "stable" not in one["broken"] and (value := estimate(one["objective"])).value is not None
    ]  # fmt: skip
    sign = -1.0 if "most " in str(found["goal"]) else 1.0
    lines.sort(key=lambda line: sign * (line.value or 0.0))
    return lines_drawn(Lines(f"Judged: {title}", f"{title}, {unit}", lines))


def as_of_batches(found: Facts) -> dict[str, Any]:
    """The trials in the form that those of batches have."""
    title, _ = goal_of(found)
    tried = [
        {**one, "values": [] if one["value"] is None else [one["value"]], "servers": 1}
        for one in found["tried"]
    ]
    return {**found, "objectives": [title], "tried": tried}
