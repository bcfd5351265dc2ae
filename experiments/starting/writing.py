"""A plan tried, sized and written: the scenario file and what stands beside it.

1. It is tried in a folder of its own; what does not load is not written.
2. No file is overwritten without ``force``; files beside the scenario come first, so that a
   scenario that is there has all that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from experiments.runs import write_atomic
from experiments.sentences import ScenarioError

from .plan import Plan, planned
from .rounding import tidy_up
from .text import scenario_text
from .wishes import LOAD, Wishes

if TYPE_CHECKING:
    from experiments.scenario import Scenario

LOAD_MOST, LOAD_MOST_BY_LENGTH = 0.7, 0.4
"""Servers are as many as it takes to stay below: beyond it queues grow fast with every burst.
Where lengths vary there must be room for padding, too, which a load does not count."""
LOAD_LEAST = 0.05
"""Below it batches are of one, whatever the rule."""
SLO_TIMES = 4
"""A target of so many times the batch that keeps up with the arrivals: one that was just missed, a
request's own, and as much again for bursts."""
SERVERS_MOST = 4096
NS_PER_MS, NS_PER_S = 10**6, 10**9


def start(wishes: Wishes, target: Path) -> tuple[Plan, Scenario]:
    """Plan a scenario, try it, and size its servers and its target.

    Raises:
        ScenarioError: a wish makes no sense, or nothing loads with it.
    """
    plan = planned(wishes, _name_of(target))
    if wishes.servers is not None:
        plan = replace(plan, servers=wishes.servers)
    scenario = tried(plan)
    load = scenario.load or 0.0
    if wishes.servers is None and load > _most(plan):
        plan, scenario = _with_servers(plan, scenario, load, said=wishes.load is not None)
    elif load >= 1.0:
        plan = replace(plan, servers_why=_overload(load))
    else:
        plan = replace(plan, servers_why=_load_told(plan, load))
    plan = _with_slo(plan, scenario, wishes)
    return plan, tried(plan)


def _name_of(target: Path) -> str:
    return target.name.removesuffix(".toml")


def _most(plan: Plan) -> float:
    return LOAD_MOST_BY_LENGTH if plan.by_length else LOAD_MOST


def _overload(load: float) -> str:
    if load < 1.0:
        return f"A load of {load:.3g}, as asked."
    return f"A load of {load:.3g}, as asked: above 1 the queue grows as long as requests come."


def _load_told(plan: Plan, load: float) -> str:
    what = "it" if plan.servers == 1 else "they"
    told = f"The load is {load:.2g} of what {what} can do at best."
    if load >= LOAD_LEAST:
        return told
    return f"{told} Hardly anything waits at that: --load {LOAD} brings the same requests faster."


def _with_servers(plan: Plan, scenario: Scenario, load: float, said: bool) -> tuple[Plan, Scenario]:
    """As many servers as keep the load of a rate low enough; a load that was said stays."""
    if said:
        return replace(plan, servers_why=_overload(load)), scenario
    servers = math.ceil(load / _most(plan))
    if servers > SERVERS_MOST:
        raise ScenarioError(
            f"{scenario.offered_rate_per_s:,.4g} requests per second are {load:,.4g} times what "
            "one server can do; are --rate, or the log's unit (--unit), and the profile right?"
        )
    plan = replace(plan, servers=servers)
    scenario = tried(plan)
    why = (
        f"One would have a load of {load:.3g}; {servers} have {scenario.load:.2g}, which leaves "
        f"room for bursts{' and for padding' if plan.by_length else ''}."
    )
    return replace(plan, servers_why=why), scenario


def _with_slo(plan: Plan, scenario: Scenario, wishes: Wishes) -> Plan:
    if wishes.no_slo:
        return plan
    if wishes.slo is not None:
        return replace(plan, slo=(wishes.slo.percentile, wishes.slo.ms), slo_why="As asked.")
    size, takes_ms = keeping_up(scenario)
    ms = tidy_up(SLO_TIMES * takes_ms)
    why = (
        f"An assumption, for you to change: {SLO_TIMES} times a batch of {size}, the smallest that "
        f"keeps up with the arrivals, which takes {takes_ms:.3g} ms."
    )
    return replace(plan, slo=(Decimal(99), ms), slo_why=why)


def keeping_up(scenario: Scenario) -> tuple[int, float]:
    """The smallest batch size that keeps up with the arrivals, and its time in ms.

    Padding counts: a batch of k takes as long as the length that one of k + 1 requests exceeds.
    The size with most requests per second stands in where none keeps up.
    """
    table = scenario.service_ns[0]
    sizes = np.arange(1, len(table) + 1)
    lengths = [_quantile(scenario, size / (size + 1.0)) for size in sizes.tolist()]
    times = np.array(
        [
            np.interp(length, scenario.length_edges, row)
            for length, row in zip(lengths, table, strict=True)
        ]
    )
    per_s = sizes / times * NS_PER_S
    needed = (scenario.offered_rate_per_s or 0.0) / scenario.speed
    place = int(np.argmax(per_s >= min(needed, per_s.max())))
    return place + 1, float(times[place]) / NS_PER_MS


def _quantile(scenario: Scenario, share: float) -> float:
    """A quantile of the lengths, averaged over the tiers."""
    tiers = scenario.workload.tiers
    shares = np.array([tier.share for tier in tiers])
    found = [scenario.workload.lengths_of(tier).pmf().quantile(share) for tier in tiers]
    return float(shares @ np.array(found, dtype=np.float64) / shares.sum())


def tried(plan: Plan) -> Scenario:
    """The plan as a scenario that loads.

    Raises:
        ScenarioError: it does not load; nothing stays behind.
    """
    from experiments.config import load_scenario

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{plan.name}.toml"
        _write(plan, path)
        try:
            return load_scenario(path)
        except ScenarioError as error:
            raise ScenarioError(
                str(error).replace(f"{path}: ", "").replace(f"{folder}/", "")
            ) from error


def files_of(plan: Plan, target: Path) -> Mapping[Path, str]:
    """Text of all files by path, the scenario last."""
    beside = {target.parent / name: text for name, text in plan.files.items()}
    return {**beside, target: scenario_text(plan)}


def _write(plan: Plan, target: Path) -> None:
    for path, text in files_of(plan, target).items():
        path.write_text(text, encoding="utf-8")


def refuse_overwriting(target: Path, names: list[str], *, force: bool) -> None:
    """Leave what is there as it is.

    Raises:
        ScenarioError: a file is there, or the folder is not.
    """
    if not target.parent.is_dir():
        raise ScenarioError(f"there is no folder {target.parent}; make it, or give another FILE")
    for path in (target, *(target.parent / name for name in names)):
        if path.is_dir():
            raise ScenarioError(f"{path} is a folder; give the name of a file, as {path}.toml")
        if path.exists() and not force:
            raise ScenarioError(f"{path} is there already; give another FILE, or --force")


def written(plan: Plan, target: Path, *, force: bool) -> list[Path]:
    """Write everything; the paths, the scenario last.

    Raises:
        ScenarioError: a file is there.
        OSError: the folder cannot be written.
    """
    refuse_overwriting(target, list(plan.files), force=force)
    found = files_of(plan, target)
    for path, text in found.items():
        write_atomic(path, text)
    return list(found)
