"""Requests to a model that generates: when they come, how long prompt and output are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray, Tier
from sim.errors import WorkloadError


@dataclass(frozen=True, eq=False)
class TokenWorkload:
    """N requests in order of arrival.

    Raises:
        WorkloadError: columns of different lengths, arrivals out of order, or a request without
            prompt or output.
    """

    arrival_ns: IntArray
    """int64 (N,), not decreasing."""
    prompt: NDArray[np.int32]
    """int32 (N,), tokens, at least 1."""
    output: NDArray[np.int32]
    """int32 (N,), tokens that the model will generate, at least 1; no rule sees them."""
    tier: NDArray[np.int8]
    """int8 (N,), 0 is the most urgent."""
    tiers: tuple[Tier, ...] = (Tier("all"),)

    def __post_init__(self) -> None:
        n = len(self.arrival_ns)
        if not len(self.prompt) == len(self.output) == len(self.tier) == n:
            raise WorkloadError("arrivals, prompts, outputs and tiers must be equally many")
        if n and int(min(self.prompt.min(), self.output.min())) < 1:
            raise WorkloadError("every request needs a prompt and an output of at least 1 token")
        if np.any(np.diff(self.arrival_ns) < 0):
            raise WorkloadError("arrivals must not go back in time")

    def __len__(self) -> int:
        return len(self.arrival_ns)


def workload_of(
    arrival_ns: IntArray,
    prompt: NDArray[np.integer],
    output: NDArray[np.integer],
    tier: NDArray[np.integer] | None = None,
    tiers: tuple[Tier, ...] = (Tier("all"),),
) -> TokenWorkload:
    """The same from arrays of any whole numbers; without ``tier`` all are of the first."""
    n = len(arrival_ns)
    return TokenWorkload(
        np.ascontiguousarray(arrival_ns, dtype=np.int64),
        np.ascontiguousarray(prompt, dtype=np.int32),
        np.ascontiguousarray(output, dtype=np.int32),
        np.zeros(n, dtype=np.int8) if tier is None else np.ascontiguousarray(tier, dtype=np.int8),
        tiers,
    )
