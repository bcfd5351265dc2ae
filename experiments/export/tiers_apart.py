"""One setting for each tier: what a rule that knows tiers becomes where every tier gets servers.

It is never the policy that was simulated, whose tiers share the servers.  The window of a tier is
that of :func:`experiments.export.tier_windows.tier_windows`, its limits are its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from experiments.runs import folder_name
from policies.length_bucketed import LengthBucketed
from policies.size_or_timeout import SizeOrTimeout

from .plan import Plan, Window, buckets, plan_table, single
from .replicas import TierTraffic
from .rounding import in_ms
from .setting import Costs, Setting
from .tier_windows import boundaries_of, shares_of, tier_windows


class Part(NamedTuple):
    """One tier with its share of the servers."""

    name: str
    share: float
    """Of the servers' time; the shares of all tiers add up to 1."""
    setting: Setting
    """Of this tier alone, on all servers, whose batches take as long as its share makes them."""


def parts_of(setting: Setting) -> tuple[Part, ...]:
    """A setting for each tier, most urgent first."""
    shares = shares_of(setting)
    traffic = setting.traffic or (TierTraffic(),) * len(setting.tiers)
    models = models_of(setting)
    alone = (
        _alone(setting, n, each.window, traffic[n], shares[n])
        for n, each in enumerate(tier_windows(setting))
    )
    return tuple(
        Part(tier.name, share, replace(own, model=model))
        for tier, share, own, model in zip(setting.tiers, shares, alone, models, strict=True)
    )


def models_of(setting: Setting) -> tuple[str, ...]:
    """A name for the model of each tier, which is a folder too.

    No two are equal, nor would be in small letters and digits alone, as Kubernetes takes them.
    """
    names = [f"{setting.model}-{folder_name(tier.name)}" for tier in setting.tiers]
    plain = [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names]
    return tuple(
        name if plain.count(plain[place]) == 1 else f"{name}-{place + 1}"
        for place, name in enumerate(names)
    )


def _alone(
    setting: Setting, place: int, found: Window, traffic: TierTraffic, share: float
) -> Setting:
    tier = setting.tiers[place]
    edges = boundaries_of(setting)
    plan = buckets(edges, [found] * (len(edges) + 1)) if edges else single(found)
    table = _table(plan)
    timeout_ns = traffic.timeout_ns if setting.timeout_ns is None else setting.timeout_ns
    return replace(
        setting,
        policy=_policy(plan),
        kind=table.pop("kind"),
        parameters=table,
        tiers=(tier,),
        capacity=setting.capacity if traffic.capacity is None else traffic.capacity,
        timeout_ns=None if traffic.backlog else timeout_ns,
        evidence=replace(setting.evidence, rate_per_s=traffic.rate_per_s),
        costs=None if traffic.costs is None else _slowed(traffic.costs, share),
        traffic=(traffic,),
    )


def _table(plan: Plan) -> dict[str, Any]:
    """The rule as a scenario writes it."""
    if plan.only is None:
        return dict(plan_table(plan))
    size, wait = plan.only.max_batch_size, in_ms(plan.only.max_wait_ns)
    return {"kind": "size_or_timeout", "max_batch_size": size, "max_wait_ms": wait}


def _policy(plan: Plan) -> SizeOrTimeout | LengthBucketed:
    """The rule of a plan whose lanes have full batches and a timer from the oldest request."""
    windows = [lane.window for lane in plan.lanes]
    sizes = np.array([each.max_batch_size for each in windows])
    waits = np.array([each.max_wait_ns for each in windows])
    if plan.only is None:
        return LengthBucketed(np.array(plan.boundaries), sizes, waits)
    size, wait_ns = int(sizes[0]), int(waits[0])
    return SizeOrTimeout(max_batch_size=size, max_wait_ns=wait_ns, min_batch_size=size)


def _slowed(costs: Costs, share: float) -> Costs:
    """Times of batches that have a share of a server."""
    slowed = np.rint(costs.service_ns / share).astype(np.int64)
    return costs._replace(service_ns=slowed)


def told_once(notes: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Clauses of tiers: what holds for all of them once, the others with the name of the tier."""
    shared = [clause for clause in notes[0][1] if all(clause in each for _, each in notes)]
    own = [f"for {name} {each}" for name, mine in notes for each in mine if each not in shared]
    return (*shared, *own)
