"""TorchServe: ``model-config.yaml`` of a model archive, and ``models=`` of ``config.properties``.

A worker takes the first request and then waits for more, in whole milliseconds
(``timer_from_pick`` with ``clock_ms = 1``; ``from_idle`` but for the clock); all workers of a model
take from one queue, one of them at a time, so that several are the servers of one queue.
Facts, from ``pytorch/serve`` of 2025-03-17: ``Model.pollBatch`` (when a batch starts),
``ModelManager.createModel`` (defaults: the archive's file before ``models=`` before 1 and 100 ms),
``ModelConfig.build`` (keys and types; a wrong one is only logged).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .comment import comment_of, commented
from .concession import Concession
from .contract import Exported, ForeignFileError, Imported
from .lengths_routed import Route, file_of_each, route_notes
from .plan import Clock, Plan, window, window_table
from .rounding import NS_PER_UNIT, in_whole
from .setting import Setting
from .terms import Terms, agreed, rounded
from .yaml_text import yaml_table

NAME = "model-config.yaml"
PROPERTIES = "config.properties"

DEFAULT_BATCH_SIZE = 1
DEFAULT_DELAY_MS = 100
DEFAULT_QUEUE_SIZE = 100
MOST = 2**31 - 1
"""Numbers above are ignored: the keys are read as 32-bit integers."""
UNBOUNDED_QUEUE = 10**6
"""Stands for no limit: the queue is a linked list, which costs nothing while it is short."""

CLOCK = Clock(tick_ns=10**6)

TERMS = Terms(
    stack="torchserve",
    title="TorchServe",
    timer="pick",
    clock=CLOCK,
    timer_starts="when a worker takes the first request, as with from_idle",
    other_timer="waits from the instant that a worker is free, so that a backlog waits again",
    no_zero="a maxBatchDelay of 0 becomes 100 ms",
    shortest_wait_ns=10**6,
    most_wait_ns=MOST * 10**6,
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write a ``model-config.yaml`` for each model.

    Raises:
        NotExpressible: TorchServe cannot do what the policy does.
    """
    plan = agreed(setting, TERMS, *_limits(setting), nearest=nearest)
    notes = _notes(setting, plan)
    comment = commented(comment_of(setting, plan.notes, notes))

    def text(route: Route) -> str:
        return f"{comment}\n{_settings(setting, route)}"

    files = file_of_each(setting, plan, NAME, text)
    return Exported(files, tuple(notes), plan.exact, plan.notes)


def _settings(setting: Setting, route: Route) -> str:
    found = route.window
    delay = in_whole(found.max_wait_ns, "ms", "max_wait").value if found.waits else 1
    lines = [
        f"minWorkers: {setting.servers}",
        f"maxWorkers: {setting.servers}",
        f"batchSize: {found.max_batch_size}",
        f"maxBatchDelay: {delay}",
        f"jobQueueSize: {_queue_size(setting)}",
    ]
    if setting.timeout_ns is not None:
        timeout = min(in_whole(setting.timeout_ns, "ms", "the time-out").value, MOST)
        lines.append(f"clientTimeoutInMills: {timeout}")
    return "".join(f"{line}\n" for line in lines)


def _queue_size(setting: Setting) -> int:
    """TorchServe takes 0 for its default, and what is no 32-bit number not at all."""
    if setting.capacity is None:
        return UNBOUNDED_QUEUE
    return min(max(1, setting.capacity), MOST)


def _limits(setting: Setting) -> list[Concession]:
    """What TorchServe's queue holds back or drops otherwise than in the run."""
    found = []
    if setting.capacity is not None:
        found.append(
            Concession(
                "jobQueueSize of TorchServe counts neither the batch that a worker is collecting "
                f"nor those in service, and the run rejects what finds {setting.capacity} requests "
                f"{'there' if setting.capacity_counts_in_system else 'waiting'}",
                f"it rejects what finds {_queue_size(setting)} requests that no worker has taken",
            )
        )
    if setting.timeout_ns is not None:
        found.append(
            Concession(
                "TorchServe drops a request that has waited too long only when a worker takes it, "
                "whose place in the batch stays empty",
                "it forms smaller batches where requests have waited too long",
            )
        )
    return found


def _notes(setting: Setting, plan: Plan) -> list[str]:
    """Traps, roundings, and what is left to do."""
    notes = [f"torch-model-archiver packs it with --config-file {NAME}"]
    if setting.capacity is None:
        notes.append(
            f"jobQueueSize is {UNBOUNDED_QUEUE}, for no limit; without it TorchServe rejects what "
            f"finds {DEFAULT_QUEUE_SIZE} requests waiting"
        )
    if setting.timeout_ns is not None:
        note = in_whole(setting.timeout_ns, "ms", "the time-out").note
        notes += [note] if note else []
    return [*notes, *route_notes(setting, plan), *rounded(plan, "ms")]


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``model-config.yaml``, a ``config.properties``, or both.

    Raises:
        ForeignFileError: a file is of another kind, or has more than one model.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    for name, text in sorted(files.items()):
        if name.endswith((".yaml", ".yml")):
            archive, ignored = _usable(yaml_table(name, text))
            found.update(archive)
            notes += ignored
        else:
            found = {**_of_models(name, text), **found}
    size = found.get("batchSize", DEFAULT_BATCH_SIZE)
    delay = found.get("maxBatchDelay", DEFAULT_DELAY_MS)
    if "maxBatchDelay" not in found and size > 1:
        notes.append(
            f"maxBatchDelay is absent or 0, which TorchServe takes as {DEFAULT_DELAY_MS} ms"
        )
    if "batchSize" not in found:
        notes.append("batchSize is absent, which TorchServe takes as 1: no batching")
    queue = found.get("jobQueueSize", DEFAULT_QUEUE_SIZE)
    if queue < UNBOUNDED_QUEUE:
        notes.append(f"TorchServe rejects what finds {queue} requests waiting: service.capacity")
    table = window_table(window(size, delay * NS_PER_UNIT["ms"], timer="pick", clock=CLOCK))
    return Imported(table, _workers(found), tuple(notes))


WHOLE_NUMBERS = ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "jobQueueSize")


def _usable(table: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """What TorchServe takes of a file: whole numbers above 0; and what it ignores."""
    found: dict[str, int] = {}
    notes = []
    for key in (key for key in WHOLE_NUMBERS if key in table):
        value = table[key]
        if type(value) is not int:
            notes.append(f"{key} = {value!r} is no whole number, so that TorchServe ignores it")
        elif key in {"minWorkers", "batchSize"}:
            found[key] = max(1, value)
        elif value > 0:
            found[key] = value
    return found, notes


def _of_models(name: str, text: str) -> dict[str, int]:
    """What the one model of ``models={...}`` gives, and the queue's limit for all models."""
    lines = [line.partition("=") for line in text.replace("\\\n", "").splitlines()]
    properties = {key.strip(): value.strip() for key, _, value in lines}
    if "models" not in properties:
        raise ForeignFileError(
            f"{name}: models is missing; it gives batchSize and maxBatchDelay of a model as JSON"
        )
    try:
        models = json.loads(properties["models"])
    except (ValueError, RecursionError) as error:
        raise ForeignFileError(f"{name}: models is not JSON: {error}") from error
    versions = [
        table
        for model in (models.values() if isinstance(models, dict) else ())
        for table in (model.values() if isinstance(model, dict) else ())
        if isinstance(table, dict)
    ]
    if len(versions) != 1:
        raise ForeignFileError(
            f"{name}: models holds {len(versions)} versions of models; one can be read"
        )
    found = {key: each for key, each in _usable(versions[0])[0].items() if key != "jobQueueSize"}
    if properties.get("job_queue_size", "").isdigit():
        found["jobQueueSize"] = int(properties["job_queue_size"])
    return found


def _workers(found: Mapping[str, int]) -> int | None:
    return found.get("minWorkers")
