"""Numbers of ``result.json`` as people read them: estimates with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.wording import hundred, signed, with_interval
from sim.intervals import Difference, Estimate

Facts = Mapping[str, Any]

NOTHING = Estimate(None, None, None, 0)

SHARES = (
    *("utilisation", "useful_fraction", "padding_waste", "slo_attainment", "share_of_bound"),
    *("slot_utilisation", "waited", "overtaking"),
)
"""Statistics that are written in per cent."""

STATISTICS = {
    "throughput_per_s": "throughput, /s",
    "goodput_per_s": "goodput, /s",
    "slo_attainment": "within the SLO, %",
    "utilisation": "busy, %",
    "useful_fraction": "useful, %",
    "mean_batch_size": "mean batch",
    "padding_waste": "padding, %",
    "mean_number_in_system": "requests in the system",
    "share_of_bound": "of the bound, %",
}
"""Heads by statistic."""

PERCENTILES = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9"}
"""Of latencies and waits, as they are written."""

COUNTS = ("requests", "served", "rejected", "expired", "unfinished", "lost")
"""What becomes of requests."""


def estimate(found: Facts | None) -> Estimate:
    """An estimate again, of ``{value, low, high}`` or ``{value: null, needs: n}``."""
    if found is None:
        return NOTHING
    return Estimate(
        found["value"], found.get("low"), found.get("high"), 0, found.get("needs"),
        found.get("reason") or "",
    )  # fmt: skip


def statistic(found: Facts, name: str) -> Estimate:
    """One of an outcome, as ``latency_ms.p99`` or ``utilisation``; shares in per cent."""
    table, _, key = name.partition(".")
    if key:
        return estimate(found[table].get(key))
    one = estimate(found["intervals"].get(name))
    return one.scaled(100.0) if name in SHARES else one


def text(found: Estimate) -> str:
    """``14.62 ± 0.08``, ``needs 112k``, ``unstable`` or a dash."""
    return "unstable" if found.reason.startswith("unstable") else with_interval(found)


def difference(found: Facts) -> str:
    """``+3.6 ± 0.2`` or ``tie``."""
    verdict = found["verdict"]
    return signed(Difference(found["value"], found["low"], found["high"], 0, None, verdict))


def count(value: float | None) -> str:
    """``12,000``, or a dash."""
    return "-" if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """In per cent without the sign."""
    return hundred(value)


def rate(value: float | None) -> str:
    """Per second: four digits, whole numbers from 1000 on."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
