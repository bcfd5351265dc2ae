"""What tuning says of mixed traffic: how near the limits the winner is, and what a backlog gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.wording import with_interval

from .goal import Target

if TYPE_CHECKING:
    from .result import Tuning


def spared(found: Tuning) -> Iterator[str]:
    """Each limited tier's tail under the winner, and each backlog's share of what is possible."""
    best, backlogs = found.winner, found.scenario.get("backlogs", {})
    if best is None or not backlogs or len(best.loads) > 1 or found.goal.finds_load:
        return
    aims = {(one.name, one.tier) for one in found.goal.objectives}
    measures = best.outcomes[0].measures
    for each in found.goal.constraints:
        if isinstance(each, Target) and (each.measure.name, each.measure.tier) not in aims:
            tail = each.measure.estimate(measures, best.setting.servers)
            yield f"The {each.measure.title} is {with_interval(tail)} ms."
    for name, bound in backlogs.items():
        group = measures.group(name)
        if group.share_of_bound is not None:
            rate = f"{with_interval(group.throughput_per_s)}/s, "
            most = f"{bound['bound_per_s']:.4g}/s that no rule can exceed: {bound['formula']}"
            if best.setting.servers != bound["servers"] and group.bound_per_s is not None:
                most = f"{with_interval(group.bound_per_s)}/s that no rule can exceed"
            yield (
                f"{name} gets {'' if ('throughput', name) in aims else rate}"
                f"{with_interval(group.share_of_bound.scaled(100.0))} % of the "
                f"{most}."
            )
