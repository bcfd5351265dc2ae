"""``--set KEY=VALUE``: change any key of a scenario before it is checked, and ranges for sweeps.

1. The value is what TOML would take on the right of ``=``; a bare word is a text.
2. A key that a table does not have yet is added; wrong keys are found by the schema afterwards.
3. Setting one of several alternatives (``load``, ``rate_per_s``) removes the others.
4. A tier is named by its name or by its place from 0: ``workload.tiers.0.share=0.5``.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import Any, NamedTuple

from .sentences import ScenarioError, suggestion

ALTERNATIVES = (
    frozenset({"rate_per_s", "load", "time_scale"}),
    frozenset({"requests", "duration_s"}),
    frozenset({"profile", "model"}),
)
"""Keys of one table of which at most one can hold."""

BARE_WORD = re.compile(r"[^\s\"'\[\]{},=#]+")
"""What may stand without quotes: a name or a path."""

TOO_MUCH = "values must not be nested hundreds deep, nor numbers have thousands of digits"
"""What TOML would allow, and nobody means."""

LONGEST_INDEX = 10
"""Digits of a place in a list."""

MOST_STEPS = 1000
"""Of a sweep: every step is a run."""


class Override(NamedTuple):
    """One ``--set``, as it was typed and as it is meant."""

    text: str
    key: tuple[str, ...]
    value: Any


def parse_override(text: str) -> Override:
    """Take ``workload.requests=1000`` apart.

    Raises:
        ScenarioError: there is no ``=``, a part of the key is empty, or the value is not TOML.
    """
    if not text.isascii() and text != text.encode(errors="replace").decode():
        raise ScenarioError(f"--set {text!r} is not text in UTF-8")
    key, equals, right = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise ScenarioError(
            f"--set {text}: must be KEY=VALUE with a dotted key, as in workload.requests=1000000"
        )
    return Override(text, parts, _value(text, right.strip()))


def _value(text: str, right: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {right}", parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        if BARE_WORD.fullmatch(right):
            return right
        raise ScenarioError(
            f"--set {text}: {right or 'nothing'} is no TOML value, which is a number, a word, "
            'a "text", [a, list] or { a = table }'
        ) from error
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ScenarioError(f"--set {text}: {TOO_MUCH}") from error
    if set(parsed) != {"value"}:
        raise ScenarioError(f"--set {text}: must hold one value on one line")
    return parsed["value"]


def apply_override(content: dict[str, Any], override: Override) -> tuple[str, ...]:
    """Put the value of an override into a scenario's content, in place.

    Returns:
        The key with the names of tiers replaced by their places, as errors name it.

    Raises:
        ScenarioError: the key leads through something that is not a table.
    """
    here: Any = content
    path: list[str] = []
    for depth, name in enumerate(override.key):
        part: Any = _place(here, name, override, depth) if isinstance(here, list) else name
        path.append(str(part))
        if depth == len(override.key) - 1:
            _put(here, part, override.value)
            break
        here = here[part] if isinstance(here, list) else here.setdefault(part, {})
        if not isinstance(here, dict | list):
            raise ScenarioError(
                f"--set {override.text}: {'.'.join(path)} is a value, so "
                f"{override.key[depth + 1]} cannot be set inside it"
            )
    return tuple(path)


def _put(here: Any, part: Any, value: Any) -> None:
    """Set one key; its alternatives go."""
    if isinstance(here, dict):
        for group in ALTERNATIVES:
            for other in group & here.keys() if part in group else ():
                del here[other]
    here[part] = value


def _place(items: list[Any], part: str, override: Override, depth: int) -> int:
    """Index of a list's item that a key names by number or by its ``name``."""
    if part.isdecimal() and len(part) < LONGEST_INDEX and int(part) < len(items):
        return int(part)
    names = [item.get("name") for item in items if isinstance(item, dict)]
    if part in names:
        return names.index(part)
    path = ".".join(override.key[:depth])
    known = [str(i) for i in range(len(items))] + [str(name) for name in names if name]
    raise ScenarioError(
        f"--set {override.text}: {path} has no item {part}; {suggestion(part, known)}"
    )


def parse_range(text: str) -> tuple[Any, ...]:
    """The values of a sweep: ``1,2,4`` as they stand, ``0.1:0.9:9`` as nine equal steps.

    Raises:
        ScenarioError: neither form, or not 2 to 1000 steps.
    """
    if ":" in text and not text.startswith(("[", "{", '"')):
        return _steps(text)
    try:
        values = tuple(tomllib.loads(f"value = [{text}]", parse_float=Decimal)["value"])
    except RecursionError as error:
        raise ScenarioError(f"{text!r}: {TOO_MUCH}") from error
    except ValueError:  # no TOML
        words = [item.strip() for item in text.split(",")]
        known = all(BARE_WORD.fullmatch(item) for item in words)
        values = tuple(_value(item, item) for item in words) if known else ()
    if not values:
        raise ScenarioError(f"{text!r} must be a list as in 1,2,4 or FIRST:LAST:COUNT")
    return values


def _steps(text: str) -> tuple[Decimal, ...]:
    try:
        first, last, count = (Decimal(part.strip()) for part in text.split(":"))
        finite = first.is_finite() and last.is_finite() and count.is_finite()
        if not finite or not 2 <= count <= MOST_STEPS or count != int(count):
            raise ValueError
        steps = int(count) - 1
        return tuple(first + (last - first) * i / steps for i in range(steps + 1))
    except (ValueError, ArithmeticError) as error:
        raise ScenarioError(
            f"{text!r} must be FIRST:LAST:COUNT with numbers and a count from 2 to {MOST_STEPS}, "
            "as in 0.1:0.9:9"
        ) from error
