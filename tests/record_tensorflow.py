"""Drives TensorFlow's own batch scheduler and records *called when, in which batch*.

``chrt -r 1 python tests/record_tensorflow.py`` writes ``tests/data/stacks/tensorflow.json``, where
``tensorflow`` is installed (recorded with 2.21.0).  The scheduler is the ``SharedBatchScheduler``
of ``tf.nondifferentiable_batch_function``, which TensorFlow Serving is built on; its function
sleeps.  Each request is called by a thread of its own, at its instant.  The clocks are real, and so
is their jitter: a model of 20 ms and 2 ms a request is slow beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

FILE = Path(__file__).parent / "data" / "stacks" / "tensorflow.json"

SIZE = 8
COST_NS = [20_000_000 + 2_000_000 * size for size in range(1, SIZE + 1)]
REQUESTS = 600
WARM = 40

OFF = {"wait_ns": 30_000_000, "at_a_time": 1, "allowed": []}

CASES: dict[str, dict[str, Any]] = {
    "60 per second, wait 30 ms, 1 at a time": {"rate": 60},
    "110 per second, wait 30 ms, 1 at a time": {"rate": 110},
    "150 per second, wait 30 ms, 1 at a time": {"rate": 150},
    "110 per second, wait 0 ms, 1 at a time": {"rate": 110, "wait_ns": 0},
    "180 per second, wait 30 ms, 2 at a time": {"rate": 180, "at_a_time": 2},
    "300 per second, wait 30 ms, 2 at a time": {"rate": 300, "at_a_time": 2},
    "60 per second, wait 60 ms, 1 at a time": {"rate": 60, "wait_ns": 60_000_000},
    "110 per second, wait 30 ms, 1 at a time, padded to 2, 4 or 8": {
        "rate": 110, "allowed": [2, 4, 8],
    },
}  # fmt: skip

Log = list[tuple[int, int, list[int]]]
"""Begin and end in ns and the requests of each batch."""


def costs_of(allowed: list[int]) -> list[int]:
    """Time of 1 to 8 requests; a batch is padded to the next size that is allowed."""
    sizes = [min((a for a in allowed if a >= n), default=n) for n in range(1, SIZE + 1)]
    return [COST_NS[size - 1] for size in sizes]


def batched(setting: dict[str, Any], log: Log) -> Callable[[Any], Any]:
    """A function that is batched by TensorFlow and sleeps."""
    import numpy as np
    import tensorflow as tf

    # a function that sleeps holds a thread, which calls that come meanwhile would lack
    tf.config.threading.set_inter_op_parallelism_threads(64)

    def sleep(rows: Any) -> Any:
        begin_ns = time.monotonic_ns()
        due_ns = begin_ns + COST_NS[len(rows) - 1]
        while (left := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        log.append((begin_ns, time.monotonic_ns(), sorted({int(row) for row in rows[:, 0]})))
        return np.asarray(rows)

    @tf.nondifferentiable_batch_function(
        num_batch_threads=setting["at_a_time"],
        max_batch_size=SIZE,
        batch_timeout_micros=setting["wait_ns"] // 1000,
        allowed_batch_sizes=setting["allowed"] or None,
        max_enqueued_batches=10_000,
    )
    def together(rows: Any) -> Any:
        return tf.numpy_function(sleep, [rows], tf.int64)

    return tf.function(together, input_signature=[tf.TensorSpec([1, 1], tf.int64)])


def sent(function: Callable[[Any], Any], instants_ns: list[int], first: int) -> list[int]:
    """When each request was called, in order of their plan."""
    import tensorflow as tf

    rows = [tf.constant([[first + i]], tf.int64) for i in range(len(instants_ns))]
    called_ns = [0] * len(rows)
    origin_ns = time.monotonic_ns() + 1_000_000_000

    def call(place: int) -> None:
        due_ns = origin_ns + instants_ns[place]
        while (left := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        called_ns[place] = time.monotonic_ns()
        function(rows[place])

    threads = [threading.Thread(target=call, args=[place]) for place in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return called_ns


def instants_of(rate: float, requests: int, seed: int) -> list[int]:
    """Poisson arrivals in ns."""
    random, found, now = Random(seed), [], 0.0
    for _ in range(requests):
        now += random.expovariate(rate)
        found.append(round(now * 1e9))
    return found


def recorded(rate: float, setting: dict[str, Any]) -> dict[str, Any]:
    """Calls in, batches out; requests are numbered in order of their calls."""
    log: Log = []
    function = batched(setting, log)
    sent(function, instants_of(60, WARM, 1), 10**6)
    called_ns = sent(function, instants_of(rate, REQUESTS, 2), 0)
    order = sorted(range(REQUESTS), key=called_ns.__getitem__)
    number = {request: place for place, request in enumerate(order)}
    origin_ns = called_ns[order[0]]
    found = sorted(each for each in log if each[2][0] < 10**6)
    return {
        "max_batch_size": SIZE,
        **setting,
        "service_ns": costs_of(setting["allowed"]),
        "arrival_ns": [called_ns[request] - origin_ns for request in order],
        "batches": [
            [begin_ns - origin_ns, len(who), min(number[each] for each in who)]
            for begin_ns, _, who in found
        ],
        "took_ns": [end_ns - begin_ns for begin_ns, end_ns, _ in found],
    }


def in_a_process(name: str) -> dict[str, Any]:
    """A case recorded in a process of its own: one process has one queue, whatever it asks for."""
    command = [sys.executable, __file__, name]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def main() -> None:
    """Record all cases, or one."""
    if len(sys.argv) > 1:
        setting = {**OFF, **CASES[sys.argv[1]]}
        found = recorded(setting.pop("rate"), setting)
        sys.stdout.write(f"\n{json.dumps(found)}\n")
        return
    lines = []
    for name in CASES:
        found = in_a_process(name)
        lines.append(f"{json.dumps(name)}: {json.dumps(found, separators=(',', ':'))}")
        sys.stdout.write(f"{name}: {len(found['batches'])} batches\n")
    about = {
        "stack": "tensorflow",
        "version": version("tensorflow"),
        "recorded": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "chrt -r 1 python tests/record_tensorflow.py",
        "batches": "start in ns, size and first request of each batch; took_ns: how long each ran",
    }
    text = ",\n".join(lines)
    FILE.write_text(f'{{"about": {json.dumps(about)},\n"cases": {{\n{text}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main()
