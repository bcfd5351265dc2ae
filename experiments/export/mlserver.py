"""MLServer: ``model-settings.json`` of a model and ``settings.json`` of the server.

The batcher collects from a queue of at most ``max_batch_size`` requests and does not wait for the
model.  A worker process gets batches that were sealed before, which is ``sealed_batches``, request
for request.  A model in the server's own process blocks the batcher: after a full batch the wait of
the next begins while the model is still busy, so that no simulated timer is the same, and where no
batch leaves requests behind it is ``from_idle``.  Facts, from ``mlserver`` 1.7.1:
``batching/adaptive.py`` (when a batch starts), ``batching/hooks.py`` (what switches it off),
``parallel/dispatcher.py`` (workers in turn),
``parallel/registry.py`` (``parallel_workers`` belongs to the server).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from experiments.sentences import nearest as nearest_word

from .concession import Concession
from .contract import Exported, ForeignFileError, Imported
from .json_text import json_file, json_table, readme, seconds_in_ns, whole_number
from .lengths_routed import Route, file_of_each, route_notes
from .plan import plan_of, window, window_table
from .rounding import in_seconds
from .setting import Setting
from .terms import Terms, agreed, no_capacity, no_timeout

NAME = "model-settings.json"
SERVER = "settings.json"

BATCH_KEYS = ("max_batch_size", "max_batch_time")

KNOWN_KEYS = frozenset(
    {
        "name",
        "platform",
        "versions",
        "inputs",
        "outputs",
        "implementation",
        "parallel_workers",
        "warm_workers",
        "max_batch_size",
        "max_batch_time",
        "parameters",
        "cache_enabled",
    }
)
"""Of a model's settings; MLServer drops others without a word."""

IN_PROCESS = (
    "predict must block (no await in it): otherwise several batches run beside each other",
    (
        "a model that blocks lets the server read requests only between batches, so that many wait "
        "for another: measured, that was a fifth of the latency at a load of 0.6, and the p99 was "
        "twice that of a worker at 0.8; a policy that is tuned as sealed_batches runs in one"
    ),
)
"""What to know of a model in the server's own process."""

TERMS = Terms(
    stack="mlserver",
    title="MLServer",
    timer=None,
    timer_starts="when its batcher begins to collect, which is while the model is still busy where "
    "a full batch left requests behind",
    other_timer="waits from the instant that the batcher begins to collect: like from_idle, but "
    "shorter behind a full batch",
    no_zero="a max_batch_time of 0 switches batching off",
    shortest_wait_ns=10**6,
    no_shared_queue="MLServer hands batches to its workers in turn, busy or not",
    spreads="as batches that one batcher hands to them in turn",
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write the settings of each model and of the server.

    Raises:
        NotExpressible: MLServer cannot do what the policy does.
    """
    limits = (*no_capacity(setting, "MLServer"), *no_timeout(setting, "MLServer"))
    sealed = any(lane.window.timer == "sealed" for lane in plan_of(setting).lanes)
    terms = TERMS._replace(timer="sealed") if sealed else TERMS
    limits = (*limits, *_ongoing(setting))
    plan = agreed(setting, terms, *limits, nearest=nearest)
    workers = 0 if setting.servers == 1 and not sealed else setting.servers
    notes = [
        "put the class of your runtime into implementation",
        *route_notes(setting, plan),
    ]
    if workers:
        notes.append("parallel workers of mlserver 1.7.1 need uvloop below 0.22")
    else:
        notes += IN_PROCESS
    if any(lane.window.max_batch_size > 1 for lane in plan.lanes):
        notes.append("max_batch_size counts requests, however many rows each has")

    def text(route: Route) -> str:
        return json_file(_settings(route))

    files = {
        **file_of_each(setting, plan, NAME, text),
        SERVER: json_file({"parallel_workers": workers}),
        **readme(setting, "MLServer", plan.notes, notes),
    }
    return Exported(files, tuple(notes), plan.exact, plan.notes)


def _ongoing(setting: Setting) -> list[Concession]:
    """A limit on who is batched and run, which MLServer has not."""
    (found, *_) = plan_of(setting).lanes
    if not found.window.most_ongoing:
        return []
    most = found.window.most_ongoing
    reason = f"MLServer has no limit on requests that are batched or run, which are {most} at most"
    return [Concession(reason, "it batches requests however many run")]


def _settings(route: Route) -> dict[str, Any]:
    table: dict[str, Any] = {"name": route.model, "implementation": "model.Model"}
    found = route.window
    if found.max_batch_size > 1:
        table["max_batch_size"] = found.max_batch_size
        table["max_batch_time"] = float(in_seconds(found.max_wait_ns))
    return table


def recognises(text: str) -> bool:
    """Whether a JSON file holds the settings of a model of MLServer."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "implementation" in found


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``model-settings.json``, with or without the server's ``settings.json``.

    Raises:
        ForeignFileError: a file is of another kind.
    """
    tables = {name: json_table(name, text) for name, text in files.items()}
    server = {name: table for name, table in tables.items() if name.rsplit("/")[-1] == SERVER}
    models = {name: table for name, table in tables.items() if name not in server}
    if len(models) != 1 or len(server) > 1:
        raise ForeignFileError(f"{', '.join(sorted(files))}: give one {NAME}, and one {SERVER}")
    ((name, table),) = models.items()
    if "implementation" not in table and not any(key in table for key in BATCH_KEYS):
        raise ForeignFileError(f"{name}: implementation is missing; it is no {NAME}")
    size = whole_number(name, table, "max_batch_size", 0)
    wait_ns = seconds_in_ns(name, table, "max_batch_time")
    notes = _ignored(table)
    servers, more = _workers(table, server)
    if size > 1 and wait_ns > 0 and servers > 0:
        found = window(size, wait_ns, timer="sealed")
    elif size > 1 and wait_ns > 0:
        found = window(size, wait_ns, timer="pick")
        notes.append(
            "MLServer begins the wait while the model is busy where a full batch left requests "
            "behind; read is a wait that begins when the server is idle"
        )
    else:
        found = window(1)
        notes.append(
            f"batching is off, as max_batch_size = {size} or max_batch_time = {wait_ns / 1e9:g} is "
            "not above 1 and 0"
        )
    return Imported(window_table(found), max(servers, 1), (*notes, *more))


def _ignored(table: Mapping[str, Any]) -> list[str]:
    """Keys that look like those of batching, and have no effect."""
    return [
        f"MLServer ignores the key {key}; did you mean {near}?"
        for key in table
        if key not in KNOWN_KEYS and (near := nearest_word(key, BATCH_KEYS)) is not None
    ]


def _workers(
    table: Mapping[str, Any], server: Mapping[str, Mapping[str, Any]]
) -> tuple[int, list[str]]:
    """How many workers run a model (0 where the server's process does), and what that means."""
    workers = 1
    for name, settings in server.items():
        workers = whole_number(name, settings, "parallel_workers", 1)
    own = table.get("parallel_workers")
    if workers <= 0 or (type(own) is int and own <= 0):
        return 0, []
    if workers == 1:
        return 1, []
    return workers, [
        (
            f"parallel_workers is {workers}: MLServer hands batches to the workers in turn, busy "
            "or not; read is one queue of batches for all of them"
        )
    ]
