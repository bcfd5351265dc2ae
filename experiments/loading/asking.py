"""Which requests are sent: a scenario's own, at a load, as many as fill a window.

Window k of a load has the requests of draw ``seed + k``: those that ``simulate`` has in a
replication of that number, so that the very same can be simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.assemble import assembled
from experiments.config import is_for_tokens, load_scenario
from experiments.overrides import apply_override, parse_override
from experiments.scenario import Scenario
from experiments.schema import Spec
from experiments.sentences import ScenarioError
from experiments.tables import content
from sim.replay import Replay
from sim.workload import Workload

REQUESTS_LEAST = 50
"""In a window; fewer say nothing of a percentile."""
REQUESTS_MOST = 1_000_000
"""In a window: all of them are in memory."""


@dataclass(frozen=True)
class Wanted:
    """How much is sent."""

    loads: tuple[float | None, ...] = (None,)
    """Shares of the largest possible rate; None: as the scenario has it."""
    rate_per_s: float | None = None
    """Instead of a load."""
    requests: int | None = None
    """In a window, instead of its duration."""
    window_ns: int = 15 * 10**9
    repeats: int = 2
    seed: int = 0


def scenario_of(source: str, settings: Sequence[str]) -> Scenario:
    """A scenario whose requests can be sent.

    Raises:
        ScenarioError: it is wrong, or of a kind whose requests have no instants of their own.
    """
    if is_for_tokens(source):
        raise ScenarioError(
            f"{source} is of a model that generates, token by token; load takes scenarios with a "
            "[service]"
        )
    scenario = load_scenario(source, settings)
    why: str | None = None
    if scenario.workload.closed is not None:
        why = "its clients wait for answers, and load sends requests at instants of their own"
    elif scenario.spec.workload.sequences is not None:
        why = "its requests belong to sequences, and load sends requests that belong to none"
    elif scenario.workload.backlogs:
        why = "it has a backlog that is always there, whose requests have no instants"
    if why is not None:
        raise ScenarioError(f"scenario {scenario.name} cannot be sent: {why}")
    return scenario


def at_load(scenario: Scenario, load: float | None, wanted: Wanted) -> Scenario:
    """The scenario at a load, or a rate, with the requests of a window.

    Raises:
        ScenarioError: its arrivals have no rate to set, or a window has too many.
    """
    rate = wanted.rate_per_s
    if load is not None or rate is not None:
        share = load if load is not None else (rate or 0.0) / scenario.rate_max_per_s
        scenario = _scaled(scenario, share)
    offered = scenario.offered_rate_per_s
    assert offered is not None, "closed loops are refused"
    requests = wanted.requests or max(REQUESTS_LEAST, round(offered * wanted.window_ns / 1e9))
    if requests > REQUESTS_MOST:
        raise ScenarioError(
            f"a window has {requests:,} requests, at most {REQUESTS_MOST:,} can be sent: give a "
            "shorter --window or fewer --requests"
        )
    if isinstance(scenario.workload.arrivals, Replay):
        requests = min(requests, len(scenario.workload.arrivals))
    spec = replace(scenario.workload, requests=requests, duration_ns=None)
    return replace(scenario, workload=spec)


def _scaled(scenario: Scenario, share: float) -> Scenario:
    """All arrivals as much faster or slower as makes the load; tiers keep their shares of it.

    Raises:
        ScenarioError: some have no load.
    """
    spec, plain = scenario.spec.workload, content(scenario.spec)
    rates = scenario.workload.rates_per_s()
    faster = share / sum(rates)
    own: list[tuple[str, Any, float]] = [("workload.arrivals", spec.arrivals, sum(rates))]
    if spec.arrivals is None:
        tiers = enumerate(zip(spec.tiers or (), rates, strict=True))
        own = [(f"workload.tiers.{k}.arrivals", tier.arrivals, rate) for k, (tier, rate) in tiers]
    for key, arrivals, rate in own:
        if "load" not in type(arrivals).model_fields:
            raise ScenarioError(
                f"scenario {scenario.name} has {key} without a load to set; it can be sent as it is"
            )
        apply_override(plain, parse_override(f"{key}.load={rate * faster!r}"))
    return assembled(Spec.model_validate(plain), scenario.path)


def drawn(scenario: Scenario, window: int, seed: int = 0) -> Workload:
    """The requests of one window; those beyond the profile are as long as it goes.

    Requests that a server refuses for their length are sent as they are.
    """
    workload, _ = scenario.draw(seed + window)
    if scenario.spec.service.over_length == "truncate" and scenario.profile is not None:
        longest = np.int32(min(int(scenario.length_edges[-1]), np.iinfo(np.int32).max))
        return replace(workload, length=np.minimum(workload.length, longest))
    return workload


__all__ = ["Wanted", "at_load", "drawn", "scenario_of"]
