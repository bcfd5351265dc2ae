"""Latency against load, as a comparison shows it: the same arrivals, played faster and slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.backlog import beginning, places_of
from sim.backlog import paced as faster
from sim.sealed_limit import follows_rate
from sim.sequences import at_pace as sequences_at_pace
from sim.sequences import ended
from sim.stability import Driver, Stability, assess
from sim.workload import Workload

from .config import Scenario
from .contest import Draw, Entrant, about, judge
from .outcome import Outcome
from .parallel import Progress, in_threads
from .results import Step, Sweep
from .verdict import sweep_verdict

LOAD = "workload.arrivals.load"

CURVE_LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Loads of the curve in a comparison: denser where latency rises steeply."""

CURVE_REQUESTS = 120_000
"""Requests at each load of that curve: just above what a p99 needs."""

GLIMPSE = 2_000
"""Requests at a load at which a policy is unstable."""


def load_curve_of(
    scenario: Scenario,
    contest: Sequence[tuple[Entrant, Outcome]],
    draw: Draw,
    run: Driver,
    progress: Progress,
) -> Sweep:
    """Latency against load, by playing the first arrivals faster and slower.

    A policy's saturation does not depend on the pace, but where its batches follow it, so it is
    taken from the full run; where that makes it unstable, no latency will be given and a glimpse is
    enough.
    """
    workload, service = draw
    load = scenario.load
    assert load is not None
    short = first_requests(workload, CURVE_REQUESTS)
    glimpse = first_requests(workload, GLIMPSE)
    paced = {x: (at_pace(short, x / load), at_pace(glimpse, x / load)) for x in CURVE_LOADS}

    def one(place: tuple[float, Entrant, Outcome]) -> Outcome:
        x, entrant, full = place
        found = at_other_rate(full.measures.stability, x / (full.measures.load or load))
        if found is not None and follows_rate(entrant.policy):
            found = assess(entrant.policy, paced[x][0], service, run)
        enough = found is None or found.stable
        draws = [(paced[x][0 if enough else 1], service)]
        return judge(entrant, draws, scenario, run, load=x, stability=found, curves=False)

    places = [(x, entrant, full) for x in CURVE_LOADS for entrant, full in contest]
    names = [f"load {x:g}, {entrant.name}" for x, entrant, _ in places]
    outcomes = in_threads(one, places, names, progress)
    width = len(contest)
    steps = tuple(
        Step({LOAD: x}, tuple(outcomes[i * width : (i + 1) * width]), x)
        for i, x in enumerate(CURVE_LOADS)
    )
    found = Sweep(about(scenario, [(short, service)]), (LOAD,), steps)
    return replace(found, verdict=sweep_verdict(found))


def at_other_rate(found: Stability | None, factor: float) -> Stability | None:
    """Stability when the same requests arrive ``factor`` times as fast."""
    if found is None or found.rate_per_s is None or found.saturation_per_s is None:
        return found
    return Stability.judged(found.rate_per_s * factor, found.saturation_per_s, found)


def first_requests(workload: Workload, count: int) -> Workload:
    """The first requests of an open workload, and as much of its backlogs as they last."""
    if places_of(workload.tiers):
        return beginning(workload, count)
    kept = workload.sequences
    return replace(
        workload,
        length=workload.length[:count],
        sequences=None if kept is None else ended(kept, count),
        arrival_ns=workload.arrival_ns[:count],
        tier=workload.tier[:count],
        timeout_ns=workload.timeout_ns[:count],
    )


def at_pace(workload: Workload, factor: float) -> Workload:
    """The same arrivals, ``factor`` times as fast, and as much of its backlogs as they last.

    Sequences begin so much faster; their own requests keep their gaps.
    """
    if places_of(workload.tiers):
        return faster(workload, factor)
    if workload.sequences is not None:
        arrival_ns, sequences, order = sequences_at_pace(
            workload.arrival_ns, workload.sequences, factor
        )
        length = workload.length[order]
        return replace(workload, arrival_ns=arrival_ns, length=length, sequences=sequences)
    paced = np.rint(workload.arrival_ns / factor).astype(np.int64)
    return replace(workload, arrival_ns=paced)
