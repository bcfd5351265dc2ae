"""What the client alone costs: the same instants against something that answers at once.

1. ``live``: the server's own ``/v2/health/live``, which has nothing to do.
2. ``server``: a server of the same scenario, started here beside the other, whose model sleeps
   exactly as long as the profile says.  It gets the very same requests, so that their size, and how
   they are read, count too, and has the same policy, so that batches are as large; they come no
   faster than at :data:`LOAD_MOST`.
3. An address: a server of the same scenario that somebody else has started with ``--model null``.
4. A server of ours says how long each batch took.  What that is beyond its model is what handing a
   batch to a worker and back costs; it keeps the worker from the next batch, so it belongs to every
   batch (``turnaround``, which grows with its size).  What is left belongs to every request.
5. It is measured before each window.  Where the generator did not keep to its plan it is measured
   again, as windows are, and does not count where another of its load does.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.scenario import Scenario
from experiments.sentences import ScenarioError
from experiments.stacks.contract import Command, StackFailed
from experiments.stacks.processes import Server, serving
from policies.contract import IntArray
from sim.service import expected_ns
from sim.workload import Workload

from .bodies import Bodies, Request
from .endpoint import Endpoint, endpoint_of
from .http_answers import request_bytes
from .sending import Plan, Sender
from .window import condition_of, parts_of

AUTO, LIVE, SERVER, NONE = "auto", "live", "server", "none"
KINDS = (AUTO, LIVE, SERVER, NONE)
NULL = "address"
"""What floors of kind 3 are called."""
LOAD_MOST = 0.9
FLOOR_NS = 2_000_000_000
"""How long it is measured, before each window."""
PATIENCE_S = 5.0
"""Some policies never start the last batch."""
TRIM = 0.98
LEAST = 5
"""Requests of a size, or it says nothing."""
TOLD = 8
"""Sizes of batches whose turnaround is told."""
READY_S = 120.0
RULE = "floor"
"""The policy of a server that is started for the floor: it takes whatever is there."""


NONE_SEEN: IntArray = np.zeros(0, dtype=np.int64)


class Floor(NamedTuple):
    """Of one load."""

    load: float | None
    kind: str
    rest_ns: IntArray
    """int64 (any,): what each request costs beside its batch."""
    batch_ns: IntArray = NONE_SEEN
    """int64 (B,): what batches cost beside their models, one for each request; empty: unknown."""
    size: IntArray = NONE_SEEN
    """int64 (B,): requests of these batches."""
    calm: bool = True
    """Whether the generator kept to its plan."""

    def turnaround_ns(self, largest: int) -> IntArray:
        """int64 (largest,): what a batch of each size costs beside its model.

        A line through the means by size, each as heavy as it has requests; of the dearest
        ``1 - TRIM`` nothing counts, since what a busy machine adds is no cost of every batch.
        """
        if not len(self.batch_ns):
            return np.zeros(largest, dtype=np.int64)
        sizes, counts = np.unique(self.size, return_counts=True)
        usual = np.array([_trimmed(self.batch_ns[self.size == each]) for each in sizes])
        enough = counts >= min(LEAST, int(counts.max()))
        sizes, counts, usual = sizes[enough], counts[enough], usual[enough]
        more, one = 0.0, float(np.average(usual, weights=counts))
        if len(sizes) > 1:
            more, one = np.polyfit(sizes - 1, usual, 1, w=np.sqrt(counts)).tolist()
        if more < 0.0 or one < 0.0:
            more, one = 0.0, max(0.0, float(np.average(usual, weights=counts)))
        found: IntArray = np.rint(one + more * np.arange(largest)).astype(np.int64)
        return found

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        values = self.rest_ns / 1e6
        p50, p99 = np.quantile(values, (0.5, 0.99)).tolist() if len(values) else (None, None)
        return {
            "load": self.load, "kind": self.kind, "requests": len(values), "p50_ms": p50,
            "p99_ms": p99, "turnaround_ms": (self.turnaround_ns(TOLD) / 1e6).tolist(),
        }  # fmt: skip


def checked_floor(text: str, endpoint: Endpoint, *, ours: bool) -> str:
    """``live``, ``server``, ``none`` or an address.

    Args:
        text: as it was typed; ``auto`` is ``server`` for a server of ours on this machine.
        endpoint: of the server.
        ours: whether it is ``batchwright serve``.

    Raises:
        ScenarioError: it is none of them, or cannot be had here.
    """
    if text not in KINDS and "://" not in text:
        raise ScenarioError(f"--floor {text} must be one of {', '.join(KINDS)}, or an address")
    if text == AUTO:
        able = ours and _is_here(endpoint) and find_spec("uvicorn") is not None
        return SERVER if able else LIVE
    if text == SERVER and not _is_here(endpoint):
        raise ScenarioError(
            f"--floor server starts a server on this machine, but {endpoint.url} is another: start "
            "batchwright serve --model null there, and give its address as --floor"
        )
    return text


def _is_here(endpoint: Endpoint) -> bool:
    try:
        return ipaddress.ip_address(endpoint.host).is_loopback
    except ValueError:
        return endpoint.host == "localhost"


def measured(
    sender: Sender, kind: str, at: str, scenario: Scenario, load: float | None,
    workload: Workload, bodies: Bodies,
) -> Floor:  # fmt: skip
    """The client alone, at the instants of a window's beginning.

    Args:
        sender: the generator.
        kind: as :func:`checked_floor` gives it.
        at: the address of a server that was started for it; empty where there is none.
        scenario: at the load of the window.
        load: of the window.
        workload: its requests.
        bodies: makes them.

    Raises:
        SendingError: the generator has died, or nobody listens.
    """
    slower = max(1.0, (scenario.load or 0.0) / LOAD_MOST) if kind == SERVER else 1.0
    planned = ((workload.arrival_ns - workload.arrival_ns[0]) * slower).astype(np.int64)
    planned = planned[planned <= FLOOR_NS]
    if kind == NONE:
        return Floor(load, kind, planned[:0])
    requests, shared = _requests(kind, workload, bodies, len(planned))
    target = bodies.endpoint if kind == LIVE else endpoint_of(at or kind)
    plan = Plan(
        target.host, target.port, planned.tolist(), [one.data for one in requests], keeps=True,
        shared=shared, shares=[one.shares for one in requests] if shared else (),
        patience_s=PATIENCE_S,
    )  # fmt: skip
    answers = sender.run(plan)
    good = answers.good
    if not good.any():
        status = sorted({int(each) for each in answers.status})
        raise ScenarioError(f"the floor at {target.url} answers no request (HTTP {status})")
    calm = not condition_of(answers, 0.0).rejected
    wait, service, size, padded = parts_of(answers.content, len(planned))[:, good]
    named = kind if kind in KINDS else NULL
    if (size < 0).any():
        return Floor(load, named, answers.latency_ns[good], calm=calm)
    rest = answers.latency_ns[good] - wait - service
    if kind == SERVER:
        service = service - _model_ns(scenario, size, padded)
    return Floor(load, named, rest, service, size, calm)


def together(floors: Sequence[Floor]) -> Floor:
    """Those of one load that count."""
    calm = [each for each in floors if each.calm] or list(floors)
    return calm[0]._replace(
        rest_ns=np.concatenate([each.rest_ns for each in calm]),
        batch_ns=np.concatenate([each.batch_ns for each in calm]),
        size=np.concatenate([each.size for each in calm]),
        calm=calm[0].calm,
    )


def _trimmed(values: IntArray) -> float:
    """The mean of the lower ``TRIM``."""
    kept = np.sort(values)[: max(1, int(TRIM * len(values)))]
    return float(kept.mean())


def _model_ns(scenario: Scenario, size: IntArray, padded: IntArray) -> IntArray:
    """int64 (any,): what the profile says of batches."""
    table, edges = scenario.service_ns[0], scenario.length_edges
    lengths = np.clip(padded, edges[0], edges[-1]).tolist()
    return np.array(
        [expected_ns(table, edges, *one) for one in zip(size.tolist(), lengths, strict=True)],
        dtype=np.int64,
    )


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
def exact_server(
    source: str, settings: Sequence[str], model: str, table: Mapping[str, Any] | None, log: Path,
    *, urgent: bool,
) -> Iterator[str]:  # fmt: skip
    """The address of a server of a scenario whose model takes exactly the profile's time.

    Args:
        source: the scenario.
        settings: overrides of it.
        model: its name.
        table: its policy; None: it takes whatever is there.
        log: a file for what it says.
        urgent: before all ordinary processes, where the system allows it.

    Raises:
        StackFailed: it did not start.
    """
    words = [word for text in settings for word in ("--set", text)]
    file = Path(source)
    source, log = str(file.resolve()) if file.is_file() else source, log.resolve()
    command = Command(
        [
            sys.executable, "-c", "from experiments.cli import main; main()", "serve", source,
            "--name", model, "--set", f"policies.{RULE}.kind=greedy",
            "--set", "service.noise.kind=none",
            "--policy", RULE, "--capacity", "100000", "--port", "0", "--json", "--no-drift", *words,
        ],
        {"BATCHWRIGHT_TOKEN": ""},
    )  # fmt: skip
    with serving(command, log, urgent=urgent) as server:
        url = address_in(server, log)
        if table is not None:
            answer = endpoint_of(url).ask("/policy", "PUT", json.dumps(table).encode())
            if answer.status != 200:
                raise StackFailed(f"the server for the floor refuses the policy: {answer.says}")
        yield url


def address_in(server: Server, log: Path) -> str:
    """Wait for the line in which a server says where it is."""
    began = time.monotonic()
    while time.monotonic() < began + READY_S:
        server.check("the server")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    raise StackFailed(f"the server was not ready after {READY_S:.0f} s: {log}")


__all__ = [
    "KINDS",
    "LIVE",
    "NONE",
    "NULL",
    "SERVER",
    "Floor",
    "checked_floor",
    "exact_server",
    "measured",
]
