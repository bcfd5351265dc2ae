"""Why is p99 high, and what should I change?  ``diagnose("recommender")``, ``diagnose(trace)``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from policies.contract import Policy
from sim.service import Service
from sim.trace import Trace

from .diagnosis.diagnosis import Diagnosis, diagnosed
from .diagnosis.errors import DiagnosisError
from .diagnosis.opened import Asked, opened
from .diagnosis.seen import seen_of

if TYPE_CHECKING:
    from .parallel import Progress
    from .scenario import Scenario


def diagnose(
    source: Trace | Scenario | str | Path,
    service: Service | None = None,
    policy: Policy | str | None = None,
    *,
    slo_ms: float | None = None,
    percentile: float | None = None,
    tier: str | None = None,
    subject: str = "trace",
    progress: Progress | None = None,
) -> Diagnosis:
    """Diagnose a simulated or live run, or a scenario.  :func:`diagnose_log` takes a log.

    Args:
        source: what happened; or a scenario, loaded, or the name or path to load, which is run.
        service: what the batches of a trace should take; its noise does not matter.  By default a
            table is fitted to the trace.
        policy: the rule that made the batches of a trace; by default it is inferred.  Of a scenario
            the name of a policy, by default the first.
        slo_ms: the target of the percentile; by default that of the judged tier, if it has one.
        percentile: by default that of the judged tier, 99.
        tier: the tier to judge; by default the most urgent one with a target.
        subject: what a trace is called.
        progress: told what is being done.

    Raises:
        DiagnosisError: there are too few requests, no such tier, or the arguments are for a trace
            and the source is none, or the other way round.
        ScenarioError: the scenario is wrong, or has no such policy.
    """
    if isinstance(source, Trace):
        if isinstance(policy, str):
            raise DiagnosisError(
                f"policy = {policy!r}: of a trace must be a policy, as policies.Greedy(8), "
                "since a trace has no names"
            )
        asked = Asked(service, policy, _ns(slo_ms), percentile, tier)
        return diagnosed(subject, opened(seen_of(source), asked), progress)
    if service is not None or not (policy is None or isinstance(policy, str)):
        raise DiagnosisError(
            "service and policies of your own go with a trace; of a scenario, which has both, give "
            "the name of a policy"
        )
    from .contest import as_scenario

    return diagnose_scenario(
        as_scenario(source), policy, slo_ms=slo_ms, percentile=percentile, tier=tier,
        progress=progress,
    )  # fmt: skip


def diagnose_scenario(
    scenario: Scenario,
    policy: str | None = None,
    *,
    slo_ms: float | None = None,
    percentile: float | None = None,
    tier: str | None = None,
    subject: str = "",
    progress: Progress | None = None,
) -> Diagnosis:
    """Run a scenario's policy and diagnose it.

    Args:
        scenario: loaded.
        policy: a policy of the scenario or a baseline; by default the first.
        slo_ms: as :func:`diagnose`.
        percentile: as :func:`diagnose`.
        tier: as :func:`diagnose`.
        subject: what the run is called.
        progress: told what is being done.

    Raises:
        DiagnosisError: there are too few requests, or no such tier.
        ScenarioError: no such policy.
    """
    from sim.kernel import run

    from .contest import entrants

    (entrant,) = entrants(scenario, [policy or next(iter(scenario.policies))], baselines=False)
    workload, service = scenario.draw()
    trace = run(entrant.policy, workload, service)
    arrived = len(trace)
    asked = Asked(
        service, entrant.policy, _ns(slo_ms), percentile, tier,
        timeout_ns=workload.timeout_ns[:arrived], closed=workload.closed,
        until_ns=workload.until_ns,
    )  # fmt: skip
    name = subject or f"{scenario.name}, policy {entrant.name}"
    return diagnosed(name, opened(seen_of(trace), asked), progress)


def diagnose_log(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    unit: str = "s",
    service: Service | None = None,
    policy: Policy | None = None,
    slo_ms: float | None = None,
    percentile: float | None = None,
    tier: str | None = None,
    largest_batch: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Diagnose a service by its own log.

    Args:
        path: a CSV file, one line a request; see :mod:`experiments.diagnosis.log`.
        columns: names of its columns by what they hold, as ``{"arrival": "t_in"}``.
        unit: of times whose column does not end in one: ``s``, ``ms``, ``us`` or ``ns``.
        service: as :func:`diagnose`.
        policy: as :func:`diagnose`.
        slo_ms: as :func:`diagnose`.
        percentile: as :func:`diagnose`.
        tier: as :func:`diagnose`.
        largest_batch: the largest batch that fits; by default that is not known.
        progress: told what is being done.

    Raises:
        DiagnosisError: the log is wrong, or too short.
    """
    from .diagnosis.log import read_log

    seen = read_log(path, columns, unit)
    asked = Asked(service, policy, _ns(slo_ms), percentile, tier, largest_batch)
    return diagnosed(str(path), opened(seen, asked), progress)


def _ns(slo_ms: float | None) -> int | None:
    return None if slo_ms is None else int(np.rint(slo_ms * 1e6))
