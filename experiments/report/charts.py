"""Charts as SVG: lines and dots over two axes, with intervals; hovered and toggled by the script.

1. A chart is 400 units wide and scales with its column, so that it can be read on a telephone.
2. Every mark carries its words in a ``<title>``: without the script a browser shows them itself.
3. A series is one group with ``data-series``; the legend's buttons show and hide it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from .elements import Markup, element
from .looks import Look
from .scales import Scale, scale_of, tick_text

WIDTH, HEIGHT = 400, 270
LEFT, RIGHT, TOP, BOTTOM = 46.0, 390.0, 26.0, 226.0

DOT = 3.2
"""Radius of a mark."""


@dataclass(frozen=True)
class Mark:
    """A point of a series."""

    x: float
    y: float
    tip: str
    low: float | None = None
    high: float | None = None
    """Ends of the interval of y."""
    hollow: bool = False


@dataclass(frozen=True)
class Series:
    """Marks of one name."""

    name: str
    marks: Sequence[Mark]
    look: Look
    line: bool = True
    band: bool = True
    """Intervals as a shade; else as a bar through each mark."""
    dots: bool = True


@dataclass(frozen=True)
class Axis:
    """What stands beside an axis."""

    title: str
    log: bool | None = None
    zero: bool = False
    places: tuple[tuple[float, str], ...] = ()
    """Ticks of its own."""
    room: float = 0.0
    """Left free beyond the ticks."""


@dataclass(frozen=True)
class Guide:
    """A line to compare with, as a target."""

    points: tuple[tuple[float, float], ...]
    """Two ends of a level line, infinite where it reaches to the edge; or a path of many points, of
    which those inside are drawn."""
    text: str = ""
    alarm: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure with two axes."""

    title: str
    series: Sequence[Series]
    x: Axis
    y: Axis
    guides: Sequence[Guide] = ()
    note: str = ""


def drawn(chart: Chart) -> Markup | None:
    """The chart with its legend; None where it has no mark."""
    series = [one for one in chart.series if any(finite(mark) for mark in one.marks)]
    if not series:
        return None
    marks = [mark for one in series for mark in one.marks if finite(mark)]
    ticks = (at + side for at, _ in chart.x.places for side in (-chart.x.room, chart.x.room))
    across = [*(mark.x for mark in marks), *ticks]
    x = scale_of(across, LEFT, RIGHT, log=chart.x.log, zero=chart.x.zero)
    ends = [end for mark in marks for end in ends_of(mark)]
    ends += [y for guide in chart.guides if guide.alarm for _, y in guide.points]
    y = scale_of(ends, BOTTOM, TOP, log=chart.y.log, zero=chart.y.zero)
    inside = [
        *grid(chart, x, y),
        *(guide_line(guide, x, y) for guide in chart.guides),
        *(group(place, one, x, y) for place, one in enumerate(series)),
    ]
    return figure(chart.title, described(chart, len(marks)), inside, HEIGHT, series, chart.note)


def finite(mark: Mark) -> bool:
    """Whether a mark has a place."""
    return math.isfinite(mark.x) and math.isfinite(mark.y)


def ends_of(mark: Mark) -> list[float]:
    """What an axis has to show of a mark: its interval, where it is not far below."""
    known = [mark.y, *(end for end in (mark.low, mark.high) if end is not None)]
    return [end for end in known if mark.y <= 0.0 or end > 0.05 * mark.y]


def described(chart: Chart, count: int) -> str:
    """What a reader who does not see the chart is told."""
    names = ", ".join(one.name for one in chart.series)
    scales = f"{chart.y.title}, against {chart.x.title}"
    return f"{scales}; {count} points of {names}. The numbers are in the tables."


def figure(
    title: str,
    text: str,
    inside: Sequence[Markup | None],
    height: float,
    series: Sequence[Series] = (),
    note: str = "",
) -> Markup:
    """A drawing with its caption, and a legend where there are several series."""
    svg = element(
        "svg", element("title", title), element("desc", text), *inside,
        viewbox=f"0 0 {WIDTH} {height:g}", role="img", tabindex=0, aria_label=f"{title}. {text}",
    )  # fmt: skip
    keys = [key(place, one) for place, one in enumerate(series)]
    legend = element("div", *keys, class_="legend") if len(keys) > 1 else None
    return element(
        "figure", element("figcaption", title), svg, legend,
        element("p", note, class_="note") if note else None, class_="chart",
    )  # fmt: skip


def key(place: int, one: Series) -> Markup:
    """A button of the legend."""
    swatch = element(
        "svg", element("line", x1=0, y1=5, x2=22, y2=5, stroke_dasharray=one.look.dashes),
        viewbox="0 0 22 10", aria_hidden="true",
    ) if one.line else element("span", class_="dot")  # fmt: skip
    return element(
        "button", swatch, one.name, type="button", class_=one.look.tone, aria_pressed="true",
        data_key=place, title=f"show or hide {one.name}",
    )  # fmt: skip


def grid(chart: Chart, x: Scale, y: Scale) -> list[Markup]:
    """Lines, ticks and the names of the axes."""
    across = chart.x.places or tuple((tick, tick_text(tick)) for tick in x.ticks)
    up = chart.y.places or tuple((tick, tick_text(tick)) for tick in y.ticks)
    parts = [element("text", chart.y.title + (LOG if y.log else ""), x=4, y=13, class_="axis")]
    for value, words in up:
        at = y(value)
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=at, y2=at, class_="grid"))
        parts.append(element("text", words, x=LEFT - 5, y=at + 4, class_="tick e"))
    for value, words in across:
        at = x(value)
        parts.append(element("line", x1=at, x2=at, y1=BOTTOM, y2=BOTTOM + 4, class_="edge"))
        parts.append(element("text", words, x=at, y=BOTTOM + 17, class_="tick m"))
    parts.append(element("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="edge"))
    name = chart.x.title + (LOG if x.log and not chart.x.places else "")
    parts.append(element("text", name, x=(LEFT + RIGHT) / 2, y=HEIGHT - 8.0, class_="axis m"))
    return parts


LOG = " (log scale)"


def guide_line(guide: Guide, x: Scale, y: Scale) -> Markup:
    """A thin dashed line with its word."""
    inside = [p for p in guide.points if x.low <= p[0] <= x.high and y.low <= p[1] <= y.high]
    points = inside if len(guide.points) > 2 else guide.points
    places = [(x(min(max(at, x.low), x.high)), y(up)) for at, up in points]
    if not places:
        return element("g")
    line = element("path", d=path(places), class_="guide alarm" if guide.alarm else "guide")
    if not guide.text:
        return line
    left, top = min(places)
    words = element("text", guide.text, x=left + 3, y=top - 4,
                    class_="tick alarm" if guide.alarm else "tick")  # fmt: skip
    return element("g", line, words)


def group(place: int, one: Series, x: Scale, y: Scale) -> Markup:
    """A series: its shade, its line, its marks; broken where a value is missing."""
    parts: list[Markup] = []
    for known, marks in groupby(one.marks, key=finite):
        run = list(marks)
        if not known:
            continue
        if one.band and len(run) > 1 and any(m.low is not None for m in run):
            parts.append(element("polygon", points=band(run, x, y), class_="band"))
        if one.line and len(run) > 1:
            line = path([(x(m.x), y(m.y)) for m in run])
            parts.append(element("path", d=line, class_="line", stroke_dasharray=one.look.dashes))
        if not one.band or len(run) == 1:
            parts += [bar for m in run if (bar := whisker(m, x, y)) is not None]
        parts += [dot(m, x(m.x), y(m.y), small=not one.dots) for m in run]
    return element("g", *parts, class_=one.look.tone, data_series=place)


def band(marks: Sequence[Mark], x: Scale, y: Scale) -> str:
    """The shade between the ends of intervals."""
    over = [(x(m.x), y(m.y if m.high is None else m.high)) for m in marks]
    under = [(x(m.x), min(y(m.y if m.low is None else m.low), BOTTOM)) for m in marks]
    return " ".join(f"{at:.1f},{up:.1f}" for at, up in [*over, *reversed(under)])


def path(places: Sequence[tuple[float, float]]) -> str:
    """A line through places."""
    return "M" + "L".join(f"{at:.1f} {up:.1f}" for at, up in places)


def whisker(mark: Mark, x: Scale, y: Scale) -> Markup | None:
    """An interval as a bar through its mark."""
    if mark.low is None or mark.high is None:
        return None
    at, low, high = x(mark.x), min(y(mark.low), BOTTOM), y(mark.high)
    return element("path", d=path([(at, low), (at, high)]), class_="whisker")


def dot(mark: Mark, at: float, up: float, *, small: bool = False) -> Markup:
    """A mark that says its words."""
    return element(
        "circle", element("title", mark.tip), cx=at, cy=up, r=1.2 if small else DOT,
        class_="mark hollow" if mark.hollow else "mark",
    )  # fmt: skip


__all__ = ["Axis", "Chart", "Guide", "Mark", "Series", "drawn", "figure"]
