"""Services for tiers on KServe, each with replicas of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .concession import Concession
from .contract import NotExpressible
from .kserve_scaling import scaler_of
from .lengths_routed import Route, routes
from .plan import Plan
from .setting import Setting
from .tier_windows import DOES
from .tiers_apart import Part, parts_of, told_once

JOINED = ", and "
"""Between the reasons of a refusal."""


class Service(NamedTuple):
    """What one file of KServe holds."""

    setting: Setting
    route: Route
    folder: str
    """With a slash at its end; empty where it is the only file."""


def services_of(setting: Setting, plan: Plan) -> tuple[Service, ...]:
    """The services for all tiers together: one, or one for each range of lengths."""
    return tuple(Service(setting, route, route.folder) for route in routes(setting, plan))


def tier_services(
    setting: Setting, agree: Callable[[Setting], Plan]
) -> tuple[tuple[Service, ...], list[Concession]]:
    """The services of all tiers, and what is given up for them.

    Args:
        setting: whose rule knows tiers.
        agree: what KServe can do of a tier's own setting; it refuses what is not exact.
    """
    parts = parts_of(setting)
    counts = split(setting.servers, [part.share for part in parts])
    each = ", ".join(f"{part.name} {n}" for part, n in zip(parts, counts, strict=True))
    told = f"it becomes {len(parts)} services, one for each tier, with replicas of its own ({each})"
    if sum(counts) > setting.servers:
        told += f", more than the {setting.servers} of the run"
    found = [Concession(f"{DOES[setting.kind]}, and KServe has no priorities", told)]
    services: list[Service] = []
    notes, reasons = [], []
    for part, count in zip(parts, counts, strict=True):
        own = _on_replicas(part, count)
        plan, reason = _agreed(own, agree)
        notes.append((part.name, plan.notes))
        reasons.append((part.name, tuple(reason.split(JOINED)) if reason else ()))
        services += (
            Service(own, route, route.folder or f"{own.model}/") for route in routes(own, plan)
        )
    reason = JOINED.join(told_once(reasons))
    found += [Concession(reason, note) for note in told_once(notes)]
    return tuple(services), found


def _agreed(own: Setting, agree: Callable[[Setting], Plan]) -> tuple[Plan, str]:
    """What KServe can do of a tier's setting, and why no more."""
    try:
        return agree(own), ""
    except NotExpressible as error:
        refusal = error
    if refusal.nearest is None or not isinstance(refusal.nearest.what, Plan):
        raise refusal
    return refusal.nearest.what, refusal.reason


def _on_replicas(part: Part, count: int) -> Setting:
    """A tier's setting on replicas of its own, scaled among them."""
    setting, replicas = part.setting, part.setting.replicas
    if replicas is not None:
        replicas = replace(replicas, count=count, initial=_share(replicas.initial, part, count))
        scaler = scaler_of(setting)
        if scaler is not None:
            least = _share(scaler.min_replicas, part, count)
            scaler = scaler._replace(min_replicas=least, max_replicas=count)
            replicas = replace(replicas, scaler=scaler, initial=max(least, replicas.initial))
    return replace(setting, servers=count, replicas=replicas, traffic=())


def _share(many: int, part: Part, most: int) -> int:
    """A tier's part of so many replicas: at least one."""
    return min(max(1, round(many * part.share)), most)


def split(servers: int, shares: Sequence[float]) -> list[int]:
    """Whole servers by shares: at least one each, the rest to the largest remainders."""
    rest = max(servers - len(shares), 0)
    ideal = np.array(shares) * max(servers, len(shares))
    wanted = np.maximum(ideal - 1.0, 0.0)
    if wanted.sum() > 0:
        wanted *= rest / wanted.sum()
    whole = np.floor(wanted + 1e-9).astype(int)
    order = np.argsort(-(wanted - whole), kind="stable")
    whole[order[: rest - int(whole.sum())]] += 1
    return [1 + int(each) for each in whole]


def tier_note(services: Sequence[Service]) -> str:
    """Who sends what where."""
    rules = ", ".join(f"{each.setting.tiers[0].name} to {each.route.model}" for each in services)
    return f"a gateway that knows the tier of a request stands before the services: {rules}"
