"""How a mistake in a scenario is told: one sentence with file, key, value and what would be right.

Validators of :mod:`experiments.schema` raise :func:`wrong`, :func:`wrong_at`,
:func:`unknown_key`, :func:`missing_key` or :func:`broken_rule`; :func:`sentence` joins the first
of them with the place.
No wording of pydantic reaches the user.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

LONGEST_VALUE = 60
"""Characters of a value that are shown; the rest is cut, so that the sentence stays readable."""

DEEPEST = 8
"""Tables inside tables that are shown; what is deeper is dots."""

TAG = "~"
"""First letter of a union's tags, which pydantic puts into locations and no key begins with."""


class ScenarioError(ValueError):
    """A scenario, an override or a reference in it is wrong: one sentence says where and how."""


class RunFailed(RuntimeError):  # noqa: N818 - what happened, as a reader says it
    """A run stopped for a reason outside of it: one sentence says which, and what to do."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like ``word`` or begins with it, or None."""
    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    found = found or [name for name in names if len(word) > 1 and name.startswith(word)]
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """``did you mean ...?`` where a known word is near, else the list of known words."""
    names = sorted(set(known))
    near = nearest(word, names)
    return f"did you mean {prefix}{near}?" if near else f"known are {', '.join(names)}"


def choice(word: object, words: Iterable[str]) -> str:
    """``one of ...``, with a guess where the word is near one of them."""
    names = list(words)
    near = nearest(word, names) if isinstance(word, str) else None
    listed = f"one of {', '.join(names)}" if len(names) > 1 else f'"{names[0]}"'
    return f"{listed}; did you mean {near}?" if near else listed


def shown(value: Any) -> str:
    """A value as TOML writes it, cut to a readable length."""
    text = _toml(value, DEEPEST)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _toml(value: Any, deep: int) -> str:
    if deep == 0 and isinstance(value, Mapping | list | tuple) and value:
        return "..."
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {_toml(item, deep - 1)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item, deep - 1) for item in value) + "]"
    if isinstance(value, Decimal):
        return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(str(value), str(value))
    return str(value)


def wrong(right: str) -> PydanticCustomError:
    """The value at hand is not ``right``, a noun phrase such as *a whole number*."""
    return PydanticCustomError("wrong_value", "{right}", {"right": right})


def unknown_key(key: str, known: Iterable[str]) -> PydanticCustomError:
    """The table at hand has a key that it does not take."""
    return PydanticCustomError("unknown_key", "{key}", {"key": key, "known": sorted(known)})


def missing_key(key: str, right: str) -> PydanticCustomError:
    """The table at hand lacks a key that has no default; ``right`` says what to give."""
    return PydanticCustomError("missing_key", "{key}", {"key": key, "right": right})


def wrong_at(key: str, value: Any, right: str) -> PydanticCustomError:
    """One key of the table at hand does not have the ``right`` value."""
    return PydanticCustomError("wrong_at", "{right}", {"key": key, "value": value, "right": right})


def broken_rule(rule: str, **got: Any) -> PydanticCustomError:
    """Keys of the table at hand contradict each other; ``rule`` is what must hold."""
    given = ", ".join(f"{key} = {shown(value)}" for key, value in got.items())
    whole = f"{rule}, but got {given}" if given else rule
    return PydanticCustomError("broken_rule", "{rule}", {"rule": whole})


def dotted(parts: Iterable[str | int]) -> str:
    """Where a value stands: ``workload.tiers.0.share``."""
    return ".".join(str(part) for part in parts)


def sentence(error: ValidationError, content: Mapping[str, Any]) -> tuple[str, str]:
    """The most telling mistake of a validation as (key, sentence without its file).

    An unknown key comes first: it often explains why another one is missing.
    """
    order = ("unknown_key", "wrong_value", "wrong_at", "missing_key", "broken_rule")
    rank = {kind: place for place, kind in enumerate(order)}
    worst = min(error.errors(), key=lambda item: rank.get(item["type"], len(order)))
    key = dotted(p for p in worst["loc"] if not str(p).startswith(TAG))
    value, details = worst["input"], worst.get("ctx", {})
    prefix = f"{key}." if key else ""
    match worst["type"]:
        case "unknown_key":
            name = details["key"]
            hint = suggestion(name, details["known"], prefix)
            return prefix + name, f"unknown key {prefix}{name} = {shown(value[name])}; {hint}"
        case "missing_key":
            full = prefix + details["key"]
            return full, f"{full} is missing; give {details['right']}"
        case "wrong_value":
            return key, f"{key} = {shown(value)} must be {details['right']}"
        case "wrong_at":
            full = prefix + details["key"]
            return full, f"{full} = {shown(details['value'])} must be {details['right']}"
        case "broken_rule":
            return key, f"{key}: {details['rule']}" if key else str(details["rule"])
    raise AssertionError(f"the schema raised {worst['type']} at {key} of {list(content)}")
