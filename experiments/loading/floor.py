"""What the client alone costs: the same instants against something that answers at once.

``live``: the server's own ``/v2/health/live``, which has nothing to do.  ``null``: a server of the
same scenario with a model that takes no time, started here beside the other; it gets the very same
requests, so that their size, and how they are read, count too.  An address: such a server that
somebody else has started.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.sentences import ScenarioError
from experiments.stacks.contract import Command, StackFailed
from experiments.stacks.processes import Server, serving
from policies.contract import IntArray
from sim.workload import Workload

from .bodies import Bodies, Request
from .endpoint import Endpoint, endpoint_of
from .http_answers import request_bytes
from .sending import Plan, Sender

LIVE, NULL, NONE = "live", "null", "none"
KINDS = (LIVE, NULL, NONE)
FLOOR_NS = 4_000_000_000
"""How long it is measured, at each load."""
READY_S = 120.0
RULE = "floor"
"""The policy of a server that takes no time: it starts whatever is there."""


class Floor(NamedTuple):
    """Of one load."""

    load: float | None
    kind: str
    latency_ns: IntArray
    """int64 (any,)."""

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        values = self.latency_ns / 1e6
        p50, p99 = np.quantile(values, (0.5, 0.99)).tolist() if len(values) else (None, None)
        return {"load": self.load, "kind": self.kind, "requests": len(values), "p50_ms": p50,
                "p99_ms": p99}  # fmt: skip


def checked_floor(text: str, endpoint: Endpoint) -> str:
    """``live``, ``null``, ``none`` or an address.

    Raises:
        ScenarioError: it is none of them, or cannot be had here.
    """
    if text not in KINDS and "://" not in text:
        raise ScenarioError(f"--floor {text} must be one of {', '.join(KINDS)}, or an address")
    if text == NULL and not _is_here(endpoint):
        raise ScenarioError(
            f"--floor null starts a server on this machine, but {endpoint.url} is another: start "
            "batchwright serve --model null there, and give its address as --floor"
        )
    return text


def _is_here(endpoint: Endpoint) -> bool:
    try:
        return ipaddress.ip_address(endpoint.host).is_loopback
    except ValueError:
        return endpoint.host == "localhost"


def measured(
    sender: Sender, kind: str, load: float | None, workload: Workload, bodies: Bodies
) -> Floor:
    """The client alone, at the instants of a window's beginning.

    Args:
        sender: the generator.
        kind: as :func:`checked_floor` gives it, an address where one was started.
        load: of the window.
        workload: its requests.
        bodies: makes them.

    Raises:
        SendingError: the generator has died, or nobody listens.
    """
    planned = workload.arrival_ns - workload.arrival_ns[0]
    planned = planned[planned <= FLOOR_NS]
    if kind == NONE:
        return Floor(load, kind, planned[:0])
    requests, shared = _requests(kind, workload, bodies, len(planned))
    target = bodies.endpoint if kind == LIVE else endpoint_of(kind)
    plan = Plan(
        target.host, target.port, planned.tolist(), [one.data for one in requests],
        shared=shared, shares=[one.shares for one in requests] if shared else (),
    )  # fmt: skip
    answers = sender.run(plan)
    found = answers.latency_ns[answers.good]
    if not len(found):
        status = sorted({int(each) for each in answers.status})
        raise ScenarioError(f"the floor at {kind} answers none of its requests (HTTP {status})")
    return Floor(load, kind if kind == LIVE else NULL, found)


def _requests(
    kind: str, workload: Workload, bodies: Bodies, count: int
) -> tuple[Sequence[Request], bytes]:
    """What is sent, and what it shares."""
    if kind != LIVE:
        return bodies.requests(workload)[:count], bodies.shared
    endpoint = bodies.endpoint
    path = f"{endpoint.prefix}/v2/health/live"
    data = request_bytes(endpoint.authority, path, b"", method="GET", headers=endpoint.headers)
    return [Request(data, 0)] * count, b""


@contextmanager
def null_server(
    source: str, settings: Sequence[str], model: str, log: Path, *, urgent: bool
) -> Iterator[str]:
    """The address of a server of a scenario with a model that takes no time.

    Raises:
        StackFailed: it did not start.
    """
    words = [word for text in settings for word in ("--set", text)]
    file = Path(source)
    source, log = str(file.resolve()) if file.is_file() else source, log.resolve()
    command = Command(
        [
            sys.executable, "-c", "from experiments.cli import main; main()", "serve", source,
            "--model", "null", "--name", model, "--set", f"policies.{RULE}.kind=greedy",
            "--policy", RULE, "--capacity", "100000", "--port", "0", "--json", "--no-drift", *words,
        ],
        {"BATCHWRIGHT_TOKEN": ""},
    )  # fmt: skip
    with serving(command, log, urgent=urgent) as server:
        yield _said(server, log)


def _said(server: Server, log: Path) -> str:
    """Wait for the line in which a server says where it is."""
    began = time.monotonic()
    while time.monotonic() < began + READY_S:
        server.check("the server for the floor")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    raise StackFailed(f"the server for the floor was not ready after {READY_S:.0f} s: {log}")


__all__ = ["KINDS", "LIVE", "NONE", "NULL", "Floor", "checked_floor", "measured", "null_server"]
