"""Policies, routers and autoscalers in the JSON schema: each kind with its own parameters.

Times are milliseconds, as a scenario writes them; ``inf`` is forever.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

import numpy as np

from policies import POLICIES
from policies.autoscalers import AUTOSCALERS
from policies.contract import FloatArray, IntArray
from policies.iteration import RULES as ITERATION_RULES
from policies.routers import ROUTERS

from .json_schema_words import below_attributes
from .rules import parameters

FAMILIES = {"policy": POLICIES, "router": ROUTERS, "autoscaler": AUTOSCALERS}
"""What a rule of a family is called, and its kinds."""

OF_TOKENS = {"iteration": ITERATION_RULES}
"""The same of scenarios with an ``[engine]``."""

ALL = FAMILIES | OF_TOKENS

NS_IN_MS = 1_000_000

SHAPE = r"^(int64|float64) \([^)]*\)[,;:]?\s*"
"""How a docstring says that a field is an array."""

WORDS_OF_PARAMETERS = {
    "max_batch_size": "The largest batch; 0 stands for the profile's largest, where it is allowed.",
    "max_wait_ms": "How long the oldest request may wait for a fuller batch.",
    "min_batch_size": "As many are enough to go without waiting; 0 stands for max_batch_size.",
    "preferred_batch_size": "Sizes that go as soon as so many wait; none: max_batch_size.",
    "from_idle": "Whether the timer starts no earlier than the server became idle.",
    "max_ongoing_requests": "The most that are batched or run at once; 0 is no limit.",
    "max_latency_ms": "Requests that would take longer are shed.",
    "clock_ms": "The tick in which the wait is counted; 0: time is not counted in ticks.",
    "poll_ms": "How often the timer is looked at; 0: all the time.",
    "margin_ms": "Time that is kept free for noise.",
    "increase": "What the batch limit grows by after a full batch that met the target.",
    "decrease": "What the batch limit is multiplied by after a batch that took too long.",
    "max_num_seqs": "The most sequences in the batch; 0 stands for the engine's largest batch.",
    "max_num_batched_tokens": "The most tokens of an iteration.",
    "ageing_tokens_per_s": "By how many tokens a second of waiting shortens a prompt.",
    "padded": "Whether a batch is computed as if all were as long as the longest.",
    "by_priority": "Whether urgent tiers come in first, and the least urgent is put back.",
    "max_tokens": "The largest product of a batch's size and its longest length.",
    "take": "How many of 0, 1, 2, ... that wait are served at once; 0 waits for one more.",
    "max_block_ms": "The longest that an offline batch may keep a server.",
    "max_age_ms": "After so long the oldest request goes before shorter ones.",
    "default_slo_ms": "The target of a tier that has none.",
    "upscale_delay_ms": "How long more replicas must be wanted before they are started.",
    "downscale_delay_ms": "How long fewer replicas must be wanted before some are stopped.",
    "look_back_ms": "The time over which ongoing requests are averaged.",
    "scale_down_delay_ms": "How long fewer replicas must be wanted before some are stopped.",
    "panic_threshold": "Wanted over ready replicas from which the short window decides.",
    "max_scale_down_rate": "A step down leaves at least 1 / this of the replicas.",
    "slo_ms": "The latency target that the rule works for; by default that of the tiers.",
    "target_utilization": "The share of target_concurrency that is aimed at.",
    "stable_window_ms": "The time over which ongoing requests are averaged.",
    "panic_window_ms": "The short time over which bursts are noticed.",
    "interval_ms": "How often the autoscaler looks.",
    "min_replicas": "As many replicas are always kept.",
    "max_replicas": "No more replicas than these.",
}
"""Parameters that mean the same in many rules."""

TOLD_ABOVE = ("preferred_batch_size", "max_num_seqs")
"""Of these the words above tell more than those below the field."""


def any_rule(family: str) -> dict[str, Any]:
    """Any rule of a family."""
    kinds = [{"$ref": f"#/definitions/{family}.{kind}"} for kind in ALL[family]]
    alone = [] if family in ("policy", "iteration") else _words_alone(family)
    return {"anyOf": [{"enum": alone}, *kinds]} if alone else {"oneOf": kinds}


def _words_alone(family: str) -> list[str]:
    """Kinds whose name alone is a rule."""
    kinds = ALL[family]
    return [kind for kind, cls in kinds.items() if not _required(cls)]


def rule_schemas(families: Mapping[str, Mapping[str, type]]) -> dict[str, Any]:
    """Definitions of all rules of some families, by family and kind."""
    return {
        f"{family}.{kind}": _rule(kind, cls)
        for family, kinds in families.items()
        for kind, cls in kinds.items()
    }


def _required(cls: type) -> list[str]:
    defaults: dict[str, Any] = cls._field_defaults  # type: ignore[attr-defined]
    return [key for key, field in parameters(cls).items() if field not in defaults]


def _rule(kind: str, cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    defaults: dict[str, Any] = cls._field_defaults  # type: ignore[attr-defined]
    about = in_ms(cls.__doc__ or "")
    words = _below_fields(cls)
    first = re.split(r"(?<=\.) ", about)[0]
    keys: dict[str, Any] = {"kind": {"const": kind, "description": first}}
    for key, field in parameters(cls).items():
        keys[key] = {
            **_value(hints[field], in_ms=key.endswith("_ms")),
            "description": _meaning(key, words.get(field, ""), about),
        }
        if field in defaults:
            keys[key].update(_default(key, defaults[field]))
    return {
        "type": "object",
        "description": about,
        "properties": keys,
        "required": ["kind", *_required(cls)],
        "additionalProperties": False,
    }


def in_ms(doc: str) -> str:
    """A docstring in a scenario's words: one paragraph, ``x_ns`` as ``x_ms``, no backquotes."""
    text = " ".join(doc.split())
    return re.sub(r"(\w)_ns\b", r"\1_ms", text).replace("``", "")


def _value(hint: Any, *, in_ms: bool) -> dict[str, Any]:
    if hint is bool:
        return {"type": "boolean"}
    if in_ms:
        one: dict[str, Any] = {"type": "number", "minimum": 0}
    else:
        one = {"type": "number" if hint in (float, FloatArray) else "integer"}
    if hint in (IntArray, FloatArray):
        return {"anyOf": [one, {"type": "array", "items": one}]}
    return one


def _default(key: str, value: Any) -> dict[str, Any]:
    """A default as a scenario would write it; none where JSON has no number for it."""
    if isinstance(value, np.ndarray):
        return {"default": value.tolist()} if value.size else {}
    if key.endswith("_ms"):
        shown = value / NS_IN_MS
        return {"default": int(shown) if shown == int(shown) else shown}
    return {"default": value}


def _below_fields(cls: type) -> dict[str, str]:
    """Docstrings below the fields of a rule, in a scenario's words."""
    node = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(node, ast.ClassDef)
    found = {field: in_ms(text) for (_, field), text in below_attributes(node).items()}
    return {field: re.sub(SHAPE, "A number or a list: ", text) for field, text in found.items()}


def _meaning(key: str, below: str, about: str) -> str:
    """What a parameter does, in every rule or as this one says, and its unit."""
    told = WORDS_OF_PARAMETERS.get(key, "")
    if below and key not in TOLD_ABOVE:
        told = f"{told} {below}" if told and below.startswith("A number or") else below
    told = told or _first_that_names(key.removesuffix("_ms"), about)
    unit = "Milliseconds; inf is forever." if key.endswith("_ms") else ""
    return " ".join(filter(None, (told, unit)))


def _first_that_names(key: str, about: str) -> str:
    """The first sentence, or part of one, that names a parameter."""
    parts = re.split(r"(?<=[.:;])\s+(?:- )?", about)
    told = next((part for part in parts if re.search(rf"\b{key}", part)), "")
    return told[:1].upper() + told[1:].rstrip(".:;") + "." if told else ""
