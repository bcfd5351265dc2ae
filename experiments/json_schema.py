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

from . import schema, schema_cluster
from .iteration import schema as iteration_schema
from .json_schema_rules import FAMILIES, OF_TOKENS, any_rule, rule_schemas
from .json_schema_values import SPECIAL, WORDS, Json, single_value
from .json_schema_words import attribute_words, described
from .tables import Table, content

DIALECT = "http://json-schema.org/draft-07/schema#"


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
    **dict.fromkeys(("Workload", "TokenWorkloadTable"), _not_both("requests", "duration_s")),
    "Limit": _either("at_most", "at_least"),
    "TokenSlo": {"anyOf": [{"required": [key]} for key in ("ttft_ms", "tpot_ms", "latency_ms")]},
    "EngineTable": {
        **_either("profile", "times"),
        "if": {"properties": {"preemption": {"const": "swap"}}, "required": ["preemption"]},
        "then": {
            "properties": {"memory": {"required": ["kv_bytes_per_token"]}},
            "required": ["memory"],
        },
    },
    "Memory": {**_either("blocks", "gib"), "dependencies": {"gib": ["kv_bytes_per_token"]}},
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
            case "_objective":
                alone = {"type": "array", "items": inner, "minItems": 1, "maxItems": 1}
                return {"anyOf": [inner, alone]}
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


TITLE = "batchwright scenario"
ABOUT = "Who arrives, what serves them, and the batching policies to compare."


def scenario_json_schema() -> Json:
    """The JSON schema of a scenario file with a ``[service]``: plain JSON values."""
    whole, tables = _tables(schema.Spec, "policy")
    for key in ("router", "autoscaler"):
        properties = tables["Cluster"]["properties"]
        properties[key] = {**any_rule(key), **properties[key]}
    return _headed(whole, {**tables, **rule_schemas(FAMILIES)})


def token_json_schema() -> Json:
    """The JSON schema of a scenario file with an ``[engine]``: plain JSON values."""
    whole, tables = _tables(iteration_schema.TokenSpec, "iteration")
    for name in ("TokenWorkloadTable", "TokenTier"):
        properties = tables[name]["properties"]
        properties["arrivals"] = _open_arrivals(properties["arrivals"])
    for name in CLOSED:
        del tables[name]
    return _headed(whole, {**tables, **rule_schemas(OF_TOKENS)})


def json_schema() -> Json:
    """The JSON schema of any scenario file: which kind it is tells whether it has an ``engine``.

    Mistakes are those of the kind that is meant.  ``anyOf`` refuses nothing: editors that do not
    look behind ``if`` (Taplo) complete keys from it.
    """
    service, tokens = scenario_json_schema(), token_json_schema()
    tables = {**service.pop("definitions"), **tokens.pop("definitions")}
    for name, one in (("Scenario", service), ("TokenScenario", tokens)):
        tables[name] = {key: one[key] for key in one if key not in ("$schema", "title")}
    either, tables_of = ("Scenario", "TokenScenario"), "#/definitions/"
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "description": ABOUT,
        "type": "object",
        "if": {"required": ["engine"]},
        "then": {"$ref": tables_of + "TokenScenario"},
        "else": {"$ref": tables_of + "Scenario"},
        "anyOf": [*({"$ref": tables_of + name} for name in either), {}],
        "definitions": tables,
    }


def _tables(spec: type[Table], family: str) -> tuple[Json, Json]:
    """A whole file and the tables in it."""
    made = spec.model_json_schema(schema_generator=_Generator)
    tables: Json = made.pop("$defs")
    words = attribute_words()
    finished = {name: _finished(name, table, words) for name, table in tables.items()}
    whole = _finished(spec.__name__, made, words)
    whole["properties"]["policies"]["additionalProperties"] = any_rule(family)
    return whole, finished


def _headed(whole: Json, definitions: Json) -> Json:
    kept = {key: value for key, value in whole.items() if key not in ("title", "description")}
    head = {"$schema": DIALECT, "title": TITLE, "description": ABOUT}
    return {**head, **kept, "definitions": definitions}


CLOSED = ("Closed", "Backlog")
"""Arrivals that a model that generates does not take."""


def _open_arrivals(value: Json) -> Json:
    """Arrivals with a rate of their own: a load needs a largest rate, which depends on the rule."""
    closed = {f"#/definitions/{name}" for name in CLOSED}
    kept = [one for one in value["anyOf"] if "enum" not in one and one["$ref"] not in closed]
    return {**value, "anyOf": kept, "not": {"type": "object", "required": ["load"]}}


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
