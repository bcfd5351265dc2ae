"""Tables of a report: numbers to the right, wide ones scroll by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .elements import Markup, element, paragraph

WORDY = 40
"""Characters from which on a cell of words gets room to wrap in."""

MOST = 1000
"""Rows that are written."""

LONG = 40
"""Rows from which on a table is folded."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    cells: Sequence[str]
    tone: str | None = None
    """``best``, ``tied``, ``bad`` or ``dim``."""


@dataclass(frozen=True)
class Table:
    """What is written as a table."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]
    left: int = 1
    """Columns of words, at the beginning."""
    note: str = ""
    """A line below."""
    words: Sequence[str] = ()
    """Heads of further columns of words."""
    fold: bool = False
    """Opened by a click; long tables always are."""


def written(table: Table) -> Markup | None:
    """The table; None where it has no row."""
    if not table.rows:
        return None
    heads = (
        element("th", head, scope="col", class_=side(place, table))
        for place, head in enumerate(table.heads)
    )
    drawn = element(
        "table",
        element("caption", table.caption),
        element("thead", element("tr", *heads)),
        element("tbody", *(line(row, table) for row in table.rows[:MOST])),
    )
    whole = element("div", drawn, class_="scroll", tabindex=0, role="region",
                    aria_label=table.caption)  # fmt: skip
    note = paragraph(words, "note") if (words := noted(table)) else None
    if table.fold or len(table.rows) > LONG:
        summary = element("summary", f"{table.caption}: {len(table.rows)} rows")
        return element("details", summary, whole, note)
    return element("div", whole, note, class_="table")


def noted(table: Table) -> str:
    """What stands below a table; of a very long one, how much is shown."""
    cut = f"The first {MOST:,} of {len(table.rows):,} rows: all are in the run's result.json."
    return " ".join(part for part in (table.note, cut if len(table.rows) > MOST else "") if part)


def line(row: Row, table: Table) -> Markup:
    """One row; its first cell is its head."""
    first, *rest = row.cells
    cells = (
        element("td", cell, class_=side(place, table, "w long" if len(cell) > WORDY else "w"))
        for place, cell in enumerate(rest, start=1)
    )
    return element("tr", element("th", first, scope="row"), *cells, class_=row.tone)


def side(place: int, table: Table, words: str | None = None) -> str | None:
    """Numbers stand to the right; further columns of words get a class of their own."""
    if table.heads[place] in table.words:
        return words
    return None if place < table.left else "n"


def facts(pairs: Mapping[str, str | None], label: str) -> Markup:
    """Names and values, one a line; what is empty is left out."""
    rows = (
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in pairs.items()
        if value
    )
    return element("table", element("tbody", *rows), class_="facts", aria_label=label)
