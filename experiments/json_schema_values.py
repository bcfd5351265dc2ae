"""What single values of a scenario take, as JSON schema: one entry for each check."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from . import schema_memory, schema_tune, values

Json = dict[str, Any]
NUMBERS: Json = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}
ABOVE_0: Json = {"type": "number", "exclusiveMinimum": 0}
NOT_BELOW_0: Json = {"type": "number", "minimum": 0}
WORDS: Json = {"type": "string", "pattern": r"\S"}
PAIR: Json = {"type": "array", "items": NOT_BELOW_0, "minItems": 2, "maxItems": 2}


def check_of(annotation: Any) -> Callable[..., Any]:
    """The check that an annotated value carries."""
    check: Callable[..., Any] = annotation.__metadata__[0].func
    return check


CHECKS: dict[Callable[..., Any], Json] = {
    check_of(values.Text): WORDS,
    check_of(values.Positive): ABOVE_0,
    check_of(values.NonNegative): NOT_BELOW_0,
    check_of(values.AboveOne): {"type": "number", "exclusiveMinimum": 1},
    check_of(values.Share): {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    check_of(values.Drift): {"type": "number", "minimum": 0, "maximum": 0.25},
    check_of(values.Percentile): {
        "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100,
    },
    check_of(values.Milliseconds): NOT_BELOW_0,
    check_of(values.MillisecondsAbove0): ABOVE_0,
    check_of(values.Seconds): ABOVE_0,
    check_of(values.Patience): ABOVE_0,
    check_of(values.Rates): {"type": "array", "items": NOT_BELOW_0, "minItems": 2},
    check_of(values.Points): {"type": "array", "items": PAIR, "minItems": 2},
    check_of(schema_memory.GibAbove0): ABOVE_0,
    check_of(schema_memory.Gib): NOT_BELOW_0,
    check_of(schema_memory.Mib): NOT_BELOW_0,
    check_of(schema_tune.Word): WORDS,
}  # fmt: skip
"""Checks of single values; those of one factory are told apart by what they are called."""


def single_value(check: Callable[..., Any]) -> Json | None:
    """What a check of a single value accepts; None where it is none of those known."""
    if check not in CHECKS:
        return _of_factory(check)
    most = inspect.getclosurevars(check).nonlocals.get("most")
    return CHECKS[check] if most is None else {**CHECKS[check], "maximum": int(most)}


def _of_factory(check: Callable[..., Any]) -> Json | None:
    """What a check says that a factory of :mod:`experiments.values` made, if one did."""
    known = inspect.getclosurevars(check).nonlocals
    match check.__qualname__.partition(".")[0]:
        case "whole":
            return {"type": "integer", "minimum": known["least"], "maximum": values.LARGEST_COUNT}
        case "one_of":
            return {"enum": list(known["words"])}
        case "positives":
            return {**NUMBERS, "minItems": known["least"]}
    return None


ONE_OR_MORE_NAMES: Json = {"anyOf": [WORDS, {"type": "array", "items": WORDS, "minItems": 1}]}
BOUND: Json = {
    "anyOf": [
        {"type": "number"},
        {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 2},
    ]
}

SPECIAL: dict[str, Json] = {
    "_names": ONE_OR_MORE_NAMES,
    "_loads": {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "minItems": 1,
        "maxItems": schema_tune.MOST_LOADS,
        "uniqueItems": True,
    },
    "_servers": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 4096},
        "minItems": 1,
    },
    "_space": {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": BOUND},
    },
    "_named_tables": {"type": "object", "minProperties": 1},
}
"""Checks that stand alone, by their name."""
