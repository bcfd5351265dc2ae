"""The code blocks of a Markdown page, and what the comments above them say.

1. A block is a fence of backticks or tildes with one word after it.  MyST directives
   (``{note}``, ``{toctree}``) are no blocks; fences inside them are.
2. Comments stand directly above the fence, each on a line of its own; blank lines may be between:

   ``<!-- not run: REASON -->``
       the block is shown and not run.
   ``<!-- slow: REASON -->``
       it runs in ``make test-all`` alone.
   ``<!-- fails: CODE -->``
       its last command ends with this exit code.
   ``<!-- file: NAME -->``
       it is written to this file, and later blocks find it.  A TOML block may say the same in its
       first line, as ``# mine.toml``.
   ``<!-- part of SCENARIO -->``
       a TOML block that is laid over a shipped scenario, or over a file of the page.
   ``<!-- output -->``
       a text block that the block above prints.
   ``<!-- output of: NAME -->``
       a text block that is in a file that a block above wrote.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
COMMENT = re.compile(r"^ *<!-- *(?P<key>[\w ./-]+?)(?:: *(?P<value>.*?))? *-->$")
KEYS = ("not run", "slow", "fails", "file", "output", "output of")
PART = "part of "
FILE_NAME = re.compile(r"^# ([\w./-]+\.toml)$")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    """Of its fence, from 1."""
    says: dict[str, str]
    """What the comments above it say."""


class PageError(ValueError):
    """A page says something about a block that nobody understands."""


def blocks_of(page: str, *, strict: bool = True) -> list[Block]:
    """All code blocks of a page, in their order.

    Args:
        page: its Markdown.
        strict: every comment above a block has to be one of these; else others say nothing.

    Raises:
        PageError: a fence is not closed, or a comment above a block is no known one.
    """
    lines, found, place = page.splitlines(), [], 0
    open_directives: list[str] = []
    while place < len(lines):
        fence = FENCE.match(lines[place])
        if fence is None:
            place += 1
            continue
        ticks, info = fence["ticks"], fence["info"].strip()
        if not info and open_directives and len(ticks) >= len(open_directives[-1]):
            open_directives.pop()
            place += 1
        elif info.startswith("{"):
            _plain(info, place)
            open_directives.append(ticks)
            place += 1
        else:
            end = _end(lines, place, ticks)
            text = _dedented(lines[place + 1 : end], len(fence["indent"]))
            says = _said(lines, place, strict=strict)
            name = FILE_NAME.match(text.partition("\n")[0])
            if info == "toml" and name:
                says.setdefault("file", name[1])
            found.append(Block(info, text, place + 1, says))
            place = end + 1
    return found


def _plain(info: str, place: int) -> None:
    """Code stands in plain fences, so that it is run."""
    if re.match(r"\{(code-block|code|literalinclude|sourcecode|code-cell)\}", info):
        raise PageError(f"line {place + 1}: {info} hides code; write a plain fence")


def _end(lines: list[str], place: int, ticks: str) -> int:
    """The line that closes a fence."""
    for end in range(place + 1, len(lines)):
        closing = FENCE.match(lines[end])
        if closing and not closing["info"].strip() and closing["ticks"].startswith(ticks):
            return end
    raise PageError(f"line {place + 1}: the block is not closed")


def _dedented(lines: list[str], indent: int) -> str:
    return "".join(f"{line[min(indent, len(line) - len(line.lstrip())) :]}\n" for line in lines)


def _said(lines: list[str], place: int, *, strict: bool) -> dict[str, str]:
    """What the comments directly above a fence say."""
    says: dict[str, str] = {}
    above = place - 1
    while above >= 0 and (not lines[above].strip() or "<!--" in lines[above]):
        comment = COMMENT.match(lines[above])
        if comment is not None:
            says |= _understood(comment, above, strict=strict)
        above -= 1
    return says


def _understood(comment: re.Match[str], place: int, *, strict: bool) -> dict[str, str]:
    """One comment as a key and a value."""
    key, value = comment["key"], comment["value"] or ""
    whole = comment[0].strip()[4:-3].strip()
    if whole.startswith(PART):
        return {"part of": whole.removeprefix(PART)}
    if key in KEYS and (bool(value) == (key != "output")):
        return {key: value}
    if not strict:
        return {}
    raise PageError(f"line {place + 1}: <!-- {whole} --> is none of {', '.join(KEYS)}, part of")
