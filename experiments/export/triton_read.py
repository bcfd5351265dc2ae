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

QUEUE = frozenset(
    ["timeout_action", "default_timeout_microseconds", "allow_timeout_override", "max_queue_size"]
)
"""Fields of ``ModelQueuePolicy``."""


class Model(NamedTuple):
    """What one ``config.pbtxt`` says."""

    name: str
    window: Window
    servers: int | None
    notes: tuple[str, ...]


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
    models = [read_model(name, text) for name, text in configs.items()]
    if len(models) == 1:
        (model,) = models
        return Imported(window_table(model.window), model.servers, model.notes)
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
    except (ValueError, KeyError, TypeError) as error:
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
    for model in chosen:
        if model.window.preferred or _partly(model.window):
            raise ForeignFileError(
                f"model {model.name}: preferred sizes beside ranges of length are not simulated"
            )
    notes = dict.fromkeys(note for model in chosen for note in model.notes)
    turns = (
        "the models take turns by how often each has run; the simulated policy serves the one "
        "whose oldest request arrived first"
    )
    plan = buckets(boundaries, [model.window for model in chosen])
    return Imported(plan_table(plan), chosen[0].servers, (*notes, turns))


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
    if largest <= 1 or batching is None:
        return Model(title, window(1), servers, tuple(_alone(largest)))
    known_fields(name, batching, BATCHING, "dynamic_batching.")
    wait_ns = 1000 * whole(name, batching, "max_queue_delay_microseconds")
    sizes = _sizes(name, batching, largest)
    if wait_ns >= NEVER:
        raise ForeignFileError(
            f"{name}: max_queue_delay_microseconds = {wait_ns // 1000} is longer than 292 years"
        )
    found = window(largest, wait_ns, preferred=sizes)
    return Model(title, found, servers, tuple(_left_out(name, batching)))


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


def _left_out(name: str, batching: Message) -> Iterator[str]:
    """What the file says beside sizes and the delay."""
    levels = whole(name, batching, "priority_levels")
    if "preferred_batch_size" in batching and not levels and not _keeps_sizes(batching):
        yield (
            "Triton forms batches ahead while every instance is busy, which do not keep to the "
            "preferred sizes; the simulated policy does (as Triton with allow_timeout_override: "
            "true in default_queue_policy)"
        )
    if levels > 1:
        yield f"the {levels} priority_levels are left out: the policy serves in order of arrival"
    policies: list[Any] = list(batching.get("default_queue_policy", []))
    policies += [
        value
        for entry in batching.get("priority_queue_policy", [])
        if isinstance(entry, dict)
        for value in entry.get("value", [])
    ]
    for policy in policies:
        if not isinstance(policy, dict):
            raise ForeignFileError(f"{name}: default_queue_policy must be a message in {{ }}")
        known_fields(name, policy, QUEUE, "default_queue_policy.")
        limit = whole(name, policy, "max_queue_size")
        if limit:
            yield (
                f"max_queue_size = {limit} is left out: give service.capacity in the scenario; "
                "beware that a full queue makes Triton stop serving for up to 500 ms at a time"
            )
        timeout_us = whole(name, policy, "default_timeout_microseconds")
        delay_us = whole(name, batching, "max_queue_delay_microseconds")
        if timeout_us:
            yield (
                f"default_timeout_microseconds = {timeout_us} is left out: give "
                f"service.timeout = {{ ms = {timeout_us / 1000:g} }} in the scenario"
            )
        if 0 < timeout_us <= delay_us:
            yield (
                f"default_timeout_microseconds = {timeout_us} is not above "
                f"max_queue_delay_microseconds = {delay_us}, so that an idle Triton rejects every "
                "request that waits for others"
            )


def _keeps_sizes(batching: Message) -> bool:
    """Whether the queue policy turns forming ahead off."""
    fields = ("default_timeout_microseconds", "max_queue_size", "allow_timeout_override")
    return any(
        policy.get(field, [0])[-1] not in (0, "false", "False", "f")
        for policy in batching.get("default_queue_policy", [])
        if isinstance(policy, dict)
        for field in fields
    )
