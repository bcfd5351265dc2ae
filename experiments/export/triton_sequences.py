"""Triton's sequence batcher in ``config.pbtxt``: written for rules that keep sequences on slots.

``sequence_direct`` and ``sequence_oldest`` are its two strategies with its own numbers, so that the
file means them exactly.  Rules:

1. A model needs to be told where a sequence begins and, under ``direct``, which places of a batch
   are empty: ``control_input`` names the inputs for that.  They are no ``input`` of the model's.
2. No preferred size stands for the largest batch alone, as Triton fills it in itself.
3. What belongs to a dynamic batcher alone (priorities, time-outs) is not there: Triton has none.

Fields: ``ModelSequenceBatching`` in ``protobuf/model_config.proto`` of
triton-inference-server/common.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from policies import SequenceDirect, SequenceOldest
from policies.contract import NEVER
from policies.sequence_direct import IDLE_NS

from .comment import comment_of, commented
from .contract import Exported, ForeignFileError, Imported
from .pbtxt import Message, inner, known_fields, only, whole
from .rounding import Rounded, in_ms, in_whole
from .setting import Setting
from .triton_instances import instance_groups, instance_notes

CONFIG = "config.pbtxt"

SEQUENCES = frozenset(
    [
        "max_sequence_idle_microseconds",
        "control_input",
        "state",
        "direct",
        "oldest",
        "iterative_sequence",
    ]
)
"""Fields of ``ModelSequenceBatching``."""

DIRECT = frozenset(["max_queue_delay_microseconds", "minimum_slot_utilization"])
"""Fields of ``StrategyDirect``."""

OLDEST = frozenset(
    [
        "max_candidate_sequences",
        "preferred_batch_size",
        "max_queue_delay_microseconds",
        "preserve_ordering",
    ]
)
"""Fields of ``StrategyOldest``."""

CONTROLS = (
    ("START", "CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]"),
    ("READY", "CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ]"),
    ("END", "CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ]"),
    ("CORRID", "CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64"),
)
"""Inputs that tell the model of sequences, as in Triton's documentation."""


def keeps_sequences(setting: Setting) -> bool:
    """Whether the policy is one of the two strategies."""
    return isinstance(setting.policy, SequenceDirect | SequenceOldest)


def export_sequences(setting: Setting) -> Exported:
    """``config.pbtxt`` with ``sequence_batching``."""
    notes = tuple(_notes(setting))
    comment = commented(comment_of(setting, (), notes))
    return Exported({CONFIG: f"{comment}\n{config(setting)}"}, notes)


def config(setting: Setting) -> str:
    """The text of the file."""
    policy: Any = setting.policy
    controls = [f'{{ name: "{name}" control [ {{ kind: {what} }} ] }}' for name, what in CONTROLS]
    groups = instance_groups(setting, shares=False)
    lines = [
        f'name: "{setting.model}"',
        f"max_batch_size: {policy.max_batch_size}",
        "sequence_batching {",
        f"  max_sequence_idle_microseconds: {_idle(policy).value}",
        *(f"  {line}" for line in _strategy(policy)),
        "  control_input [",
        *(f"    {each}," for each in controls[:-1]),
        f"    {controls[-1]}",
        "  ]",
        "}",
        "instance_group [",
        *(f"  {each}," for each in groups[:-1]),
        f"  {groups[-1]}",
        "]",
    ]
    return "\n".join(lines) + "\n"


def _idle(policy: Any) -> Rounded:
    return in_whole(policy.max_idle_ns, "us", "max_idle")


def _delay(policy: Any) -> Rounded:
    return in_whole(policy.max_wait_ns, "us", "max_wait")


def _strategy(policy: Any) -> list[str]:
    """``direct`` or ``oldest`` with its numbers."""
    delay = f"  max_queue_delay_microseconds: {_delay(policy).value}"
    if isinstance(policy, SequenceDirect):
        share = f"  minimum_slot_utilization: {policy.min_slot_utilization!r}"
        return ["direct {", delay, share, "}"]
    sizes = policy.preferred_batch_size.tolist()
    preferred = f"  preferred_batch_size: [ {', '.join(map(str, sizes))} ]"
    return [
        "oldest {",
        f"  max_candidate_sequences: {policy.max_candidates}",
        *([] if sizes == [policy.max_batch_size] else [preferred]),
        delay,
        "}",
    ]


def _notes(setting: Setting) -> Iterable[str]:
    """Roundings, traps, and what is left to do."""
    policy: Any = setting.policy
    yield (
        f"merge this into the config.pbtxt of {setting.model}, which keeps its own backend, input "
        "and output; its control inputs are START, READY, END and CORRID: leave out those that it "
        "does not have, and add state where Triton shall keep it"
    )
    for rounded in (_idle(policy), _delay(policy)):
        if rounded.note:
            yield rounded.note
    yield (
        "clients send sequence_id, sequence_start and sequence_end with each request; one without "
        "a known sequence is refused"
    )
    if isinstance(policy, SequenceDirect):
        yield "a place of a batch that nobody has costs as much as a request, and READY is 0 there"
    else:
        yield (
            "the slot of a sequence is free when its last request waits for a batch, so that "
            "sequences of one request each wait for one another: send those to another model"
        )
    if setting.longest > 1:
        yield "requests of one batch need one shape: pad them, or allow_ragged_batch"
    yield from instance_notes(setting, several_models=False)


def read_sequences(name: str, model: Message, servers: int | None) -> Imported:
    """The rule of a model with ``sequence_batching``.

    Args:
        name: of the file.
        model: its fields.
        servers: instances, where the file says how many.

    Raises:
        ForeignFileError: it asks for what is not simulated.
    """
    found = inner(name, model, "sequence_batching") or {}
    known_fields(name, found, SEQUENCES, "sequence_batching.")
    if str(only(name, found, "iterative_sequence", "false")) not in ("false", "0"):
        raise ForeignFileError(f"{name}: iterative_sequence is not simulated")
    largest = max(1, whole(name, model, "max_batch_size"))
    idle_ms = _ms(name, found, "max_sequence_idle_microseconds") or in_ms(IDLE_NS)
    oldest = inner(name, found, "oldest")
    table: dict[str, Any]
    if oldest is not None:
        known_fields(name, oldest, OLDEST, "sequence_batching.oldest.")
        table = _oldest(name, oldest, largest)
    else:
        direct = inner(name, found, "direct") or {}
        known_fields(name, direct, DIRECT, "sequence_batching.direct.")
        table = _direct(name, direct, largest)
    notes = ["its requests belong to sequences: the scenario needs [workload.sequences]"]
    if "state" in found:
        notes.append("state is left out: what it costs is part of the service times")
    table["max_idle_ms"] = idle_ms
    return Imported(table, servers, tuple(notes))


def _ms(name: str, message: Message, field: str) -> int | Decimal:
    """A time in microseconds as a scenario has it."""
    found_us = whole(name, message, field)
    if found_us >= NEVER // 1000:
        raise ForeignFileError(f"{name}: {field} = {found_us} is longer than 292 years")
    return in_ms(1000 * found_us)


def _direct(name: str, direct: Message, largest: int) -> dict[str, Any]:
    share = only(name, direct, "minimum_slot_utilization", 0.0)
    if not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        raise ForeignFileError(
            f"{name}: minimum_slot_utilization = {share!r} must be a number from 0 to 1"
        )
    return {
        "kind": "sequence_direct",
        "max_batch_size": largest,
        "max_wait_ms": _ms(name, direct, "max_queue_delay_microseconds"),
        "min_slot_utilization": Decimal(repr(share)),
    }


def _oldest(name: str, oldest: Message, largest: int) -> dict[str, Any]:
    sizes = oldest.get("preferred_batch_size", [])
    for size in sizes:
        if not isinstance(size, int) or not 1 <= size <= largest:
            raise ForeignFileError(
                f"{name}: preferred_batch_size = {size} must be a whole number from 1 to "
                f"max_batch_size = {largest}"
            )
    return {
        "kind": "sequence_oldest",
        "max_batch_size": largest,
        "max_wait_ms": _ms(name, oldest, "max_queue_delay_microseconds"),
        "max_candidates": whole(name, oldest, "max_candidate_sequences"),
        **({"preferred_batch_size": sizes} if sizes else {}),
    }
