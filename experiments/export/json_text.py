"""JSON files of stacks: written with a README beside them, as JSON has no comments, and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from experiments.units import NS_PER_S

from .comment import comment_of
from .contract import ForeignFileError
from .setting import Setting

README = "README.md"

LONGEST_S = 10**9
"""More seconds than that (30 years) are a mistake; in ns they would not fit 64 bits."""


def json_file(table: Mapping[str, Any]) -> str:
    """A table as an indented JSON file."""
    return json.dumps(table, indent=2) + "\n"


def readme(
    setting: Setting, title: str, differences: Iterable[str], notes: Iterable[str]
) -> dict[str, str]:
    """The comment of an export whose files have no comments, as a file of its own."""
    lines = "\n\n".join(comment_of(setting, differences, notes))
    return {README: f"# {setting.model} for {title}\n\n{lines}\n"}


def json_table(name: str, text: str) -> dict[str, Any]:
    """The object that a JSON file holds; numbers with a point are exact decimals.

    Args:
        name: of the file, for sentences.
        text: what it holds.

    Raises:
        ForeignFileError: it is not JSON, or something else than an object.
    """
    try:
        found = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise ForeignFileError(f"{name}, line {error.lineno}: it is not JSON") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        raise ForeignFileError(f"{name}: it is too deeply nested, or a number too long") from error
    if not isinstance(found, dict):
        raise ForeignFileError(f"{name}: it must hold an object of keys and values")
    return found


def whole_number(name: str, table: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number of a table.

    Raises:
        ForeignFileError: it is something else.
    """
    value = table.get(key, default)
    if type(value) is not int:
        raise ForeignFileError(f"{name}: {key} = {_shown(value)} must be a whole number")
    return value


def seconds_in_ns(name: str, table: Mapping[str, Any], key: str) -> int:
    """Seconds of a table as whole ns, 0 where the key is absent.

    Raises:
        ForeignFileError: it is no number, or too large for one.
    """
    value = table.get(key, 0)
    if type(value) is not int and not isinstance(value, Decimal):
        raise ForeignFileError(f"{name}: {key} = {_shown(value)} must be a number of seconds")
    seconds = Decimal(value)
    if not seconds.is_finite() or abs(seconds) > LONGEST_S:
        raise ForeignFileError(f"{name}: {key} = {value} must be at most {LONGEST_S} seconds")
    return int((seconds * NS_PER_S).to_integral_value())


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=str)
