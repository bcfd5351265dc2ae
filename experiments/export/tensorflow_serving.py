"""TensorFlow Serving: the text of ``--batching_parameters_file``.

A batch is open to arrivals until it is full or a thread takes it; its wait runs from the arrival of
its first request, also while every thread is busy.  Facts: ``shared_batch_scheduler.h`` of
``tensorflow/tensorflow`` (when a batch starts, what a full queue is, defaults),
``session_bundle_config.proto`` of ``tensorflow/serving`` of 2026-07-30 (the fields), and its flag
``--enable_per_model_batching_parameters`` (threads are shared by all models).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .comment import comment_of, commented
from .concession import Concession
from .contract import Exported, ForeignFileError, Imported
from .lengths_routed import Route, route_notes, routes
from .pbtxt import Message, inner, known_fields, parse, whole
from .plan import Plan, window, window_table
from .rounding import NS_PER_UNIT, in_whole
from .setting import Setting
from .terms import Terms, agreed, no_timeout, rounded

NAME = "batching_parameters.pbtxt"
NAME_OF_MODEL = "batching_params.pbtxt"

DEFAULT_SIZE = 1000
DEFAULT_QUEUED_BATCHES = 10
UNBOUNDED_BATCHES = 10**6
"""Stands for no limit: the queue is a deque, which costs nothing while it is short."""

FIELDS = frozenset(
    {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
        "thread_pool_name",
        "allowed_batch_sizes",
        "pad_variable_length_inputs",
        "enable_large_batch_splitting",
        "max_execution_batch_size",
    }
)

OWN_FIELD = re.compile(
    r"^\s*(batch_timeout_micros|num_batch_threads|max_enqueued_batches|max_batch_size\s*:?\s*\{)",
    re.MULTILINE,
)

TERMS = Terms(
    stack="tensorflow-serving",
    title="TensorFlow Serving",
    timer="oldest",
    timer_starts="when the oldest request arrives, also while every thread is busy",
    other_timer="waits from the arrival of the oldest request, so that a backlog goes at once",
    many_models="the models take the threads in turn, not by their oldest request",
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write the batching parameters; with several models, a file for each beside its graph.

    Raises:
        NotExpressible: TensorFlow Serving cannot do what the policy does.
    """
    plan = agreed(setting, TERMS, *_limits(setting), nearest=nearest)
    notes = (*_how_to_start(plan), *_queue_notes(setting, plan), *_other_notes(setting, plan))
    comment = commented(comment_of(setting, plan.notes, notes))
    threads = f"num_batch_threads {{ value: {setting.servers} }}\n"
    if plan.only is not None:
        (route,) = routes(setting, plan)
        text = f"{comment}\n{_of_queue(setting, route)}{threads}"
        return Exported({NAME: text}, notes, plan.exact, plan.notes)
    files = {
        f"{route.folder}{NAME_OF_MODEL}": f"{comment}\n{_of_queue(setting, route)}"
        for route in routes(setting, plan)
    }
    every = {NAME: f"{comment}\n{threads}", **files}
    return Exported(every, notes, plan.exact, plan.notes)


def _of_queue(setting: Setting, route: Route) -> str:
    found = route.window
    micros = in_whole(found.max_wait_ns, "us", "max_wait").value
    batches = _queued_batches(setting, found.max_batch_size)
    return (
        f"max_batch_size {{ value: {found.max_batch_size} }}\n"
        f"batch_timeout_micros {{ value: {micros} }}\n"
        f"max_enqueued_batches {{ value: {batches} }}\n"
    )


def _how_to_start(plan: Plan) -> list[str]:
    flags = f"--enable_batching --batching_parameters_file={NAME}"
    if plan.only is not None:
        return [f"start tensorflow_model_server with {flags}"]
    return [
        (
            f"start tensorflow_model_server with {flags} --enable_per_model_batching_parameters, "
            f"and put each {NAME_OF_MODEL} beside the model's saved_model.pb"
        )
    ]


def _queued_batches(setting: Setting, size: int) -> int:
    if setting.capacity is None:
        return UNBOUNDED_BATCHES
    return max(1, -(-setting.capacity // size))


def _limits(setting: Setting) -> list[Concession]:
    """What TensorFlow Serving's queue holds back otherwise than in the run."""
    found = no_timeout(setting, TERMS.title)
    if setting.capacity is not None and setting.capacity_counts_in_system:
        found.append(
            Concession(
                "max_enqueued_batches of TensorFlow Serving does not count the requests in service",
                f"it lets {setting.capacity} requests wait beside those in service",
            )
        )
    return found


def _queue_notes(setting: Setting, plan: Plan) -> list[str]:
    if setting.capacity is None:
        return [
            (
                f"max_enqueued_batches is {UNBOUNDED_BATCHES}, for no limit; without it TensorFlow "
                f"Serving rejects what finds {DEFAULT_QUEUED_BATCHES} batches waiting"
            )
        ]
    if plan.only is None:
        return [
            (
                f"each model has a queue of its own: the limit of {setting.capacity} requests "
                "holds for each, not for all together"
            )
        ]
    notes = []
    size = plan.only.max_batch_size
    most = _queued_batches(setting, size) * size
    if most != setting.capacity:
        notes.append(
            f"the queue is limited in whole batches: {most} requests may wait instead of "
            f"{setting.capacity}"
        )
    return notes


def _other_notes(setting: Setting, plan: Plan) -> list[str]:
    notes = [
        "max_batch_size counts rows: it is a limit of requests where each has one row",
        *route_notes(setting, plan),
        *rounded(plan, "us"),
    ]
    if setting.longest > 1:
        notes.append(
            "inputs of different lengths fail in one batch unless the client pads them, or "
            "pad_variable_length_inputs: true is added"
        )
    return notes


def recognises(text: str) -> bool:
    """Whether a text protocol buffer holds batching parameters of TensorFlow Serving."""
    return OWN_FIELD.search(text) is not None


def read(files: Mapping[str, str]) -> Imported:
    """The policy of batching parameters.

    Raises:
        ForeignFileError: the file is something else, or the server would refuse it.
    """
    if len(files) != 1:
        raise ForeignFileError(f"{', '.join(sorted(files))}: give one file of batching parameters")
    ((name, text),) = files.items()
    message = parse(name, text)
    known_fields(name, message, FIELDS)
    notes: list[str] = []
    size = _wrapped(name, message, "max_batch_size")
    if size is None:
        size = DEFAULT_SIZE
        notes.append(f"max_batch_size is absent, which TensorFlow Serving takes as {DEFAULT_SIZE}")
    size = _executed(name, message, size)
    micros = _wrapped(name, message, "batch_timeout_micros") or 0
    batches = _wrapped(name, message, "max_enqueued_batches")
    batches = DEFAULT_QUEUED_BATCHES if batches is None else batches
    if batches < UNBOUNDED_BATCHES:
        notes.append(f"what finds {batches * size} requests waiting is rejected: service.capacity")
    notes += _padding(name, message, size)
    threads = _wrapped(name, message, "num_batch_threads")
    if threads is None:
        notes.append("num_batch_threads is absent: there are as many as the machine has cores")
    found = window(size, micros * NS_PER_UNIT["us"])
    return Imported(window_table(found), threads, tuple(notes))


def _wrapped(name: str, message: Message, field: str) -> int | None:
    """The number in ``field { value: 8 }``; a wrapper without a value holds 0."""
    wrapper = inner(name, message, field)
    if wrapper is None:
        return None
    known_fields(name, wrapper, frozenset({"value"}), f"{field}.")
    value = whole(name, wrapper, "value")
    if value == 0 and field != "batch_timeout_micros":
        raise ForeignFileError(f"{name}: {field} = 0 must be a whole number of at least 1")
    return value


def _executed(name: str, message: Message, size: int) -> int:
    """The largest batch that runs: requests of one row are never split, but batches are cut."""
    splitting = inner(name, message, "enable_large_batch_splitting") or {}
    if splitting.get("value") != ["true"]:
        return size
    return min(size, _wrapped(name, message, "max_execution_batch_size") or size)


def _padding(name: str, message: Message, size: int) -> list[str]:
    allowed = message.get("allowed_batch_sizes", [])
    if not allowed:
        return []
    if allowed != sorted(set(allowed)) or allowed[-1] != size:
        raise ForeignFileError(
            f"{name}: allowed_batch_sizes = {allowed} must increase and end in {size}, the largest "
            "batch; TensorFlow Serving refuses it"
        )
    return [
        (
            f"allowed_batch_sizes pads a batch up to the next of {allowed}: it takes the time of "
            "that size, which is not simulated"
        )
    ]
