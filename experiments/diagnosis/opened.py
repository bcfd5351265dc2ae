"""A run opened for diagnosis: what was seen, made into a world that can be simulated again.

1. What is known is used: the service's table and the rule of a scenario.  What is not is found from
   the run: a fitted table, an inferred rule.  The words say which.
2. Latencies of runs are judged by the most urgent tier that has a target, else by all requests.
3. Very long runs are diagnosed by their first part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from policies.contract import NEVER, IntArray, Policy
from sim.service import Noise, Service
from sim.workload import ClosedLoop

from .causes_device import OPENING
from .errors import DiagnosisError
from .fitting import fitted_service, spread
from .gain import judged_of
from .look import Look
from .pace import pace_of
from .rule import inferred
from .seen import Seen
from .servers import as_routed
from .world import Workers, World

MOST = 200_000
"""Requests that are diagnosed: enough for a p99.9, and a simulation takes a tenth of a second."""
TAIL = 10
"""Requests that have to lie beyond the percentile: one for each section of its interval."""


@dataclass(frozen=True)
class Asked:
    """What is known, and what is wanted."""

    service: Service | None = None
    policy: Policy | None = None
    slo_ns: int | None = None
    """The target; by default that of the tier."""
    percentile: float | None = None
    tier: str | None = None
    """The tier that is judged, by name."""
    largest_batch: int | None = None
    """The largest batch that fits, where no service is known."""
    timeout_ns: IntArray | None = None
    until_ns: int = NEVER
    """From this instant on no batch started."""
    closed: ClosedLoop | None = None


@dataclass(frozen=True)
class Opened:
    """A look, and what was assumed to get it."""

    look: Look
    notes: tuple[str, ...]


def opened(seen: Seen, asked: Asked) -> Opened:
    """Make a world of what was seen.

    Raises:
        DiagnosisError: there is too little to see.
    """
    notes = []
    if not len(seen):
        raise DiagnosisError("no request came, so that there is nothing to diagnose")
    cut = seen.cut(MOST)
    if len(cut) < len(seen):
        notes.append(
            f"only the first {MOST:,} of {int(seen.coming.sum()):,} requests are looked at"
        )
        asked = replace(
            asked, timeout_ns=None if asked.timeout_ns is None else asked.timeout_ns[: len(cut)],
        )  # fmt: skip
        seen = cut
    if not len(seen.batch_size):
        raise DiagnosisError("no batch ran, so that there is nothing to diagnose; give another run")
    tier = _tier(seen, asked.tier)
    share = _share(seen, tier, asked)
    service, error = asked.service, 0.0
    if service is None:
        service = fitted_service(seen)
        error = spread(seen, service)
        notes.append(
            f"service times are fitted to the {len(seen.batch_size):,} batches seen (sizes 1 to "
            f"{service.largest_batch}, half of them within {max(100 * error, 0.1):.2g} %); larger "
            "sizes are extrapolated"
        )
    policy = asked.policy
    if policy is None:
        rule = inferred(seen)
        policy = rule.policy
        notes.append(f"the batching rule is inferred: {rule.words}")
    return Opened(_look(seen, asked, service, policy, error, tier, share), tuple(notes))


def _look(
    seen: Seen,
    asked: Asked,
    service: Service,
    policy: Policy,
    error: float,
    tier: int,
    share: float,
) -> Look:
    service = replace(service, noise=Noise(), stages=None)
    world = World(
        arrival_ns=seen.arrival_ns,
        length=seen.length,
        tier=seen.tier,
        tiers=seen.tiers,
        policy=policy,
        service=service,
        pace=pace_of(seen, service),
        pre=_workers(seen, seen.pre_workers, seen.queued_ns - seen.pre_start_ns),
        post=_workers(seen, seen.post_workers, seen.done_ns - seen.post_start_ns),
        timeout_ns=asked.timeout_ns
        if asked.timeout_ns is not None and len(asked.timeout_ns)
        else None,
        until_ns=asked.until_ns,
        closed=asked.closed,
        length_unit=seen.length_unit,
        ready_ns=_ready_ns(seen),
    )
    target = asked.slo_ns
    if target is None:
        target = seen.tiers[max(tier, 0)].slo_ns
    known = asked.largest_batch or (service.largest_batch if asked.service is not None else 0)
    look = Look(
        seen=seen,
        world=world,
        judged=judged_of(seen, tier, share),
        known_largest=known,
        target_ns=0.0 if target == NEVER else float(target),
        model_error=error,
    )
    if service.cluster is None and asked.closed is None and queues_apart(seen):
        return replace(look, world=as_routed(world, _routes(seen)))
    return look


APART = 0.05
"""Share of requests that others overtake, from which servers have queues of their own."""


def queues_apart(seen: Seen) -> bool:
    """Whether requests are overtaken on other servers, and on their own hardly ever."""
    ran = np.flatnonzero(~seen.lost)
    if seen.servers < 2 or _overtaken(seen, ran) < APART:
        return False
    server = seen.batch_server[seen.batch[ran]]
    within = [_overtaken(seen, ran[server == one]) for one in range(seen.servers)]
    return max(within) < 0.2 * APART


def _overtaken(seen: Seen, ids: IntArray) -> float:
    """Share of requests that start before one that was queued earlier."""
    order = ids[np.argsort(seen.queued_ns[ids], kind="stable")]
    start = seen.start_ns[order]
    return float((start < np.maximum.accumulate(start)).mean()) if len(start) else 0.0


def _routes(seen: Seen) -> IntArray:
    """The server that each request went to; for one that was lost, any."""
    return np.where(seen.batch >= 0, seen.batch_server[seen.batch], 0)


def _workers(seen: Seen, count: int, time_ns: IntArray) -> Workers | None:
    if not count:
        return None
    usual = int(np.median(time_ns[~seen.lost])) if (~seen.lost).any() else 0
    return Workers(count, np.where(seen.lost, usual, np.maximum(time_ns, 0)))


def _ready_ns(seen: Seen) -> int:
    """When servers began to serve, where many waited for that; else 0."""
    first = int(seen.batch_start_ns.min())
    late = first - int(seen.queued_ns.min()) > OPENING * float(np.median(seen.took_ns))
    waited = int(np.count_nonzero(seen.queued_ns <= first))
    return first if late and waited > 2 * int(seen.batch_size.max()) * seen.servers else 0


def _tier(seen: Seen, wanted: str | None) -> int:
    """Index of the judged tier, -1 for all requests."""
    names = [tier.name for tier in seen.tiers]
    if wanted is not None:
        if wanted not in names:
            raise DiagnosisError(f"tier {wanted!r} must be one of {', '.join(names)}")
        return names.index(wanted)
    if len(names) < 2:
        return -1
    return next((k for k, tier in enumerate(seen.tiers) if tier.slo_ns != NEVER), 0)


def _share(seen: Seen, tier: int, asked: Asked) -> float:
    """The judged percentile as a share, where there are enough requests for it."""
    percentile = asked.percentile or seen.tiers[max(tier, 0)].percentile
    share = percentile / 100.0
    count = len(seen) if tier < 0 else int((seen.tier == tier).sum())
    needs = round(TAIL / (1.0 - share))
    if count < needs:
        possible = [each for each in (95, 90) if count >= TAIL / (1.0 - each / 100)]
        hint = f"or --percentile {possible[0]}" if possible else "give a longer run"
        raise DiagnosisError(
            f"p{percentile:g} needs {needs:,} requests, but there are {count:,}; give a longer run"
            + (f", {hint}" if possible else "")
        )
    return share
