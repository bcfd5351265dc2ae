"""What tuning says of mixed traffic: how near the limits settings are, and what a backlog gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from experiments.wording import joined, with_interval

from .goal import Target

if TYPE_CHECKING:
    from .judging import Judged
    from .result import Tuning


def within_slos(found: Tuning) -> Iterator[str]:
    """Where SLOs are no constraints: the point of the front that keeps them all, the best first."""
    slos = found.goal.slos_ms
    aims = [(one.name, one.tier) for one in found.goal.objectives]
    asked = [k for k, aim in enumerate(aims) if aim in slos]
    if len(aims) < 2 or not asked:
        return
    titles = joined([f"{found.goal.objectives[k].title} <= {slos[aims[k]]:g} ms" for k in asked])
    kept = [one for one in found.front if all(_ends(one, k, slos[aims[k]]) for k in asked)]
    if not kept:
        yield f"No setting on the front keeps {titles}."
        return
    best = kept[0]
    parts = [
        f"{measure.title} {with_interval(estimate)} {measure.word.unit}".strip()
        for measure, estimate in zip(found.goal.objectives, best.worth, strict=True)
    ]
    yield f"With {titles} it is {best.name}: {joined(parts)}."


def _ends(one: Judged, objective: int, limit: float) -> bool:
    """Whether the confidence bound of an objective is within a limit."""
    high = one.worth[objective].high
    return high is not None and high <= limit


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
