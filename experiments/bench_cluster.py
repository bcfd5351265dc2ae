"""Targets of clusters: eight replicas with tiers, and a hundred with ten million requests."""

from __future__ import annotations

import time

from .config import load_scenario


def cluster_speed() -> list[tuple[str, str, str]]:
    """The kernel on ``cluster_8``, and on a hundred replicas of one profile behind a router."""
    rows = []
    for kind in ("snap", "greedy"):
        per_s = 1_000_000 / run_time(["workload.requests=1000000"], kind)
        name = f"kernel, cluster_8 with tiers, {kind}"
        rows.append((name, ">= 1 M requests/s", f"{per_s / 1e6:.1f} M requests/s"))
    for router in ("power_of_two", "least_loaded"):
        hundred = ["service.servers=100", f"service.cluster={{ router = '{router}' }}"]
        run_time([*hundred, "workload.requests=1000"], "snap")
        took_s = run_time([*hundred, "workload.requests=10000000"], "snap", first=False)
        name = f"100 replicas x 10 million requests, {router}"
        rows.append((name, "<= 60 s", f"{took_s:.1f} s"))
    return rows


def run_time(settings: list[str], kind: str, *, first: bool = True) -> float:
    """Seconds that the kernel needs for ``cluster_8`` with other settings.

    Args:
        settings: of the scenario.
        kind: the policy.
        first: whether to run it once before, so that it is compiled.
    """
    from sim import kernel

    scenario = load_scenario("cluster_8", settings)
    drawn = scenario.draw()
    if first:
        kernel.run(scenario.policies[kind], *drawn)
    began = time.perf_counter()
    kernel.run(scenario.policies[kind], *drawn)
    return time.perf_counter() - began
