"""Which numbers of a policy decide how good it is, from the trials of the search.

1. The measure is PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023, arXiv 2304.10255) as Optuna
   computes it: how much the distribution of a number among the best settings differs from that
   among all that were tried, as a share of the sum over the numbers.  It allows for a search that
   tried some values more often than others.
2. The order is that of the search: feasible settings first.  Every setting counts once, also one
   that breaks a constraint or cannot keep up; only feasible ones count as the best, and a policy
   with too few of them has no importances.
3. Numbers enter by their rank among the values tried, so that the steps of a grid do not matter.
4. Shares add up to 1 however little the objective varies: its range is always said beside them.
5. Few best settings differ from all by chance, too.  So each number also has the largest of 19
   shares that it gets when the order of the settings is shuffled: what matters not at all is above
   it once in 20 times.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import POLICIES

from .search import Tried

if TYPE_CHECKING:
    from optuna.study import Study

    from .result import Tuning

ENOUGH = 20
"""Settings of a policy from which on importances are given."""

TOP = 5
"""The fewest best settings that Optuna advises to compare with the others."""

TOP_SHARE = 0.1
"""The share of best settings, where that is more; Optuna's own default."""

SHUFFLES = 19
"""Then what does not matter is above all of them once in 20 times."""

SEED = 7
"""Of the shuffles: the same figure every time."""


@dataclass(frozen=True)
class Importance:
    """What the numbers of one policy matter."""

    policy: str
    shares: Mapping[str, float]
    """By the name of a number, the largest first; they add up to 1."""
    chance: Mapping[str, float]
    """What a number is above once in 20 times where it does not matter."""
    settings: int
    """How many this rests on."""
    top: int
    """How many of them count as the best."""
    best: float
    """The objective of the best feasible one."""
    worst: float
    """The objective of the worst feasible one."""


def importances(found: Tuning, objective: int = 0) -> list[Importance]:
    """The importances of every policy with enough settings, the best policy first.

    A policy with fewer than two numbers that vary has none: there is nothing to compare.
    """
    sign = found.goal.objectives[objective].sign
    names = dict.fromkeys(one.setting.name for one in found.tried)
    tiers = [group.name for one in found.judged[:1] for group in one.outcomes[0].measures.tiers]
    each = (
        importance_of(
            name, [t for t in found.tried if t.setting.name == name], objective, sign, tiers
        )
        for name in names
    )
    return sorted((one for one in each if one is not None), key=lambda one: sign * one.best)


def importance_of(
    name: str, tried: Sequence[Tried], objective: int, sign: float, tiers: Sequence[str] = ()
) -> Importance | None:
    """The importances of one policy from its trials; None where they say nothing.

    Args:
        name: of the policy.
        tried: its trials.
        objective: which one.
        sign: 1 where less of it is better, else -1.
        tiers: the names of the workload's.
    """
    unique = list({one.setting.key: one for one in tried}.values())
    rows = [numbers(one, tiers) for one in unique]
    varied = [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if len({row.get(key, math.inf) for row in rows}) > 1
    ]
    values = [
        one.score.values[objective]
        for one in unique
        if one.score.feasible and one.score.values is not None
    ]
    top = min(max(TOP, math.ceil(TOP_SHARE * len(unique))), len(values))
    if len(unique) < ENOUGH or top < TOP or len(varied) < 2:
        return None
    divergences, shuffled = _divergences(
        [{key: row.get(key, math.inf) for key in varied} for row in rows],
        _places([_worth(one, objective, sign) for one in unique]),
        top / len(unique),
    )
    total = sum(divergences.values())
    if total <= 0.0:
        return None
    ranked = sorted(varied, key=lambda key: -divergences[key])
    shares = {key: divergences[key] / total for key in ranked}
    chance = {key: shuffled[key] / total for key in ranked}
    ordered = sorted(values, key=lambda value: sign * value)
    return Importance(name, shares, chance, len(unique), top, ordered[0], ordered[-1])


def _worth(one: Tried, objective: int, sign: float) -> tuple[float, float]:
    """Less is better: feasible ones by their objective, then the others by their excess."""
    score = one.score
    if score.values is None:
        return (1.0 + score.excess, math.inf)
    return (0.0 if score.feasible else score.excess, sign * score.values[objective])


def _places(worth: Sequence[tuple[float, float]]) -> list[int]:
    """Ranks from 0; equal ones share theirs."""
    order = {value: place for place, value in enumerate(sorted(set(worth)))}
    return [order[value] for value in worth]


def numbers(one: Tried, tiers: Sequence[str] = ()) -> dict[str, float]:
    """The numbers of a setting by name, those of each tier apart.

    Of any other list, how many it has and the first of them.
    """
    found: dict[str, float] = {}
    by_tier = _by_tier(str(one.setting.table.get("kind", "")))
    for key, value in one.setting.table.items():
        if isinstance(value, list | tuple) and key in by_tier and len(value) == len(tiers):
            own = (f"{key} of {tier}" for tier in tiers)
            found |= dict(zip(own, map(float, value), strict=True))
        elif isinstance(value, list | tuple):
            found[f"{key}: how many"] = float(len(value))
            found[f"{key}: first"] = float(value[0]) if value else math.inf
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = float(value)
    found["servers"] = float(one.setting.servers)
    return found


def _by_tier(kind: str) -> set[str]:
    """The keys of a policy that have a value for each tier."""
    own = getattr(POLICIES.get(kind), "space", None)
    return set() if own is None else {d.key for d in own() if getattr(d, "tiers", False)}


def _divergences(
    rows: Sequence[Mapping[str, float]], places: Sequence[int], share: float
) -> tuple[dict[str, float], dict[str, float]]:
    """PED-ANOVA of a study that is built from rows of numbers, and the most that chance gives.

    Args:
        rows: one a setting.
        places: the rank of each setting, the best first.
        share: of the settings that count as the best.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    rng = np.random.default_rng(SEED)
    order = np.array(places, dtype=np.float64)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    with _quiet():
        study = _study(rows)
        found = evaluator.evaluate(study, target=lambda trial: float(order[trial.number]))
        shuffled = dict.fromkeys(found, 0.0)
        for _ in range(SHUFFLES):
            mixed = rng.permutation(order)
            by_chance = evaluator.evaluate(study, target=lambda t, m=mixed: float(m[t.number]))  # type: ignore[misc]
            shuffled = {key: max(most, by_chance[key]) for key, most in shuffled.items()}
    return found, shuffled


def _study(rows: Sequence[Mapping[str, float]]) -> Study:
    """A study in memory with a trial a row; numbers are their ranks."""
    import optuna
    from optuna.distributions import IntDistribution

    ranks: dict[str, dict[float, int]] = {
        key: {value: k for k, value in enumerate(sorted({row[key] for row in rows}))}
        for key in rows[0]
    }
    distributions: dict[str, Any] = {
        key: IntDistribution(0, len(each) - 1) for key, each in ranks.items()
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    study.add_trials(
        optuna.create_trial(
            params={key: ranks[key][row[key]] for key in row},
            distributions=distributions,
            value=0.0,
        )
        for row in rows
    )
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Optuna says of experimental parts and of studies in memory."""
    import optuna

    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(loud)
