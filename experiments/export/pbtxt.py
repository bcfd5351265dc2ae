"""Protocol buffers in text format, read without a schema: what configuration files use of it.

A message is a dictionary from field names to lists of values, in the order of the text: a field may
stand several times, and ``a: [1, 2]`` is the same as ``a: 1 a: 2``.  A value is an int, a float, a
text, a :class:`Word` (``true``, or the name of an enumeration's value) or a message.

The format: protobuf.dev, *Text Format Language Specification*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.sentences import suggestion

from .contract import ForeignFileError

Message = dict[str, list[Any]]

TOKEN = re.compile(
    r"""\s+ | \#[^\n]*
    | (?P<word>[A-Za-z_][\w./]*)
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[fF]?)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)

CLOSED_BY = {"{": "}", "<": ">"}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Word(str):
    """A bare word: ``true``, ``KIND_GPU``."""

    __slots__ = ()


class _Tokens:
    """The tokens of a file, with the line that each stands on."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.found: list[tuple[str, str, int]] = []
        self.place = 0
        position = 0
        while position < len(text):
            line = text.count("\n", 0, position) + 1
            match = TOKEN.match(text, position)
            if match is None:
                raise ForeignFileError(f"{name}, line {line}: cannot read {text[position]!r}")
            if match.lastgroup is not None:
                self.found.append((match.lastgroup, match[0], line))
            position = match.end()
        self.last_line = text.count("\n") + 1

    def peek(self) -> str:
        """The next token, or nothing at the end."""
        return self.found[self.place][1] if self.place < len(self.found) else ""

    def take(self, *wanted: str) -> str:
        """The next token, which is of one of the kinds ``wanted`` or is one of them itself."""
        if self.place >= len(self.found):
            raise ForeignFileError(f"{self.name}, line {self.last_line}: the text ends too early")
        kind, token, line = self.found[self.place]
        if kind not in wanted and token not in wanted:
            raise ForeignFileError(f"{self.name}, line {line}: {token!r} is not expected here")
        self.place += 1
        return token


def parse(name: str, text: str) -> Message:
    """Read a text.

    Args:
        name: of the file, for sentences.
        text: what it holds.

    Raises:
        ForeignFileError: it is not in text format; the sentence names file and line.
    """
    tokens = _Tokens(name, text)
    found = _message(tokens, "")
    if tokens.peek():
        tokens.take("word")
    return found


def _message(tokens: _Tokens, end: str) -> Message:
    """Fields up to the token ``end``, which is taken; nothing stands for the end of the text."""
    fields: Message = {}
    while tokens.peek() != end:
        name = tokens.take("word")
        colon = tokens.peek() == ":"
        if colon:
            tokens.take(":")
        values = _values(tokens, colon)
        fields.setdefault(name, []).extend(values)
        if tokens.peek() in {",", ";"}:
            tokens.take(",", ";")
    if end:
        tokens.take(end)
    return fields


def _values(tokens: _Tokens, colon: bool) -> list[Any]:
    """One value, or those of a list."""
    if tokens.peek() != "[":
        return [_value(tokens, colon)]
    tokens.take("[")
    values: list[Any] = []
    while tokens.peek() != "]":
        values.append(_value(tokens, colon=True))
        if tokens.peek() != "]":
            tokens.take(",")
    tokens.take("]")
    return values


def _value(tokens: _Tokens, colon: bool) -> Any:
    """A message, or a number, a text or a word, which need a colon before them."""
    if tokens.peek() in CLOSED_BY:
        return _message(tokens, CLOSED_BY[tokens.take("{", "<")])
    if not colon:
        tokens.take(":")
    token = tokens.take("word", "number", "text")
    if token[0] in "\"'":
        parts = [token]
        while tokens.peek()[:1] in {'"', "'"}:
            parts.append(tokens.take("text"))
        return "".join(_unquoted(part) for part in parts)
    if token[0].isalpha() or token[0] == "_":
        return Word(token)
    return _number(token)


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), token[1:-1])


def _number(token: str) -> int | float:
    if token.lower().lstrip("+-").startswith("0x"):
        return int(token, 16)
    try:
        return int(token)
    except ValueError:
        return float(token.rstrip("fF"))


def known_fields(name: str, message: Message, known: frozenset[str], where: str = "") -> None:
    """Refuse a field that a message does not have.

    Raises:
        ForeignFileError: with the nearest field.
    """
    for field in message:
        if field not in known:
            hint = suggestion(field, known)
            raise ForeignFileError(f"{name}: {where}{field} is no field of it; {hint}")


def only(name: str, message: Mapping[str, list[Any]], field: str, default: Any = None) -> Any:
    """The value of a field that stands at most once.

    Raises:
        ForeignFileError: it stands several times.
    """
    values = message.get(field, [])
    if len(values) > 1:
        raise ForeignFileError(f"{name}: {field} is given {len(values)} times, but holds one value")
    return values[0] if values else default


def whole(name: str, message: Mapping[str, list[Any]], field: str, default: int = 0) -> int:
    """A whole number that is not negative.

    Raises:
        ForeignFileError: it is something else.
    """
    value = only(name, message, field, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ForeignFileError(f"{name}: {field} = {value!r} must be a whole number, not below 0")
    return value


def inner(name: str, message: Mapping[str, list[Any]], field: str) -> Message | None:
    """A field that is a message; None where it is not given.

    Raises:
        ForeignFileError: it is something else.
    """
    value = only(name, message, field)
    if value is not None and not isinstance(value, dict):
        raise ForeignFileError(f"{name}: {field} = {value!r} must be a message in {{ }}")
    return value
