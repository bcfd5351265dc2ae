"""Who goes unserved has no latency, so that a rule that turns many away looks quick.

A percentile of the requests that were served says something of all only where no more go unserved
than it leaves out itself: with a p99 one in a hundred.  A mean leaves out none; it is allowed
:data:`WITH_MEAN`.  Who asks for a limit of ``served`` of their own is given that instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.scenario import Scenario
from policies import POLICIES

from .words import is_of_served, share_of, word_of

WITH_MEAN = 0.99
"""Share that has to be served where a mean is aimed at, as with a p99."""


def least_served(
    scenario: Scenario, aimed: Sequence[tuple[str | None, str]]
) -> dict[str | None, float]:
    """Share that has to be served, by tier; nothing where all requests are.

    Args:
        scenario: says whether any may go unserved.
        aimed: tier and word of everything that is aimed at or limited.
    """
    if not may_refuse(scenario):
        return {}
    least: dict[str | None, float] = {}
    for tier, name in aimed:
        word = word_of(name)
        if word is not None and is_of_served(word) and (tier, "served") not in aimed:
            least[tier] = max(share_of(name) or WITH_MEAN, least.get(tier, 0.0))
    return least


def may_refuse(scenario: Scenario) -> bool:
    """Whether requests may go unserved: refused, given up, shed, or lost with a replica."""
    service, tiers = scenario.spec.service, scenario.spec.workload.tiers or ()
    if service.capacity is not None or service.timeout is not None:
        return True
    if service.over_length == "reject":
        return True
    if any(tier.timeout is not None or tier.capacity is not None for tier in tiers):
        return True
    if service.cluster is not None and service.cluster.outages is not None:
        return True
    named = (POLICIES.get(name) for name in scenario.spec.tune.policies or ())
    kinds = [*map(type, scenario.policies.values()), *(one for one in named if one is not None)]
    return any(hasattr(kind, "sheds") for kind in kinds)
