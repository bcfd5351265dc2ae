"""What a user's workload can get wrong; a module of its own because all of :mod:`sim` raises it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class WorkloadError(ValueError):
    """A workload, a trace or a data set is wrong: one sentence says where and what is right."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean ...?`` where a known word is near, else all that is known."""
    words = list(known)
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if found:
        return f"did you mean {found[0]!r}?"
    return f"known are {', '.join(words)}"


def require(holds: bool, rule: str, **values: object) -> None:
    """Raise unless a rule about parameters holds; the message shows the rule and the values.

    Raises:
        WorkloadError: always when ``holds`` is false.
    """
    if not holds:
        got = ", ".join(f"{name} = {value!r}" for name, value in values.items())
        raise WorkloadError(f"`{rule}` must hold, but got {got}")


def is_positive(value: float) -> bool:
    """Whether a number is finite and above 0."""
    return math.isfinite(value) and value > 0
