"""How far policies are from the best that any rule can do, as frames.

:func:`exact_distances` needs no simulation: rules that are tables, and the optimum, are solved.
:func:`distances` holds a run against what is known of its scenario, a bound where nothing more is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.errors import WorkloadError
from sim.theory_batch import greedy_table, largest_rate, snap_table, solve_batches
from sim.theory_smdp import solve_optimum

from .demand import law_of
from .optimum import best_possible, distance, obstacle_of

if TYPE_CHECKING:
    import pandas as pd

    from policies.contract import IntArray

    from .results import Result
    from .scenario import Scenario


def rule_tables(scenario: Scenario, load: float) -> dict[str, IntArray]:
    """How many of 0, 1, 2, ... that wait are served: by the optimum, ``snap`` and ``greedy``.

    Args:
        scenario: one whose optimum is known.
        load: share of the largest possible rate.

    Raises:
        ValueError: the optimum is not known.
    """
    time_ms = _times(scenario)
    rate = load * largest_rate(time_ms)
    best = solve_optimum(rate, time_ms, noise=law_of(scenario)).take
    return {"optimal": best, "snap": snap_table(time_ms), "greedy": greedy_table(len(time_ms))}


def exact_distances(scenario: Scenario, loads: Sequence[float]) -> pd.DataFrame:
    """Mean latency of the optimum, and of rules that never wait, by load; all solved exactly.

    Args:
        scenario: one whose optimum is known: one server, Poisson arrivals, equal requests.
        loads: shares of the largest possible rate.

    Returns:
        One row a load: ``optimal_ms``, then ``snap`` and ``greedy`` as the share by which their
        mean is above it; inf where a rule cannot keep up.

    Raises:
        ValueError: the optimum is not known.
    """
    import pandas as pd

    time_ms, law = _times(scenario), law_of(scenario)
    rows = []
    for load in loads:
        rate = load * largest_rate(time_ms)
        best = solve_optimum(rate, time_ms, noise=law).mean_latency
        row = {"load": load, "optimal_ms": best}
        for name, table in rule_tables(scenario, load).items():
            if name == "optimal":
                continue
            try:
                row[name] = solve_batches(rate, time_ms, table, noise=law).mean_latency / best - 1.0
            except WorkloadError:
                row[name] = float("inf")
        rows.append(row)
    return pd.DataFrame(rows).set_index("load")


def distances(found: Result, scenario: Scenario, measure: str = "mean") -> pd.DataFrame:
    """Each stable policy of a run beside the least latency that any rule can have.

    Args:
        found: a simulation or a comparison.
        scenario: the one that was run.
        measure: ``mean`` or a percentile, as :func:`experiments.optimum.best_possible` takes it.

    Returns:
        One row a policy, the best first: ``ms``, ``low`` and ``high`` (of the run), ``floor_ms``,
        ``above`` (share above the floor), ``floor`` (its name) and ``exact`` (whether some rule
        reaches the floor).
    """
    import pandas as pd

    floor = best_possible(scenario, measure)
    rows = []
    for outcome in found.outcomes:
        estimate = outcome.estimate(f"latency_ms.{measure}")
        if not outcome.stable or estimate.value is None:
            continue
        rows.append(
            {"policy": outcome.policy, "ms": estimate.value, "low": estimate.low,
             "high": estimate.high, "floor_ms": floor.value_ms,
             "above": distance(estimate.value, floor), "floor": floor.name, "exact": floor.exact}
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("policy").sort_values("ms")


def _times(scenario: Scenario) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """float64 (largest batch,): ms of a batch, where all requests cost the same.

    Raises:
        ValueError: something stands between the scenario and its optimum.
    """
    obstacle = obstacle_of(scenario)
    if obstacle is not None:
        raise ValueError(
            f"the optimum of {scenario.name} is not known: {obstacle.reason} ({obstacle.key})"
        )
    times: np.ndarray[tuple[int], np.dtype[np.float64]] = scenario.service_ns[0, :, 0] / 1e6
    return times
