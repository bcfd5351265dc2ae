"""``config.pbtxt`` of Triton read back as a window of size and wait."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from policies.contract import NEVER

from .contract import ForeignFileError, Imported
from .pbtxt import Message, inner, known_fields, only, parse, whole
from .plan import Window, buckets, plan_table, window, window_table
from .rounding import in_ms
from .triton_left_out import QUEUE, left_out
from .triton_sequences import read_sequences

__all__ = ["BATCHING", "MODEL", "QUEUE", "read", "recognises"]

ROUTER_RULE = "router.json"

MODEL = frozenset(
    [
        "name",
        "platform",
        "backend",
        "runtime",
        "version_policy",
        "max_batch_size",
        "input",
        "output",
        "batch_input",
        "batch_output",
        "optimization",
        "dynamic_batching",
        "sequence_batching",
        "ensemble_scheduling",
        "instance_group",
        "default_model_filename",
        "cc_model_filenames",
        "metric_tags",
        "parameters",
        "model_warmup",
        "model_operations",
        "model_transaction_policy",
        "model_repository_agents",
        "response_cache",
        "model_metrics",
    ]
)
"""Fields of ``ModelConfig``, in ``protobuf/model_config.proto`` of triton-inference-server/common.
"""

BATCHING = frozenset(
    [
        "preferred_batch_size",
        "max_queue_delay_microseconds",
        "preserve_ordering",
        "priority_levels",
        "default_priority_level",
        "default_queue_policy",
        "priority_queue_policy",
    ]
)
"""Fields of ``ModelDynamicBatching``."""


class Model(NamedTuple):
    """What one ``config.pbtxt`` says."""

    name: str
    window: Window
    servers: int | None
    notes: tuple[str, ...]
    levels: int = 0
    """Priority levels, where there are at least two; else 0."""


def recognises(text: str) -> bool:
    """Whether a text looks like a ``ModelConfig``."""
    try:
        found = parse("", text)
    except ForeignFileError:
        return False
    sizes = found.get("max_batch_size", [])
    plain = not any(isinstance(size, dict) for size in sizes)
    return bool(found) and plain and found.keys() <= MODEL


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``config.pbtxt``, or of several with the rule of their router.

    Raises:
        ForeignFileError: a file is not Triton's, or asks for what is not simulated.
    """
    configs = {name: text for name, text in files.items() if name.endswith(".pbtxt")}
    if not configs:
        raise ForeignFileError(f"{', '.join(files) or 'nothing'}: no config.pbtxt of Triton")
    if len(configs) == 1:
        ((name, text),) = configs.items()
        if "sequence_batching" in (found := parse(name, text)):
            known_fields(name, found, MODEL)
            return read_sequences(name, found, _servers(name, found))
    models = [read_model(name, text) for name, text in configs.items()]
    if len(models) == 1:
        (model,) = models
        return Imported(_table(model), model.servers, model.notes, model.levels or None)
    rules = [text for name, text in files.items() if PurePosixPath(name).name == ROUTER_RULE]
    if len(rules) != 1:
        raise ForeignFileError(
            f"{', '.join(configs)}: several models without a {ROUTER_RULE}; give one of them"
        )
    return _routed(rules[0], {model.name: model for model in models})


def _routed(rule: str, models: Mapping[str, Model]) -> Imported:
    """Models for ranges of length as ``length_bucketed``."""
    try:
        found = json.loads(rule)["models"]
        routes = [(route["up_to"], str(route["model"])) for route in found]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ForeignFileError(
            f"{ROUTER_RULE}: must hold models, each with up_to and model"
        ) from error
    boundaries = [high for high, _ in routes[:-1]]
    rising = all(isinstance(high, int) for high in boundaries)
    rising = rising and boundaries == sorted(set(boundaries))
    if not rising or routes[-1][0] is not None:
        raise ForeignFileError(f"{ROUTER_RULE}: up_to must increase, and end with null")
    for _, name in routes:
        if name not in models:
            raise ForeignFileError(f"{ROUTER_RULE}: there is no config.pbtxt of model {name}")
    chosen = [models[name] for _, name in routes]
    notes = dict.fromkeys(note for model in chosen for note in model.notes)
    if any(model.levels for model in chosen):
        table = {**_same_levels(chosen), "boundaries": boundaries}
        turns = f"{TURNS} with the most urgent request"
        return Imported(table, chosen[0].servers, (*notes, turns), chosen[0].levels)
    for model in chosen:
        if model.window.preferred or _partly(model.window):
            raise ForeignFileError(
                f"model {model.name}: preferred sizes beside ranges of length are not simulated"
            )
    turns = f"{TURNS} whose oldest request arrived first"
    plan = buckets(boundaries, [model.window for model in chosen])
    return Imported(plan_table(plan), chosen[0].servers, (*notes, turns))


TURNS = "the models take turns by how often each has run; the simulated policy serves the one"


def _table(model: Model) -> dict[str, Any]:
    """A model's policy: with levels ``priority_fill``, whose tiers are the levels."""
    if not model.levels:
        return window_table(model.window)
    wait = in_ms(model.window.max_wait_ns)
    return {
        "kind": "priority_fill",
        "max_batch_size": model.window.max_batch_size,
        "max_wait_ms": wait,
    }


def _same_levels(models: list[Model]) -> dict[str, Any]:
    """The table of models with levels for ranges of length, which has one size and one wait."""
    first, *rest = models
    for model in rest:
        if model.levels != first.levels or _table(model) != _table(first):
            raise ForeignFileError(
                f"model {model.name}: other priority_levels, sizes or delays than those of "
                f"{first.name} are not simulated beside ranges of length"
            )
    return _table(first)


def _partly(found: Window) -> bool:
    """Whether fewer than a full batch go before the timer has run out."""
    return found.waits and found.min_batch_size < found.max_batch_size


def read_model(name: str, text: str) -> Model:
    """One ``config.pbtxt``.

    Raises:
        ForeignFileError: it is not Triton's, or asks for what is not simulated.
    """
    model = parse(name, text)
    known_fields(name, model, MODEL)
    for field in ("sequence_batching", "ensemble_scheduling"):
        if field in model:
            raise ForeignFileError(
                f"{name}: {field} is not simulated; give a model with dynamic_batching"
            )
    largest = whole(name, model, "max_batch_size")
    batching = inner(name, model, "dynamic_batching")
    title = str(only(name, model, "name", name))
    servers = _servers(name, model)
    levels = 0 if batching is None else whole(name, batching, "priority_levels")
    if batching is None or (largest <= 1 and levels < 2):
        return Model(title, window(1), servers, tuple(_alone(largest)))
    known_fields(name, batching, BATCHING, "dynamic_batching.")
    wait_ns = 1000 * whole(name, batching, "max_queue_delay_microseconds")
    sizes = _sizes(name, batching, largest)
    notes = [*left_out(name, batching)]
    if levels > 1:
        _check_default_level(name, batching, levels)
        if sizes:
            notes.append("preferred_batch_size is left out: with levels it is not simulated")
        sizes = []
    if wait_ns >= NEVER:
        raise ForeignFileError(
            f"{name}: max_queue_delay_microseconds = {wait_ns // 1000} is longer than 292 years"
        )
    found = window(largest, wait_ns, preferred=sizes)
    return Model(title, found, servers, tuple(notes), levels if levels > 1 else 0)


def _check_default_level(name: str, batching: Message, levels: int) -> None:
    """Refuse what Triton refuses when it loads a model."""
    default = whole(name, batching, "default_priority_level")
    if not 1 <= default <= levels:
        raise ForeignFileError(
            f"{name}: default_priority_level = {default} must be from 1 to priority_levels = "
            f"{levels}"
        )


def _alone(largest: int) -> Iterator[str]:
    """Why every request is served alone."""
    if largest > 1:
        yield (
            "without dynamic_batching every request is served alone (unless the backend adds it "
            "when it completes the configuration)"
        )
    elif largest == 0:
        yield "max_batch_size 0: the model takes no batches, and every request is served alone"


def _sizes(name: str, batching: Message, largest: int) -> list[int]:
    """``preferred_batch_size``, checked as Triton does when it loads a model."""
    sizes = batching.get("preferred_batch_size", [])
    for size in sizes:
        if not isinstance(size, int) or not 1 <= size <= largest:
            raise ForeignFileError(
                f"{name}: preferred_batch_size = {size} must be a whole number from 1 to "
                f"max_batch_size = {largest}"
            )
    return sizes


def _servers(name: str, model: Message) -> int | None:
    """Instances of all groups; None where the file leaves it to the server."""
    groups = model.get("instance_group", [])
    if not groups:
        return None
    total = 0
    for group in groups:
        if not isinstance(group, dict):
            raise ForeignFileError(f"{name}: instance_group = {group!r} must be a message in {{ }}")
        count = whole(name, group, "count", 1)
        total += count * max(1, len(group.get("gpus", [])))
    return total
