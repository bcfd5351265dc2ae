"""The comment that every exported file carries: the policy, its evidence, and what differs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from .setting import Setting

WIDTH = 98

NOT_EXACT = (
    "This is NOT the policy that was simulated: the predicted figures hold for the policy as "
    "simulated, not for this approximation of it."
)


def comment_of(
    setting: Setting, differences: Iterable[str] = (), notes: Iterable[str] = ()
) -> tuple[str, ...]:
    """The sentences of a file's comment, without comment marks.

    Args:
        setting: what is exported.
        differences: how the file differs from the policy as simulated; none where it is exact.
        notes: roundings, traps, what the user has to do.
    """
    found = tuple(differences)
    warning = (NOT_EXACT, *(f"What differs: {each}." for each in found)) if found else ()
    return (*setting.lines(), *warning, *(f"Note: {each}." for each in notes))


def commented(lines: Iterable[str], mark: str = "#") -> str:
    """Sentences as comment lines of a file that begin with ``mark``, wrapped, each ended."""
    room = WIDTH - len(mark)
    wrapped = (
        part
        for line in lines
        for part in textwrap.wrap(
            line, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    )
    return "".join(f"{mark} {part}\n" for part in wrapped)
