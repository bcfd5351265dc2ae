"""What a ``config.pbtxt`` of Triton says beside sizes and the delay: notes for whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .contract import ForeignFileError
from .pbtxt import Message, known_fields, only, whole

QUEUE = frozenset(
    ["timeout_action", "default_timeout_microseconds", "allow_timeout_override", "max_queue_size"]
)
"""Fields of ``ModelQueuePolicy``."""


def left_out(name: str, batching: Message) -> Iterator[str]:
    """What the file says beside sizes and the delay."""
    levels = whole(name, batching, "priority_levels")
    sizes = "preferred_batch_size" in batching
    if not levels and not _not_ahead(batching):
        delay_us = whole(name, batching, "max_queue_delay_microseconds")
        what = "keep to the preferred sizes" if sizes else "grow" if delay_us else ""
        if what:
            yield (
                f"Triton forms batches ahead while every instance is busy, which do not {what}; "
                "those of the simulated policy do (as Triton's with allow_timeout_override: true "
                "in default_queue_policy)"
            )
    if levels > 1:
        yield (
            f"priority_levels 1 to {levels} are read as the tiers of the scenario in their order, "
            "the most urgent first"
        )
    for where, policy in _policies(name, batching):
        known_fields(name, policy, QUEUE, "default_queue_policy.")
        yield from _of_policy(name, batching, policy, where)


def _policies(name: str, batching: Message) -> Iterator[tuple[str, Message]]:
    """Queue policies, each with the level that it is of, as it goes on after a value."""
    for policy in batching.get("default_queue_policy", []):
        yield "", _message(name, policy, "default_queue_policy")
    for entry in batching.get("priority_queue_policy", []):
        level = only(name, _message(name, entry, "priority_queue_policy"), "key", 0)
        for policy in entry.get("value", []):
            yield f" of level {level}", _message(name, policy, "priority_queue_policy")


def _message(name: str, value: Any, field: str) -> Message:
    if not isinstance(value, dict):
        raise ForeignFileError(f"{name}: {field} must be a message in {{ }}")
    return value


def _of_policy(name: str, batching: Message, policy: Message, where: str) -> Iterator[str]:
    """What one queue policy says, and where it would go in a scenario."""
    place = "to the tier" if where else "in the scenario"
    limit = whole(name, policy, "max_queue_size")
    if limit:
        key = f"capacity = {{ requests = {limit} }}" if where else "service.capacity"
        yield (
            f"max_queue_size = {limit}{where} is left out: give {key} {place}; "
            "beware that a full queue makes Triton stop serving for up to 500 ms at a time"
        )
    timeout_us = whole(name, policy, "default_timeout_microseconds")
    delay_us = whole(name, batching, "max_queue_delay_microseconds")
    if timeout_us:
        key = "timeout" if where else "service.timeout"
        yield (
            f"default_timeout_microseconds = {timeout_us}{where} is left out: give "
            f"{key} = {{ ms = {timeout_us / 1000:g} }} {place}"
        )
    if 0 < timeout_us <= delay_us:
        yield (
            f"default_timeout_microseconds = {timeout_us}{where} is not above "
            f"max_queue_delay_microseconds = {delay_us}, so that an idle Triton rejects every "
            "request that waits for others"
        )


def _not_ahead(batching: Message) -> bool:
    """Whether the queue policy turns forming ahead off."""
    fields = ("default_timeout_microseconds", "max_queue_size", "allow_timeout_override")
    return any(
        policy.get(field, [0])[-1] not in (0, "false", "False", "f")
        for policy in batching.get("default_queue_policy", [])
        if isinstance(policy, dict)
        for field in fields
    )
