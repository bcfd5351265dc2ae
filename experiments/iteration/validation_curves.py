"""Distributions of a live window and of its prediction, as a few points each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.validation.summary import SHARES
from policies.contract import FloatArray
from sim.iteration.trace import TokenTrace

from .validation_windows import times_of

TIMES = ("ttft", "latency")
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True, eq=False)
class Curves:
    """How many requests are how slow, of one rule at one load; ms at the shares of ``SHARES``."""

    load: float
    rule: str
    which: str
    """One of :data:`TIMES`."""
    live: FloatArray
    """float64 (windows, shares)"""
    low: FloatArray
    """float64 (shares,): the 5th percentile of the replications, and below median and 95th."""
    predicted: FloatArray
    high: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Plain data, to four figures."""
        return {
            "load": self.load,
            "policy": self.rule,
            "which": self.which,
            **{name: _short(getattr(self, name)) for name in ("live", "low", "predicted", "high")},
        }


def curves_of(
    load: float, rule: str, live: Sequence[TokenTrace], simulated: Sequence[TokenTrace]
) -> list[Curves]:
    """Of the time to the first token, and of latency."""
    found = []
    for place, which in enumerate(TIMES):
        measured = np.array([_quantiles(trace, place) for trace in live])
        runs = np.array([_quantiles(trace, place) for trace in simulated])
        low, middle, high = np.quantile(runs, (LOW, 0.5, HIGH), axis=0)
        found.append(Curves(load, rule, which, measured, low, middle, high))
    return found


def _quantiles(trace: TokenTrace, place: int) -> FloatArray:
    values = times_of(trace)[place]
    found: FloatArray = np.quantile(values, SHARES) if len(values) else np.full(len(SHARES), np.nan)
    return found


def _short(values: FloatArray) -> Any:
    """With four figures."""
    if values.ndim > 1:
        return [_short(row) for row in values]
    return [float(f"{value:.4g}") for value in values]
