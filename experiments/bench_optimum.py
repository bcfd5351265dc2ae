"""How long the best possible rule takes to find, measured: rows of ``make bench``."""

from __future__ import annotations

import time
from statistics import median

CASES = ((32, 0.3, 0.5), (32, 0.6, 0.5), (32, 0.9, 0.5), (128, 0.9, 1.0))
"""Largest batch, load, and the target in seconds."""


def optimum_time() -> list[tuple[str, str, str]]:
    """Seconds until the optimal table of ``S(k) = 2 + 0.35 k`` is known."""
    from sim.theory_batch import largest_rate, linear_service
    from sim.theory_smdp import solve_optimum

    rows = []
    for largest, load, target in CASES:
        service = linear_service(2.0, 0.35, largest)
        rate = load * largest_rate(service)
        spent = []
        for _ in range(6):  # the first one warms up
            began = time.perf_counter()
            states = solve_optimum(rate, service).states
            spent.append(time.perf_counter() - began)
        name = f"optimal rule, batches up to {largest}, load {load}"
        measured = f"{median(spent[1:]):.3f} s ({states} states)"
        rows.append((name, f"< {target:g} s", measured))
    return rows
