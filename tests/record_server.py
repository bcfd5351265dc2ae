"""Drives the real server of a stack over HTTP and records *sent when, in which batch*.

``python tests/record_server.py torchserve [PYTHON]`` writes ``tests/data/stacks/torchserve.json``;
``PYTHON`` is the interpreter of an environment with the stack, by default that which
``batchwright try --install`` makes.  The clocks are real, and so is their jitter.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from export_settings import from_idle
from record_batches import FOLDER, arrivals_ns

from experiments.export.setting import Costs
from experiments.loading.sending import Answers, Plan, Sender
from experiments.stacks import STACKS
from experiments.stacks.contract import Wish
from experiments.stacks.environments import python_of
from experiments.stacks.model_files import logged
from experiments.stacks.processes import serving, wait_until_ready

SIZE, LENGTH = 8, 32
SERVICE_NS = 20_000_000 + 2_000_000 * np.arange(1, 65)
"""20 ms and 2 ms a request: 222 requests per second in batches of 8; jitter is small beside it."""
COSTS = Costs(SERVICE_NS[:, np.newaxis], np.array([LENGTH]), np.array([LENGTH]), np.array([1.0]))

REQUESTS = 900
WARM = 60
CASES = {
    f"{rate} per second, wait {wait} ms, {servers} at a time": (rate, wait, servers)
    for rate, wait, servers in [(60, 30, 1), (110, 30, 1), (150, 30, 1), (180, 4, 1)]
}


def plan(stack: Any, port: int, planned_ns: list[int], first: int) -> Plan:
    """Requests to a server."""
    found = []
    for i in range(len(planned_ns)):
        each = stack.request(first + i, LENGTH)
        head = (
            f"{each.method} {each.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: {each.content_type}\r\nContent-Length: {len(each.body)}\r\n\r\n"
        )
        found.append(head.encode() + each.body)
    return Plan("127.0.0.1", port, planned_ns, found)


def driven(name: str, python: Path, wish: Wish, rate: float, folder: Path) -> dict[str, Any]:
    """One case: sent instants, and start, size and first request of each batch."""
    stack = import_module(f"experiments.stacks.{STACKS[name].module}")
    stack.write(folder, wish)
    ports = list(range(23_100, 23_100 + stack.PORTS))
    command = stack.command(folder, python, ports)
    stop = getattr(stack, "STOPS", None)
    with serving(command, folder / "server.log", stop, urgent=True) as server, Sender() as sender:
        ready = ports[getattr(stack, "READY_PORT", 0)]
        wait_until_ready(server, ready, stack.READY, STACKS[name].ready_s, name)
        sender.run(plan(stack, ports[0], arrivals_ns(30, WARM, 1), 10**6))
        answers = sender.run(plan(stack, ports[0], arrivals_ns(rate, REQUESTS, 2), 0))
    return told(answers, folder)


def told(answers: Answers, folder: Path) -> dict[str, Any]:
    """What became of the requests, from the first on."""
    assert answers.good.all(), "every request must be answered"
    origin_ns = int(answers.sent_ns[0])
    found = [each for each in logged(folder) if each.identities[0] < 10**6]
    batches = [[b.begin_ns - origin_ns, len(b.identities), min(b.identities)] for b in found]
    ends = [b.end_ns - b.begin_ns for b in found]
    return {
        "arrival_ns": (answers.sent_ns - origin_ns).tolist(),
        "batches": batches,
        "took_ns": ends,
    }


def main() -> None:
    """Record every case."""
    name = sys.argv[1]
    row = STACKS[name]
    python = Path(sys.argv[2]) if len(sys.argv) > 2 else python_of(row, install=False, say=print)
    cases = {}
    for title, (rate, wait_ms, servers) in CASES.items():
        setting = replace(from_idle(SIZE, wait_ms, servers=servers), model="m", costs=COSTS)
        wish = Wish(setting, COSTS)
        with tempfile.TemporaryDirectory() as folder:
            found = driven(name, python, wish, rate, Path(folder))
        numbers = {"max_batch_size": SIZE, "wait_ns": wait_ms * 10**6, "at_a_time": servers}
        cases[title] = {**numbers, "service_ns": SERVICE_NS[:SIZE].tolist(), **found}
    about = {
        "stack": name,
        "needs": row.needs,
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": f"python tests/record_server.py {name}",
        "batches": "start in ns, size and first request of each batch; took_ns: how long each ran",
    }
    lines = [
        f"{json.dumps(title)}: {json.dumps(each, separators=(',', ':'))}"
        for title, each in cases.items()
    ]
    text = f'{{"about": {json.dumps(about)},\n"cases": {{\n' + ",\n".join(lines) + "\n}}\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
