"""What the project promises about speed and memory, measured: ``make bench``.

Each row is a target and what this machine did; ratios are taken within one run.  Nothing here is a
test: a shared machine may be slow, a ratio rarely is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from rich.console import Console
from rich.table import Table

from .bench_capacity import capacity_time
from .bench_cluster import cluster_speed
from .bench_iteration import iteration_speed
from .bench_live import live_overhead
from .bench_optimum import optimum_time
from .bench_tune import tune_time

PEAK = """
import resource
from experiments.compare import simulate
from experiments.config import load_scenario
simulate(load_scenario("bert", ["workload.requests=10000000"]), "greedy")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""

CACHED = """
import json, time
began = time.perf_counter()
from experiments.compare import simulate
from experiments.config import load_scenario
from policies import Greedy
from sim.compiled import compiled
simulate(load_scenario("bert", ["workload.requests=20000"]), "greedy")
stats = compiled(Greedy).stats
print(json.dumps([time.perf_counter() - began, len(stats.cache_hits), len(stats.cache_misses)]))
"""

SIX = ("static", "greedy", "size_or_timeout", "length_bucketed", "snap", "balanced_cap")

COMPARE = f"""
import time
began = time.perf_counter()
from experiments.compare import compare
from experiments.config import load_scenario
scenario = load_scenario("bert", ["workload.requests=1000000"])
compare(scenario, {SIX!r}, load_curve=False)
print(time.perf_counter() - began)
"""


def main() -> None:
    """Measure every target and print a table."""
    table = Table("what", "target", "measured", title="batchwright bench")
    for measure in (
        kernel_speed, lanes_speed, cluster_speed, iteration_speed, help_time, compare_time,
        peak_memory, cache_hit, optimum_time, capacity_time, live_overhead, tune_time,
    ):  # fmt: skip
        for row in measure():
            table.add_row(*row)
    Console().print(table)


def seconds(action: Callable[[], object], times: int = 5) -> float:
    """Median wall-clock time of an action after one warm-up."""
    action()
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        spent.append(time.perf_counter() - began)
    return median(spent)


def kernel_speed() -> list[tuple[str, str, str]]:
    """Kernel on `bert` with noise and interpolation, one lane; and against the SimPy model."""
    from policies import Greedy
    from sim import kernel, model

    from .config import load_scenario

    big = load_scenario("bert", ["workload.requests=2000000"]).draw()
    small = load_scenario("bert", ["workload.requests=20000"]).draw()
    fast = 2_000_000 / seconds(lambda: kernel.run(Greedy(), *big))
    slow = 20_000 / seconds(lambda: model.run(Greedy(), *small), times=3)
    return [
        ("kernel, bert, noise, one lane", ">= 5 M requests/s", f"{fast / 1e6:.1f} M requests/s"),
        ("kernel against SimPy model", ">= 100 times", f"{fast / slow:.0f} times"),
    ]


def lanes_speed() -> list[tuple[str, str, str]]:
    """Kernel with 8 length buckets and 4 servers, at three loads."""
    import numpy as np

    from policies import LengthBucketed
    from sim import kernel

    from .config import load_scenario

    rule = LengthBucketed(
        boundaries=np.array([60, 120, 180, 240, 300, 360, 420, 512]),
        max_batch_size=np.array([32]),
        max_wait_ns=np.array([0]),
    )
    rows = []
    for load in (0.3, 0.6, 0.9):
        settings = [
            "workload.requests=1000000",
            f"workload.arrivals={{ process = 'poisson', load = {load} }}",
            "service.servers=4",
        ]
        drawn = load_scenario("bert", settings).draw()
        speed = 1_000_000 / seconds(partial(kernel.run, rule, *drawn), times=3)
        name = f"kernel, 8 lanes, 4 servers, load {load}"
        rows.append((name, ">= 2 M requests/s", f"{speed / 1e6:.1f} M requests/s"))
    return rows


def child(code: str, **environment: str) -> str:
    """What a fresh Python process prints last."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1]


def help_time() -> list[tuple[str, str, str]]:
    """The whole process `batchwright --help`."""
    command = [sys.executable, "-c", "from experiments.cli import main; main()", "--help"]
    spent = seconds(lambda: subprocess.run(command, check=True, capture_output=True))  # noqa: S603
    return [("batchwright --help", "< 0.5 s", f"{spent:.2f} s")]


def compare_time() -> list[tuple[str, str, str]]:
    """Six policies on a million requests, in a process of its own: first run, and afterwards."""
    with tempfile.TemporaryDirectory() as empty:
        first = float(child(COMPARE, BATCHWRIGHT_CACHE=empty))
        again = float(child(COMPARE, BATCHWRIGHT_CACHE=empty))
    return [
        ("compare 6 x 1,000,000, nothing compiled", "< 30 s", f"{first:.1f} s"),
        ("compare 6 x 1,000,000, compiled", "< 10 s", f"{again:.1f} s"),
    ]


def peak_memory() -> list[tuple[str, str, str]]:
    """One policy, ten million requests, measured and summarised."""
    return [("10,000,000 requests, peak memory", "< 2 GiB", f"{float(child(PEAK)):.2f} GiB")]


def cache_hit() -> list[tuple[str, str, str]]:
    """Whether a second process compiles anything."""
    child(CACHED)
    spent, hits, misses = json.loads(child(CACHED))
    found = f"{hits} found, {misses} compiled, {spent:.1f} s in all"
    return [("second process", "1 found, 0 compiled", found)]


if __name__ == "__main__":
    main()
