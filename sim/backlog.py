"""A backlog that is always there: offline requests that wait from a run's beginning to its end.

1. All requests of such a tier arrive at the very start, 1 ns apart so that each has its age, and
   there are more of them than all servers could serve before the end.
2. The run is over (``Workload.until_ns``) a little after the last arrival of the other tiers, so
   that whoever of them came last is still served; the backlog's requests are left then.
3. The other tiers are drawn as they would be without it.
4. A run in which it runs dry is no run with a backlog, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, IntArray, Tier

from .errors import WorkloadError, require

if TYPE_CHECKING:
    from .trace import Trace
    from .workload import Workload

GRACE = 0.01
"""How long a run goes on after the last arrival, as a share of it: of runs that are long enough for
a p99 this is hundreds of batches."""

MARGIN = 1.25
"""So many times what the servers could serve at the best efficiency.  The mean of the factors on
service times would have to be below 0.8 for it to run dry; they have mean 1 or more."""

SPARE = 1_000
"""So many requests of each server are added, for runs that are too short for a mean."""


@dataclass(frozen=True)
class Backlog:
    """The arrivals of a tier that is always there."""

    requests: int | None = None
    """How many; None: more than the servers can serve."""
    per_server_s: float = 0.0
    """Requests that a server serves per second at the best efficiency."""
    servers: int = 1
    largest_batch: int = 1

    def __post_init__(self) -> None:
        require(
            self.requests is None or self.requests >= 1, "requests >= 1", requests=self.requests
        )

    @property
    def rate_per_s(self) -> float:
        """It adds nothing to what arrives per second."""
        return 0.0

    def count(self, until_ns: int) -> int:
        """How many requests, for a run until an instant."""
        if self.requests is not None:
            return self.requests
        most = self.per_server_s * self.servers * until_ns / 1e9
        return math.ceil(MARGIN * most) + SPARE * self.servers


def end_of_run(last_ns: int) -> int:
    """When a run with a backlog is over, from the last arrival or the duration of the others."""
    return last_ns + max(1, int(last_ns * GRACE))


def places_of(tiers: Sequence[Tier]) -> list[int]:
    """The tiers that are always there."""
    return [place for place, tier in enumerate(tiers) if tier.backlog]


def others_of(tier: NDArray[np.int8], tiers: Sequence[Tier]) -> IntArray | None:
    """The requests that are of no backlog, int64 (n,); None where there is none: all."""
    places = places_of(tiers)
    return np.flatnonzero(~np.isin(tier, places)) if places else None


def joined(others: Workload, crowds: dict[int, NDArray[np.int32]], until_ns: int) -> Workload:
    """The requests of the other tiers with backlogs beside them.

    Args:
        others: drawn as if there was no backlog.
        crowds: the lengths of each backlog's requests, by its tier.
        until_ns: when the run is over.
    """
    counts = [len(lengths) for lengths in crowds.values()]
    crowd = sum(counts)
    places = np.array(list(crowds), dtype=np.int8)
    arrival = np.concatenate([*map(np.arange, counts), others.arrival_ns])
    order = np.argsort(arrival, kind="stable")
    patience = others.timeout_ns
    if len(patience):
        patience = np.concatenate([np.full(crowd, NEVER), patience])[order]
    return replace(
        others,
        arrival_ns=arrival[order].astype(np.int64),
        length=np.concatenate([*crowds.values(), others.length])[order].astype(np.int32),
        tier=np.concatenate([np.repeat(places, counts), others.tier])[order].astype(np.int8),
        timeout_ns=patience,
        until_ns=until_ns,
    )


def without(workload: Workload) -> Workload:
    """Only the requests that are of no backlog; the run has no end then."""
    ids = others_of(workload.tier, workload.tiers)
    return workload if ids is None else replace(taken(workload, ids), until_ns=NEVER)


def beginning(workload: Workload, count: int) -> Workload:
    """The first ``count`` requests that are of no backlog, and as much backlog as they last."""
    others = without(workload)
    first = taken(others, np.arange(min(count, len(others))))
    return _beside(workload, first, end_of_run(int(first.arrival_ns[-1])))


def paced(workload: Workload, factor: float) -> Workload:
    """The others arrive ``factor`` times as fast, and the backlog is as long as they last."""
    others = without(workload)
    faster = np.rint(others.arrival_ns / factor).astype(np.int64)
    lasts = workload.until_ns < NEVER
    until_ns = max(1, round(workload.until_ns / factor)) if lasts else NEVER
    return _beside(workload, replace(others, arrival_ns=faster), until_ns)


def _beside(workload: Workload, others: Workload, until_ns: int) -> Workload:
    """Other requests beside the backlogs of a workload, repeated or cut to another duration."""
    crowds = {}
    for place in places_of(workload.tiers):
        lengths = workload.length[workload.tier == place]
        count = math.ceil(len(lengths) * until_ns / workload.until_ns)
        crowds[place] = np.resize(lengths, count)
    return joined(others, crowds, until_ns)


def taken(workload: Workload, ids: IntArray) -> Workload:
    """Some requests of an open workload."""
    columns = ("arrival_ns", "length", "tier", "timeout_ns")
    kept = {name: getattr(workload, name) for name in columns}
    return replace(workload, **{name: col[ids] for name, col in kept.items() if len(col)})


def others_in(trace: Trace) -> Trace:
    """A trace of the requests that are of no backlog; batches have the size that those make up."""
    ids = others_of(trace.tier, trace.tiers)
    if ids is None:
        return trace
    from .trace import REQUEST_COLUMNS

    kept = {name: getattr(trace, name)[ids] for name in REQUEST_COLUMNS}
    own = kept["batch"][kept["batch"] >= 0]
    size = np.bincount(own, minlength=len(trace.batch_size)).astype(trace.batch_size.dtype)
    return replace(trace, **kept, batch_size=size)


def check_there(trace: Trace) -> None:
    """Refuse a run in which a backlog ran dry.

    Raises:
        WorkloadError: with the tier, and how long it lasted.
    """
    from .trace import UNFINISHED

    for place in places_of(trace.tiers):
        own = trace.tier == place
        if not own.any() or (trace.status[own] == UNFINISHED).any():
            continue
        lasted = int(trace.start_ns[own].max()) / 1e9
        until = int(trace.arrival_ns[-1]) / 1e9
        raise WorkloadError(
            f"the backlog of tier {trace.tiers[place].name!r} ran dry: its {int(own.sum())} "
            f"requests had all been started after {lasted:.4g} s of {until:.4g} s; give it more "
            "requests, or leave requests out, so that it has more than the servers can serve"
        )
