"""Tables of a tuning on the terminal, never wider than asked for.

1. Where a table is too wide, its least important columns go first; then names are shortened in
   their middle, and stay different.
2. The winner is starred; ``=`` marks feasible settings that tie with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from experiments.terminal import table
from experiments.wording import shown

from .cells import Column, columns_of, gap, head_of, worst_regret
from .looks import in_order, is_best_at

if TYPE_CHECKING:
    from rich.table import Table

    from .judging import Judged
    from .result import Tuning

WIDTH = 100
"""Columns of a table that goes to a pipe or a file."""

SHORTEST = 18
"""Names are shortened to this before a column that may go is left out."""

NARROW = 72
"""On a narrower terminal the kind of a policy is left out beside its numbers."""

ELLIPSIS = "…"

MOST_ITEMS = 6
"""Items of a list that are written out."""


def judged_table(found: Tuning, width: int = WIDTH) -> Table:
    """One row a judged setting: the winner, finalists, best per load, baselines, present, optimum.

    Args:
        found: to show.
        width: columns of the terminal; never more than 100 are used.
    """
    settings = in_order(found)
    marks = [mark_of(found, one) for one in settings]
    columns, names = fitted(columns_of(found), settings, marks, min(width, WIDTH))
    drawn = table(*(column.head for column in columns))
    for one, mark, name in zip(settings, marks, names, strict=True):
        cells = [column.text(one) for column in columns[1:]]
        drawn.add_row(name + mark, *cells, style=style_of(one, mark))
    drawn.caption = legend_of(found, marks)
    drawn.caption_justify = "left"
    return drawn


def mark_of(found: Tuning, one: Judged) -> str:
    """`` *`` for the winner, `` =`` for what ties with it."""
    if one is found.winner:
        return " *"
    return " =" if one.feasible and gap(found, one) == "tie" else ""


def style_of(one: Judged, mark: str) -> str:
    """Bold green for the winner, red for the unstable, dim for what breaks a constraint."""
    if mark:
        return "bold green" if mark == " *" else "green"
    if not one.stable:
        return "red"
    return "" if one.feasible else "dim"


def legend_of(found: Tuning, marks: Sequence[str]) -> str | None:
    """What the marks mean, where there are any, and what the mean over loads is."""
    words = {" *": "* winner", " =": "= tie with it"}
    said = [text for mark, text in words.items() if mark in marks]
    if found.judged and len(found.judged[0].loads) > 1:
        said.append("mean of loads: geometric")
    return "   ".join(said) or None


def fitted(
    columns: Sequence[Column], settings: Sequence[Judged], marks: Sequence[str], width: int
) -> tuple[list[Column], list[str]]:
    """The columns that fit, and names that do; see rule 1."""
    left = list(columns)
    names = [one.name for one in settings]
    extra = max(map(len, marks), default=0)
    longest = max((len(n) + len(m) for n, m in zip(names, marks, strict=True)), default=0) - extra
    while True:
        over = _width(left, settings, marks) - width
        if over <= 0:
            return left, names
        room = longest - over
        spare = max(left, key=lambda column: column.spare)
        if room >= SHORTEST or spare.spare == 0:
            return left, shortened(names, max(room, 8))
        left.remove(spare)


def _width(columns: Sequence[Column], settings: Sequence[Judged], marks: Sequence[str]) -> int:
    """Columns of a terminal that the table takes with its names in full."""
    drawn = table(*(column.head for column in columns))
    for one, mark in zip(settings, marks, strict=True):
        drawn.add_row(one.name + mark, *(column.text(one) for column in columns[1:]))
    console = Console(width=10_000)
    return Measurement.get(console, console.options, drawn).maximum


def shortened(names: Sequence[str], room: int) -> list[str]:
    """Names of at most ``room`` characters: the middle left out, or numbered to stay different."""
    found: list[str] = []
    for name in names:
        cut, number = name if len(name) <= room else _middle(name, room), 2
        while cut in found:
            end = f"{ELLIPSIS}{number}"
            cut, number = name[: room - len(end)] + end, number + 1
        found.append(cut)
    return found


def _middle(name: str, room: int) -> str:
    """More of the beginning than of the end."""
    end = (room - 1) // 3
    return name[: room - 1 - end] + ELLIPSIS + name[len(name) - end :]


def settings_table(found: Tuning, width: int = WIDTH) -> Table | None:
    """The numbers of the winner, the finalists and the best for each load; long lines wrap.

    None where there are none, as where nothing can keep up.
    """
    width, policy = min(width, WIDTH), width >= NARROW
    settings = [one for one in in_order(found) if one is found.winner or one.role == "tuned"]
    if not settings:
        return None
    names = shortened([one.name for one in settings], max(width // 3, 8))
    drawn = table(*(("setting", "policy", "numbers") if policy else ("setting", "numbers")), left=3)
    drawn.columns[-1].no_wrap = False
    drawn.columns[-1].overflow = "fold"
    for one, short in zip(settings, names, strict=True):
        mark = mark_of(found, one)
        kind = [str(one.setting.table["kind"])] if policy else []
        drawn.add_row(short + mark, *kind, numbers(one), style=style_of(one, mark))
    drawn.width = min(width, _measured(drawn))
    return drawn


def _measured(drawn: Table) -> int:
    console = Console(width=10_000)
    return Measurement.get(console, console.options, drawn).maximum


def numbers(one: Judged) -> str:
    """``max_batch_size=12, max_wait_ms=0.5``, in the words of a scenario; a long list is cut."""
    parts = [f"{key}={_value(given)}" for key, given in one.setting.table.items() if key != "kind"]
    if one.setting.servers > 1:
        parts.append(f"servers={one.setting.servers}")
    return ", ".join(parts) or "nothing to set"


def _value(given: object) -> str:
    """Without spaces, so that a line does not break inside."""
    if isinstance(given, list | tuple):
        items = [shown(item) for item in given]
        if len(items) > MOST_ITEMS:
            items = [*items[: MOST_ITEMS - 1], f"{ELLIPSIS}({len(items)})"]
        return f"[{','.join(items)}]"
    return shown(given)


def loads_table(found: Tuning, width: int = WIDTH) -> Table | None:
    """The objective at each load for the winner, baselines and per-load bests, and worst regret.

    Where there are more loads than fit, they are thinned evenly and the title says so; None for a
    tuning for one load.
    """
    if not found.judged or len(found.judged[0].loads) < 2:
        return None
    settings = [
        one
        for one in in_order(found)
        if one is found.winner or one.role == "baseline" or is_best_at(one)
    ]
    many = len(found.judged[0].loads)
    for count in range(many, 0, -1):
        places = sorted({round(k * (many - 1) / max(count - 1, 1)) for k in range(count)})
        for room in (40, SHORTEST):
            drawn = _loads(found, settings, places, room)
            if _measured(drawn) <= min(width, WIDTH):
                return drawn
    return drawn


def _loads(found: Tuning, settings: Sequence[Judged], places: Sequence[int], room: int) -> Table:
    """The table with some of the loads, and names of so many characters."""
    loads = found.judged[0].loads
    measure = found.goal.objectives[0]
    some = "" if len(places) == len(loads) else f", {len(places)} of {len(loads)} loads"
    title = f"{head_of(measure)}, at each load{some}"
    heads = [f"{loads[place]:g}" for place in places]
    drawn = table("setting", *heads, "worst\nregret %", title=title)
    best = {place: _best_at(found, settings, place) for place in places}
    names = shortened([one.name for one in settings], room)
    for one, short in zip(settings, names, strict=True):
        cells = [_at(one, place, best[place]) for place in places]
        mark = mark_of(found, one)
        style = style_of(one, mark)
        regret = worst_regret(found, one) or "-"
        drawn.add_row(Text(short + mark, style=style), *cells, regret)
    return drawn


def _best_at(found: Tuning, settings: Sequence[Judged], place: int) -> float:
    """The best value at a load, among those shown."""
    sign = found.goal.objectives[0].sign
    values = [
        sign * value
        for one in settings
        if one.outcomes[place].stable and (value := one.objectives[place][0].value) is not None
    ]
    return sign * min(values, default=math.inf)


def _at(one: Judged, place: int, best: float) -> Text:
    """The objective at one load; the best is bold."""
    value = one.objectives[place][0].value
    if not one.outcomes[place].stable:
        return Text("unstable", style="red")
    if value is None:
        return Text("too few", style="dim")
    return Text(f"{value:.4g}", style="bold green" if value == best else "")
