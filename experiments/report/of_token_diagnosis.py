"""What a report says of a diagnosis of a model that generates."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.wording import hundred

from .amounts import Facts
from .elements import Markup, element, joined, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written

WORDS = {
    "itl_ms.p99": "p99 of the gap between tokens",
    "ttft_ms.mean": "mean time to the first token",
    "latency_ms.mean": "mean latency",
    "tpot_ms.mean": "mean time per output token",
    "slo_attainment": "within the targets",
}


def diagnosed(run: Run) -> Iterator[Markup | None]:
    """A diagnosis of its own."""
    yield from diagnosis_parts(run.result)


def diagnosis_part(found: Facts) -> Markup:
    """A diagnosis beside a run: with its answer."""
    return joined([
        element("h3", "Diagnosis"),
        paragraph(str(found["verdict"])),
        *diagnosis_parts(found),
    ])  # fmt: skip


def diagnosis_parts(found: Facts) -> Iterator[Markup | None]:
    """What was seen, why, and what each change does."""
    facts = found["scenario"]
    yield paragraph(
        f"{facts['name']}, {found['policy']}: {facts['requests']:,} requests, "
        f"{facts['offered_rate_per_s']:.4g}/s",
        "what",
    )
    yield written(seen_table(found))
    yield written(causes_table(found))
    yield written(changes_table(found))
    yield gallery(*(change_chart(one) for one in found["findings"]))


def seen_table(found: Facts) -> Table:
    """The numbers as they are; of what cannot keep up there are none."""
    rows = []
    for name, value in found["values"].items():
        if value is not None and (found["stable"] or name == "slo_attainment"):
            share = name == "slo_attainment"
            shown = f"{hundred(value)} %" if share else f"{value:,.4g} ms"
            rows.append(Row([WORDS.get(name, name), shown]))
    return Table("As it is", ["", "now"], rows)


def causes_table(found: Facts) -> Table:
    """Every cause with its evidence."""
    rows = [Row([one["cause"], one["evidence"]]) for one in found["findings"]]
    return Table("Why", ["cause", "evidence"], rows, words=("evidence",))


def changes_table(found: Facts) -> Table:
    """Every change that helps, each simulated on the same requests."""
    rows = [
        Row([change["what"], WORDS.get(str(one["statistic"]), str(one["statistic"])),
             between(change["before"], change["after"]),
             f"-{hundred(1.0 - change['after'] / change['before'])}",
             between(*change["ttft_ms_mean"]),
             between(*(None if v is None else 100.0 * v for v in change["slo_attainment"]))])
        for one in found["findings"]
        for change in one["remedies"]
    ]  # fmt: skip
    heads = ["change", "what it betters", "ms", "%", "first token, ms", "within targets, %"]
    return Table("What to change: each simulated on the same requests", heads, rows, left=2)


def between(before: float | None, after: float | None) -> str:
    """``413 → 113``, or nothing."""
    return "" if before is None or after is None else f"{before:,.4g} → {after:,.4g}"


def change_chart(one: Facts) -> Markup | None:
    """What each change makes of the number, and what it is now."""
    look = looks_of(["now", "then"])
    changes = one["remedies"]
    if not changes:
        return None
    now = float(changes[0]["before"])
    lines = [Line("as it is", now, f"{now:,.4g} ms", look["now"])]
    lines += [
        Line(each["what"], each["after"], f"{each['after']:,.4g} ms", look["then"])
        for each in changes
    ]
    words = WORDS.get(str(one["statistic"]), str(one["statistic"]))
    return lines_drawn(Lines(f"{words[0].upper()}{words[1:]}", "ms", lines, bars=True))
