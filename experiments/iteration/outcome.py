"""One rule on one scenario of tokens, and how two of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sim.intervals import Difference, Estimate
from sim.iteration.curves import TokenCurves
from sim.iteration.measures import Targets, TokenMeasures
from sim.iteration.metrics import paired_difference


@dataclass(frozen=True)
class TokenOutcome:
    """One rule on one scenario."""

    policy: str
    parameters: Mapping[str, Any]
    """Kind and numbers, as a scenario file writes them."""
    measures: TokenMeasures
    targets: tuple[Targets, ...]
    """What each tier is promised."""
    curves: TokenCurves | None = None
    """A few hundred points for figures."""

    @property
    def stable(self) -> bool:
        """Whether it can serve what arrives."""
        return self.measures.stable

    @property
    def promised(self) -> bool:
        """Whether any tier has objectives."""
        return any(each.any for each in self.targets)

    @property
    def kept(self) -> bool:
        """Whether every tier's share of requests within its objectives is what was promised."""
        for tier, each in zip(self.measures.tiers, self.targets, strict=True):
            if not each.any:
                continue
            share = tier.rates["slo_attainment"].value
            if share is None or 100.0 * share < each.percent:
                return False
        return self.stable

    def estimate(self, statistic: str, tier: str | None = None) -> Estimate:
        """A number with its interval, as ``ttft_ms.p99`` or ``output_tokens_per_s``."""
        return self.measures.estimates(tier)[statistic]

    def value(self, statistic: str, tier: str | None = None) -> float | None:
        """A number without its interval; None where it was refused or does not exist."""
        found = self.measures.estimates(tier).get(statistic)
        return None if found is None else found.value

    def to_dict(self) -> dict[str, Any]:
        """The rule's part of ``result.json``."""
        return {"parameters": dict(self.parameters), **self.measures.to_json()}


class TokenGap(NamedTuple):
    """One rule against another on the same arrivals, lengths and noise: ``policy - against``."""

    policy: str
    against: str
    statistic: str
    found: Difference


def columns(outcome: TokenOutcome, tier: str | None = None) -> dict[str, Any]:
    """An outcome as one row: ``ttft_ms_p99``, ``ttft_ms_p99_low``, ``busy``, ..."""
    group = outcome.measures.group(tier)
    row: dict[str, Any] = {
        name: getattr(group, name) for name in ("requests", "served", "rejected", "unfinished")
    }
    for name, found in outcome.measures.estimates(tier).items():
        ends = (("", found.value), ("_low", found.low), ("_high", found.high))
        flat = name.replace(".", "_")
        row |= {f"{flat}{end}": math.nan if value is None else value for end, value in ends}
    return row | {
        "stable": outcome.stable,
        "saturation_per_s": outcome.measures.saturation_per_s,
    }


def judged_by(outcomes: Sequence[TokenOutcome]) -> str:
    """The statistic that rules are compared by: goodput where something is promised."""
    return "goodput_per_s" if any(o.promised for o in outcomes) else "latency_ms.mean"


def ranked(outcomes: Sequence[TokenOutcome]) -> list[TokenOutcome]:
    """Stable rules, the best first: most goodput, or least mean latency; the first of equals."""
    statistic = judged_by(outcomes)
    sign = -1.0 if statistic == "goodput_per_s" else 1.0
    known = [
        (sign * value, place, outcome)
        for place, outcome in enumerate(outcomes)
        if outcome.stable and (value := outcome.value(statistic)) is not None
    ]
    return [outcome for _, _, outcome in sorted(known, key=lambda row: row[:2])]


def ties(outcomes: Sequence[TokenOutcome]) -> tuple[str, ...]:
    """The best rule and those that cannot be told from it, compared on the same arrivals.

    Where goodput ties, the lowest mean latency of those goes first.
    """
    order = ranked(outcomes)
    if not order:
        return ()
    statistic = judged_by(outcomes)
    tied = [
        o
        for o in order
        if o is order[0]
        or paired_difference(o.measures, order[0].measures, statistic).verdict == "tie"
    ]
    if statistic == "goodput_per_s":
        tied.sort(key=lambda o: (not o.kept, o.value("latency_ms.mean") or math.inf))
    return tuple(o.policy for o in tied)
