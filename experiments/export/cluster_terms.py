"""What files of a stack cannot say of replicas and of the limits of tiers.

Every stack holds a setting against these functions, so that a router, an autoscaler, GPUs that
differ or limits that differ are told, and never lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .concession import Concession
from .rounding import in_ms
from .setting import Setting


class Spread(NamedTuple):
    """What a stack does with several servers."""

    title: str
    no_shared_queue: str = ""
    """Why several servers are not one queue; empty where they share one."""
    several_queues: str = ""
    """What several servers are instead, as it goes on after *with --nearest*."""
    routers: tuple[str, ...] = ()
    """Kinds of routers that are its own."""
    spreads: str = "as whatever stands before them sends them"
    """How its replicas get their requests, after *its replicas get the requests*."""
    scalers: tuple[str, ...] = ()
    """Kinds of autoscalers that are its own."""
    several_batches: bool = False
    """Whether a replica can run several batches from its queue."""
    places: bool = False
    """Whether its files, or what starts them, say which server has which GPU."""
    shares: bool = False
    """Whether they say how many servers share one."""


def replicas_given_up(setting: Setting, spread: Spread) -> list[Concession]:
    """Whatever a stack cannot say of several servers."""
    if setting.servers == 1:
        return []
    return [*_queues(setting, spread), *_scaling(setting, spread), *_placing(setting, spread)]


def _queues(setting: Setting, spread: Spread) -> Iterable[Concession]:
    """One queue or several, and who chooses among several."""
    replicas = setting.replicas
    routed_by = None if replicas is None else replicas.routed_by
    if replicas is None or routed_by is None:
        if spread.no_shared_queue:
            yield Concession(spread.no_shared_queue, spread.several_queues)
    elif not spread.no_shared_queue:
        yield Concession(
            f"{spread.title} has one queue for all its servers, and no {routed_by} router",
            "its servers share one queue, where every replica of the run had its own",
        )
    else:
        if routed_by not in spread.routers:
            yield Concession(
                f"{spread.title} has no {routed_by} router",
                f"its replicas get the requests {spread.spreads}, where the run had a {routed_by} "
                "router",
            )
        if replicas.instances > 1 and not spread.several_batches:
            yield Concession(
                f"a replica of {spread.title} runs one batch at a time",
                f"it has {setting.servers} replicas with a queue each, where the run had "
                f"{replicas.count} of {replicas.instances} instances",
            )


def _scaling(setting: Setting, spread: Spread) -> Iterable[Concession]:
    replicas = setting.replicas
    if replicas is None or replicas.scaler is None or replicas.scaled_by in spread.scalers:
        return
    yield Concession(
        f"{spread.title} does not scale by the rule of {replicas.scaled_by}",
        f"it has all {setting.servers} servers all the time, where the run had "
        f"{replicas.scaler.min_replicas} to {replicas.scaler.max_replicas} replicas",
    )


def _placing(setting: Setting, spread: Spread) -> Iterable[Concession]:
    replicas = setting.replicas
    if replicas is None:
        return
    if replicas.others and not spread.places:
        yield Concession(
            f"the files of {spread.title} do not say which server has which GPU",
            f"it takes all servers for equal: see to it that there are {replicas.gpus}",
        )
    if replicas.instances_per_gpu > 1 and not spread.shares:
        yield Concession(
            f"the files of {spread.title} do not say how many servers share a GPU",
            f"it places no server: see to it that {replicas.instances_per_gpu} share a GPU",
        )


def tier_limits_given_up(setting: Setting, title: str) -> list[Concession]:
    """Limits of single tiers, given up where there is one queue for all."""
    return [*_capacities(setting, title), *_timeouts(setting, title)]


def _capacities(setting: Setting, title: str) -> Iterable[Concession]:
    limits = [
        f"{each.capacity} of {tier.name}"
        for tier, each in zip(setting.tiers, setting.traffic, strict=False)
        if each.capacity is not None
    ]
    if limits:
        yield Concession(
            f"{title} has no limit for the requests of one tier that wait",
            f"it does not limit how many of a tier wait ({', '.join(limits)} in the run)",
        )


def _timeouts(setting: Setting, title: str) -> Iterable[Concession]:
    """Time-outs that differ; one that is the same for all is ``setting.timeout_ns``."""
    if setting.timeout_ns is not None:
        return
    limits = [
        f"{tier.name} after {in_ms(each.timeout_ns)} ms"
        for tier, each in zip(setting.tiers, setting.traffic, strict=False)
        if each.timeout_ns is not None
    ]
    if limits:
        yield Concession(
            f"{title} has no time-out for the requests of one tier",
            f"it does not drop those that wait too long ({', '.join(limits)} in the run)",
        )
