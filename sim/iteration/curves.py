"""A few hundred points of a run for figures: distributions, and what happened over time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray
from sim.sections import WARM_UP
from sim.series import Curve, ecdf

from .trace import TokenTrace

POINTS = 400


class Over(NamedTuple):
    """Means over equal stretches of time."""

    time_s: FloatArray
    """float64 (points,): middle of each stretch."""
    sequences: FloatArray
    """In the batch."""
    waiting: FloatArray
    memory: FloatArray
    """Share of the blocks that is held."""
    prefill: FloatArray
    """Tokens of prompts an iteration."""


class TokenCurves(NamedTuple):
    """What figures are drawn from."""

    ttft_ms: Curve
    tpot_ms: Curve
    latency_ms: Curve
    over: Over


def curves_of(trace: TokenTrace) -> TokenCurves:
    """Distributions of the served requests after the warm-up, and all of the run over time."""
    first = int(WARM_UP * len(trace))
    kept = np.flatnonzero(trace.served)
    kept = kept[kept >= first]
    arrival = trace.arrival_ns[kept]
    begin = trace.instant_ns(trace.token_step[trace.offset[kept]])
    last = trace.instant_ns(trace.token_step[trace.offset[kept + 1] - 1])
    answer = trace.instant_ns(trace.finished[kept])
    several = trace.output[kept] > 1
    tpot = (last - begin)[several] / (trace.output[kept][several] - 1)
    return TokenCurves(
        ttft_ms=ecdf((begin - arrival) / 1e6, POINTS),
        tpot_ms=ecdf(tpot / 1e6, POINTS),
        latency_ms=ecdf((answer - arrival) / 1e6, POINTS),
        over=over_time(trace),
    )


def over_time(trace: TokenTrace, points: int = POINTS) -> Over:
    """Means over equal stretches, each iteration weighted with how long it took."""
    steps = trace.steps
    if len(steps) == 0:
        nothing = np.zeros(0)
        return Over(nothing, nothing, nothing, nothing, nothing)
    edges = np.linspace(int(steps["start_ns"][0]), int(steps["finish_ns"][-1]), points + 1)
    spent = (steps["finish_ns"] - steps["start_ns"]).astype(np.float64)

    def mean(values: FloatArray, weight: FloatArray) -> FloatArray:
        top, _ = np.histogram(steps["start_ns"], edges, weights=values * weight)
        bottom, _ = np.histogram(steps["start_ns"], edges, weights=weight)
        found: FloatArray = np.divide(top, bottom, out=np.zeros(points), where=bottom > 0)
        return found

    width = np.diff(edges)
    busy, _ = np.histogram(steps["start_ns"], edges, weights=spent)
    share = np.minimum(busy / width, 1.0)
    return Over(
        (edges[:-1] + edges[1:]) / 2e9,
        mean(steps["running"].astype(np.float64), spent) * share,
        mean(steps["waiting"].astype(np.float64), spent) * share,
        mean(steps["blocks"] / trace.blocks, spent) * share,
        mean(steps["prefill"].astype(np.float64), np.ones(len(steps))),
    )
