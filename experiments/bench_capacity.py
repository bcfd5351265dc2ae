"""What the project promises about the speed of ``capacity``, measured for the bench."""

from __future__ import annotations

import time

from .parallel import nothing


def capacity_time() -> list[tuple[str, str, str]]:
    """`capacity bert`: all policies in threads, and the runs that each took; compiled before."""
    from .capacity import capacity
    from .config import load_scenario

    scenario = load_scenario("bert")
    capacity(scenario, progress=nothing)
    began = time.perf_counter()
    found = capacity(scenario)
    spent = time.perf_counter() - began
    runs = [one.limit.runs for one in found.capacities]
    mean = sum(runs) / len(runs)
    began = time.perf_counter()
    capacity(scenario, rate_per_s=6000.0)
    with_servers = time.perf_counter() - began
    name = f"capacity bert, {len(runs)} policies"
    return [
        (f"{name} x 200,000", "< 5 s", f"{spent:.1f} s"),
        ("runs of a policy, mean and most", "< 15, < 25", f"{mean:.1f}, {max(runs)}"),
        (f"{name}, and servers for 6,000/s", "< 10 s", f"{with_servers:.1f} s"),
    ]
