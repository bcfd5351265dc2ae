"""The numbers of one policy: for all requests and for each tier, as objects, JSON and frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .intervals import Estimate
from .replica_use import ReplicaUse
from .sequence_measures import SequenceMeasures
from .stability import Stability
from .stage_measures import StageMeasures
from .trace import STATUS_NAMES

if TYPE_CHECKING:
    import pandas as pd

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""The percentiles of latency and wait."""

RATES = (
    "throughput_per_s",
    "goodput_per_s",
    "slo_attainment",
    "utilisation",
    "useful_fraction",
    "mean_batch_size",
    "padding_waste",
    "mean_number_in_system",
)
"""The names of the estimates of a group that are single numbers."""

SERVED_SHARE = "served_share"
"""The name of the estimate of how many are served; tables of all estimates have the counts."""

OF_BACKLOG = ("bound_per_s", "share_of_bound")
"""The names of those that only a backlog has."""


@dataclass(frozen=True)
class Group:
    """The numbers of one tier, or of all requests."""

    name: str
    requests: int
    served: int
    rejected: int
    expired: int
    unfinished: int
    lost: int
    """With replicas that failed."""
    latency_ms: dict[str, Estimate]
    """``mean`` and the percentiles, ``SHARES`` unless others were asked for."""
    wait_ms: dict[str, Estimate]
    throughput_per_s: Estimate
    """Requests that finish per second."""
    goodput_per_s: Estimate
    """Requests that finish within the SLO of their tier per second."""
    slo_attainment: Estimate | None
    """None where no tier of the group has an SLO."""
    utilisation: Estimate
    """Share of the servers' time in which they are busy: high at any load under a greedy rule."""
    useful_fraction: Estimate
    """Unpadded work at the best measured batch size, over the servers' time."""
    mean_batch_size: Estimate
    padding_waste: Estimate
    """Share of the padded lengths that is padding, up to the profile's shortest length included."""
    mean_number_in_system: Estimate
    bound_per_s: Estimate | None = None
    """Of a backlog: requests like those it finished that the capacity which the others leave could
    serve per second, :mod:`sim.spare_capacity`."""
    share_of_bound: Estimate | None = None
    """Of a backlog: the share of that capacity that it got, throughput over bound."""
    forming_ms: dict[str, Estimate] | None = None
    """Where batches were sealed before a server was free: the wait until its batch was."""
    sealed_ms: dict[str, Estimate] | None = None
    """The wait of the sealed batch for a server; the mean waits add up."""
    served_share: Estimate | None = None
    """Share of the requests that were served; None of a backlog that is always there."""

    def estimate(self, statistic: str) -> Estimate:
        """One estimate by its name, such as ``latency_ms.p99`` or ``goodput_per_s``."""
        known = self.estimates()
        if self.served_share is not None:
            known[SERVED_SHARE] = self.served_share
        if statistic not in known:
            raise ValueError(f"`{statistic}` is not measured for `{self.name}`: {list(known)}")
        return known[statistic]

    def estimates(self) -> dict[str, Estimate]:
        """Every estimate of the group by its name, such as ``latency_ms.p99``."""
        named = {
            f"{table}.{key}": one
            for table, found in self._tables().items()
            for key, one in found.items()
        }
        rates = {name: getattr(self, name) for name in (*RATES, *OF_BACKLOG)}
        return named | {name: one for name, one in rates.items() if one is not None}

    def _tables(self) -> dict[str, dict[str, Estimate]]:
        """Those that have a mean and percentiles, by name."""
        parts = {"forming_ms": self.forming_ms, "sealed_ms": self.sealed_ms}
        there = {name: found for name, found in parts.items() if found is not None}
        return {"latency_ms": self.latency_ms, "wait_ms": self.wait_ms, **there}

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON; intervals of the single numbers stand under ``intervals``."""
        counts = {name: getattr(self, name) for name in ("requests", *STATUS_NAMES)}
        tables = {
            table: {key: one.to_json() for key, one in found.items()}
            for table, found in self._tables().items()
        }
        rates = {name: getattr(self, name) for name in RATES}
        for name in OF_BACKLOG:
            if (found := getattr(self, name)) is not None:
                rates[name] = found
        return {
            **counts,
            **tables,
            **{name: None if one is None else one.value for name, one in rates.items()},
            "intervals": {name: one.to_json() for name, one in rates.items() if one is not None},
        }


@dataclass(frozen=True)
class Measures:
    """What one policy did: overall and by tier."""

    overall: Group
    tiers: tuple[Group, ...]
    load: float | None = None
    """Useful work that arrives over the servers' time, see :func:`sim.stability.load`."""
    stability: Stability | None = None
    warnings: tuple[str, ...] = ()
    stages: StageMeasures | None = None
    """The CPU stages, and where latency is spent; None where there are none."""
    replicas: ReplicaUse | None = None
    """How the replicas of a cluster are used; None where the service is none."""
    sequences: SequenceMeasures | None = None
    """Sequences and the slots that hold them; None where requests belong to none."""

    @property
    def stable(self) -> bool | None:
        """Whether the policy can serve what arrives; None where nobody found out."""
        return None if self.stability is None else self.stability.stable

    def group(self, tier: str | None = None) -> Group:
        """The numbers of a tier by its name, or of all requests."""
        groups = {group.name: group for group in self.tiers}
        if tier is not None and tier not in groups:
            raise ValueError(f"no tier is named `{tier}`; the tiers are {list(groups)}")
        return self.overall if tier is None else groups[tier]

    def to_json(self) -> dict[str, Any]:
        """The numbers of all requests, and under ``tiers`` those of each tier."""
        common = {"load": self.load, "stable": self.stable}
        return {
            **self.overall.to_json(),
            **common,
            "stability": None if self.stability is None else self.stability.message,
            "warnings": list(self.warnings),
            "tiers": {group.name: {**group.to_json(), **common} for group in self.tiers},
            **({} if self.stages is None else {"stages": self.stages.to_json()}),
            **({} if self.replicas is None else {"replicas": self.replicas.to_json()}),
            **({} if self.sequences is None else {"sequences": self.sequences.to_json()}),
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per tier and statistic: ``value, low, high, n, needs``."""
        import pandas as pd

        rows = []
        for group in (self.overall, *self.tiers):
            for name, one in group.estimates().items():
                rows.append((group.name, name, one.value, one.low, one.high, one.n, one.needs))
        columns = ["tier", "statistic", "value", "low", "high", "n", "needs"]
        frame = pd.DataFrame(rows, columns=columns).set_index(["tier", "statistic"])
        return frame.astype({"value": float, "low": float, "high": float, "needs": "Int64"})
