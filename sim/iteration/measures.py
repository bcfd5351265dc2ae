"""The numbers of a run of iterations as objects and JSON, and what requests are promised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from policies.contract import NEVER
from sim.intervals import Estimate

MS = 1e-6
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SPREADS = ("ttft_ms", "tpot_ms", "itl_ms", "latency_ms")
OF_GROUP = (
    *("requests_per_s", "goodput_per_s", "slo_attainment"),
    *("output_tokens_per_s", "prompt_tokens_per_s"),
)
OF_ENGINE = (
    *("busy", "mean_sequences", "mean_waiting", "memory_used", "memory_peak"),
    *("preemptions_per_request", "recomputed"),
)


class Targets(NamedTuple):
    """What a request of a tier is promised; NEVER where nothing is."""

    ttft_ns: int = NEVER
    tpot_ns: int = NEVER
    latency_ns: int = NEVER
    percent: float = 99.0
    """The share of the requests for which it has to hold."""

    @property
    def any(self) -> bool:
        """Whether something is promised."""
        return min(self.ttft_ns, self.tpot_ns, self.latency_ns) < NEVER


@dataclass(frozen=True)
class TokenGroup:
    """The numbers of one tier, or of all requests."""

    name: str
    requests: int
    served: int
    rejected: int
    unfinished: int
    spreads: dict[str, dict[str, Estimate]]
    """``ttft_ms``, ``tpot_ms``, ``itl_ms`` and ``latency_ms``: mean and percentiles."""
    rates: dict[str, Estimate]
    """Of :data:`OF_GROUP`; ``slo_attainment`` is missing where nothing is promised."""

    def estimates(self) -> dict[str, Estimate]:
        """Every estimate by its name, such as ``ttft_ms.p99`` or ``goodput_per_s``."""
        named = {f"{t}.{k}": one for t, found in self.spreads.items() for k, one in found.items()}
        return named | self.rates

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        counts = {n: getattr(self, n) for n in ("requests", "served", "rejected", "unfinished")}
        spreads = {
            table: {key: one.to_json() for key, one in found.items()}
            for table, found in self.spreads.items()
        }
        return counts | spreads | {name: one.to_json() for name, one in self.rates.items()}


@dataclass(frozen=True)
class TokenMeasures:
    """The numbers of one rule on one workload."""

    overall: TokenGroup
    tiers: tuple[TokenGroup, ...]
    engine: dict[str, Estimate]
    """Of :data:`OF_ENGINE`: shares, sequences, and preempted sequences per request."""
    saturation_per_s: float | None = None
    """Requests per second that the rule serves when they never run out."""
    stable: bool = True

    def group(self, tier: str | None = None) -> TokenGroup:
        """All requests, or a tier by name."""
        return self.overall if tier is None else next(t for t in self.tiers if t.name == tier)

    def estimates(self, tier: str | None = None) -> dict[str, Estimate]:
        """Every number by its name."""
        return self.group(tier).estimates() | self.engine

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "stable": self.stable,
            "saturation_per_s": self.saturation_per_s,
            **self.overall.to_json(),
            **{name: one.to_json() for name, one in self.engine.items()},
            "tiers": {tier.name: tier.to_json() for tier in self.tiers},
        }
