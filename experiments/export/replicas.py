"""How the servers of a run stand together, and what each tier brings: facts for exporters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.units import ns_to_ms
from policies.contract import NEVER

if TYPE_CHECKING:
    from .setting import Costs

KIND = "kind"


@dataclass(frozen=True)
class Replicas:
    """The table ``service.cluster`` of a run; without one all servers share one queue."""

    count: int
    """Replicas at most."""
    router: Mapping[str, Any] | None = None
    """Its table, with ``kind``: every replica has a queue of its own; None: they share one."""
    instances: int = 1
    """Batches that a replica runs at a time."""
    instances_per_gpu: int = 1
    others: tuple[tuple[str, int], ...] = ()
    """Profiles of other GPUs, with their replicas; these come last."""
    profile: str = ""
    """The profile of the first replicas, where there are others."""
    scaler: Any = None
    """A bound rule of :data:`policies.autoscalers.AUTOSCALERS`; None: all are always there."""
    scaled_by: str | None = None
    """The name of that rule."""
    initial: int = 0
    """Replicas at the start of a scaled run."""
    cold_start_ns: int = 0
    on_failure: str | None = None
    """``retry`` or ``lose``; None where no replica fails."""

    @property
    def routed_by(self) -> str | None:
        """The kind of the router; None where there is no choice."""
        if self.router is None or self.count == 1:
            return None
        return str(self.router[KIND])

    @property
    def gpus(self) -> str:
        """Which GPUs the replicas have: ``6 of A, 2 of B``."""
        first = self.count - sum(many for _, many in self.others)
        each = [(self.profile, first), *self.others]
        return ", ".join(f"{many} of {profile}" for profile, many in each)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "replicas": self.count,
            "router": None if self.router is None else dict(self.router),
            "instances": self.instances,
            "instances_per_gpu": self.instances_per_gpu,
            "others": [{"profile": profile, "replicas": many} for profile, many in self.others],
            "autoscaler": self._scaler_table(),
            "initial_replicas": self.initial if self.scaler is not None else None,
            "cold_start_ms": ns_to_ms(self.cold_start_ns),
            "on_failure": self.on_failure,
        }

    def _scaler_table(self) -> dict[str, Any] | None:
        """The rule with all its numbers, as a scenario file writes them."""
        if self.scaler is None:
            return None
        table: dict[str, Any] = {KIND: self.scaled_by}
        for name, value in self.scaler._asdict().items():
            timed = name.endswith("_ns")
            table[f"{name[:-3]}_ms" if timed else name] = ns_to_ms(value) if timed else value
        return table


class TierTraffic(NamedTuple):
    """What the requests of one tier bring, and what they may."""

    rate_per_s: float | None = None
    """Offered; None in a closed loop, and for a backlog that is always there."""
    backlog: bool = False
    capacity: int | None = None
    """How many of the tier may wait; None without a limit of its own."""
    timeout_ns: int | None = None
    """How long each may wait; None without a limit, or where patience is drawn."""
    costs: Costs | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        timeout_ns = self.timeout_ns
        return {
            "rate_per_s": self.rate_per_s,
            "backlog": self.backlog,
            "capacity": self.capacity,
            "timeout_ms": None if timeout_ns in (None, NEVER) else ns_to_ms(int(timeout_ns)),
        }
