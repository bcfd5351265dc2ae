"""What is read only when somebody asks for metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .drift import SIGNALS, Drift
from .driver import Driver
from .meters import Meters


def show(meters: Meters, driver: Driver, ready: Callable[[], bool]) -> None:
    """Queue, servers, and whether new requests are wanted."""
    station, watch = driver.desk.station, meters.watch
    for place, tier in enumerate(meters.tiers):
        watch(
            "queue_depth", "Requests that wait.", partial(_waiting, driver, place), tier=tier.name
        )
    watch("queue_capacity", "Requests that may wait.", lambda: float(station.service.capacity))
    watch("requests_in_service", "Requests that run.", lambda: float(station.in_service))
    watch("ready", "Whether new requests are wanted.", lambda: float(ready()))
    watch("policy_changes", "Policies since the first one.", lambda: float(driver.changes))
    watch(
        "serving_rate_per_second",
        "Requests that the servers serve while they are busy.",
        lambda: driver.rate_per_s,
    )


def show_drift(meters: Meters, drift: Drift) -> None:
    """Whether life is as predicted, and how far off it is."""
    for signal in SIGNALS:
        meters.watch(
            "retune",
            "1 where life has left its prediction: tune again.",
            partial(_alarm, drift, signal),
            signal=signal,
        )
        meters.watch(
            "drift_value",
            "Of the last window: requests/s, distance of lengths, service over the profile's.",
            partial(_value, drift, signal),
            signal=signal,
        )
        for edge in ("low", "usual", "high"):
            meters.watch(
                f"predicted_{edge}",
                "What the simulator expects of that value.",
                partial(_edge, drift, signal, edge),
                signal=signal,
            )


def _waiting(driver: Driver, tier: int) -> float:
    return float(sum(queue.of_tier[tier] for queue in driver.desk.station.queues))


def _alarm(drift: Drift, signal: str) -> float:
    return float(drift.alarms[signal])


def _value(drift: Drift, signal: str) -> float:
    return drift.values[signal]


def _edge(drift: Drift, signal: str, edge: str) -> float:
    return float(getattr(drift.intervals[signal], edge))


__all__ = ["show", "show_drift"]
