"""What ``capacity`` found: the largest rate of each rule, and how many replicas a rate needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.capacities import RateGap, largest
from experiments.capacity_rate import Limit
from experiments.fleet import Fleet
from experiments.plain import dumps, plain

from .capacity_rate import Check, Promise
from .outcome import TokenOutcome
from .saturation import Saturation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class Share(NamedTuple):
    """The share of a tier's requests that kept their targets, with its interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Course:
    """Shares against the rate, as far as rates were run."""

    rates: tuple[float, ...] = ()
    """Increasing."""
    shares: Mapping[str, tuple[Share, ...]] | None = None
    """By tier."""

    @classmethod
    def of(cls, checks: Mapping[float, Check]) -> Course:
        """What the search saw."""
        rates = tuple(sorted(checks))
        names = [one.target.name for one in checks[rates[0]].tiers] if rates else []
        shares = {
            name: tuple(_share(checks[rate], place) for rate in rates)
            for place, name in enumerate(names)
        }
        return cls(rates, shares)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        shares = self.shares or {}
        return {
            "rates_per_s": list(self.rates),
            "within_targets": {n: [one._asdict() for one in each] for n, each in shares.items()},
        }


def _share(found: Check, place: int) -> Share:
    missed = found.tiers[place].missed
    low, high = (None if end is None else 1.0 - end for end in (missed.high, missed.low))
    return Share(1.0 - (missed.value or 0.0), low, high)


@dataclass(frozen=True)
class TokenCapacity:
    """One rule."""

    policy: str
    parameters: Mapping[str, Any]
    """Kind and numbers, as a scenario file writes them."""
    limit: Limit
    most: Saturation
    """What it serves at most."""
    limited_by: str = "saturation"
    """``ttft``, ``tpot`` or ``latency`` where a target ends its rates; empty where none is kept."""
    outcome: TokenOutcome | None = None
    """Every number at the limit; None where no rate keeps what is promised, or nothing is."""
    course: Course = Course()
    fleet: Fleet | None = None
    """How many replicas the given rate needs; None where no rate was given."""

    @property
    def value(self) -> float | None:
        """The largest rate, in requests per second."""
        return self.limit.value

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens per second there."""
        if self.outcome is None or not self.outcome.stable:
            return self.most.tokens.value if self.limit.bound == "stability" else None
        return self.outcome.value("output_tokens_per_s")

    def to_dict(self) -> dict[str, Any]:
        """The rule's part of ``result.json``."""
        limit = self.limit
        return {
            "parameters": dict(self.parameters),
            "capacity_per_s": {"value": limit.value, "low": limit.low, "high": limit.high},
            "bound": {"slo": "targets", "stability": "saturation"}.get(limit.bound, limit.bound),
            "limited_by": self.limited_by,
            "tier": limit.tier,
            "needs_requests": limit.needs,
            "saturation_per_s": self.most.requests.to_json(),
            "saturation_tokens_per_s": self.most.tokens.to_json(),
            "tokens_per_s": self.tokens_per_s,
            "at_capacity": None if self.outcome is None else self.outcome.to_dict(),
            "course": self.course.to_dict(),
            "replicas": None if self.fleet is None else _fleet(self.fleet),
        }


def _fleet(found: Fleet) -> dict[str, Any]:
    """A fleet of replicas as plain data."""
    return {
        "rate_per_s": found.rate_per_s,
        "replicas": found.servers,
        "least": found.least,
        "most": found.most,
        "split": "evenly at random",
    }


@dataclass(frozen=True, repr=False)
class TokenCapacities:
    """The largest rate of every rule, on the same arrivals, lengths and noise."""

    scenario: Mapping[str, Any]
    """Name, hash, offered rate, requests, replications, seeds, service and targets."""
    promises: tuple[Promise, ...]
    """The tiers that are promised something."""
    capacities: tuple[TokenCapacity, ...]
    differences: tuple[RateGap, ...] = ()
    """Against the rule with the largest rate."""
    rate_per_s: float | None = None
    """The rate that replicas were counted for."""
    verdict: str = ""
    seconds: float = 0.0
    interrupted: bool = False

    def of(self, policy: str) -> TokenCapacity:
        """What was found for a rule, by name."""
        for found in self.capacities:
            if found.policy == policy:
                return found
        names = ", ".join(found.policy for found in self.capacities)
        raise KeyError(f"no policy {policy!r}: there are {names}")

    @property
    def best(self) -> str | None:
        """The rule with the largest rate; the first of equals; None where there is none."""
        return largest(self.capacities)  # type: ignore[arg-type]

    @property
    def tied(self) -> tuple[str, ...]:
        """Rules that cannot be told from the best, the best included and first."""
        best = self.best
        return () if best is None else (best, *(gap.policy for gap in self.differences if gap.tie))

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            "kind": "iterations-capacity",
            "scenario": plain(self.scenario),
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "rate_per_s": self.rate_per_s,
            "policies": {one.policy: plain(one.to_dict()) for one in self.capacities},
            "best": self.best,
            "tied_with_best": list(self.tied),
            "differences": [
                {
                    "policy": gap.policy,
                    "against": gap.against,
                    "measure": "capacity_per_s",
                    "value": gap.per_s.value,
                    "low": gap.per_s.low,
                    "high": gap.per_s.high,
                    "verdict": gap.per_s.verdict,
                }
                for gap in self.differences
            ],
            "interrupted": self.interrupted,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a rule; intervals are columns that end in ``_low`` and ``_high``."""
        import pandas as pd

        rows = [
            {
                "policy": one.policy,
                "capacity_per_s": _number(one.limit.value),
                "capacity_per_s_low": _number(one.limit.low),
                "capacity_per_s_high": _number(one.limit.high),
                "saturation_per_s": _number(one.most.requests.value),
                "tokens_per_s": _number(one.tokens_per_s),
                "limited_by": one.limited_by,
                **({} if one.fleet is None else {"replicas": one.fleet.servers}),
            }
            for one in self.capacities
        ]
        return pd.DataFrame(rows).set_index("policy")

    def plot(self) -> list[Axes]:
        """Shares within the targets against the rate; without targets what is served at most."""
        from .capacity_plots import drawn

        return drawn(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from experiments.views import table

        from .capacity_words import HEAD, cells

        return table(HEAD, [cells(self, one) for one in self.capacities], self.verdict)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
