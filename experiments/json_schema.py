"""The scenario file as a JSON schema, for editors: completion, explanations and early mistakes.

1. It is made of the tables that check a scenario (:mod:`experiments.schema`), so that a new key is
   there at once; a check without a translation is an error, not a hole.
2. It never refuses what the checks accept.  What it cannot say (shares that add up to 1, files
   that are not there) only the checks say.
3. Dialect: draft 7, the newest that taplo knows (the language server of Even Better TOML).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from . import schema, schema_cluster, schema_memory, schema_tune, values
from .json_schema_rules import any_rule, rule_schemas
from .json_schema_words import attribute_words, described
from .tables import Table, content

DIALECT = "http://json-schema.org/draft-07/schema#"

Json = dict[str, Any]
NUMBERS: Json = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}
ABOVE_0: Json = {"type": "number", "exclusiveMinimum": 0}
NOT_BELOW_0: Json = {"type": "number", "minimum": 0}
WORDS: Json = {"type": "string", "pattern": r"\S"}
PAIR: Json = {"type": "array", "items": NOT_BELOW_0, "minItems": 2, "maxItems": 2}


def _check_of(annotation: Any) -> Callable[..., Any]:
    check: Callable[..., Any] = annotation.__metadata__[0].func
    return check


CHECKS: dict[Callable[..., Any], Json] = {
    _check_of(values.Text): WORDS,
    _check_of(values.Positive): ABOVE_0,
    _check_of(values.NonNegative): NOT_BELOW_0,
    _check_of(values.AboveOne): {"type": "number", "exclusiveMinimum": 1},
    _check_of(values.Share): {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    _check_of(values.Drift): {"type": "number", "minimum": 0, "maximum": 0.25},
    _check_of(values.Percentile): {
        "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100,
    },
    _check_of(values.Milliseconds): NOT_BELOW_0,
    _check_of(values.MillisecondsAbove0): ABOVE_0,
    _check_of(values.Seconds): ABOVE_0,
    _check_of(values.Patience): ABOVE_0,
    _check_of(values.Rates): {"type": "array", "items": NOT_BELOW_0, "minItems": 2},
    _check_of(values.Points): {"type": "array", "items": PAIR, "minItems": 2},
    _check_of(schema_memory.GibAbove0): ABOVE_0,
    _check_of(schema_memory.Gib): NOT_BELOW_0,
    _check_of(schema_memory.Mib): NOT_BELOW_0,
    _check_of(schema_tune.Word): WORDS,
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


def _either(*keys: str) -> Json:
    """Exactly one of the keys."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def _not_both(*keys: str) -> Json:
    return {"not": {"required": list(keys)}}


RULES: dict[str, Json] = {
    "Service": _either("profile", "model"),
    **dict.fromkeys(
        ("Paced", "Poisson", "Gamma", "Hyperexponential", "Clumped"), _either("rate_per_s", "load")
    ),
    **dict.fromkeys(("Mmpp", "RateCurve", "TraceFile"), _not_both("rate_per_s", "load")),
    "Workload": _not_both("requests", "duration_s"),
    "Limit": _either("at_most", "at_least"),
}
"""What holds between the keys of a table, as far as it can be said."""


class _Generator(GenerateJsonSchema):
    """pydantic's, with our checks translated."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """TOML has no null: a key that may be missing is left out."""
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        """Decimals are numbers in TOML."""
        return _plain(content(dft))

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """A value that checks itself."""
        check: Any = schema["function"]["function"]
        name = check.__name__
        if name == "_outages":
            several = {"type": "array", "items": self._table(schema_cluster.FailedAt)}
            return {
                "anyOf": [{**several, "minItems": 1}, self._table(schema_cluster.FailsAtRandom)]
            }
        found = single_value(check) or SPECIAL.get(name)
        if found is None and name != "_named_rule":
            raise TypeError(f"the check {check.__module__}.{check.__qualname__} has no translation")
        return dict(found or {})

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """A table, a list that is not empty, or something that a word may stand for."""
        check: Any = schema["function"]["function"]
        inner = self.generate_inner(schema["schema"])
        match check.__name__:
            case "_list_of_tables" | "_groups":
                return {**inner, "minItems": 1}
            case "_aims":
                item = {"anyOf": [WORDS, inner["items"]]}
                return {"anyOf": [*item["anyOf"], {"type": "array", "items": item, "minItems": 1}]}
            case "check" if "oneOf" in inner and (words := _words_alone(check)):
                return {"anyOf": [{"enum": words}, *inner["oneOf"]]}
        return inner

    def _table(self, table: type[Table]) -> JsonSchemaValue:
        return self.generate_inner(table.__pydantic_core_schema__)


def _words_alone(check: Callable[..., Any]) -> list[str]:
    """Words that stand for a table with nothing else, as ``"none"`` for ``{ kind = "none" }``."""
    known = inspect.getclosurevars(check).nonlocals
    if "key" not in known:
        return []
    alone = []
    for word, table in known["tables"].items():
        needed = {key for key, field in table.model_fields.items() if field.is_required()}
        if needed <= {known["key"]} and "rate_per_s" not in table.model_fields:
            alone.append(word)
    return alone


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def scenario_json_schema() -> Json:
    """The JSON schema of a scenario file: plain JSON values."""
    made = schema.Spec.model_json_schema(schema_generator=_Generator)
    tables: Json = made.pop("$defs")
    tables["Spec"] = {key: made.pop(key) for key in list(made)}
    words = attribute_words()
    finished = {name: _finished(name, table, words) for name, table in tables.items()}
    cluster = finished["Cluster"]["properties"]
    for key, family in (("router", "router"), ("autoscaler", "autoscaler")):
        cluster[key] = {**any_rule(family), **cluster[key]}
    whole = finished.pop("Spec")
    whole["properties"]["policies"]["additionalProperties"] = any_rule("policy")
    return {
        "$schema": DIALECT,
        "title": "batchwright scenario",
        "description": "Who arrives, what serves them, and the batching policies to compare.",
        **{key: value for key, value in whole.items() if key not in ("title", "description")},
        "definitions": {**finished, **rule_schemas()},
    }


def _finished(name: str, table: Json, words: dict[tuple[str, str], str]) -> Json:
    """A table with words for each key, what holds between its keys, and no titles."""
    keys = {
        key: described(name, key, _moved(value), words)
        for key, value in table["properties"].items()
    }
    about = " ".join(table.get("description", "").replace("``", "").split())
    needed = {"required": table["required"]} if "required" in table else {}
    return {
        "type": "object",
        "description": about,
        "properties": keys,
        **needed,
        "additionalProperties": False,
        **RULES.get(name, {}),
    }


def _moved(value: Any) -> Any:
    """References of draft 7, without pydantic's titles."""
    if isinstance(value, dict):
        kept = {
            k: v for k, v in value.items() if k != "title" and not (k == "default" and v is None)
        }
        return {key: _moved(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
