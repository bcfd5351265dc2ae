"""What a stack cannot do, and what is written instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Concession(NamedTuple):
    """Something that a stack cannot do."""

    reason: str
    """Why not: a clause without a full stop."""
    difference: str
    """What is written instead, as it goes on after *with --nearest*, without a full stop."""


def unique(clauses: Iterable[str]) -> tuple[str, ...]:
    """Each clause once, in the order of its first."""
    return tuple(dict.fromkeys(clauses))
