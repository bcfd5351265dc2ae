"""A scenario made ready: everything that a run needs, of which each replication is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from policies.contract import NEVER, IntArray, Policy, Tier
from profiles.blocks import Steady
from profiles.forms import default_form
from profiles.latency import Profile
from profiles.noise import noise_label
from profiles.store import fingerprint
from sim.cluster import Cluster
from sim.sequence_arrivals import InSequences
from sim.service import Noise, Service
from sim.specs import WorkloadSpec
from sim.streams import Seeds, stream
from sim.workload import Workload, draw_workload

from .clustered import Plan
from .costs import draw_noise, drift_factor, drifted, largest_rate_per_s
from .cpu_stages import described, draw_stages
from .memory import Memory
from .schema import Spec
from .schema_service import BlocksNoise, ProfileNoise
from .tables import content
from .units import ns_to_ms

ROUTES = 2**20
"""Random numbers for routers; they repeat after so many requests, whatever their service then."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """What :func:`experiments.config.load_scenario` gives.  Compare two by their ``hash``."""

    name: str
    path: Path
    spec: Spec
    """The file with its overrides and defaults, checked."""
    profile: Profile | None
    policies: Mapping[str, Policy]
    """By name, in the order of the file; drivers bind them."""
    workload: WorkloadSpec
    service_ns: IntArray
    """int64 (models, largest batch, edges): time without noise."""
    length_edges: IntArray
    """int64 (edges,)."""
    noise: tuple[Any, ...]
    """The kind of noise of each model, a table of :mod:`experiments.schema_service`."""
    steady: Steady | None
    """What noise of kind ``blocks`` replays."""
    mean_work_ns: float
    """Time that a request costs at the best efficiency, averaged over tiers and lengths."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that the scenario names, by name."""
    cluster: Plan | None = None
    """How the servers stand together; None: they share one queue."""
    memory: Memory | None = None
    """What fits into the device; None: everything."""

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Most urgent first."""
        return tuple(each.tier for each in self.workload.tiers)

    @property
    def seeds(self) -> Seeds:
        """One for each source of randomness."""
        return Seeds(**content(self.spec.seeds))

    @property
    def servers(self) -> int:
        """How many servers share the queue."""
        return self.spec.service.servers

    @property
    def drift(self) -> float:
        """Standard deviation of the factor on all service times of a replication; 0: none."""
        return float(self.spec.service.drift or 0)

    @property
    def rate_max_per_s(self) -> float:
        """Requests per second when every batch has the best size and no padding."""
        return largest_rate_per_s(self.speed, self.mean_work_ns)

    @property
    def speed(self) -> float:
        """How many servers without neighbours on their GPU could do as much."""
        return float(self.servers) if self.cluster is None else self.cluster.speed(self.servers)

    @property
    def offered_rate_per_s(self) -> float | None:
        """Mean arrival rate; None in a closed loop, whose clients wait for answers."""
        return None if self.workload.closed else float(sum(self.workload.rates_per_s()))

    @property
    def load(self) -> float | None:
        """The arrival rate as a share of the largest possible one; None in a closed loop."""
        offered = self.offered_rate_per_s
        return None if offered is None else offered / self.rate_max_per_s

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that changes a run: not of name, description, path or tuning."""
        given = content(self.spec)
        given.pop("tune", None)
        given.pop("name", None)
        given.pop("description", None)
        identity = None if self.profile is None else fingerprint(self.profile)
        resolved = {"scenario": given, "profile": identity, "files": dict(self.files)}
        if self.steady is not None:
            resolved["steady"] = hashlib.sha256(self.steady.place.tobytes()).hexdigest()
        text = json.dumps(_canonical(resolved), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def fastest_ns(self) -> IntArray:
        """Times that no server undercuts, int64 (models, largest batch, edges)."""
        mixed = None if self.cluster is None else self.cluster.service_ns
        return self.service_ns if mixed is None else mixed.min(axis=0)

    def draw(self, replication: int = 0) -> tuple[Workload, Service]:
        """One realisation: who arrives, and the luck of the servers.

        Raises:
            WorkloadError: no request arrives, or a trace is too short.
        """
        spec = self.workload.served_by(self.servers)
        workload = draw_workload(spec, self.seeds, replication)
        rng = stream(self.seeds.service, "service", replication)
        requests = len(workload)
        noise = self._noise(requests, rng)
        if self.drift:
            luck = drift_factor(self.drift, stream(self.seeds.service, "drift", replication))
            noise = drifted(noise, luck, len(self.noise), self.servers)
        capacity = self.spec.service.capacity
        rejects = self.spec.service.over_length == "reject" and self.profile is not None
        service = Service(
            self.service_ns,
            self.length_edges,
            self.servers,
            noise,
            capacity=NEVER if capacity is None else capacity.requests,
            capacity_counts_in_system=capacity is not None and capacity.counts == "in_system",
            longest_admitted=int(self.length_edges[-1]) if rejects else NEVER,
            drifts=bool(self.drift),
            stages=draw_stages(self.spec.service, self.seeds.service, replication, requests),
            tier_capacity=self._tier_capacity(),
            cluster=self._cluster(replication, int(workload.arrival_ns.max(initial=0))),
        )
        return workload, service

    def _noise(self, requests: int, rng: np.random.Generator) -> Noise:
        found = None
        if self.cluster is not None:
            found = self.cluster.noise(self.noise[0], self.servers, requests, rng)
        return found or draw_noise(
            self.noise, self.profile, self.servers, requests, rng, self.steady
        )

    def _cluster(self, replication: int, last_ns: int) -> Cluster | None:
        """How the servers stand, with what routers draw by, and how replicas come and go."""
        if self.cluster is None:
            return None
        rng = stream(self.seeds.service, "routes", replication)
        found = self.cluster.cluster(self.servers, rng.random(ROUTES))
        if self.cluster.comings is None:
            return found
        rng = stream(self.seeds.service, "outages", replication)
        return self.cluster.comings.applied(found, rng, last_ns)

    def _tier_capacity(self) -> IntArray:
        """int64 (tiers,): how many of each may wait; empty where none is limited."""
        limits = [tier.capacity for tier in self.spec.workload.tiers or ()]
        if not any(limits):
            return np.zeros(0, dtype=np.int64)
        return np.array([NEVER if each is None else each.requests for each in limits])

    def within_memory(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """A policy's table with no batch that a search may try and that does not fit."""
        return dict(table) if self.memory is None else self.memory.within(table)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for a manifest."""
        return {
            "name": self.name,
            "path": str(self.path),
            "hash": self.hash,
            "scenario": _plain(content(self.spec)),
            "profile": None if self.profile is None else _profile_identity(self.profile),
            "files": dict(self.files),
            **({} if self.memory is None else {"memory": self.memory.to_dict()}),
            "offered_rate_per_s": self.offered_rate_per_s,
            "rate_max_per_s": self.rate_max_per_s,
            "load": self.load,
        }

    def describe(self) -> str:
        """A few lines for a terminal: what arrives, what serves it, what is wanted of it."""
        servers = "1 server" if self.servers == 1 else f"{self.servers} servers"
        if self.cluster is not None:
            servers = self.cluster.words(self.servers)
        lines = [self.spec.description or self.name, self._arriving()]
        if self.profile is None:
            lines.append(f"{servers}, a model of service times")
        else:
            lines.append(f"{servers}, {self.profile.name} on {self.profile.metadata.device}")
            lines[-1] += self._form_and_noise(self.profile)
        lines += described(self.spec.service)
        lines += [
            f"{tier.name}: p{tier.percentile:g} within {ns_to_ms(tier.slo_ns):g} ms"
            for tier in self.tiers
            if tier.slo_ns != NEVER
        ]
        lines += [
            f"{tier.name}: a backlog that is always there" for tier in self.tiers if tier.backlog
        ]
        if self.drift:
            lines.append(f"each replication is faster or slower by {100 * self.drift:g} % (sd)")
        if self.memory is not None:
            lines.append(self.memory.line())
        return "\n".join([*lines, f"policies: {', '.join(self.policies)}"])

    def _form_and_noise(self, profile: Profile) -> str:
        """What is said of the profile beyond its name, where it is not the usual."""
        form = self.spec.service.latency or default_form(profile)
        words = "" if form == "grid" else f", latency {form}"
        if isinstance(self.noise[0], ProfileNoise | BlocksNoise):
            words += f", noise {noise_label(profile)}"
        return f"{words}, in measured order" if self.steady is not None else words

    def _arriving(self) -> str:
        table, requests = self.spec.workload, self.spec.workload.requests
        amount = f"{requests:,} requests" if requests is not None else "the whole trace"
        if table.duration_s is not None:
            amount = f"{table.duration_s} s"
        if self.workload.closed is not None:
            return f"{amount} from {self.workload.closed.clients} clients in a closed loop"
        kind = "each tier its own" if table.arrivals is None else table.arrivals.process
        rate, load = self.offered_rate_per_s, self.load
        if isinstance(self.workload.arrivals, InSequences):
            known = self.workload.arrivals
            return (
                f"{amount} in sequences of {known.mean_size:.3g}, {kind} beginnings at "
                f"{known.starts.rate_per_s:.4g} per second, {known.mean_open:.3g} open at a time "
                f"(load {load:.3g})"
            )
        return f"{amount}, {kind} arrivals at {rate:,.6g} per second (load {load:.3g})"


def _profile_identity(profile: Profile) -> dict[str, Any]:
    """What says which profile it was, and where its figures are from."""
    return {
        "name": profile.name,
        "fingerprint": fingerprint(profile),
        "device": profile.metadata.device,
        "source": profile.metadata.source,
        "noise": noise_label(profile),
    }


def _canonical(value: Any) -> Any:
    """The same text for the same number, however it was written: 2, 2.0 and 2.00 are one."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return f"{Decimal(value).normalize():E}"
    return value


def _plain(value: Any) -> Any:
    """JSON values; decimals become floats, and what JSON cannot say (inf) a text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else str(float(value))
    return value if isinstance(value, str | int | None) else str(value)
