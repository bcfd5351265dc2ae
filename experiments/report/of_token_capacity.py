"""What a report says of the largest rates of rules of continuous batching."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from . import outcome_tables as tables
from .amounts import Facts, estimate, rate, text
from .charts import Axis, Chart, Guide, Mark, Series, drawn
from .elements import Markup, element, folded
from .found import Run
from .looks import looks_of
from .of_capacity import ends
from .of_policies import gallery
from .of_tokens import differences_table, every_number, said
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written

WORDS = {
    "ttft": "first token",
    "tpot": "time per token",
    "latency": "latency",
    "saturation": "saturation",
}
"""What ends a rule's rates."""
AT = {"ttft_ms.mean": "first token there, ms", "tpot_ms.mean": "a token after it, ms"}


def taken(run: Run) -> Iterator[Markup | None]:
    """Rates with intervals, how they differ, the replicas, and what it is like there."""
    found = run.result
    at = {name: one["at_capacity"] for name, one in found["policies"].items()
          if one.get("at_capacity")}  # fmt: skip
    yield element("h3", "Results")
    yield written(rates_table(found))
    yield written(replicas_table(found))
    yield gallery(rates_chart(found), *(course_chart(found, tier) for tier in tiers_of(found)))
    heads = {"capacity_per_s": "largest rate, requests/s"}
    yield written(differences_table(found.get("differences") or (), heads))
    if at:
        yield folded("Every number at the largest rate", written(every_number(at)))


def rates_table(found: Facts) -> Table:
    """One row a rule."""
    best, tied = found["best"], found["tied_with_best"]
    rows = []
    for name, one in found["policies"].items():
        limit, at = one["capacity_per_s"], one.get("at_capacity")
        most = estimate(one["saturation_per_s"]).value
        needs = one.get("needs_requests")
        value = f"needs {needs:,} requests" if needs else rate(limit["value"])
        share = "-" if not most or limit["value"] is None else f"{100 * limit['value'] / most:.1f}"
        rows.append(Row([
            name + tables.mark(name, best, tied), value, ends(limit), limit_words(one), share,
            "-" if one["tokens_per_s"] is None else f"{one['tokens_per_s']:,.0f}",
            *("" if at is None else said(at, key) for key in AT),
            rate(most),
        ], tables.tone(name, {"stable": limit["value"] is not None}, best, tied)))  # fmt: skip
    heads = ["policy", "capacity, /s", "interval", "limit", "of the most, %", "tokens/s",
             *AT.values(), "most, /s"]  # fmt: skip
    note = "Most: what a rule serves when requests never run out."
    if best is not None:
        note = f"* takes the most{'; = ties with it' if len(tied) > 1 else ''}. {note}"
    return Table("Largest rate within the targets", heads, rows, note=note, words=("limit",))


def limit_words(one: Facts) -> str:
    """What ends the rates, and of which tier."""
    if one["bound"] == "nothing":
        return "no rate"
    return WORDS.get(one["limited_by"], str(one["limited_by"]) or "-")


def replicas_table(found: Facts) -> Table:
    """The replicas that a given rate needs."""
    rows = []
    for name, one in found["policies"].items():
        fleet = one.get("replicas")
        if fleet is None:
            continue
        many = fleet["replicas"]
        each = "" if many is None else rate(fleet["rate_per_s"] / many)
        words = f"more than {fleet['most']}" if many is None else str(many)
        rows.append(Row([name, words, each, str(fleet["least"])], "bad" if many is None else None))
    title = f"Fewest replicas for {rate(found.get('rate_per_s'))} requests/s within the targets"
    heads = ["policy", "replicas", "each, requests/s", "at least"]
    note = "Requests are sent to a replica at random. At least: as many as keep up."
    return Table(title, heads, rows, note=note)


def rates_chart(found: Facts) -> Markup | None:
    """A bar a rule, largest first; the thin mark is what it serves at most."""
    look = looks_of(found["policies"])
    lines = []
    for name, one in found["policies"].items():
        limit = one["capacity_per_s"]
        words = "no rate" if limit["value"] is None else f"{rate(limit['value'])}/s ({ends(limit)})"
        lines.append(Line(name, limit["value"], words, look[name], limit["low"], limit["high"],
                          end=estimate(one["saturation_per_s"]).value))  # fmt: skip
    lines.sort(key=lambda one: -(one.value or 0.0))
    own = found["scenario"].get("offered_rate_per_s")
    return lines_drawn(Lines(
        "Largest rate within the targets", "requests/s", lines, bars=True, target=own, alarm=False,
        target_text="" if own is None else f"scenario: {rate(own)}/s",
        note="The thin mark is what a policy serves when requests never run out.",
    ))  # fmt: skip


def tiers_of(found: Facts) -> list[str]:
    """Tiers that are promised something."""
    every = (one["course"]["within_targets"] for one in found["policies"].values())
    return list(dict.fromkeys(tier for each in every for tier in each))


def course_chart(found: Facts, tier: str) -> Markup | None:
    """The share of a tier's requests within their targets by the rate."""
    look, series = looks_of(found["policies"]), []
    for name, one in found["policies"].items():
        course = one["course"]
        shares = course["within_targets"].get(tier) or cycle(())
        marks = []
        for at, share in zip(course["rates_per_s"], shares, strict=False):
            value = estimate(share).scaled(100.0)
            if value.value is not None:
                tip = f"{name} at {rate(at)}/s: {text(value)} % within the targets"
                marks.append(Mark(at, value.value, tip, value.low, value.high))
        series.append(Series(name, sorted(marks, key=lambda mark: mark.x), look[name]))
    asked = (found["scenario"].get("targets") or {}).get(tier, {}).get("percent")
    ends_ = ((-float("inf"), asked), (float("inf"), asked))
    guides = [] if asked is None else [Guide(ends_, f"{asked:g} %", alarm=True)]
    return drawn(Chart(
        f"Within the targets by rate: {tier}", series, Axis("requests/s", log=False),
        Axis("within the targets, %", log=False), guides,
    ))  # fmt: skip
