"""A live run judged: every policy at every load, from the accepted windows alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.parallel import Progress, nothing
from policies.contract import Policy
from profiles.noise import noise_table
from sim.service import Service
from sim.workload import Workload

from .calibration import Calibration
from .luck import drawn_luck, drifts
from .matching import Ran, Setup, matched
from .predict import REPLICATIONS, drift_of, drift_spread
from .result import Reading, Validation, calibration_facts
from .summary import summary_of
from .verdict import at
from .windows import Window


def judged(
    facts: Mapping[str, Any],
    policies: Mapping[str, Policy],
    workloads: Mapping[float | None, Workload],
    calibration: Calibration,
    windows: Sequence[Window],
    service: Service,
    *,
    device: Mapping[str, Any],
    replications: int = REPLICATIONS,
    seed: int = 3,
    seconds: float = 0.0,
    engine: str = "kernel",
    bound_to: Sequence[Service] | None = None,
    progress: Progress = nothing,
) -> Validation:
    """Hold the windows of a live run against the simulator.

    Args:
        facts: of the scenario, plain values.
        policies: by name, not bound.
        workloads: what all windows of a load replayed, by load.
        calibration: measured beside the windows.
        windows: all of them, rejected ones too.
        service: the calibrated one; see :meth:`Calibration.service`.
        device: what the windows ran on, plain values.
        replications: of an a-priori prediction.
        seed: of the service's noise and drift.
        seconds: how long the live run took.
        engine: ``kernel``, or ``simpy`` for rules that do not compile.
        bound_to: what the policy of each window was bound to, where the calibration went on beside
            the windows; by default ``service``.
        progress: told of each policy and load.

    Raises:
        ValueError: a window is of no known policy or load, or its requests are not the workload's.
    """
    for window in windows:
        _check(window, policies, workloads)
    services = bound_to or [service] * len(windows)
    ran = [Ran(*pair) for pair in zip(windows, services, strict=True)]
    accepted = [one for one in ran if one.window.condition.accepted]
    jitter = noise_table(calibration.profile)
    most = max((len(workload) for workload in workloads.values()), default=0)
    setup = Setup(
        service,
        jitter,
        drawn_luck(calibration, service, most, replications, seed),
        drifts(drift_spread(calibration, windows), replications, seed),
        engine,
    )
    groups = list(_groups(accepted, policies, workloads))
    matches = []
    for step, (load, name, mine) in enumerate(groups):
        progress(f"predicting {name} {at(load)}", step, len(groups))
        matches.append(matched(policies[name], workloads[load], mine, setup))
    return Validation(
        scenario=dict(facts),
        device=dict(device),
        calibration=calibration_facts(calibration, jitter),
        readings=tuple(_reading(window, setup) for window in windows),
        matches=tuple(matches),
        replications=replications,
        seconds=seconds,
    )


def _groups(
    accepted: Sequence[Ran],
    policies: Iterable[str],
    workloads: Iterable[float | None],
) -> Iterator[tuple[float | None, str, list[Ran]]]:
    """Load, policy and their windows in order of rounds, where there are any."""
    for load in workloads:
        for name in policies:
            mine = [one for one in accepted if (one.window.policy, one.window.load) == (name, load)]
            if mine:
                yield load, name, sorted(mine, key=lambda o: (o.window.round, o.window.attempt))


def _reading(window: Window, setup: Setup) -> Reading:
    """What is kept of a window, accepted or not."""
    trace = window.trace
    drift = drift_of(trace, setup.service, setup.jitter) if len(trace.batch_size) else None
    return Reading(
        window.policy,
        window.load,
        window.round,
        window.attempt,
        window.condition,
        len(trace),
        drift,
        summary_of(trace).values,
    )


def _check(
    window: Window,
    policies: Mapping[str, Policy],
    workloads: Mapping[float | None, Workload],
) -> None:
    """An accepted window has to be comparable."""
    where = f"window {window.policy}, load {window.load}, round {window.round}"
    if window.policy not in policies:
        raise ValueError(f"{where}: its policy is none of {', '.join(policies)}")
    if window.load not in workloads:
        known = ", ".join(map(str, workloads))
        raise ValueError(f"{where}: there is no workload of its load, only of {known}")
    if not window.condition.accepted:
        return
    workload, trace = workloads[window.load], window.trace
    if not len(trace.batch_size):
        raise ValueError(f"{where}: it counts, but no batch ran in it")
    if len(trace) != len(workload):
        raise ValueError(
            f"{where}: it counts, but {len(trace)} requests arrived in it and the workload has "
            f"{len(workload)}"
        )
    same = np.array_equal(trace.length, workload.length)
    if workload.closed is None:
        same = same and np.array_equal(trace.arrival_ns, workload.arrival_ns)
    if not same:
        raise ValueError(
            f"{where}: its requests are not those of the workload; arrivals must be the intended "
            "instants, and lengths in the order of arrival"
        )
