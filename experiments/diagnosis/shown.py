"""A diagnosis on the terminal: the answer, where the time goes, why, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from experiments.terminal import table
from experiments.wording import hundred, joined, signed

from .diagnosis import Diagnosis, worth
from .words import milliseconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from sim.intervals import Difference

    from .remedies import Gain


def print_diagnosis(screen: Console, found: Diagnosis) -> None:
    """The answer comes first."""
    style = "bold green" if found.healthy else "bold red"
    screen.print(Text(found.verdict, style=style))
    screen.print(Text(f"\n{found.subject}: {found.requests:,} requests", style="dim"))
    for part in (stage_table(found), *_causes(found), *_remedies(found)):
        screen.print(part)
    for note in found.notes:
        screen.print(Text(f"note: {note}", style="dim"))


def stage_table(found: Diagnosis) -> Table:
    """Where requests spend their time, and how busy the workers are."""
    beyond = f"beyond {found.percentile}"
    drawn = table("part", "all\nms", "all\n%", f"{beyond}\nms", f"{beyond}\n%", "busy\n%")
    drawn.title = f"where the time of {found.tier} goes"
    for stage in found.stages:
        busy = found.busy.get(_workers(stage.name))
        slowest = stage.slow_share == max(each.slow_share for each in found.stages)
        drawn.add_row(
            stage.name, f"{stage.mean_ms:.3g}", hundred(stage.mean_share), f"{stage.slow_ms:.4g}",
            hundred(stage.slow_share), "" if busy is None else hundred(busy),
            style="bold" if slowest else "",
        )  # fmt: skip
    return drawn


def _workers(part: str) -> str:
    """Whose busy share stands beside a part."""
    return "servers" if part == "running in a batch" else part


def _causes(found: Diagnosis) -> list[RenderableType]:
    """Every cause with its evidence."""
    if not found.findings:
        return []
    drawn = table(
        "cause", f"{found.percentile} without\nit, ms", "change\nms", "gone\n%",
        title=_why(found),
    )  # fmt: skip
    for place, one in enumerate(found.findings):
        style = "bold" if place == 0 and found.fault else ""
        drawn.add_row(
            f"{place + 1} {one.because}", _value(found, one.without_ms), _change(found, one.gain),
            hundred(one.share), style=style,
        )  # fmt: skip
    texts: list[RenderableType] = [
        Padding(Text(f"{place + 1} {one.evidence}"), (0, 0, 0, 0))
        for place, one in enumerate(found.findings)
    ]
    return [drawn, Text("evidence", style="italic"), *texts]


def _why(found: Diagnosis) -> str:
    if found.replayed_ms >= found.lost_ms:
        return f"why more than {100 - float(found.percentile[1:]):g} % are not served"
    return f"what {found.percentile} of {milliseconds(found.replayed_ms)} is made of"


def _remedies(found: Diagnosis) -> list[RenderableType]:
    """The helpful ones ranked; the others in a line."""
    rows = [one for one in found.remedies if worth(one) == "helps"]
    parts: list[RenderableType] = []
    if rows:
        drawn = table(
            "", f"{found.percentile}\nms", "change\nms", "gone\n%", "served\nper s",
            "lost\n%", title="what to change: each simulated with the same requests",
        )  # fmt: skip
        drawn.columns[0].no_wrap = False
        now = [_value(found, found.replayed_ms), "", "", _rate(found.per_s), hundred(found.lost)]
        drawn.add_row("as it is", *now, style="dim")
        for place, one in enumerate(rows):
            cells = [
                _value(found, one.value_ms), _change(found, one.gain), hundred(one.share),
                _rate(one.per_s), hundred(one.lost),
            ]  # fmt: skip
            drawn.add_row(f"{place + 1} {one.what}", *cells, style="" if place else "bold")
        parts.append(drawn)
    for kind, words in (("nothing", "nothing, or too little to tell"), ("harms", "makes it worse")):
        names = [_aside(found, one) for one in found.remedies if worth(one) == kind]
        if names:
            parts.append(Text(f"{words}: {joined(names)}"))
    return parts


def _aside(found: Diagnosis, one: Gain) -> str:
    """A change that does not help; one that drops requests says how many."""
    if one.lost > found.lost + 0.001:
        served = f"{found.percentile} of the others {milliseconds(one.served_ms)}"
        return f"{one.what} (loses {hundred(one.lost)} %, {served})"
    return f"{one.what} ({-100 * one.share:+.0f} %)"


def _value(found: Diagnosis, value_ms: float) -> str:
    """A percentile in ms; one that falls among the lost requests has none."""
    return "lost" if value_ms >= found.lost_ms else f"{value_ms:.4g}"


def _change(found: Diagnosis, gain: Difference) -> str:
    """A difference, where what it is taken from is a latency."""
    return "" if found.replayed_ms >= found.lost_ms else signed(gain)


def _rate(per_s: float) -> str:
    return f"{per_s:,.4g}" if per_s < 10_000 else f"{per_s:,.0f}"
