"""A workload as it is asked for: tiers, their arrivals, lengths and patience.

What contradicts itself is refused when it is built; drawing is in :mod:`sim.workload`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from policies.contract import NEVER, IntArray, Tier

from .arrivals import Arrivals
from .backlog import Backlog
from .closed import Closed
from .errors import WorkloadError, require
from .lengths import Column, Lengths
from .pmf import LengthPmf, mixture
from .replay import Replay

TOLERANCE = 1e-9
"""What shares may miss in their sum."""


@dataclass(frozen=True)
class Timeout:
    """How long a request waits for its batch to start before it gives up."""

    mean_ns: int
    exponential: bool = False
    """Drawn for each request; otherwise all are equally patient."""

    def __post_init__(self) -> None:
        require(self.mean_ns >= 1, "timeout > 0", mean_ns=self.mean_ns)

    def draw(self, rng: np.random.Generator, requests: int) -> IntArray:
        """Patience of requests, int64 (requests,), at least 1 ns."""
        if not self.exponential or self.mean_ns == NEVER:
            return np.full(requests, self.mean_ns, dtype=np.int64)
        drawn = np.rint(rng.standard_exponential(requests) * self.mean_ns)
        return np.clip(drawn, 1, 2.0**62).astype(np.int64)


@dataclass(frozen=True)
class TierSpec:
    """One tier; what it does not have itself it shares with the others."""

    tier: Tier = Tier("all")
    share: float = 1.0
    """Probability that a request of the shared arrivals is of this tier."""
    arrivals: Arrivals | Backlog | None = None
    lengths: Lengths | None = None
    timeout: Timeout | None = None

    def __post_init__(self) -> None:
        backlog = isinstance(self.arrivals, Backlog)
        assert self.tier.backlog == backlog, f"tier {self.tier.name}: both or neither says backlog"
        if not backlog:
            return
        name = self.tier.name
        if self.tier.slo_ns < NEVER:
            raise WorkloadError(
                f"tier {name!r} is a backlog, which waits from the beginning: give it no slo"
            )
        if self.timeout is not None:
            raise WorkloadError(
                f"tier {name!r} is a backlog that is always there: give it no timeout"
            )


@dataclass(frozen=True)
class WorkloadSpec:
    """Who arrives, when, how long and how patient; units are ns, and those of the lengths."""

    lengths: Lengths | None = None
    """None: every tier has its own."""
    arrivals: Arrivals | Closed | None = None
    """None: every tier has its own."""
    requests: int | None = None
    duration_ns: int | None = None
    """Neither: a recorded trace to its end."""
    tiers: tuple[TierSpec, ...] = (TierSpec(),)
    timeout: Timeout | None = None
    length_unit: str = "tokens"
    """Unit of lengths that know none themselves: that of the profile."""
    longest: int = NEVER
    """Longest length that the service takes."""
    over_length: Literal["error", "truncate", "reject"] = "error"
    """What becomes of longer requests; the drivers reject, so here ``reject`` changes nothing."""

    def __post_init__(self) -> None:
        require(len(self.tiers) >= 1, "at least one tier", tiers=self.tiers)
        own = [tier.arrivals is not None for tier in self.tiers]
        if all(own) == (self.arrivals is not None) or any(own) != all(own):
            raise WorkloadError(
                "give arrivals once: to the workload, or to every tier (then none to the workload)"
            )
        if not any(own):
            self._check_shares()
        if all(tier.tier.backlog for tier in self.tiers):
            raise WorkloadError(
                "every tier is a backlog; at least one tier needs requests that arrive, which say "
                "when the run ends (what a policy serves of a backlog alone is its saturation)"
            )
        if self.closed is not None and (self.requests is None or self.duration_ns is not None):
            raise WorkloadError("a closed loop runs for a number of requests; give requests only")
        for tier in self.tiers:
            self._check_lengths(tier)

    def _check_shares(self) -> None:
        for tier in self.tiers:
            if not tier.share >= 0:
                name = tier.tier.name
                raise WorkloadError(
                    f"the share of tier {name!r} must not be negative, but is {tier.share:g}"
                )
        total = sum(tier.share for tier in self.tiers)
        if not abs(total - 1) <= TOLERANCE:
            raise WorkloadError(f"the shares of the tiers must add up to 1, but give {total:g}")

    def _check_lengths(self, tier: TierSpec) -> None:
        name = tier.tier.name
        if tier.lengths is None and self.lengths is None:
            raise WorkloadError(f"tier {name!r} has no lengths; give lengths")
        if isinstance(self.lengths_of(tier), Column):
            source = tier.arrivals if self.arrivals is None else self.arrivals
            if not isinstance(source, Replay) or (self.arrivals is None and tier.lengths is None):
                raise WorkloadError(
                    f"tier {name!r} takes lengths from a column, so its own arrivals must be the"
                    " trace that has it"
                )

    @property
    def backlogs(self) -> dict[int, Backlog]:
        """The arrivals of the tiers that are always there, by place."""
        found = ((place, tier.arrivals) for place, tier in enumerate(self.tiers))
        return {place: own for place, own in found if isinstance(own, Backlog)}

    def served_by(self, servers: int) -> WorkloadSpec:
        """The same workload, its backlogs large enough for so many servers."""
        if not self.backlogs:
            return self
        tiers = tuple(
            replace(tier, arrivals=replace(tier.arrivals, servers=servers))
            if isinstance(tier.arrivals, Backlog)
            else tier
            for tier in self.tiers
        )
        return replace(self, tiers=tiers)

    @property
    def closed(self) -> Closed | None:
        """The closed loop, if it is one."""
        return self.arrivals if isinstance(self.arrivals, Closed) else None

    def lengths_of(self, tier: TierSpec) -> Lengths:
        """Lengths of a tier: its own, or those of the workload."""
        lengths = tier.lengths if tier.lengths is not None else self.lengths
        assert lengths is not None, "checked on construction"
        return lengths

    @property
    def unit(self) -> str | None:
        """Unit that the lengths know themselves; None where no kind knows one.

        Raises:
            WorkloadError: tiers have different units.
        """
        units = sorted({unit for t in self.tiers if (unit := self.lengths_of(t).unit) is not None})
        if len(units) > 1:
            raise WorkloadError(
                f"all tiers need one unit of length, but have {' and '.join(units)}"
            )
        return units[0] if units else None

    def rates_per_s(self) -> tuple[float, ...]:
        """Mean rate of each tier; a backlog adds nothing to what arrives.

        Raises:
            WorkloadError: a closed loop has no rate of its own.
        """
        if isinstance(self.arrivals, Closed):
            raise WorkloadError("a closed loop has no arrival rate: its clients wait for answers")
        if self.arrivals is None:
            return tuple(t.arrivals.rate_per_s for t in self.tiers if t.arrivals is not None)
        recorded = self.arrivals.tier if isinstance(self.arrivals, Replay) else None
        if recorded is None:
            return tuple(self.arrivals.rate_per_s * tier.share for tier in self.tiers)
        share = np.bincount(recorded, minlength=len(self.tiers)) / len(recorded)
        return tuple(float(rate) for rate in share * self.arrivals.rate_per_s)

    def pmf_of(self, tier: TierSpec) -> LengthPmf:
        """Lengths of a tier as the service sees them: truncated, or only those admitted."""
        pmf = self.lengths_of(tier).pmf()
        if self.over_length == "truncate":
            return pmf.truncated(self.longest)
        return pmf.admitted(self.longest) if self.over_length == "reject" else pmf

    def pmf(self) -> LengthPmf:
        """Lengths of all tiers together, weighted with their rates (a closed loop: shares)."""
        weights = tuple(t.share for t in self.tiers) if self.closed else self.rates_per_s()
        pmfs = (self.pmf_of(tier) for tier in self.tiers)
        return mixture(list(zip(weights, pmfs, strict=True)))
