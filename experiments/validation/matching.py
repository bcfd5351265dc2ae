"""From the accepted windows of one policy at one load to its :class:`Match`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray, Policy
from profiles.noise import NoiseTable
from sim.service import Service
from sim.workload import Workload

from .cells import Cell, Curves, Match
from .luck import Luck
from .predict import CORRECTED, Forecast, drift_of, predicted, quantiles, replayed
from .summary import STATISTICS, TIERED, Distance, Summary, distance, summary_of
from .windows import Window

SLOWER = 0.05
"""A drift as it is seen between minutes, by which sensitivity is tried."""
DIGITS = 6
"""Significant digits of the points of a curve."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What every match shares."""

    service: Service
    """Calibrated, without noise."""
    jitter: NoiseTable
    luck: Sequence[Luck]
    """The replications, without their drift."""
    drifts: Sequence[float]
    engine: str


@dataclass(frozen=True, eq=False)
class Held:
    """A window with what was simulated for it."""

    live: Summary
    replay: Summary
    shared_batches: float
    drift: float
    corrected: Forecast


class Ran(NamedTuple):
    """A window, and what its policy was bound to."""

    window: Window
    service: Service
    """Calibrated, as far as it was known when the window ran."""


def matched(policy: Policy, workload: Workload, windows: Sequence[Ran], setup: Setup) -> Match:
    """Hold the windows against replay, prediction and drift-corrected prediction.

    Args:
        policy: not bound.
        workload: what all these windows replayed.
        windows: accepted, of one policy and load, at least one.
        setup: the calibration, and the luck of the replications.
    """
    levels = [one.window.condition.level for one in windows]
    luck = [
        one.slowed(drift * levels[number % len(levels)])
        for number, (one, drift) in enumerate(zip(setup.luck, setup.drifts, strict=True))
    ]
    forecast = predicted(policy, workload, setup.service, luck, setup.engine)
    held = [_held(policy, workload, one, setup) for one in windows]
    name, load = windows[0].window.policy, windows[0].window.load
    return Match(
        load,
        name,
        tuple(_cell(load, name, statistic, held, forecast) for statistic in STATISTICS),
        drift=tuple(one.drift for one in held),
        shared_batches=tuple(one.shared_batches for one in held),
        replay_distance=tuple(_apart(one.live, one.replay.latency_ms) for one in held),
        a_priori_distance=tuple(_apart(one.live, forecast.pooled_ms) for one in held),
        live_distance=tuple(_apart(a.live, b.live.latency_ms) for a, b in combinations(held, 2)),
        sensitivity=_sensitivity(policy, workload, setup),
        curves=_curves(held, forecast),
        tier_cells=tuple(
            _cell(load, name, statistic, held, forecast, tier.name)
            for tier in workload.tiers
            if tier.name in forecast.tiers
            for statistic in (("throughput_per_s",) if tier.backlog else TIERED)
        ),
    )


def _sensitivity(policy: Policy, workload: Workload, setup: Setup) -> float:
    """How the predicted mean follows a drift, on the same luck."""
    means = []
    for drift in (1.0, 1.0 + SLOWER):
        luck = [one.slowed(drift) for one in setup.luck[:CORRECTED]]
        found = predicted(policy, workload, setup.service, luck, setup.engine)
        means.append(found.point("mean"))
    return (means[1] / means[0] - 1.0) / SLOWER


def _held(policy: Policy, workload: Workload, ran: Ran, setup: Setup) -> Held:
    live = ran.window.trace
    replay = replayed(policy, workload, ran.service, live, ran.window.late_ns)
    drift = drift_of(live, setup.service, setup.jitter)
    luck = [one.slowed(drift) for one in setup.luck[:CORRECTED]]
    return Held(
        summary_of(live),
        summary_of(replay.trace),
        replay.shared_batches,
        drift,
        predicted(policy, workload, setup.service, luck, setup.engine),
    )


def _cell(
    load: float | None,
    policy: str,
    statistic: str,
    held: Sequence[Held],
    forecast: Forecast,
    tier: str | None = None,
) -> Cell:
    low, high = forecast.interval(statistic, tier)
    return Cell(
        load,
        policy,
        statistic,
        live=tuple(one.live.of(tier)[statistic] for one in held),
        replay=tuple(one.replay.of(tier)[statistic] for one in held),
        predicted=forecast.point(statistic, tier),
        low=low,
        high=high,
        corrected=tuple(one.corrected.point(statistic, tier) for one in held),
        tier=tier,
    )


def _apart(live: Summary, other_ms: FloatArray) -> Distance:
    return distance(live.latency_ms, other_ms)


def _curves(held: Sequence[Held], forecast: Forecast) -> Curves:
    low, middle, high = np.quantile(forecast.latency_ms, (0.05, 0.5, 0.95), axis=0)
    width = forecast.batch_share.shape[1]
    live = [np.pad(one.live.batch_share, (0, width))[:width] for one in held]
    return Curves(
        live=tuple(_kept(quantiles(one.live.latency_ms)) for one in held),
        predicted=_kept(middle),
        low=_kept(low),
        high=_kept(high),
        batches_live=_kept(np.mean(live, axis=0)),
        batches_predicted=_kept(forecast.batch_share.mean(axis=0)),
    )


def _kept(values: FloatArray) -> tuple[float, ...]:
    return tuple(rounded(value) for value in values.tolist())


def rounded(value: float) -> float:
    """With so many significant digits as a curve needs."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else math.nan
