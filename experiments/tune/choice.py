"""Which of the judged settings is recommended.

1. The order of the finalists comes from the halving, so that the winner's judged figures are not
   those of a lucky best.  Another finalist takes its place only where the fresh runs show it to be
   better, beyond the interval of the paired difference.
2. What breaks a constraint on the fresh runs cannot win.
3. Of finalists that tie with the best, and are within half a per cent of it, the one with the
   fewest numbers is taken: what does not help is left out.
4. Where ``greedy`` is feasible and not worse beyond the interval, it wins: it has nothing to tune.
   So do the other baselines, where the scenario did not say which policies compete.
   But where all that is tuned keeps sequences together, a rule that does not is no answer, however
   fast: it is shown beside them.
5. A present setting wins where it is better than all of these beyond the interval: a short search
   may not find again what is there.  It competes where its policy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from policies import POLICIES
from sim.intervals import Difference

from .goal import Goal
from .judging import Judged

GREEDY = "greedy"

NEARLY_EQUAL = 0.005
"""What simplicity may cost, as a share of the objective."""


def is_better(found: Difference, goal: Goal) -> bool:
    """Whether the first of two is better in the first objective, beyond the interval."""
    return found.verdict == ("higher" if goal.objectives[0].sign < 0 else "lower")


def winner_of(
    judged: Sequence[Judged], goal: Goal, *, baselines_compete: bool, slots_only: bool = False
) -> Judged | None:
    """The setting to recommend; None where none keeps the constraints.

    Args:
        judged: everybody.
        goal: what is wanted.
        baselines_compete: whether other baselines than greedy do.
        slots_only: whether only rules compete that keep sequences together.
    """
    if slots_only:
        judged = [one for one in judged if keeps_sequences(one.setting.table["kind"])]
    finalists = [one for one in judged if one.role == "tuned" and one.feasible]
    simple = [
        one
        for one in judged
        if one.role == "baseline" and one.feasible and (one.name == GREEDY or baselines_compete)
    ]
    best: Judged | None = None
    for one in finalists:
        if best is None or is_better(one.against(best), goal):
            best = one
    if best is not None:
        best = _simplest(best, finalists, goal)
    for one in simple:
        if best is None or _takes_over(one, best, goal):
            best = one
    if len(goal.objectives) > 1:
        return best
    kinds = {one.setting.table["kind"] for one in judged if one.role == "tuned"}
    present = [one for one in judged if one.role == "present" and one.feasible]
    for one in present:
        competes = baselines_compete or one.setting.table["kind"] in kinds
        if competes and (best is None or is_better(one.against(best), goal)):
            best = one
    return best


def keeps_sequences(kind: str) -> bool:
    """Whether policies of a kind have slots for sequences."""
    return hasattr(POLICIES.get(kind), "slots")


def renamed(judged: Sequence[Judged], winner: Judged | None) -> tuple[list[Judged], Judged | None]:
    """Settings and winner, where the winner has the plain name among finalists of one policy."""
    if winner is None or winner.role != "tuned":
        return list(judged), winner
    plain = f"tuned_{winner.setting.name}"
    names = {winner.name: plain, plain: winner.name}
    found = [replace(one, name=names.get(one.name, one.name)) for one in judged]
    return found, next(one for one in found if one.name == plain)


def _simplest(best: Judged, finalists: Sequence[Judged], goal: Goal) -> Judged:
    """The finalist with the fewest numbers among those that tie with the best."""
    ties = [one for one in finalists if one is best or _ties(one, best, goal)]
    return min(ties, key=lambda one: (len(one.setting.table), one is not best))


def _ties(one: Judged, best: Judged, goal: Goal) -> bool:
    """Not worse beyond the interval, and within half a per cent."""
    a, b = one.worth[0].value, best.worth[0].value
    near = bool(a) and bool(b) and abs(a / b - 1.0) <= NEARLY_EQUAL  # type: ignore[operator]
    return near and not is_better(best.against(one), goal)


def _takes_over(simple: Judged, best: Judged, goal: Goal) -> bool:
    """Whether a baseline replaces the best so far: where that is tuned, a tie is enough."""
    if best.role == "tuned":
        return not is_better(best.against(simple), goal)
    return is_better(simple.against(best), goal)


def regrets(judged: Sequence[Judged], goal: Goal) -> dict[str, list[float]]:
    """How much worse each setting is than the best feasible one at each load, as a share.

    Only settings that keep up at a load count there; the others have infinite regret.  One that
    breaks a constraint may be better than the best feasible one: it regrets nothing.
    """
    found: dict[str, list[float]] = {one.name: [] for one in judged}
    if goal.finds_load or not judged:
        return {}
    sign = goal.objectives[0].sign
    for place in range(len(judged[0].loads)):
        values = {
            one.name: one.objectives[place][0].value
            for one in judged
            if one.outcomes[place].stable and one.objectives[place][0].value is not None
        }
        kept = {one.name for one in judged if one.feasible} & set(values) or set(values)
        known = [value for name, value in values.items() if name in kept and value is not None]
        best = min((sign * value for value in known), default=0.0) * sign
        for one in judged:
            value = values.get(one.name)
            if value is None or best == 0.0:
                found[one.name].append(float("inf") if value is None else 0.0)
            else:
                found[one.name].append(max(0.0, sign * (value - best) / best))
    return found
