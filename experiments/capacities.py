"""What ``capacity`` found: the largest rate of each policy, and how many servers a rate needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sim.intervals import Difference, Verdict, paired

from .capacity_rate import Limit
from .fleet import Fleet
from .lateness import Target
from .outcome import Outcome
from .plain import dumps, plain

if TYPE_CHECKING:
    import pandas as pd

    from .plots_capacity import CapacityPlots


@dataclass(frozen=True)
class Capacity:
    """One policy."""

    policy: str
    parameters: Mapping[str, Any]
    """Kind and tuned numbers, as a scenario file writes them."""
    limit: Limit
    outcome: Outcome | None = None
    """Every number at the limit; None where no rate meets the SLOs."""
    fleet: Fleet | None = None
    """How many servers the given rate needs; None where no rate was given."""
    fleet_outcome: Outcome | None = None
    """Every number at the given rate with that many servers."""
    baseline: bool = False

    @property
    def value(self) -> float | None:
        """The largest rate that meets the SLOs, in requests per second."""
        return self.limit.value

    def to_dict(self) -> dict[str, Any]:
        """The policy's part of ``result.json``."""
        fleet = None if self.fleet is None else self.fleet.to_dict()
        return {
            "parameters": dict(self.parameters),
            "baseline": self.baseline,
            "capacity_per_s": self.limit.to_dict(),
            "at_capacity": None if self.outcome is None else self.outcome.to_dict(),
            "servers": fleet,
            "with_servers": None if self.fleet_outcome is None else self.fleet_outcome.to_dict(),
        }


class RateGap(NamedTuple):
    """How much more one policy takes than another on the same arrivals: ``policy - against``."""

    policy: str
    against: str
    per_s: Difference

    @property
    def tie(self) -> bool:
        """The interval holds zero."""
        return self.per_s.verdict == "tie"


@dataclass(frozen=True, repr=False)
class Capacities:
    """The largest rate of every policy, on the same arrivals, lengths and noise."""

    scenario: Mapping[str, Any]
    """Name, hash, load, offered rate, requests, replications, seeds and profile."""
    targets: tuple[Target, ...]
    """The SLOs."""
    rate_max_per_s: float
    """The largest possible rate: every batch of the best size, and no padding."""
    capacities: tuple[Capacity, ...]
    differences: tuple[RateGap, ...] = ()
    """Against the policy with the largest rate."""
    rate_per_s: float | None = None
    """The rate that servers were counted for."""
    verdict: str = ""
    seconds: float = 0.0
    engine: str = "kernel"
    interrupted: bool = False

    def of(self, policy: str) -> Capacity:
        """What was found for a policy, by name."""
        for found in self.capacities:
            if found.policy == policy:
                return found
        names = ", ".join(found.policy for found in self.capacities)
        raise KeyError(f"no policy {policy!r}: there are {names}")

    @property
    def best(self) -> str | None:
        """The policy with the largest rate; the first of equals; None where no rate meets."""
        return largest(self.capacities)

    @property
    def tied(self) -> tuple[str, ...]:
        """Policies that cannot be told from the best, the best included and first."""
        best = self.best
        return () if best is None else (best, *(gap.policy for gap in self.differences if gap.tie))

    def share(self, found: Capacity) -> float | None:
        """A policy's rate as a share of the largest possible one."""
        return None if found.value is None else found.value / self.rate_max_per_s

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "slos": [
                {"tier": one.name, "percentile": one.percentile, "ms": one.slo_ns / 1e6}
                for one in self.targets
            ],
            "rate_max_per_s": self.rate_max_per_s,
            "rate_per_s": self.rate_per_s,
            "policies": {
                one.policy: plain({**one.to_dict(), "share_of_possible": self.share(one)})
                for one in self.capacities
            },
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
        """One row a policy; intervals are columns that end in ``_low`` and ``_high``."""
        import pandas as pd

        rows = [{"policy": one.policy, **self._columns(one)} for one in self.capacities]
        return pd.DataFrame(rows).set_index("policy")

    def _columns(self, one: Capacity) -> dict[str, Any]:
        limit = one.limit
        busy = None if one.outcome is None else one.outcome.value("utilisation")
        row = {
            "capacity_per_s": limit.value,
            "capacity_per_s_low": limit.low,
            "capacity_per_s_high": limit.high,
            "from_per_s": limit.from_per_s,
            "saturation_per_s": limit.saturation_per_s,
            "share_of_possible": self.share(one),
            "tail_ms": limit.tail_ms,
            "utilisation": busy,
        }
        numbers = {key: math.nan if value is None else value for key, value in row.items()}
        servers = {} if one.fleet is None else {"servers": one.fleet.servers}
        return {**numbers, "bound": limit.bound, "tier": limit.tier, **servers}

    @property
    def plot(self) -> CapacityPlots:
        """Figures: ``rates``."""
        from .plots_capacity import CapacityPlots

        return CapacityPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .capacity_words import HEAD, cells
        from .views import table

        return table(HEAD, [cells(self, one) for one in self.capacities], self.verdict)


def largest(found: Sequence[Capacity]) -> str | None:
    """The policy with the largest rate; the first of equals."""
    ranked = [(-one.value, place) for place, one in enumerate(found) if one.value is not None]
    return found[min(ranked)[1]].policy if ranked else None


def rate_gaps(found: Sequence[Capacity]) -> tuple[RateGap, ...]:
    """Every other policy that meets the SLOs at some rate, against the best."""
    best = next((one for one in found if one.policy == largest(found)), None)
    if best is None:
        return ()
    return tuple(
        RateGap(one.policy, best.policy, rate_difference(one.limit, best.limit))
        for one in found
        if one is not best and one.value is not None
    )


def rate_difference(first: Limit, second: Limit) -> Difference:
    """How two limits on the same arrivals differ.

    Section by section where both have sections (common random numbers), otherwise from the
    intervals of both; widened by the tolerance of the search, which no pairing removes.
    """
    one, other = ends(first), ends(second)
    value = one.value - other.value
    low, high = one.low - other.high, one.high - other.low
    if first.sections and second.sections:
        gap = paired(first.estimate, second.estimate)
        low, high = gap.low or 0.0, gap.high or 0.0
    if one != other:
        slack = (first.tolerance * one.value + second.tolerance * other.value) / 2.0
        low, high = low - slack, high + slack
    verdict: Verdict = "lower" if high < 0.0 else "higher" if low > 0.0 else "tie"
    return Difference(value, low, high, 0, None, verdict)


class Ends(NamedTuple):
    """A rate and its interval."""

    value: float
    low: float
    high: float


def ends(limit: Limit) -> Ends:
    """Those of a limit that has a value."""
    assert limit.value is not None, "a limit without a value has no difference"
    assert limit.low is not None, "a value has an interval"
    assert limit.high is not None, "a value has an interval"
    return Ends(limit.value, limit.low, limit.high)
