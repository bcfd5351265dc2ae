"""From what was tried to the setting that is recommended: finalists, fresh runs, the choice.

1. The best settings are halved on fresh runs, as in :mod:`experiments.tune.finals`: what the search
   itself saw does not count, since its best is partly luck.
2. The finalists, the scenario's present settings and vLLM's default are judged on more fresh runs,
   all on the same ones; every figure that is reported is from there.
3. The order of the finalists comes from the halving.  Another one takes the place of the first only
   where it is better beyond the interval of the paired difference, by more than half a per cent;
   where goodputs tie, where its mean latency is lower in the same way.
4. A present setting is kept unless a finalist, or vLLM's default, is better in that sense.
5. Of settings that the best does not beat, the one with the fewest numbers is taken; the first
   finalist is judged without its numbers that may be left out, too.
6. What breaks a constraint cannot win.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Literal

from experiments.parallel import Progress, in_threads
from experiments.sentences import ScenarioError
from experiments.tune.choice import NEARLY_EQUAL, is_better
from experiments.tune.contestants import Setting
from experiments.tune.course import JUDGING, ROUNDS
from experiments.tune.finals import pooled
from experiments.tune.scores import STABLE, Score
from experiments.tune.search import Tried, rank
from policies.iteration import RULES
from sim.intervals import Difference, Estimate, paired
from sim.iteration.metrics import measure, paired_difference

from .capacity_rate import TAIL
from .outcome import TokenOutcome
from .saturation import Draw, Driver, Saturation, saturation
from .scenario import TokenScenario
from .tune_scores import STATISTICS, TokenGoal, TokenScorer, draws_of, violations_of
from .tune_space import rule_of, tables_of

FIELD, HALVINGS = 12, 2
"""Settings that leave the search; 12 and 6 run again, 3 are left."""

DEFAULT = {"kind": "vllm_like", "max_num_batched_tokens": 2048}
"""What vLLM does where nobody says anything (``SchedulerConfig``, 0.33), up to ``max_num_seqs``,
which is the engine's."""

DEFAULT_NAME = "vllm_default"

Role = Literal["tuned", "present", "default"]


@dataclass(frozen=True)
class TokenJudged:
    """A setting with what it did on the fresh runs."""

    name: str
    setting: Setting
    role: Role
    outcome: TokenOutcome
    worth: tuple[Estimate, ...]
    """The objective."""
    most: Saturation
    violations: Mapping[str, float]
    """At most 0 where a constraint holds."""

    @property
    def stable(self) -> bool:
        """Whether it keeps up."""
        return self.violations[STABLE] < 0.0

    @property
    def feasible(self) -> bool:
        """Whether every constraint holds, with its confidence bound."""
        return self.stable and all(v <= 0.0 for v in self.violations.values())

    @property
    def broken(self) -> list[str]:
        """The constraints that do not hold."""
        return [
            name for name, v in self.violations.items() if v > 0.0 or (name == STABLE and v == 0)
        ]

    def against(self, other: TokenJudged, statistic: str = "") -> Difference:
        """The paired difference of the objective or a statistic, this one less the other."""
        if statistic:
            return paired_difference(self.outcome.measures, other.outcome.measures, statistic)
        return paired(self.worth[0], other.worth[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the measures."""
        return {
            "name": self.name,
            "role": self.role,
            "table": dict(self.setting.table),
            "feasible": self.feasible,
            "broken": self.broken,
            "violations": dict(self.violations),
            "objective": self.worth[0].to_json(),
            "saturation_per_s": self.most.requests.to_json(),
            "saturation_tokens_per_s": self.most.tokens.to_json(),
        }


def finalists(
    scenario: TokenScenario, goal: TokenGoal, tried: Sequence[Tried], run: Driver, tell: Progress
) -> list[Setting]:
    """Three settings, and the best of each contestant; the best first."""
    left = field_of(tried, goal)
    known: dict[str, list[Score]] = {setting.key: [] for setting in left}
    for number in range(HALVINGS):
        tell(f"round {number + 1} of the finalists", number, HALVINGS)
        scorer = TokenScorer(goal, scenario, draws_of(scenario, [ROUNDS + number]), run)
        names = [setting.name for setting in left]
        scores = in_threads(scorer.score, left, names, lambda *_: None)
        for setting, score in zip(left, scores, strict=True):
            known[setting.key].append(score)
        left.sort(key=lambda one: rank(pooled(known[one.key]), goal))  # type: ignore[arg-type]
        keep = FIELD // 2 ** (number + 1)
        best = {setting.name: setting.key for setting in reversed(left)}
        left = [s for place, s in enumerate(left) if place < keep or best[s.name] == s.key]
    return left


def field_of(tried: Sequence[Tried], goal: TokenGoal) -> list[Setting]:
    """The settings that leave the search, the best first, none twice."""
    steady = [one for one in tried if one.score.values is not None]
    ranked = sorted(steady, key=lambda one: rank(one.score, goal))  # type: ignore[arg-type]
    unique = list({one.setting.key: one.setting for one in reversed(ranked)}.values())[::-1]
    first = {setting.name: setting.key for setting in reversed(unique)}
    return [s for place, s in enumerate(unique) if place < FIELD or first[s.name] == s.key]


@dataclass(frozen=True)
class Entry:
    """A setting that is to be judged."""

    name: str
    setting: Setting
    role: Role


def entries_of(scenario: TokenScenario, found: Sequence[Setting]) -> list[Entry]:
    """Finalists in their order, present settings, vLLM's default; nothing twice.

    A finalist that is a present setting is judged as that.
    """
    present = [Entry(n, Setting(n, t, 1), "present") for n, t in tables_of(scenario).items()]
    default = Setting(DEFAULT_NAME, DEFAULT, 1)
    known = {_identity(scenario, one.setting): one.name for one in present}
    tuned: list[Entry] = []
    for setting in [*found, *(plainer(one) for one in found[:1])]:
        if known.setdefault(_identity(scenario, setting), "") or setting.key in {
            one.setting.key for one in tuned
        }:
            continue
        tuned.append(Entry(free(f"tuned_{setting.name}", [*tuned, *present]), setting, "tuned"))
    entries = [*tuned, *present]
    if _fits(scenario, default) and _identity(scenario, default) not in known:
        entries.append(Entry(free(DEFAULT_NAME, entries), default, "default"))
    return entries


def free(name: str, entries: Sequence[Entry]) -> str:
    """A name that no other setting has: with a number behind it where that is needed."""
    taken = {one.name for one in entries}
    return next(each for each in chain([name], (f"{name}_{k}" for k in count(2)))
                if each not in taken)  # fmt: skip


def plainer(setting: Setting) -> Setting:
    """A setting without the numbers that its rule can do without."""
    space = RULES[str(setting.table["kind"])].space()  # type: ignore[attr-defined]
    spare = {dimension.key for dimension in space if getattr(dimension, "usual", None) is not None}
    table = {key: value for key, value in setting.table.items() if key not in spare}
    return Setting(setting.name, table, setting.servers)


def _identity(scenario: TokenScenario, setting: Setting) -> str:
    """Equal for rules that are the same once they are bound."""
    tiers = tuple(tier.tier for tier in scenario.workload.tiers)
    return repr(scenario.serving().bound(rule_of(setting.table), tiers))


def _fits(scenario: TokenScenario, setting: Setting) -> bool:
    """Whether the engine can run a setting."""
    try:
        _identity(scenario, setting)
    except ValueError:
        return False
    return True


def judged(
    scenario: TokenScenario, goal: TokenGoal, entries: Sequence[Entry], run: Driver, tell: Progress
) -> list[TokenJudged]:
    """Judge every entry on the same fresh runs, in threads.

    Raises:
        ScenarioError: the runs are too short for the objective.
    """
    tell("judging on fresh runs", 0, len(entries))
    count = scenario.spec.tune.replications
    draws = draws_of(scenario, range(JUDGING, JUDGING + count))
    names = [f"judging {entry.name}" for entry in entries]
    found = in_threads(
        lambda entry: judge(scenario, goal, entry, draws, run), list(entries), names, tell
    )
    if not any(one.worth[0].value is not None for one in found if one.stable) and any(
        one.stable for one in found
    ):
        needs = max(one.worth[0].needs or 0 for one in found)
        raise ScenarioError(
            f"{scenario.name}: the fresh runs are too short for the objective, which needs "
            f"{needs} requests in all: give more, as --set tune.replications={2 * count}"
        )
    return found


def judge(
    scenario: TokenScenario, goal: TokenGoal, entry: Entry, draws: Sequence[Draw], run: Driver
) -> TokenJudged:
    """One setting on the fresh runs."""
    rule, offered = rule_of(entry.setting.table), scenario.offered_rate_per_s
    most = saturation(rule, draws, run)
    served = most.requests.value or float("inf")
    traces = [run(rule, workload, serving) for workload, serving in draws]
    measures = measure(
        traces,
        scenario.targets,
        drifts=bool(scenario.spec.engine.drift),
        saturation_per_s=served,
        offered_per_s=offered,
        tail=TAIL,
    )
    outcome = TokenOutcome(entry.name, dict(entry.setting.table), measures, scenario.targets)
    violations = {STABLE: offered / served - 1.0}
    if goal.constraints and measures.stable:
        violations |= violations_of(goal, scenario, traces, sure=True)
    name = goal.name
    worth = most.tokens if name == "tokens" else outcome.estimate(STATISTICS[name])
    return TokenJudged(entry.name, entry.setting, entry.role, outcome, (worth,), most, violations)


def beats(one: TokenJudged, other: TokenJudged, goal: TokenGoal) -> bool:
    """Whether a setting is better beyond the interval, and by more than ``NEARLY_EQUAL``.

    Where goodputs tie, the mean latency decides in the same way.
    """
    gap, base = one.against(other), other.worth[0].value
    if goal.name == "goodput" and gap.verdict == "tie":
        gap = one.against(other, "latency_ms.mean")
        base = other.outcome.value("latency_ms.mean")
        better = gap.verdict == "lower"
    else:
        better = is_better(gap, goal)  # type: ignore[arg-type]
    return better and abs(gap.value or 0.0) > NEARLY_EQUAL * abs(base or 0.0)


def winner_of(
    found: Sequence[TokenJudged], goal: TokenGoal, kinds: Collection[str]
) -> TokenJudged | None:
    """The setting to recommend; None where none keeps the constraints.

    Args:
        found: finalists in their order, present settings, vLLM's default.
        goal: what is looked for.
        kinds: of the rules that compete.
    """
    able = [one for one in found if one.feasible and one.setting.table["kind"] in kinds]
    fresh = [one for one in able if one.role != "present"]
    best = _simplest(_best(fresh, goal), fresh, goal)
    kept = _best([one for one in able if one.role == "present"], goal)
    if kept is None or best is None:
        return best or kept
    return next((one for one in (best, *fresh) if beats(one, kept, goal)), kept)


def _best(found: Sequence[TokenJudged], goal: TokenGoal) -> TokenJudged | None:
    """The first, unless another one beats it."""
    best: TokenJudged | None = None
    for one in found:
        if best is None or beats(one, best, goal):
            best = one
    return best


def _simplest(
    best: TokenJudged | None, found: Sequence[TokenJudged], goal: TokenGoal
) -> TokenJudged | None:
    """The one with the fewest numbers of those that the best does not beat."""
    if best is None:
        return None
    ties = [one for one in found if one is best or not beats(best, one, goal)]
    return min(ties, key=lambda one: (len(one.setting.table), one is not best))
