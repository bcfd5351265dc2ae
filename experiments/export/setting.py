"""What is exported: a policy with its numbers, what it was found for, and the evidence for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from experiments.sentences import shown
from experiments.units import ns_to_ms
from policies.contract import NEVER, FloatArray, IntArray, Policy, Tier

from .replicas import Replicas, TierTraffic


class Figure(NamedTuple):
    """A predicted number with its interval; no value where the run was too short for one."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """``4.32 (4.28 to 4.36)``, or why there is none."""
        if self.value is None:
            return "not given, the run was too short or the policy unstable"
        if self.low is None or self.high is None:
            return f"{self.value:.4g} (no interval)"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Evidence:
    """Why this setting: what was simulated, how often, and what came out."""

    scenario: str
    scenario_hash: str
    run: str
    """``<scenario>/<command>-<n>``."""
    profile: str | None
    """None for a model of service times."""
    device: str | None
    arrivals: str
    """The process of the arrivals: poisson, gamma, trace, closed, ...; joined where tiers differ.
    """
    rate_per_s: float | None
    """Offered rate; None in a closed loop."""
    loads: tuple[float, ...]
    """The load, or the loads of a tuning; empty in a closed loop."""
    requests: int
    replications: int
    seeds: Mapping[str, int]
    latency_ms: Mapping[str, Figure]
    """``mean``, ``p50`` and ``p99`` of all requests."""
    version: str
    """Of batchwright."""
    command: tuple[str, ...]
    """The command that made the run."""
    remarks: tuple[str, ...] = ()
    """One sentence each, without its full stop: what was simulated that no file of a stack can say
    (truncated lengths, patience of clients)."""

    def lines(self) -> tuple[str, ...]:
        """The comment that every export carries, one sentence a line."""
        where = f"profile {self.profile} on {self.device}" if self.profile else "a model of times"
        seeds = ", ".join(f"{name} {seed}" for name, seed in self.seeds.items())
        runs = "" if self.replications == 1 else f" in each of {self.replications} replications"
        figures = ", ".join(f"{name} {figure}" for name, figure in self.latency_ms.items())
        made = f"run {self.run} of batchwright {self.version}"
        scenario = f"scenario {self.scenario} (hash {self.scenario_hash[:12]})"
        return (
            f"Evidence: {made}, {scenario}, {where}.",
            f"Arrivals: {self._arriving()}, {self.requests} requests{runs}, seeds {seeds}.",
            f"Predicted latency in ms, with intervals of 95 %: {figures}.",
            f"Command: {shlex.join(self.command)}",
            *(f"{remark}." for remark in self.remarks),
        )

    def _arriving(self) -> str:
        """``poisson, 2348.2 per second, load 0.6``."""
        parts = [self.arrivals]
        if self.rate_per_s is not None:
            parts.append(f"{self.rate_per_s:.6g} per second")
        if self.loads:
            many = "load" if len(self.loads) == 1 else "loads"
            parts.append(f"{many} {', '.join(f'{load:.4g}' for load in self.loads)}")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run,
            "scenario": self.scenario,
            "scenario_hash": self.scenario_hash,
            "profile": self.profile,
            "device": self.device,
            "arrivals": self.arrivals,
            "rate_per_s": self.rate_per_s,
            "loads": list(self.loads),
            "requests": self.requests,
            "replications": self.replications,
            "seeds": dict(self.seeds),
            "latency_ms": {name: found._asdict() for name, found in self.latency_ms.items()},
            "version": self.version,
            "command": list(self.command),
            "remarks": list(self.remarks),
        }


class Costs(NamedTuple):
    """How long batches take, and how long requests are."""

    service_ns: IntArray
    """int64 (largest batch, edges), medians of the profile."""
    length_edges: IntArray
    """int64 (edges,)."""
    length: IntArray
    """int64 (lengths,), increasing: the lengths that arrive."""
    probability: FloatArray
    """float64 (lengths,), adds up to 1."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A policy as it was simulated, and all that an exporter may need to know of the run."""

    name: str
    """The policy's name in the run."""
    model: str
    """What the stack shall call the model."""
    policy: Policy
    """Bound: ``max_batch_size = 0`` has become the profile's largest batch."""
    kind: str
    """A key of :data:`policies.POLICIES`."""
    parameters: Mapping[str, Any]
    """The other keys of ``[policies.NAME]``, as a scenario file writes them."""
    servers: int
    largest_batch: int
    """Of the profile."""
    length_unit: str
    longest: int
    """The longest length that can be in a batch."""
    tiers: tuple[Tier, ...]
    evidence: Evidence
    capacity: int | None = None
    """How many requests may wait; None without a limit."""
    capacity_counts_in_system: bool = False
    timeout_ns: int | None = None
    """How long a request may wait, the same for all; None without a limit, or where tiers differ
    (then ``traffic`` has them)."""
    over_length: str = "error"
    """What happens to a longer request: ``error``, ``truncate`` or ``reject``."""
    costs: Costs | None = None
    """For traps that depend on the load; see :mod:`experiments.export.load`."""
    replicas: Replicas | None = None
    """How the servers stand together; None: they share one queue."""
    traffic: tuple[TierTraffic, ...] = ()
    """What each tier brings and may, in the order of ``tiers``; empty where nothing is known."""

    @property
    def table(self) -> dict[str, Any]:
        """``[policies.NAME]`` of a scenario."""
        return {"kind": self.kind, **self.parameters}

    def lines(self) -> tuple[str, ...]:
        """What was simulated, then the evidence, one sentence a line."""
        numbers = ", ".join(f"{key} = {shown(value)}" for key, value in self.table.items())
        servers = "1 server" if self.servers == 1 else f"{self.servers} servers"
        return (f"Policy {self.name}: {numbers}, on {servers}.", *self.evidence.lines())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the policy as its table."""
        return {
            "name": self.name,
            "model": self.model,
            "policy": self.table,
            "servers": self.servers,
            "largest_batch": self.largest_batch,
            "length_unit": self.length_unit,
            "longest": self.longest,
            "over_length": self.over_length,
            "tiers": [
                {
                    "name": tier.name,
                    "slo_ms": None if tier.slo_ns == NEVER else ns_to_ms(tier.slo_ns),
                    "percentile": tier.percentile,
                    **(traffic or TierTraffic(backlog=tier.backlog)).to_dict(),
                }
                for tier, traffic in zip_longest(self.tiers, self.traffic)
            ],
            "cluster": None if self.replicas is None else self.replicas.to_dict(),
            "capacity": self.capacity,
            "capacity_counts": "in_system" if self.capacity_counts_in_system else "waiting",
            "timeout_ms": None if self.timeout_ns is None else ns_to_ms(self.timeout_ns),
            "evidence": self.evidence.to_dict(),
        }
