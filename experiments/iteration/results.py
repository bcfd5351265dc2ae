"""What a comparison of rules of continuous batching found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.plain import dumps, plain

from .outcome import TokenGap, TokenOutcome, columns, ties

if TYPE_CHECKING:
    import pandas as pd

    from .views import TokenPlots


@dataclass(frozen=True, repr=False)
class TokenComparison:
    """Several rules, or one, on the same arrivals, lengths and noise."""

    scenario: Mapping[str, Any]
    """Name, hash, offered rate, requests, replications, seeds, service and targets."""
    engine: str
    outcomes: tuple[TokenOutcome, ...]
    verdict: str
    seconds: float
    differences: tuple[TokenGap, ...] = ()
    """Against the best rule and against the first of the scenario."""
    interrupted: bool = False

    @property
    def tied(self) -> tuple[str, ...]:
        """The best rule and those that cannot be told from it; the best first."""
        return ties(self.outcomes)

    @property
    def best(self) -> str | None:
        """The stable rule with the most goodput, or the least latency where nothing is promised."""
        return self.tied[0] if self.tied else None

    def outcome(self, policy: str) -> TokenOutcome:
        """The outcome of a rule by name."""
        for outcome in self.outcomes:
            if outcome.policy == policy:
                return outcome
        raise KeyError(
            f"no policy {policy!r}: there are {', '.join(o.policy for o in self.outcomes)}"
        )

    def difference(self, policy: str, against: str, statistic: str) -> TokenGap | None:
        """One paired difference, or None where it was not computed."""
        for gap in self.differences:
            if (gap.policy, gap.against, gap.statistic) == (policy, against, statistic):
                return gap
        return None

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        return {
            "kind": "iterations",
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "best": self.best,
            "tied_with_best": list(self.tied),
            "policies": {o.policy: plain(o.to_dict()) for o in self.outcomes},
            "differences": [
                {
                    "policy": gap.policy,
                    "against": gap.against,
                    "measure": gap.statistic,
                    "value": gap.found.value,
                    "low": gap.found.low,
                    "high": gap.found.high,
                    "verdict": gap.found.verdict,
                }
                for gap in self.differences
            ],
            "interrupted": self.interrupted,
        }

    def to_frame(self, *, by_tier: bool = False) -> pd.DataFrame:
        """One row a rule; intervals are columns that end in ``_low`` and ``_high``.

        Args:
            by_tier: one row a rule and tier instead.
        """
        import pandas as pd

        if by_tier:
            apart = [
                {"policy": o.policy, "tier": tier.name, **columns(o, tier.name)}
                for o in self.outcomes
                for tier in o.measures.tiers
            ]
            return pd.DataFrame(apart).set_index(["policy", "tier"])
        rows = [{"policy": o.policy, **columns(o)} for o in self.outcomes]
        return pd.DataFrame(rows).set_index("policy")

    @property
    def plot(self) -> TokenPlots:
        """Figures: ``ttft``, ``tpot``, ``latency``, ``over_time``, ``trade_off``."""
        from .views import TokenPlots

        return TokenPlots(self)

    def __repr__(self) -> str:
        return f"<TokenComparison of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of

        return html_of(self)
