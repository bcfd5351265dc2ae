"""From calibrating calls to a scenario that can run live: its profile, its loads, its caps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.assemble import assembled
from experiments.config import ScenarioError
from experiments.overrides import apply_override, parse_override
from experiments.resolve import KeyedError
from experiments.scenario import Scenario
from experiments.schema import Spec
from experiments.tables import content
from policies.contract import FloatArray, IntArray, Policy
from profiles.latency import Metadata, Samples, from_samples
from sim.replay import Replay

from .calibration import Calibration
from .idling import fitted_idling
from .rig import Pace, Trip

REQUESTS_LEAST = 50
"""In a window; fewer say nothing of a percentile."""


def calibration_of(
    trips: Sequence[Trip], scenario: Scenario, about: Mapping[str, Any], kinds: tuple[int, ...] = ()
) -> Calibration:
    """The profiles of calibrating calls, and how blocks and servers differ.

    Args:
        trips: the calls.
        scenario: what is validated.
        about: what the servers say of themselves.
        kinds: which profile each server has; empty: all the same.
    """
    columns = np.array(trips, dtype=np.int64).T
    size, length, block, start_ns, took_ns, idle_ns, server = columns
    kind = np.array(kinds, dtype=np.int64)[server] if kinds else np.zeros_like(server)
    _, shape = np.unique(np.stack((size, length, kind)), axis=1, return_inverse=True)
    idling = fitted_idling(shape, took_ns, idle_ns)
    took_ns = np.maximum(1, took_ns - np.rint(idling.costs_ns(idle_ns)).astype(np.int64))
    unit = scenario.workload.length_unit or "tokens"
    metadata = Metadata(
        model=str(about.get("model", "not stated")),
        device=str(about.get("device_name", "not stated")),
        precision=str(about.get("precision", "not stated")),
        framework=str(about.get("framework", "not stated")),
        timed="wall clock of the scheduler: to the server's process, the call, and back",
        licence="not stated",
        command="batchwright validate",
    )
    profiles, ratio = [], np.ones(len(took_ns))
    for each in np.unique(kind).tolist():
        name, own = f"{scenario.name}-calibrated" + f"-{each + 1}" * (each > 0), kind == each
        samples = Samples(size[own], length[own], start_ns[own] - start_ns[0], took_ns[own])
        profile = from_samples(name, samples, unit, metadata)
        rows = np.searchsorted(profile.batch_size, size[own])
        cells = np.searchsorted(profile.length, length[own])
        ratio[own] = took_ns[own] / profile.latency_ns[rows, cells]
        profiles.append(profile)
    several = scenario.servers > 1
    first, *others = profiles
    return Calibration(
        first,
        _means(ratio, block),
        idling,
        _means(ratio, server) if several else (),
        _errors(ratio, server) if several else (),
        tuple(others),
        kinds,
    )


def _means(ratio: FloatArray, group: IntArray) -> tuple[float, ...]:
    """The mean of each group over that of all."""
    usual = float(np.mean(ratio))
    return tuple(float(np.mean(ratio[group == each])) / usual for each in np.unique(group))


def _errors(ratio: FloatArray, group: IntArray) -> tuple[float, ...]:
    """The standard error of each group's mean over that of all; inf where it has one value."""
    usual = float(np.mean(ratio))
    own = [ratio[group == each] / usual for each in np.unique(group)]
    return tuple(
        float(np.std(one, ddof=1) / np.sqrt(len(one))) if len(one) > 1 else float("inf")
        for one in own
    )


def ratios_of(trips: Sequence[Trip], calibration: Calibration) -> list[float]:
    """What batches of one took, each over its calibrated time."""
    usual = np.ones(len(trips))
    for place, trip in enumerate(trips):
        profile = calibration.profiles[calibration.kinds[trip.server] if calibration.kinds else 0]
        usual[place] = np.interp(trip.length, profile.length, profile.latency_ns[0])
    expected_ns = usual + calibration.idling.costs_ns(
        np.array([trip.idle_ns for trip in trips], dtype=np.int64)
    )
    return [trip.took_ns / float(ns) for trip, ns in zip(trips, expected_ns, strict=True)]


def calibrated(
    scenario: Scenario, saved: Sequence[Path], load: float | None, window_ns: int
) -> Scenario:
    """The scenario with a profile in place of its service, at a load, as long as a window.

    Args:
        scenario: as it was loaded.
        saved: where the calibrated profiles were saved.
        load: share of the largest possible rate; None: as the scenario has it.
        window_ns: how long requests arrive.

    Raises:
        ScenarioError: its arrivals have no load.
    """
    arrivals = scenario.spec.workload.arrivals
    if load is not None and not hasattr(arrivals, "load"):
        own = "tiers have arrivals of their own"
        why = own if arrivals is None else "clients wait for answers"
        raise ScenarioError(
            f"scenario {scenario.name} has no load to set, since its {why}; leave --load out"
        )
    plain = content(scenario.spec)
    # policies were held to its memory when the scenario was read
    for key in ("model", "noise", "latency", "drift", "memory"):
        plain["service"].pop(key, None)
    plain["service"]["profile"] = str(saved[0].resolve())
    for group, path in zip((plain["service"].get("cluster") or {}).get("others", ()), saved[1:],
                           strict=True):  # fmt: skip
        group["profile"] = str(path.resolve())
    # those that run are given apart; the others may want larger batches than were calibrated
    plain["policies"] = {"greedy": {"kind": "greedy"}}
    plain.pop("tune", None)
    if _needs_no_lengths(scenario):
        plain["workload"]["lengths"] = {"constant": 1}
    if load is not None:
        apply_override(plain, parse_override(f"workload.arrivals.load={load}"))
    try:
        here = assembled(Spec.model_validate(plain), scenario.path)
    except KeyedError as error:
        raise ScenarioError(f"{scenario.path.name} on the calibrated device: {error}") from error
    requests = max(REQUESTS_LEAST, round(rate_per_s(here) * window_ns / 1e9))
    if isinstance(here.workload.arrivals, Replay):
        requests = min(requests, len(here.workload.arrivals))
    workload = replace(here.workload, requests=requests, duration_ns=None)
    return replace(here, workload=workload)


def pace_of(
    scenario: Scenario, loads: Sequence[float], pool: IntArray, rng: np.random.Generator
) -> Pace:
    """How long a server is idle before a call, so that what idling costs can be told.

    Half of the times not at all, as between batches that follow one another, and half of them as
    long as between requests at the lowest load.

    Args:
        scenario: says how many arrive.
        loads: of the windows; empty: the scenario's own.
        pool: int64 (N,), lengths of requests.
        rng: draws the idle times and the lengths.
    """
    rate = scenario.rate_max_per_s * min(loads) if loads else rate_per_s(scenario)
    return Pace(pool, 0.5, scenario.servers * 1e9 / rate, rng)


def longest_of(scenario: Scenario) -> int:
    """The longest length that a request can have, after ``over_length``."""
    workload = scenario.workload
    longest = max(workload.lengths_of(tier).pmf().longest for tier in workload.tiers)
    return min(longest, int(scenario.length_edges[-1]))


def _needs_no_lengths(scenario: Scenario) -> bool:
    """Whether nothing gives lengths, since the scenario's model asks for none."""
    table, arrivals = scenario.spec.workload, scenario.workload.arrivals
    recorded = isinstance(arrivals, Replay) and arrivals.length is not None
    own = any(tier.lengths is not None for tier in table.tiers or ())
    return table.lengths is None and not own and not recorded


def rate_per_s(scenario: Scenario) -> float:
    """Requests per second; of a closed loop what its clients can ask for and its servers do."""
    offered, closed = scenario.offered_rate_per_s, scenario.workload.closed
    if offered is not None:
        return offered
    assert closed is not None, "only closed loops have no rate"
    alone_ns = closed.think_ns + float(scenario.service_ns[0, 0].mean())
    return min(scenario.rate_max_per_s, closed.clients * 1e9 / alone_ns)


def cap_of(policies: Iterable[Policy], largest: int) -> int:
    """The largest batch that any of the policies can fire."""
    caps = []
    for policy in policies:
        given = [np.atleast_1d(getattr(policy, key)) for key in ("batch_size", "max_batch_size")
                 if hasattr(policy, key)]  # fmt: skip
        most = max((int(value.max()) for value in given if value.size), default=0)
        caps.append(min(most, largest) if most else largest)
    return max(caps)
