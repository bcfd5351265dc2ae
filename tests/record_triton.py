"""Drives a real Triton over HTTP and records *sent when, in which batch*.

``chrt -r 1 python tests/record_triton.py PYTHON`` writes ``tests/data/stacks/triton.json``;
``PYTHON`` is the interpreter of an environment with ``nvidia-pytriton`` 0.7.0.  The server runs the
exported ``config.pbtxt`` with a model of known cost; clocks are real, and so is their jitter.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from export_settings import from_arrival
from record_batches import FOLDER, arrivals_ns

from experiments.export.setting import Costs
from experiments.loading.sending import Plan, Sender
from experiments.stacks import triton
from experiments.stacks.contract import Wish
from experiments.stacks.model_files import logged
from experiments.stacks.processes import serving, wait_until_ready

SIZE, LENGTH, PORT = 8, 32, 23_400
SERVICE_NS = 20_000_000 + 2_000_000 * np.arange(1, 65)
COSTS = Costs(SERVICE_NS[:, np.newaxis], np.array([LENGTH]), np.array([LENGTH]), np.array([1.0]))
REQUESTS, WARM = 700, 60
OTHERS = 10**6
"""Identities from here on are of requests that only warm the server up."""

NOT_AHEAD = "  default_queue_policy { allow_timeout_override: true }\n"
"""Without a default time-out it allows nothing, and Triton forms no batch ahead of an instance."""

CASES = {
    f"{rate} per second, wait {wait} ms, {instances} at a time{', not ahead' * (not ahead)}": (
        rate, wait, instances, ahead,
    )
    for rate, wait, instances, ahead in [
        (60, 30, 1, True), (150, 30, 1, True), (150, 8, 1, True), (190, 4, 1, True),
        (110, 0, 1, True), (300, 30, 2, True),
        (60, 30, 1, False), (150, 30, 1, False), (150, 8, 1, False), (300, 30, 2, False),
    ]
}  # fmt: skip


def plan(planned_ns: list[int], first: int) -> Plan:
    """Requests to the server."""
    found = []
    for place in range(len(planned_ns)):
        each = triton.request(first + place, LENGTH)
        head = (
            f"{each.method} {each.path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
            f"Content-Type: {each.content_type}\r\nContent-Length: {len(each.body)}\r\n\r\n"
        )
        found.append(head.encode() + each.body)
    return Plan("127.0.0.1", PORT, planned_ns, found)


def driven(python: Path, wish: Wish, rate: float, ahead: bool, folder: Path) -> dict[str, Any]:
    """One case: instants at which requests were sent; start, size, first request of each batch."""
    triton.write(folder, wish)
    config = folder / triton.REPOSITORY / triton.MODEL / triton.CONFIG
    if not ahead:
        begin = "dynamic_batching {\n"
        config.write_text(config.read_text().replace(begin, begin + NOT_AHEAD))
    command = triton.command(folder, python, [PORT, PORT + 1, PORT + 2])
    with serving(command, folder / "server.log", None, urgent=True) as server, Sender() as sender:
        wait_until_ready(server, PORT, triton.READY, 60, "triton")
        sender.run(plan(arrivals_ns(30, WARM, 1), OTHERS))
        answers = sender.run(plan(arrivals_ns(rate, REQUESTS, 2), 0))
    assert answers.good.all(), "every request must be answered"
    origin_ns = int(answers.sent_ns[0])
    found = [each for each in logged(folder) if each.identities[0] < OTHERS]
    found.sort(key=lambda each: each.begin_ns)
    return {
        "arrival_ns": (answers.sent_ns - origin_ns).tolist(),
        "batches": [[b.begin_ns - origin_ns, len(b.identities), min(b.identities)] for b in found],
        "took_ns": [each.end_ns - each.begin_ns for each in found],
    }


def main() -> None:
    """Record all cases."""
    lines = []
    for title, (rate, wait_ms, instances, ahead) in CASES.items():
        setting = replace(from_arrival(SIZE, wait_ms, servers=instances), model="m", costs=COSTS)
        with tempfile.TemporaryDirectory() as folder:
            found = driven(Path(sys.argv[1]), Wish(setting, COSTS), rate, ahead, Path(folder))
        case = {
            "max_batch_size": SIZE,
            "wait_ns": wait_ms * 10**6,
            "at_a_time": instances,
            "ahead": ahead,
            "service_ns": SERVICE_NS[:SIZE].tolist(),
            **found,
        }
        lines.append(f"{json.dumps(title)}: {json.dumps(case, separators=(',', ':'))}")
        sys.stdout.write(f"{title}: {len(found['batches'])} batches\n")
    about = {
        "stack": "triton",
        "version": "2.51, the server in nvidia-pytriton 0.7.0",
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "chrt -r 1 python tests/record_triton.py PYTHON",
        "batches": "start in ns, size and first request of each batch; took_ns: how long each ran",
    }
    text = ",\n".join(lines)
    (FOLDER / "triton.json").write_text(
        f'{{"about": {json.dumps(about)},\n"cases": {{\n{text}\n}}}}\n', "utf-8"
    )


if __name__ == "__main__":
    main()
