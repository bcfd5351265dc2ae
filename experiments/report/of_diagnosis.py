"""What a report says of a diagnosis: where the time goes, why, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.wording import hundred

from .amounts import Facts, difference, rate
from .elements import Markup, element, joined, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .rows import Line, Lines, lines_drawn
from .tables import Row, Table, written

MOST = 12
"""Lines of a chart."""


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
    """Tables and charts, in the order of the questions."""
    yield paragraph(f"{found['subject']}: {found['requests']:,} requests", "what")
    yield written(stages_table(found))
    yield written(causes_table(found))
    yield written(remedies_table(found))
    of = found["percentile"]
    yield gallery(
        gains_chart(f"{of} without each cause", found["findings"], "because", of),
        gains_chart(f"{of} with each change", found["remedies"], "what", of),
    )
    for note in found.get("notes") or ():
        yield paragraph(note, "note")


def stages_table(found: Facts) -> Table:
    """Where requests spend their time."""
    busy = found["busy"]
    rows = [
        Row([one["name"], f"{one['mean_ms']:.3g}", hundred(one["mean_share"]),
             f"{one['slow_ms']:.4g}", hundred(one["slow_share"]), busy_of(one["name"], busy)])
        for one in found["stages"]
    ]  # fmt: skip
    beyond = f"beyond {found['percentile']}"
    heads = ["part", "all, ms", "all, %", f"{beyond}, ms", f"{beyond}, %", "busy, %"]
    return Table(f"Where the time of {found['tier']} goes", heads, rows)


def busy_of(part: str, busy: Facts) -> str:
    """How busy the workers of a part are."""
    known = busy.get("servers" if part == "running in a batch" else part)
    return "" if known is None else hundred(known)


def causes_table(found: Facts) -> Table:
    """Every cause with its evidence, the largest first."""
    rows = [
        Row([one["because"], f"{one['without_ms']:.4g}", difference(one["gain_ms"]),
             hundred(one["share"]), one["evidence"]],
            "tied" if one["name"] == found["fault"] else None)
        for one in found["findings"]
    ]  # fmt: skip
    heads = ["cause", f"{found['percentile']} without it, ms", "change, ms", "gone, %", "evidence"]
    title = f"Why: what {found['percentile']} of {found['replayed_ms']:.4g} ms is made of"
    return Table(title, heads, rows, words=("evidence",))


def remedies_table(found: Facts) -> Table:
    """Every change, each simulated with the same requests."""
    now = Row(["as it is", f"{found['replayed_ms']:.4g}", "", "", rate(found["per_s"]),
               hundred(found["lost"])], "dim")  # fmt: skip
    rows = [
        Row([one["what"], f"{one['value_ms']:.4g}", difference(one["gain_ms"]),
             hundred(one["share"]), rate(one["per_s"]), hundred(one["lost"])])
        for one in found["remedies"]
    ]  # fmt: skip
    heads = ["change", f"{found['percentile']}, ms", "change, ms", "gone, %", "served, /s",
             "lost, %"]  # fmt: skip
    return Table("What to change: each simulated with the same requests", heads, [now, *rows])


def gains_chart(title: str, found: Sequence[Facts], words: str, percentile: str) -> Markup | None:
    """Differences with their intervals, the most helpful first."""
    ranked = sorted(found, key=lambda one: one["gain_ms"]["value"] or 0.0)[:MOST]
    look = looks_of(["all"])["all"]
    lines = [
        Line(one[words], gain["value"], f"{difference(gain)} ms".replace("tie ms", "tie"), look,
             gain["low"], gain["high"])
        for one in ranked
        for gain in [one["gain_ms"]]
    ]  # fmt: skip
    return lines_drawn(Lines(title, f"change of {percentile}, ms", lines, zero=True))
