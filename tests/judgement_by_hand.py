"""What LoadGen said, set by hand."""

from __future__ import annotations

from experiments.mlperf.early_stopping import EarlyStopping, least_queries
from experiments.mlperf.judging import Judgement, Verdict


def verdict(policy="waits <5", late=3, queries=4000, load=0.5, within=(0.9993, 0.9985, 0.9999)):
    """A policy whose p99 keeps 20 ms where few are late."""
    latency = {"p50": 6.0, "p90": 11.0, "p99": 19.5 if late < 40 else 31.25}
    value, low, high = within
    return Verdict(
        policy, 800.0, load, latency, {name: ms - 0.25 for name, ms in latency.items()},
        EarlyStopping(queries, late, least_queries(late)), late < 40, late < 40,
        {"value": value, "low": low, "high": high, "needs": None},
        {"result_validity": "VALID" if late < 40 else "INVALID", "early_stopping_met": late < 40},
    )  # fmt: skip


def judgement(several=True, **more):
    """Two policies, one of them late, at one load or two."""
    verdicts = [
        verdict(), verdict("greedy", 90, within=(0.9775, 0.97, 0.985)),
        verdict("static", within=(0.991, 0.9885, 0.9935)),
    ]  # fmt: skip
    if several:
        verdicts += [verdict(load=0.7, late=0, queries=300, within=(1.0, None, None))]
    return Judgement("by-hand", "bert-tiny, 1 server", 20.0, 99.0, tuple(verdicts), **more)
