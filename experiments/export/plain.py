"""Plain JSON, for what has no exporter of its own: ``policy.json`` and the schema that it obeys.

It holds every kind of policy exactly, with the scenario's facts and the evidence of the run.  Where
the policy is a window of size and wait, ``lanes`` says so in numbers that any program can follow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_type_hints

from experiments.plain import dumps
from experiments.rerun import INFINITE, exact
from experiments.rules import ParameterError, build_policy, parameters
from policies import POLICIES
from policies.autoscalers import AUTOSCALERS
from policies.contract import NEVER, FloatArray, IntArray
from policies.routers import ROUTERS

from .comment import comment_of
from .contract import Exported, ForeignFileError, Imported
from .plan import Lane, Timer, plan_of
from .rounding import in_ms
from .setting import Setting

FORMAT = "batchwright-policy/1"
"""Changes when a reader of the old form could misunderstand the new one."""

POLICY = "policy.json"
SCHEMA = "policy.schema.json"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def export(setting: Setting, *, nearest: bool) -> Exported:  # noqa: ARG001 - as every exporter
    """``policy.json`` and its schema; always exact."""
    plan = plan_of(setting)
    found = {
        "$schema": SCHEMA,
        "format": FORMAT,
        "about": list(comment_of(setting)),
        **with_infinity(setting.to_dict()),
        "policy": with_infinity(setting.table),
        "lanes": [lane_of(lane) for lane in plan.lanes] if plan.exact else None,
    }
    return Exported({POLICY: dumps(found), SCHEMA: dumps(schema())})


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``policy.json``.

    Raises:
        ForeignFileError: it is something else, or its policy is no policy.
    """
    name, text = next(((n, t) for n, t in files.items() if recognises(t)), (None, ""))
    if name is None:
        raise ForeignFileError(
            f"{', '.join(files) or 'nothing'}: must be a JSON object with format = {FORMAT!r}"
        )
    found = json.loads(text, parse_float=Decimal)
    table = exact(found.get("policy"))
    if not isinstance(table, dict):
        raise ForeignFileError(f"{name}: policy must be an object with a kind")
    try:
        build_policy(table)
    except ParameterError as error:
        raise ForeignFileError(f"{name}: policy.{error.key} {error}") from error
    servers = found.get("servers")
    if not isinstance(servers, int) or isinstance(servers, bool) or servers < 1:
        raise ForeignFileError(
            f"{name}: servers = {servers!r} must be a whole number of at least 1"
        )
    return Imported(table, servers)


def recognises(text: str) -> bool:
    """Whether a text is a ``policy.json`` of this format."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def with_infinity(value: Any) -> Any:
    """JSON has no infinity: it becomes the text ``inf``, as in the files of a run."""
    if isinstance(value, Mapping):
        return {key: with_infinity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_infinity(item) for item in value]
    if isinstance(value, float | Decimal) and math.isinf(value):
        return INFINITE
    return value


TIMER_FROM: dict[Timer, str] = {
    "oldest": "oldest_arrival",
    "pick": "idle_server",
    "window": "end_of_window",
    "sealed": "batch_before",
}
"""Where the timer of a lane starts."""


def lane_of(lane: Lane) -> dict[str, Any]:
    """A lane as plain numbers."""
    found = lane.window
    return {
        "length_above": lane.low,
        "length_up_to": lane.high,
        "max_batch_size": found.max_batch_size,
        "max_wait_ms": INFINITE if found.max_wait_ns == NEVER else in_ms(found.max_wait_ns),
        "min_batch_size": found.min_batch_size,
        "timer_from": TIMER_FROM[found.timer],
        "preferred_batch_size": list(found.preferred),
        "max_ongoing_requests": found.most_ongoing,
    }


def schema() -> dict[str, Any]:
    """The JSON schema of ``policy.json`` (draft 2020-12)."""
    count = {"type": "integer", "minimum": 1}
    number = {"type": ["number", "null"]}
    whole = table_schema(
        {
            "$schema": {"type": "string"},
            "format": {"const": FORMAT},
            "about": {"type": "array", "items": {"type": "string"}},
            "name": {"type": "string"},
            "model": {"type": "string"},
            "policy": {"oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in POLICIES]},
            "lanes": {"oneOf": [{"type": "null"}, {"type": "array", "items": lane_schema()}]},
            "servers": count,
            "largest_batch": count,
            "length_unit": {"type": "string"},
            "longest": count,
            "over_length": {"enum": ["error", "truncate", "reject"]},
            "tiers": {"type": "array", "items": tier_schema()},
            "cluster": {"oneOf": [{"type": "null"}, cluster_schema()]},
            "capacity": {"type": ["integer", "null"], "minimum": 0},
            "capacity_counts": {"enum": ["waiting", "in_system"]},
            "timeout_ms": number,
            "evidence": evidence_schema(),
        }
    )
    kinds = {kind: kind_schema(kind, cls) for kind, cls in POLICIES.items()}
    return {"$schema": DIALECT, "title": "A batching policy", **whole, "$defs": kinds}


def tier_schema() -> dict[str, Any]:
    """A class of requests: what it is promised, what it brings, and what it may."""
    number = {"type": ["number", "null"]}
    return table_schema(
        {
            "name": {"type": "string"},
            "slo_ms": number,
            "percentile": {"type": "number"},
            "rate_per_s": number,
            "backlog": {"type": "boolean"},
            "capacity": {"type": ["integer", "null"], "minimum": 0},
            "timeout_ms": number,
        }
    )


def cluster_schema() -> dict[str, Any]:
    """How the servers stand together: :class:`experiments.export.replicas.Replicas`."""
    count = {"type": "integer", "minimum": 1}
    other = {"profile": {"type": "string"}, "replicas": count}
    return table_schema(
        {
            "replicas": count,
            "router": one_of_kinds(ROUTERS),
            "instances": count,
            "instances_per_gpu": count,
            "others": {"type": "array", "items": table_schema(other)},
            "autoscaler": one_of_kinds(AUTOSCALERS),
            "initial_replicas": {"type": ["integer", "null"], "minimum": 1},
            "cold_start_ms": {"type": "number", "minimum": 0},
            "on_failure": {"enum": [None, "retry", "lose"]},
        }
    )


def one_of_kinds(kinds: Mapping[str, type]) -> dict[str, Any]:
    """A rule of a family, or none."""
    return {"oneOf": [{"type": "null"}, *(kind_schema(kind, cls) for kind, cls in kinds.items())]}


def evidence_schema() -> dict[str, Any]:
    """Why this setting: :class:`experiments.export.setting.Evidence`."""
    count = {"type": "integer", "minimum": 1}
    number = {"type": ["number", "null"]}
    text = {"type": ["string", "null"]}
    figure = table_schema({"value": number, "low": number, "high": number})
    return table_schema(
        {
            "run": {"type": "string"},
            "scenario": {"type": "string"},
            "scenario_hash": {"type": "string"},
            "profile": text,
            "device": text,
            "arrivals": {"type": "string"},
            "rate_per_s": number,
            "loads": {"type": "array", "items": {"type": "number"}},
            "requests": count,
            "replications": count,
            "seeds": {"type": "object", "additionalProperties": {"type": "integer"}},
            "latency_ms": {"type": "object", "additionalProperties": figure},
            "version": {"type": "string"},
            "command": {"type": "array", "items": {"type": "string"}},
            "remarks": {"type": "array", "items": {"type": "string"}},
        }
    )


def table_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def lane_schema() -> dict[str, Any]:
    """A range of lengths with its window."""
    edge = {"type": ["integer", "null"], "minimum": 1}
    count = {"type": "integer", "minimum": 1}
    return table_schema(
        {
            "length_above": edge,
            "length_up_to": edge,
            "max_batch_size": count,
            "max_wait_ms": TIME,
            "min_batch_size": count,
            "timer_from": {"enum": [*TIMER_FROM.values()]},
            "preferred_batch_size": {"type": "array", "items": count},
            "max_ongoing_requests": {"type": "integer", "minimum": 0},
        }
    )


TIME: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"const": INFINITE}]}
"""Milliseconds, or ``inf``."""


def kind_schema(kind: str, cls: type) -> dict[str, Any]:
    """The keys of one kind of policy."""
    hints, defaults = get_type_hints(cls), getattr(cls, "_field_defaults", {})
    properties: dict[str, Any] = {"kind": {"const": kind}}
    required = ["kind"]
    for key, field in parameters(cls).items():
        hint = hints[field]
        one = TIME if key.endswith("_ms") else {"type": JSON_TYPES.get(hint, "number")}
        many = {"anyOf": [one, {"type": "array", "items": one}]}
        properties[key] = many if hint in (IntArray, FloatArray) else one
        if field not in defaults:
            required.append(key)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


JSON_TYPES: dict[Any, str] = {int: "integer", IntArray: "integer", bool: "boolean"}
"""What a field is in JSON, where it is not any number."""
