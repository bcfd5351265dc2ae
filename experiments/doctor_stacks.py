"""Which serving stacks ``try`` can run here, and how the others are installed.

Stacks exclude one another, so that none is missed where all extras are asked for at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from .findings import BROKEN, MISSING, OK, Finding, probe
from .stacks import STACKS, Row


def stacks() -> Iterator[Finding]:
    """One for each stack."""
    answer = probe("stacks")
    for row in STACKS.values():
        if isinstance(answer, str):
            yield Finding("stacks", row.name, BROKEN, answer, _purpose(row))
        else:
            yield _finding(row, **answer[row.name])


def _finding(row: Row, python: str | None, why: str | None) -> Finding:
    """Of one stack: the interpreter that has it, or why it cannot be had."""
    named = row.needs[0].replace("==", " ")
    if python is not None:
        where = "" if python == sys.executable else ", in an environment of its own"
        return Finding("stacks", row.name, OK, f"{named}{where}", _purpose(row))
    if why is not None:
        return Finding("stacks", row.name, MISSING, why, _purpose(row))
    remedy = f"batchwright try RUN --on {row.name} --install"
    return Finding("stacks", row.name, MISSING, f"{row.size_mb} MB", _purpose(row), remedy)


def _purpose(row: Row) -> str:
    """What is not possible without it."""
    return f"try --on {row.name}"
