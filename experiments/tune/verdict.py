"""What tuning says, in plain words: the setting, what it is worth, and how far it is from the best.

1. Every figure is judged, on runs that the search has not seen.
2. A difference inside its interval is called a tie; a limit that is not exact is named.
3. Where waiting cannot help, that is said in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from experiments.stage_words import of_stages
from experiments.wording import amount, joined

from .choice import GREEDY, is_better
from .judging import Judged
from .nobody_words import nearest, nobody
from .setting_words import figures, said
from .spare_words import spared, within_slos

if TYPE_CHECKING:
    from .result import Tuning

NEAR = 0.01
"""A rule within one per cent of the optimum leaves nothing to tune."""


def verdict_of(found: Tuning) -> str:
    """The sentences, most important first."""
    sentences = [
        _winner(found),
        *spared(found),
        *within_slos(found),
        *_against_baselines(found),
        *_waiting(found),
        *_present(found),
        *_least(found),
        *_stages(found),
        *_stability(found),
        *_over_loads(found),
        _search(found),
        *found.notes,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _winner(found: Tuning) -> str:
    """The setting and its judged figures."""
    best = found.winner
    if best is None:
        return nobody(found)
    objective = found.goal.objectives[0]
    if len(found.goal.objectives) > 1:
        return (
            f"{len(found.front)} settings are on the front of {_titles(found)}: none of them is "
            f"beaten in everything. The one with the "
            f"{'most' if objective.sign < 0 else 'least'} {objective.title} is {said(best)}, with "
            f"{figures(best, found.goal.objectives)}."
        )
    held = ""
    if found.goal.constraints and not found.goal.finds_load:
        limits = joined([one.title for one in found.goal.constraints])
        held = f"; {limits} holds with 95 % confidence"
    told = f"{figures(best, found.goal.objectives)}{held}."
    if best.role == "present":
        more = "Nothing that was tried is better; more trials may find it."
        return f"Keep {best.name} as it is ({said(best)}): {told} {more}"
    return f"Use {said(best)}: {told}"


def _stages(found: Tuning) -> Iterator[str]:
    """What CPU stages do to the setting that is recommended, or to the nearest."""
    one = found.winner or nearest(found)
    if one is not None:
        yield from of_stages(one.outcomes, one.outcomes[0] if one.stable else None)


def _titles(found: Tuning) -> str:
    return joined([one.title for one in found.goal.objectives])


def _against_baselines(found: Tuning) -> Iterator[str]:
    """What the winner is worth against the rules that need no tuning."""
    best = found.winner
    if best is None:
        return
    others = [one for one in found.judged if one.role == "baseline" and one is not best]
    kept = [one for one in others if one.feasible]
    better = [one for one in kept if is_better(best.against(one), found.goal)]
    worse = [one for one in kept if is_better(one.against(best), found.goal)]
    ties = [one.name for one in kept if one not in better and one not in worse]
    if better:
        yield f"It is {joined([f'{_share(best, one)} {one.name}' for one in better])}."
    if ties:
        need = "needs" if len(ties) == 1 else "need"
        yield f"It ties with {joined(ties)}, which {need} no tuning."
    if worse:
        said_of = [f"{one.name} ({_share(one, best)} it)" for one in worse]
        yield f"Better still, where your stack can run it: {joined(said_of)}."
    yield from _failing(others)


def _failing(others: Sequence[Judged]) -> Iterator[str]:
    """Who cannot keep up, and who breaks a constraint."""
    unstable = [one.name for one in others if not one.stable]
    broken = [one.name for one in others if one.stable and not one.feasible]
    if unstable:
        beside = next((o.measures.stability for one in others for o in one.outcomes), None)
        there = f" beside the backlog of {beside.beside}" if beside and beside.beside else ""
        yield f"{joined(unstable)} cannot serve what arrives{there}."
    if broken:
        steady = (one for one in others if one.name in broken)
        limits = joined(list(dict.fromkeys(name for one in steady for name in one.broken)))
        verb = "does" if len(broken) == 1 else "do"
        yield f"{joined(broken)} {verb} not keep {limits}."


def _share(first: Judged, second: Judged) -> str:
    """``13 % below``: the first against the second, in the first objective."""
    a, b = first.worth[0].value, second.worth[0].value
    if not a or not b:
        return "better than"
    share = abs(a / b - 1.0)
    return f"{100 * share:.2g} % {'below' if a < b else 'above'}"


def _waiting(found: Tuning) -> Iterator[str]:
    """Whether there is anything to tune at all: the distance of greedy's mean from the optimum."""
    floor = found.floors[0] if found.floors else None
    greedy = next((one for one in found.judged if one.name == GREEDY), None)
    if floor is None or floor.optimum is None or greedy is None or not greedy.stable:
        return
    mean = greedy.outcomes[0].value("latency_ms.mean")
    if mean is None:
        return
    above = mean / floor.optimum.mean_latency - 1.0
    if above <= NEAR:
        near = _percent(max(above, 0.0))
        yield f"Waiting cannot help here: greedy is within {near} of the optimum of the mean."


def _present(found: Tuning) -> Iterator[str]:
    """What the settings of the scenario cost against the winner."""
    best = found.winner
    if best is None:
        return
    objective = found.goal.objectives[0]
    present = [one for one in found.judged if one.role == "present" and one is not best]
    unit = f" {objective.word.unit}" if objective.word.unit else ""
    slower = [
        (_subject(one), f"{amount(abs(gap.value))}{unit}")
        for one in present
        if one.feasible
        and (gap := one.against(best)).value is not None
        and is_better(best.against(one), found.goal)
    ]
    if slower:
        (name_of, cost), *rest = slower
        loses = "falls short by" if objective.sign < 0 else "costs"
        first = f"{name_of} {loses} {cost} of {objective.title}"
        others = [f"{name_of} {cost}" for name_of, cost in rest]
        yield f"Against it, {joined([first, *others])}."
    yield from _failing(present)


def _subject(one: Judged) -> str:
    wait = one.setting.table.get("max_wait_ms")
    if isinstance(wait, int | float) and wait > 0:
        return f"the {wait:g} ms wait of {one.name}"
    return one.name


def _least(found: Tuning) -> Iterator[str]:
    """How far the winner is from the least that is possible, where it is farthest."""
    best = found.winner
    if best is None:
        return
    far = [
        (value / floor.value_ms - 1.0, floor, load)
        for (estimate, *_), floor, load in zip(
            best.objectives, found.floors, best.loads, strict=False
        )
        if floor is not None and floor.value_ms and (value := estimate.value) is not None
    ]
    if not far:
        return
    above, floor, load = max(far, key=lambda each: each[0])
    at = f" at a load of {load:g}" if len(best.loads) > 1 and load is not None else ""
    if floor.exact:
        near = _percent(max(above, 0.0))
        yield f"The setting is within {near} of the exact optimum{at}."
    else:
        yield (
            f"No rule at all can get below {floor.value_ms:.3g} ms{at} (the {floor.name}); "
            f"{floor.why}."
        )


def _percent(share: float) -> str:
    return f"{max(100 * share, 0.1):.2g} %"


def _stability(found: Tuning) -> Iterator[str]:
    """Where the winner stops keeping up."""
    best = found.winner
    if best is not None and best.unstable_above is not None and best.saturation_per_s:
        yield (
            f"It becomes unstable at a load of {best.unstable_above:.2f} "
            f"({best.saturation_per_s:,.0f}/s)."
        )


def _over_loads(found: Tuning) -> Iterator[str]:
    """The worst regret over several loads."""
    best = found.winner
    if best is None or len(best.loads) < 2 or best.name not in found.regret:
        return
    each = found.regret[best.name]
    worst = max(range(len(each)), key=lambda place: each[place])
    first, last = best.loads[0], best.loads[-1]
    yield (
        f"Over loads {first:g} to {last:g} it is at most {100 * each[worst]:.2g} % worse than what "
        f"is best at one load alone (at {best.loads[worst]:g})."
    )


def _search(found: Tuning) -> str:
    """How much was tried, and what fell out."""
    tried = found.tried
    policies = len({one.setting.name for one in tried})
    unstable = sum(one.score.values is None for one in tried)
    missed = sum(one.score.values is not None and not one.score.feasible for one in tried)
    parts = []
    if unstable:
        parts.append(f"{unstable} could not keep up")
    if missed:
        parts.append(f"{missed} broke a constraint")
    rest = f", of which {joined(parts)}" if parts else ""
    kinds = "1 policy" if policies == 1 else f"{policies} policies"
    return f"{len(tried)} settings of {kinds} were tried{rest}."
