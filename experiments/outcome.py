"""One policy on one scenario, and how two of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sim.intervals import Difference, Estimate
from sim.measures import Group, Measures
from sim.metrics import paired_difference
from sim.trace import STATUS_NAMES

from .curves import Curves


@dataclass(frozen=True)
class Outcome:
    """One policy on one scenario."""

    policy: str
    parameters: Mapping[str, Any]
    """Kind and tuned numbers, as a scenario file writes them."""
    measures: Measures
    """Every number, overall and by tier."""
    curves: Curves
    baseline: bool = False
    """Added by the comparison, not asked for by the scenario."""
    slo_ms: float | None = None
    """Latency target of the most urgent tier that has one."""
    slo_percentile: float = 99.0

    @property
    def stable(self) -> bool:
        """Whether it can serve what arrives, as far as that was found out."""
        found = self.measures.stability
        return found is None or bool(found.stable)

    @property
    def counts(self) -> Group:
        """The numbers of all requests."""
        return self.measures.overall

    @property
    def slo_met(self) -> bool:
        """Whether the share of requests within their target is what the SLO asks for."""
        attained = self.value("slo_attainment")
        return attained is not None and attained >= self.slo_percentile / 100

    def estimate(self, statistic: str) -> Estimate:
        """A number with its interval, as ``latency_ms.p99`` or ``utilisation``."""
        return self.counts.estimates()[statistic]

    def value(self, statistic: str) -> float | None:
        """A number without its interval; None where it was refused or does not exist."""
        found = self.counts.estimates().get(statistic)
        return None if found is None else found.value

    def to_dict(self) -> dict[str, Any]:
        """The policy's part of ``result.json``."""
        return {
            "parameters": dict(self.parameters),
            "baseline": self.baseline,
            **self.measures.to_json(),
        }


class Gap(NamedTuple):
    """One policy against another on the same arrivals, lengths and noise: ``policy - against``."""

    policy: str
    against: str
    measure: str
    """``mean`` or ``p99`` of latency, in ms."""
    ms: Difference

    @property
    def tie(self) -> bool:
        """The interval holds zero."""
        return self.ms.verdict == "tie"


def columns(outcome: Outcome, group: Group | None = None) -> dict[str, Any]:
    """An outcome as one row: ``latency_ms_p99``, ``latency_ms_p99_low``, ``utilisation``, ...

    Args:
        outcome: of a policy.
        group: the tier that the row is about; by default all requests.
    """
    counted = outcome.counts if group is None else group
    row: dict[str, Any] = {name: getattr(counted, name) for name in ("requests", *STATUS_NAMES)}
    for name, found in counted.estimates().items():
        column = name.replace(".", "_")
        ends = (("", found.value), ("_low", found.low), ("_high", found.high))
        row |= {f"{column}{end}": math.nan if value is None else value for end, value in ends}
    return row | {"load": outcome.measures.load, "stable": outcome.stable}


def judged_by(outcomes: Sequence[Outcome]) -> str:
    """``p99`` where every stable policy has one, else ``mean``."""
    steady = [o for o in outcomes if o.stable]
    known = all(o.value("latency_ms.p99") is not None for o in steady)
    return "p99" if known else "mean"


def best_of(outcomes: Sequence[Outcome]) -> str | None:
    """The stable policy with the lowest p99, or mean where p99 is unknown; the first of equals."""
    measure = judged_by(outcomes)
    ranked = [
        (value, place)
        for place, o in enumerate(outcomes)
        if o.stable and (value := o.value(f"latency_ms.{measure}")) is not None
    ]
    return outcomes[min(ranked)[1]].policy if ranked else None


def leaders(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The best policy and those that tie with it, compared on the same arrivals; the best first."""
    best = best_of(outcomes)
    if best is None:
        return ()
    statistic = f"latency_ms.{judged_by(outcomes)}"
    first = next(o for o in outcomes if o.policy == best)
    ties = [
        o.policy
        for o in outcomes
        if o.policy != best
        and o.stable
        and paired_difference(o.measures, first.measures, statistic).verdict == "tie"
    ]
    return (best, *ties)
