"""What a server of HTTP carries, beside the bare stack under it, and at ten times that.

``python -m experiments.bench_serve``: requests arrive as Poisson processes whatever becomes of
those before (:mod:`experiments.loading.sending`), at one rate after another, with a model that
answers at once.  The bare stack is the same event loop, HTTP parser and interface with an
application that reads the body and answers as many bytes.  Then a model of known cost gets ten
times the requests that it can serve.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from experiments.loading.sending import Answers, Plan, Sender
from policies.contract import IntArray

RATES_PER_S = (500, 1000, 2000, 3000, 4000, 6000, 8000)
SECONDS = 5.0
LENGTH = 128
PATIENCE_S = 60
SLO_MS = 200.0
SCENARIO = f"""
name = "bench"
[workload]
requests = 1000
arrivals = {{ process = "poisson", load = 0.5 }}
lengths = {{ constant = {LENGTH} }}
[[workload.tiers]]
name = "all"
slo = {{ percentile = 99, ms = {SLO_MS} }}
[service]
model = {{ base_ms = 20.0, per_request_ms = 2.5, max_batch_size = 8 }}
capacity = {{ requests = 24 }}
[policies.greedy]
kind = "greedy"
"""
"""8 requests take 40 ms: 200 a second, and who finds 23 others waiting is done after 160 ms."""
OVERLOAD_PER_S = 2000
SERVE = (sys.executable, "-c", "from experiments.cli import main; main()", "serve")
BARE = (sys.executable, "-m", "experiments.serving.bare")


class Measured(NamedTuple):
    """Answers of one rate."""

    rate_per_s: int
    answers: Answers

    @property
    def served_per_s(self) -> float:
        """Good answers over the time from the first plan to the last answer."""
        good = self.answers.good
        if not good.any():
            return 0.0
        span_ns = self.answers.done_ns[good].max() - self.answers.planned_ns[0]
        return float(good.sum() / (span_ns / 1e9))

    def latency_ms(self, percentile: float) -> float:
        """Of good answers, from their plan on."""
        return float(np.percentile(self.answers.latency_ns[self.answers.good] / 1e6, percentile))


def inference() -> bytes:
    """The body of a request."""
    tensor = {
        "name": "input_ids", "datatype": "INT64", "shape": [1, LENGTH], "data": [101] * LENGTH,
    }  # fmt: skip
    return json.dumps({"inputs": [tensor]}).encode()


def message(path: str, host: str, port: int) -> bytes:
    """A request as it goes over the wire."""
    body = inference()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def process(command: Sequence[str], folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A server, and what it says when it is ready."""
    started = subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        yield started.pid, json.loads(started.stdout.readline())
    finally:
        started.terminate()
        started.wait(PATIENCE_S)


def plan_of(rate_per_s: int, seconds: float, seed: int = 1) -> IntArray:
    """Instants of a Poisson process."""
    rng = np.random.default_rng(seed)
    gaps_ns = rng.exponential(1e9 / rate_per_s, round(rate_per_s * seconds))
    return gaps_ns.cumsum().astype(np.int64)


def measured(
    command: Sequence[str], folder: Path, path: str, rates: Sequence[int], seconds: float
) -> list[tuple[Measured, float]]:
    """What comes of each rate, and the memory of the server's process after it, in MB."""
    found = []
    with process(command, folder) as (pid, said), Sender() as sender:
        request = message(path, said["host"], said["port"])
        for rate in (200, *rates):  # the first one warms everything up
            planned = plan_of(rate, seconds).tolist()
            plan = Plan(said["host"], said["port"], planned, [request] * len(planned))
            found.append((Measured(rate, sender.run(plan)), memory_mb(pid)))
    return found[1:]


def memory_mb(pid: int) -> float:
    """What a process holds now; NaN where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def table(title: str, found: Sequence[tuple[Measured, float]]) -> list[str]:
    """One line a rate."""
    lines = [title, "  offered/s  served/s  refused  failed   p50, ms   p99, ms  memory, MB"]
    for one, memory in found:
        status = one.answers.status
        refused, failed = int((status == 429).sum()), int((~np.isin(status, (200, 429))).sum())
        lines.append(
            f"  {one.rate_per_s:9,}  {one.served_per_s:8,.0f}  {refused:7,}  {failed:6,}  "
            f"{one.latency_ms(50):8.2f}  {one.latency_ms(99):8.2f}  {memory:10.0f}"
        )
    return lines


def overload(folder: Path, seconds: float) -> list[str]:
    """Ten times what a model of known cost can serve."""
    command = (*SERVE, "bench.toml", "--port", "0", "--json", "--no-drift")
    path = "/v2/models/bench/infer"
    found = measured(command, folder, path, (OVERLOAD_PER_S // 10, OVERLOAD_PER_S), seconds)
    answers = found[-1][0].answers
    refused = answers.status == 429
    late_ms = (answers.done_ns - answers.sent_ns)[refused] / 1e6
    within = float((answers.latency_ns[answers.good] <= SLO_MS * 1e6).mean())
    lines = table("a model that serves 200 requests/s, at its limit and at ten times that", found)
    told = (
        f"  accepted within {SLO_MS:.0f} ms: {100 * within:.2f} %; the rest told so within "
        f"{np.percentile(late_ms, 50):.2f} ms (median), {np.percentile(late_ms, 99):.2f} ms (p99)"
    )
    return [*lines, told]


def main(seconds: float = SECONDS) -> None:
    """Measure and print."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench.toml").write_text(SCENARIO)
        null = (*SERVE, "bench.toml", "--model", "null", "--capacity", "5000", "--port", "0",
                "--json", "--no-drift")  # fmt: skip
        for title, command, path in (
            ("the bare stack", BARE, "/"),
            ("a model that answers at once", null, "/v2/models/bench/infer"),
        ):
            found = measured(command, folder, path, RATES_PER_S, seconds)
            print("\n".join(table(title, found)), flush=True)
        print("\n".join(overload(folder, seconds)))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
