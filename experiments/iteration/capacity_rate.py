"""The largest arrival rate at which every tier keeps its promised share, from one drawn workload.

1. The same requests arrive faster and slower: every rate and every rule has the same luck.
2. ``value`` is the largest rate that was run and keeps the promises; ``low`` and ``high`` come from
   the ends of the interval of the share that misses its targets, which is taken to be symmetric in
   its logarithm (:mod:`experiments.lateness`).  Only ``low`` may be claimed.
3. No rate above saturation counts, however short the run that it would survive.
4. At low rates hardly anybody shares an iteration, and a run has as many of them as tokens: rates
   below ``SLOW`` of saturation are looked at with the first requests only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from experiments.capacity_rate import TOLERANCE, Limit, in_sections
from experiments.lateness import FEWEST, on_log_scale
from experiments.rate_search import Search
from policies.iteration.contract import Rule
from sim.intervals import Estimate, percentile_needs, ratio
from sim.iteration.measures import Targets
from sim.iteration.metrics import _Run
from sim.iteration.trace import TokenTrace
from sim.iteration.workload import TokenWorkload

from .saturation import Draw, Driver, part_of

SLOW = 0.5
"""Share of saturation below which runs are short."""

LEAST = 0.02
"""The least share of saturation that is looked at: nearly every request is alone."""

SLOW_TOKENS = 4_000_000
"""Output tokens of a short run: as many iterations, of 64 bytes each."""

TAIL = 10
"""Requests that may miss, in each section: with fewer the interval would be a guess."""

WORDS = {"ttft": "TTFT", "tpot": "TPOT", "latency": "latency"}


class Promise(NamedTuple):
    """What a tier is promised."""

    tier: int
    name: str
    targets: Targets

    @property
    def allowed(self) -> float:
        """Share of the tier's requests that may miss."""
        return 1.0 - self.targets.percent / 100.0


@dataclass(frozen=True)
class Keeping:
    """How a tier's promise was kept."""

    target: Promise
    missed: Estimate
    """Share of its requests that miss any target."""
    by: Mapping[str, float]
    """Share that misses each target that there is: ``ttft``, ``tpot``, ``latency``."""

    def excess(self, share: float | None) -> float:
        """Logarithm of a share that misses over what is allowed; negative or 0 where it may."""
        allowed = self.target.allowed
        share = 1.0 if share is None else share
        return math.log(max(share, FEWEST * allowed) / allowed)


@dataclass(frozen=True)
class Check:
    """What runs at one rate say of every tier that is promised something."""

    rate_per_s: float
    tiers: tuple[Keeping, ...]

    @property
    def point(self) -> float:
        """At most 0 where every tier keeps its promise in these runs."""
        return max(one.excess(one.missed.value) for one in self.tiers)

    @property
    def surely(self) -> float:
        """At most 0 where every tier keeps it even at the upper end of its interval."""
        return max(one.excess(one.missed.high) for one in self.tiers)

    @property
    def perhaps(self) -> float:
        """At most 0 where every tier may keep it, at the lower end of its interval."""
        return max(one.excess(one.missed.low or 0.0) for one in self.tiers)

    @property
    def worst(self) -> Keeping:
        """The tier that is nearest to its promise, or the furthest from keeping it."""
        return max(self.tiers, key=lambda one: one.excess(one.missed.value))

    @property
    def limited_by(self) -> str:
        """The target that most requests of the worst tier miss."""
        by = self.worst.by
        return max(by, key=lambda name: by[name])


def promises_of(names: Sequence[str], targets: Sequence[Targets]) -> tuple[Promise, ...]:
    """The tiers that are promised something."""
    pairs = zip(names, targets, strict=True)
    return tuple(Promise(k, name, one) for k, (name, one) in enumerate(pairs) if one.any)


def check(
    rate_per_s: float,
    traces: Sequence[TokenTrace],
    promises: Sequence[Promise],
    targets: Sequence[Targets],
    *,
    drifts: bool = False,
) -> Check:
    """Hold the replications of a run against what was promised."""
    runs = [_Run(trace, len(traces), drifts=drifts) for trace in traces]
    kept = [run.kept_promise(targets) for run in runs]
    return Check(rate_per_s, tuple(_keeping(one, runs, kept) for one in promises))


def _keeping(promise: Promise, runs: Sequence[_Run], kept: Sequence[Any]) -> Keeping:
    missed, asked = [], []
    late = dict.fromkeys(WORDS, 0)
    for run, good in zip(runs, kept, strict=True):
        own = run.trace.tier == promise.tier
        for a, b in pairwise(run.sections.ids.tolist()):
            missed.append(int((own & ~good)[a:b].sum()))
            asked.append(int(own[a:b].sum()))
        counted = own & run.trace.served
        counted[: run.sections.ids[0]] = False
        for name, spent in times_of(run).items():
            limit = getattr(promise.targets, f"{name}_ns")
            late[name] += int((spent > limit)[counted].sum())
    counts = np.array(asked)
    share = on_log_scale(ratio(np.array(missed), counts, counts, (0.0, 1.0)))
    by = {
        name: count / max(1, int(counts.sum()))
        for name, count in late.items()
        if getattr(promise.targets, f"{name}_ns") < 2**62
    }
    return Keeping(promise, share, by)


def times_of(run: _Run) -> dict[str, Any]:
    """What targets are about, of each request, in ns."""
    trace = run.trace
    return {
        "ttft": run.first_ns - trace.arrival_ns,
        "tpot": (run.last_ns - run.first_ns) / np.maximum(trace.output - 1, 1),
        "latency": run.answer_ns - trace.arrival_ns,
    }


def needed(draws: Sequence[Draw], promises: Sequence[Promise]) -> int | None:
    """Requests that a run needs; None where it has them."""
    total = sum(len(workload) for workload, _ in draws)
    needs = 0
    for one in promises:
        own = sum(int((workload.tier == one.tier).sum()) for workload, _ in draws)
        least = percentile_needs(one.targets.percent / 100.0, tail=TAIL) / 0.9
        needs = max(needs, math.ceil(least * total / max(own, 1)))
    return None if needs <= total else math.ceil(needs / 100) * 100


def at_pace(workload: TokenWorkload, factor: float) -> TokenWorkload:
    """The same arrivals, ``factor`` times as fast."""
    return replace(workload, arrival_ns=np.rint(workload.arrival_ns / factor).astype(np.int64))


def shortened(draws: Sequence[Draw], needs: int) -> list[Draw]:
    """The first requests of every replication, as many as a slow run may have."""
    tokens = sum(int(workload.output.sum()) for workload, _ in draws)
    total = sum(len(workload) for workload, _ in draws)
    share = min(1.0, max(SLOW_TOKENS / tokens, needs / total))
    return [(part_of(w, 0, math.ceil(share * len(w))), serving) for w, serving in draws]


@dataclass
class Rates:
    """Runs of one rule at any rate; each rate is run once."""

    rule: Rule
    draws: Sequence[Draw]
    run: Driver
    promises: Sequence[Promise]
    targets: Sequence[Targets]
    base_rate_per_s: float
    drifts: bool = False
    least: float = SLOW
    checks: dict[float, Check] = field(default_factory=dict)

    def traces(self, rate_per_s: float) -> list[TokenTrace]:
        """Every replication at a rate."""
        pace = rate_per_s / self.base_rate_per_s
        return [self.run(self.rule, at_pace(w, pace), serving) for w, serving in self.draws]

    def __call__(self, rate_per_s: float) -> Check:
        """What the runs at a rate say."""
        if rate_per_s not in self.checks:
            self.checks[rate_per_s] = check(
                rate_per_s,
                self.traces(rate_per_s),
                self.promises,
                self.targets,
                drifts=self.drifts,
            )
        return self.checks[rate_per_s]


def largest_rate(rates: Rates, saturation: float) -> tuple[Limit, Rates]:
    """The largest rate that keeps every promise, and the runs that it was found with."""
    needs = needed(rates.draws, rates.promises)
    if needs is not None:
        return _no_limit(saturation, "too few requests", 0, needs=needs), rates
    value, runs = None, 0
    for least in (SLOW, LEAST):
        if least < SLOW:
            enough = max(
                math.ceil(percentile_needs(one.targets.percent / 100.0, tail=TAIL) / 0.9)
                for one in rates.promises
            )
            rates = replace(rates, draws=shortened(rates.draws, enough), least=least, checks={})
        search: Any = Search(rates, saturation, TOLERANCE)  # type: ignore[arg-type]
        value = search.value()
        if value is not None:
            break
        runs += len(rates.checks)
    if value is None:
        return _no_limit(saturation, "nothing", runs), rates
    low, high = search.low(value), search.high(value)
    worst, steady = rates(value).worst, value < saturation
    known: Any = rates.checks
    about: Any = worst.target
    found = Limit(
        value,
        low,
        high,
        None,
        saturation,
        "slo" if steady else "stability",
        tier=worst.target.name if steady else None,
        runs=runs + len(rates.checks),
        sections=in_sections(value, low, high, about, known),
    )
    return found, rates


def _no_limit(saturation: float, why: Any, runs: int, needs: int | None = None) -> Limit:
    return Limit(None, None, None, None, saturation, why, needs=needs, runs=runs)
