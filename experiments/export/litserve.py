"""LitServe: the arguments of its API and its server as JSON, and a launcher that uses them.

A worker collects again and again, each time for ``batch_timeout`` from the start of its loop,
whether or not a request is there (``collection_window``); with 0 it takes what waits, which is
greedy.  Facts, from
``litserve`` 0.2.19: ``loops/base.py`` (``collate_requests``), ``loops/loops.py`` (no batching at
``max_batch_size`` 1), ``server.py`` (``timeout`` is 30 s where it is not given).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from experiments.units import NS_PER_S
from policies.contract import NEVER

from .comment import comment_of, commented
from .contract import Exported, ForeignFileError, Imported, NotExpressible
from .json_text import json_file, json_table, readme, seconds_in_ns, whole_number
from .lengths_routed import Route, file_of_each, route_notes
from .plan import Plan, Window, plan_of, window, window_table
from .rounding import in_ms, in_seconds
from .setting import Setting
from .terms import Terms, agreed, no_capacity

STACK = "litserve"
NAME = "litserve.json"
LAUNCHER = "serve.py"

API_KEYS = ("max_batch_size", "batch_timeout")
SERVER_KEYS = ("accelerator", "devices", "workers_per_device", "timeout")

DEFAULT_TIMEOUT_S = 30

TERMS = Terms(
    stack=STACK,
    title="LitServe",
    timer="window",
    timer_starts="when a worker begins to collect, whether or not a request is there",
    spreads="one by one, as its workers are idle",
    other_timer="waits from the start of the worker's loop: beside an idle server a request waits "
    "anything up to batch_timeout, and a backlog waits once more",
)

SHARED_QUEUE = "idle workers of LitServe take requests one by one, so that they split a burst"

SPLIT = "it may share among idle workers what one of them would have taken together"

LAUNCHER_CODE = f'''\
"""Starts the server with the arguments of {NAME}."""

import json
from pathlib import Path

import litserve

from model import Model  # yours: a subclass of litserve.LitAPI that hands its arguments on

arguments = json.loads(Path(__file__).with_name("{NAME}").read_text())
server = litserve.LitServer(Model(**arguments["api"]), **arguments["server"])

if __name__ == "__main__":
    server.run(generate_client_file=False)
'''


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write the arguments and a launcher for each model.

    Raises:
        NotExpressible: LitServe cannot do what the policy does.
    """
    terms = TERMS._replace(shares=_shares(setting))
    if _largest(setting) > 1:
        terms = terms._replace(no_shared_queue=SHARED_QUEUE, several_queues=SPLIT)
    plan = agreed(setting, terms, *no_capacity(setting, "LitServe"), nearest=nearest)
    _check_timeout(setting, plan)
    notes = (*_notes(setting, plan), *route_notes(setting, plan))
    launcher = commented(comment_of(setting, plan.notes, notes)) + LAUNCHER_CODE

    def arguments(route: Route) -> str:
        return json_file(_arguments(setting, route))

    files = {
        **file_of_each(setting, plan, NAME, arguments),
        **file_of_each(setting, plan, LAUNCHER, lambda _route: launcher),
        **readme(setting, "LitServe", plan.notes, notes),
    }
    return Exported(files, notes, plan.exact, plan.notes)


def _shares(setting: Setting) -> bool:
    """Whether workers of a device are those that share a GPU."""
    replicas = setting.replicas
    return replicas is not None and workers_on_device(setting) == replicas.instances_per_gpu


def _largest(setting: Setting) -> int:
    """The largest batch of any lane."""
    return max(lane.window.max_batch_size for lane in plan_of(setting).lanes)


def _arguments(setting: Setting, route: Route) -> dict[str, Any]:
    found = route.window
    waits = found.max_batch_size > 1
    timeout_ns = setting.timeout_ns
    return {
        "api": {
            "max_batch_size": found.max_batch_size,
            "batch_timeout": float(in_seconds(found.max_wait_ns)) if waits else 0.0,
        },
        "server": {
            "devices": setting.servers // workers_on_device(setting),
            "workers_per_device": workers_on_device(setting),
            "timeout": False if timeout_ns is None else float(in_seconds(timeout_ns)),
        },
    }


def workers_on_device(setting: Setting) -> int:
    """Workers that share a device: as many as share a GPU in the run, all where it does not say."""
    replicas = setting.replicas
    each = 1 if replicas is None else replicas.instances_per_gpu
    return each if each > 1 and setting.servers % each == 0 else setting.servers


def _check_timeout(setting: Setting, plan: Plan) -> None:
    """A wait that outlasts the time-out is refused by LitServe, or rejects light traffic."""
    if setting.timeout_ns is None:
        return
    for lane in plan.lanes:
        if lane.window.max_wait_ns >= setting.timeout_ns:
            raise NotExpressible(
                STACK,
                f"the time-out of {in_ms(setting.timeout_ns)} ms is not above the wait of "
                f"{in_ms(lane.window.max_wait_ns)} ms, which LitServe refuses; give a wait below "
                "the time-out",
            )


def _notes(setting: Setting, plan: Plan) -> list[str]:
    """Traps, and what is left to do."""
    notes = ["model.py holds your litserve.LitAPI, whose constructor hands its arguments on"]
    if workers_on_device(setting) == setting.servers > 1:
        notes.append(
            "all workers are on one device: for GPUs of their own give devices, and "
            "workers_per_device 1"
        )
    if any(_polls(lane.window) for lane in plan.lanes):
        notes.append(
            "with a batch_timeout of 0 an idle worker asks its queue without a pause and keeps "
            "about half a core busy; 0.001 costs up to 1 ms and spares it"
        )
    if setting.timeout_ns is not None:
        notes.append("a request that is older than timeout when a worker takes it is answered 504")
    return notes


def _polls(found: Window) -> bool:
    return found.max_batch_size > 1 and not found.waits


def recognises(text: str) -> bool:
    """Whether a JSON file holds the arguments of a LitServe API and server."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) == {"api", "server"}


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``litserve.json``; a launcher beside it is passed over.

    Raises:
        ForeignFileError: it is something else, or LitServe would refuse it.
    """
    files = {name: text for name, text in files.items() if name.endswith(".json")}
    if len(files) != 1:
        raise ForeignFileError(f"{', '.join(sorted(files)) or NAME}: give one {NAME}")
    ((name, text),) = files.items()
    table = json_table(name, text)
    api = _part(name, table, "api", API_KEYS)
    server = _part(name, table, "server", SERVER_KEYS)
    size = whole_number(name, api, "max_batch_size", 1)
    wait_ns = seconds_in_ns(name, api, "batch_timeout")
    timeout = server.get("timeout", DEFAULT_TIMEOUT_S)
    unlimited = timeout is False or timeout == -1
    timeout_ns = NEVER if unlimited else seconds_in_ns(name, server, "timeout")
    if "timeout" not in server:
        timeout_ns = DEFAULT_TIMEOUT_S * NS_PER_S
    if size < 1 or wait_ns < 0 or wait_ns > timeout_ns:
        raise ForeignFileError(
            f"{name}: max_batch_size = {size} must be at least 1, and batch_timeout = "
            f"{wait_ns / NS_PER_S:g} not below 0 nor above timeout; LitServe refuses it"
        )
    notes = []
    if not unlimited:
        notes.append(f"LitServe answers 504 after {timeout_ns / NS_PER_S:g} s: service.timeout")
    servers = _servers(name, server)
    if servers is not None and servers > 1 and size > 1:
        notes.append(SHARED_QUEUE)
    return Imported(window_table(window(size, wait_ns, timer="window")), servers, tuple(notes))


def _part(
    name: str, table: Mapping[str, Any], key: str, known: tuple[str, ...]
) -> Mapping[str, Any]:
    part = table.get(key, {})
    if not isinstance(part, dict):
        raise ForeignFileError(f"{name}: {key} must hold an object of keys and values")
    for each in part:
        if each not in known:
            raise ForeignFileError(
                f"{name}: {key}.{each} is not read; known are {', '.join(known)}"
            )
    return part


def _servers(name: str, server: Mapping[str, Any]) -> int | None:
    """Workers of all devices; None where LitServe counts the devices itself."""
    workers = whole_number(name, server, "workers_per_device", 1)
    devices = server.get("devices", "auto")
    if isinstance(devices, list):
        return workers * len(devices)
    return workers * devices if type(devices) is int else None
