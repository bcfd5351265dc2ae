"""Charts with a line for each name: a dot with its interval, or a bar from zero.

Names stand above their line and values at its end, so that both can be long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .charts import LOG, WIDTH, Mark, dot, figure
from .elements import Markup, element
from .looks import Look
from .scales import Scale, scale_of, tick_text

LEFT, RIGHT, TOP, STEP = 10.0, 388.0, 18.0, 32.0

ROOM = 34
"""Characters of a name that have room beside a value."""


@dataclass(frozen=True)
class Line:
    """One name with its value."""

    name: str
    value: float | None
    text: str
    """The value in words, or why there is none."""
    look: Look
    low: float | None = None
    high: float | None = None
    start: float | None = None
    """Where a bar begins; None: at 0."""
    end: float | None = None
    """A thin mark of its own, as where a policy becomes unstable."""


@dataclass(frozen=True)
class Lines:
    """A chart of lines."""

    title: str
    axis: str
    lines: Sequence[Line]
    bars: bool = False
    """From 0; else dots, on a log axis where values are wide apart."""
    target: float | None = None
    target_text: str = ""
    alarm: bool = True
    """The target is a limit; else only something to compare with."""
    note: str = ""
    zero: bool = False
    """A line at 0, as for differences."""


def lines_drawn(chart: Lines) -> Markup | None:
    """The chart; None where no line has a value."""
    known = [one for one in chart.lines if one.value is not None]
    if not known:
        return None
    ends = [
        end
        for one in known
        for end in (one.value, one.low, one.high, one.end, chart.target)
        if end is not None
    ]
    ends += [0.0] if chart.zero else []
    x = scale_of(ends, LEFT, RIGHT, zero=chart.bars, log=False if chart.zero else None)
    bottom = TOP + STEP * len(chart.lines)
    inside = [
        *ticks(x, bottom, chart.axis),
        *upright(chart, x),
        *(line(one, x, TOP + STEP * place, chart) for place, one in enumerate(chart.lines)),
    ]
    text = f"{chart.axis} of {', '.join(f'{one.name}: {one.text}' for one in chart.lines)}."
    return figure(chart.title, text, inside, bottom + 42, note=chart.note)


def ticks(x: Scale, bottom: float, title: str) -> list[Markup]:
    """Lines, ticks and the name of the axis."""
    parts = []
    for tick in x.ticks:
        at = x(tick)
        parts.append(element("line", x1=at, x2=at, y1=TOP - 8, y2=bottom, class_="grid"))
        parts.append(element("text", tick_text(tick), x=at, y=bottom + 14, class_="tick m"))
    name = title + (LOG if x.log else "")
    parts.append(element("text", name, x=WIDTH / 2, y=bottom + 34, class_="axis m"))
    return parts


def upright(chart: Lines, x: Scale) -> list[Markup]:
    """The target, and zero."""
    parts = []
    if chart.zero:
        parts.append(element("path", d=strokes(x(0.0), len(chart.lines)), class_="edge"))
    if chart.target is not None:
        at, alarm = x(chart.target), " alarm" if chart.alarm else ""
        parts.append(element("path", d=strokes(at, len(chart.lines)), class_=f"target{alarm}"))
        right = at > WIDTH / 2
        parts.append(
            element("text", chart.target_text, x=at + (-4 if right else 4), y=TOP - 7,
                    class_=f"tick{alarm}" + (" e" if right else ""))
        )  # fmt: skip
    return parts


def strokes(at: float, count: int) -> str:
    """An upright line that leaves out the words."""
    return "".join(f"M{at:.1f} {TOP + STEP * place + 13:g}v14" for place in range(count))


def line(one: Line, x: Scale, top: float, chart: Lines) -> Markup:
    """A name, its value, and the dot or bar below them."""
    name = one.name if len(one.name) <= ROOM else one.name[: ROOM - 1] + "…"
    parts: list[Markup | None] = [
        element("text", name, x=LEFT, y=top + 10, class_="name"),
        element("text", one.text, x=RIGHT, y=top + 10, class_="tick e"),
    ]
    at = top + 20
    if one.end is not None:
        parts.append(element("path", d=f"M{x(one.end):.1f} {at - 6:g}v12", class_="stop"))
    if one.value is not None:
        if chart.bars:
            start = x(one.start or 0.0)
            wide = max(x(one.value) - start, 0.5)
            parts.append(element("rect", x=start, y=at - 4, width=wide, height=8, class_="bar"))
        if one.low is not None and one.high is not None:
            low, high = max(x(one.low), LEFT), x(one.high)
            parts.append(element("path", d=f"M{low:.1f} {at:g}H{high:.1f}", class_="whisker"))
        parts.append(dot(Mark(0.0, 0.0, f"{one.name}: {one.text}"), x(one.value), at))
    return element("g", *parts, class_=one.look.tone)
