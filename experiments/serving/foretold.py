"""What the simulator expects of a server's windows: one run of it, cut into them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from experiments.scenario import Scenario
from experiments.sentences import ScenarioError
from policies.contract import FloatArray, IntArray, Policy, expected_ns
from sim import kernel
from sim.errors import WorkloadError
from sim.service import Service
from sim.trace import Trace

from .drift import TOLERANCE, WIDTH, WINDOW_NS, Expected, Interval, Window
from .outlook import Outlook, at_own_lengths

REQUESTS_MOST = 200_000
"""Of the run; it takes some seconds at most."""
WINDOWS_LEAST = 30
"""For a standard deviation; of a shorter run the windows are shorter, and vary more."""
BINS = 128


def foretold(scenario: Scenario, policy: Policy, window_ns: int = WINDOW_NS) -> Expected:
    """Run a policy on a scenario, and cut the run.

    Args:
        scenario: as it was loaded.
        policy: not bound.
        window_ns: how long live windows will be.

    Raises:
        WorkloadError: no request arrives.
        PolicyError: the policy broke the contract.
    """
    spec = scenario.workload
    if spec.requests is not None and spec.requests > REQUESTS_MOST:
        scenario = replace(scenario, workload=replace(spec, requests=REQUESTS_MOST))
    workload, service = scenario.draw()
    return expected_of(kernel.run(policy, workload, service), service, window_ns)


def outlook_of(
    scenario: Scenario, policy: Policy, service: Service, window_ns: int | None
) -> Outlook:
    """What a policy was chosen for, for a server that runs already.

    Args:
        scenario: that it was chosen for.
        policy: not bound.
        service: of the server.
        window_ns: how long its windows are; None: nobody watches them.

    Raises:
        ScenarioError: the scenario's times are of other batch sizes than the server's.
    """
    (table_ns,), most = scenario.service_ns, service.service_ns.shape[1]
    if len(table_ns) != most:
        raise ScenarioError(
            f"scenario {scenario.name} has batches of up to {len(table_ns)}, and the server was "
            f"started with up to {most}: start it again"
        )
    expected = None if window_ns is None else foretold(scenario, policy, window_ns)
    return Outlook(expected, at_own_lengths(scenario.length_edges, table_ns, service))


def expected_of(trace: Trace, service: Service, window_ns: int = WINDOW_NS) -> Expected:
    """What a run lets one expect of windows.

    Args:
        trace: of the run.
        service: what served it.
        window_ns: how long live windows will be.

    Raises:
        WorkloadError: nobody arrived.
    """
    if not len(trace):
        raise WorkloadError("nobody arrives, so nothing can be predicted")
    span_ns = int(trace.arrival_ns[-1] - trace.arrival_ns[0])
    width_ns = max(1, min(window_ns, span_ns // WINDOWS_LEAST))
    bins, below = _bins(trace.length)
    windows = _cut(trace, service, bins, width_ns)
    asked = [window for window in windows if window.requests]
    distances = [window.distance(below) * np.sqrt(window.requests) for window in asked]
    return Expected(
        arrivals=_interval([window.requests * 1e9 / width_ns for window in windows]),
        service=_interval(
            [window.took_ns / window.expected_ns for window in windows if window.batches] or [1.0]
        ),
        bins=bins,
        below=below,
        distance=float(np.mean(distances) + WIDTH * np.std(distances)),
    )


def _cut(trace: Trace, service: Service, bins: IntArray, width_ns: int) -> list[Window]:
    """The whole windows of a run; the rest of it is left out, if there is a whole one."""
    first_ns = int(trace.arrival_ns[0])
    ends_ns = np.arange(first_ns, int(trace.arrival_ns[-1]) + 1, width_ns)
    if len(ends_ns) < 2:
        ends_ns = np.array([first_ns, first_ns + width_ns])
    ran = np.flatnonzero(trace.batch_finish_ns >= 0)
    ran = ran[np.argsort(trace.batch_finish_ns[ran], kind="stable")]
    usual_ns = _usual_ns(trace, service, ran)
    took_ns = (trace.batch_finish_ns - trace.batch_start_ns)[ran]
    came = np.searchsorted(trace.arrival_ns, ends_ns).tolist()
    over = np.searchsorted(trace.batch_finish_ns[ran], ends_ns).tolist()
    windows = []
    for (first, last), (begin, end) in zip(pairwise(came), pairwise(over), strict=True):
        window = Window(bins.tolist())
        places = np.searchsorted(bins, trace.length[first:last])
        window.counts = np.bincount(places, minlength=len(bins) + 1).tolist()
        window.batches = end - begin
        window.took_ns = int(took_ns[begin:end].sum())
        window.expected_ns = int(usual_ns[begin:end].sum())
        windows.append(window)
    return windows


def _usual_ns(trace: Trace, service: Service, batches: IntArray) -> FloatArray:
    """What the profile says of batches: float64 (batches,)."""
    table_ns, edges = service.service_ns.max(axis=0), service.length_edges
    return np.array(
        [
            expected_ns(table_ns, edges, int(size), int(longest))
            for size, longest in zip(
                trace.batch_size[batches], trace.batch_longest[batches], strict=True
            )
        ],
        dtype=np.float64,
    )


def _bins(length: NDArray[np.int32]) -> tuple[IntArray, FloatArray]:
    """Upper ends of bins with about as many requests each, and the share up to each."""
    bins = np.unique(np.quantile(length, np.linspace(0, 1, BINS + 1)[1:], method="higher"))
    below = np.searchsorted(np.sort(length), bins, side="right") / len(length)
    return bins.astype(np.int64), below


def _interval(values: list[float]) -> Interval:
    usual, spread = float(np.mean(values)), float(np.std(values))
    half = max(WIDTH * spread, TOLERANCE * usual)
    return Interval(max(0.0, usual - half), usual, usual + half)


__all__ = ["expected_of", "foretold", "outlook_of"]
