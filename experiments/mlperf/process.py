"""LoadGen in a process of its own: it sends queries down a pipe, and is told of answers.

1. The first message of the parent is a :class:`Job`; the test begins then.
2. A message of this process is int64 pairs, (LoadGen's id, ns of the shared clock); one of a single
   number says that the test is over and its logs are written.
3. A further message of the parent is int64: ids that are answered.
"""

from __future__ import annotations

import os
import threading
from array import array
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sim.timing import deaf, fine_timers, now_ns, urgent


class Job(NamedTuple):
    """A test of the server scenario."""

    rate_per_s: float
    queries: int
    target_ns: int
    percentile: float
    seed: int
    """Of the schedule."""
    folder: str
    """For LoadGen's logs."""


def drive(connection: Connection) -> None:
    """The process's own life: one test, until the parent hangs up."""
    loadgen: Any = import_module("mlperf_loadgen")
    deaf()
    fine_timers()
    urgent()
    try:
        job = connection.recv()
    except EOFError:
        return
    threading.Thread(target=_answer, args=[connection, loadgen], daemon=True).start()

    def issue(samples: Any) -> None:
        instant_ns = now_ns()
        pairs = [number for sample in samples for number in (sample.id, instant_ns)]
        connection.send_bytes(array("q", pairs).tobytes())

    server = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(
        server, library, _settings(loadgen, job), _logs(loadgen, job.folder), ""
    )
    connection.send_bytes(array("q", [0]).tobytes())
    threading.Event().wait()  # the other thread ends the process


def _answer(connection: Connection, loadgen: Any) -> None:
    """Tell LoadGen what is answered; end with the parent."""
    try:
        while True:
            found = array("q", connection.recv_bytes())
            loadgen.QuerySamplesComplete(
                [loadgen.QuerySampleResponse(identity, 0, 0) for identity in found]
            )
    except (EOFError, OSError):
        os._exit(0)


def _settings(loadgen: Any, job: Job) -> Any:
    """Server, performance only, exactly so many queries."""
    found = loadgen.TestSettings()
    found.scenario = loadgen.TestScenario.Server
    found.mode = loadgen.TestMode.PerformanceOnly
    found.server_target_qps = job.rate_per_s
    found.server_target_latency_ns = job.target_ns
    found.server_target_latency_percentile = job.percentile / 100.0
    found.min_query_count = found.max_query_count = job.queries
    found.min_duration_ms = found.max_duration_ms = 0
    found.schedule_rng_seed = job.seed
    found.performance_issue_same = True
    return found


def _logs(loadgen: Any, folder: str) -> Any:
    """Summary and details, in a folder, and nothing on the terminal."""
    output = loadgen.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    found = loadgen.LogSettings()
    found.log_output = output
    found.enable_trace = False
    return found
