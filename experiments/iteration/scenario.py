"""A scenario of a model that generates, made ready: each replication is drawn from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.costs import drift_factor
from experiments.scenario import _canonical, _plain
from experiments.schema_service import GammaNoise, LognormalNoise, ProfileNoise
from experiments.stretched import recorded
from experiments.tables import content
from policies.contract import FloatArray
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from sim.iteration.measures import Targets
from sim.iteration.serving import CALM, Serving
from sim.iteration.workload import TokenWorkload
from sim.lengths import Column, Lengths
from sim.specs import WorkloadSpec
from sim.streams import Seeds, stream
from sim.workload import draw_workload

from .schema import TokenSpec

STEPS_OF_NOISE = 2**18
"""Factors that are drawn for a replication; they begin again after so many iterations."""


@dataclass(frozen=True, eq=False)
class TokenScenario:
    """What :func:`experiments.iteration.load_scenario` gives."""

    name: str
    path: Path
    spec: TokenSpec
    policies: Mapping[str, Rule]
    """By name, in the order of the file; drivers bind them."""
    workload: WorkloadSpec
    """Arrivals and prompts."""
    outputs: tuple[Lengths, ...]
    """Of each tier."""
    engine: Engine
    times: StepTimes
    targets: tuple[Targets, ...]
    """Of each tier."""
    service: str = ""
    """What takes the time, in words."""
    model: str = ""
    """Whose iterations were measured; empty where times are a formula."""
    noise: FloatArray = field(default_factory=CALM.copy)
    """Factors that were measured, in their order, for noise of kind ``profile``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that the scenario names, by name."""

    @property
    def seeds(self) -> Seeds:
        """One for each source of randomness."""
        return Seeds(**content(self.spec.seeds))

    @property
    def offered_rate_per_s(self) -> float:
        """Mean arrival rate."""
        return float(sum(self.workload.rates_per_s()))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that changes a run."""
        given = content(self.spec)
        for key in ("tune", "name", "description"):
            given.pop(key, None)
        times = [np.asarray(part).tolist() for part in self.times]
        resolved = {"scenario": given, "times": times, "files": dict(self.files)}
        text = json.dumps(_canonical(resolved), sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def draw(self, replication: int = 0) -> tuple[TokenWorkload, Serving]:
        """One realisation: who arrives, how long each is, and the luck of the engine.

        Raises:
            WorkloadError: no request arrives, or a trace is too short.
        """
        plain = draw_workload(self.workload, self.seeds, replication)
        n = len(plain)
        tier = plain.tier if len(plain.tier) else np.zeros(n, dtype=np.int8)
        output = np.zeros(n, dtype=np.int32)
        for place, lengths in enumerate(self.outputs):
            mine = tier == place
            if isinstance(lengths, Column):
                output[mine] = lengths.recorded[:n][mine]
                continue
            rng = stream(self.seeds.lengths, "outputs", replication, place)
            output[mine] = lengths.pmf().draw(rng, int(mine.sum()))
        workload = TokenWorkload(
            plain.arrival_ns, plain.length.astype(np.int32), output, tier, plain.tiers
        )
        return workload, self.serving(replication)

    def serving(self, replication: int = 0) -> Serving:
        """The engine with the luck of a replication."""
        rng = stream(self.seeds.service, "service", replication)
        factors = self._factors(rng)
        if self.spec.engine.drift:
            luck = stream(self.seeds.service, "drift", replication)
            factors = factors * drift_factor(float(self.spec.engine.drift), luck)
        return Serving(self.engine, self.times, factors)

    def _factors(self, rng: np.random.Generator) -> FloatArray:
        noise: Any = self.spec.engine.noise
        if isinstance(noise, GammaNoise):
            shape = float(noise.cv) ** -2
            return np.maximum(rng.gamma(shape, 1.0 / shape, STEPS_OF_NOISE), 1e-9)
        if isinstance(noise, LognormalNoise):
            sigma = float(np.sqrt(np.log1p(float(noise.cv) ** 2)))
            drawn: NDArray[np.float64] = rng.normal(-0.5 * sigma**2, sigma, STEPS_OF_NOISE)
            return np.exp(drawn)
        if isinstance(noise, ProfileNoise):
            turned = int(rng.integers(len(self.noise)))
            return np.roll(self.noise, turned)
        return CALM.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for a manifest."""
        return {
            "name": self.name,
            "path": str(self.path),
            "hash": self.hash,
            "scenario": _plain(content(self.spec)),
            "service": self.service,
            "files": dict(self.files),
            "offered_rate_per_s": self.offered_rate_per_s,
        }

    def facts(self, requests: int, replications: int) -> dict[str, Any]:
        """What a result says of its scenario."""
        return {
            "name": self.name,
            "hash": self.hash,
            "service": self.service,
            "requests": requests,
            "replications": replications,
            "offered_rate_per_s": self.offered_rate_per_s,
            "seeds": asdict(self.seeds),
            **recorded(self.spec.workload.arrivals),
            "targets": {
                tier.tier.name: {
                    name: getattr(each, f"{name}_ns") / 1e6
                    for name in ("ttft", "tpot", "latency")
                    if getattr(each, f"{name}_ns") < 2**62
                }
                | {"percent": each.percent}
                for tier, each in zip(self.workload.tiers, self.targets, strict=True)
                if each.any
            },
        }
