"""What is looked for when a rule of continuous batching is tuned, and what a setting is worth.

1. ``goodput`` is the rate of requests within their targets; of settings that are equal in it the
   one with the lower mean latency is better, so a millionth of it is taken off per second.  It
   needs no constraint.
2. Every other objective has one for each tier: the promised share has to be kept, with the upper
   end of the interval of the share that misses.
3. A setting that cannot keep up with what arrives has no value.
4. The search and each round of the finalists have replications of their own, far from those of
   ``compare``; so has the judging.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.sentences import ScenarioError
from experiments.tune.contestants import Setting
from experiments.tune.goal import Measure
from experiments.tune.scores import STABLE, UNBOUNDED, Score
from experiments.tune.words import Word
from policies.contract import PolicyError
from sim.intervals import percentile, percentile_needs
from sim.iteration.engine_use import by_time
from sim.iteration.metrics import _Run
from sim.iteration.trace import TokenTrace

from .capacity_rate import TAIL, Promise, check, promises_of
from .capacity_words import promise_text
from .saturation import Draw, Driver, part_of, saturation
from .scenario import TokenScenario
from .tune_space import rule_of

GOALS = {
    "goodput": Word("", "goodput", "/s", more_is_better=True),
    "ttft_p99": Word("", "p99 time to first token", "ms"),
    "tpot_p99": Word("", "p99 time per output token", "ms"),
    "latency_p99": Word("", "p99 latency", "ms"),
    "latency_mean": Word("", "mean latency", "ms"),
    "tokens": Word("", "tokens at saturation", "tokens/s", more_is_better=True),
}
"""The words for what can be looked for."""

STATISTICS = {
    "goodput": "goodput_per_s",
    "ttft_p99": "ttft_ms.p99",
    "tpot_p99": "tpot_ms.p99",
    "latency_p99": "latency_ms.p99",
    "latency_mean": "latency_ms.mean",
}
"""Their names among the numbers of a run."""

SHARE, FEWEST = 10, 4_000
"""A trial has one of so many of the workload's requests, and at least so many."""

ALL = 2**62
"""Requests of a trace are as many as it has."""

GLANCE = 1_200
"""Requests of a first look."""

PER_LATENCY_MS = 1e-9
"""What latency costs where goodputs are equal, as a share of goodput per ms."""


@dataclass(frozen=True)
class TokenGoal:
    """An objective, and what has to be kept meanwhile."""

    objectives: tuple[Measure, ...]
    """One."""
    promises: tuple[Promise, ...] = ()
    """Of the tiers that are promised something."""
    finds_load: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The word of the objective."""
        return self.objectives[0].name

    @property
    def constraints(self) -> tuple[str, ...]:
        """What has to hold, in words."""
        if self.name == "goodput":
            return ()
        several = len(self.promises) > 1
        return tuple(
            f"{one.name}: {promise_text(one)}" if several else promise_text(one)
            for one in self.promises
        )

    @property
    def title(self) -> str:
        """``least p99 latency with 95 % with TTFT <= 1000 ms``."""
        one = self.objectives[0]
        if self.name == "goodput":
            return "most requests within their targets per second"
        aim = f"{'most' if one.sign < 0 else 'least'} {one.title}"
        return aim + (f" while kept: {'; '.join(self.constraints)}" if self.constraints else "")


def goal_of(scenario: TokenScenario) -> TokenGoal:
    """The goal that a scenario's ``[tune]`` table asks for.

    Raises:
        ScenarioError: goodput where nothing is promised, or too few requests to judge by.
    """
    names = [tier.tier.name for tier in scenario.workload.tiers]
    promises = promises_of(names, scenario.targets)
    name = scenario.spec.tune.objective or ("goodput" if promises else "latency_mean")
    if name == "goodput" and not promises:
        raise ScenarioError(
            f"{scenario.name}: tune.objective = goodput needs a tier with targets, as "
            '[[workload.tiers]] name = "all", slo = { ttft_ms = 1000, tpot_ms = 80 }'
        )
    goal = TokenGoal((Measure(name, GOALS[name]),), promises)
    shares = [one.targets.percent / 100.0 for one in promises] if goal.constraints else []
    shares += [0.99] if name.endswith("p99") else []
    needs = max((percentile_needs(share, tail=TAIL) / 0.9 for share in shares), default=0)
    runs, each = scenario.spec.tune.replications, requests_of(scenario)
    if runs * each < needs:
        least = math.ceil(needs / runs / 100) * 100
        raise ScenarioError(
            f"{scenario.name}: {runs} runs of {each} requests are too few to judge by: give at "
            f"least {least}, as --set tune.requests={least}"
        )
    return goal


def requests_of(scenario: TokenScenario) -> int:
    """Requests of a trial; ``ALL`` of a trace that says nothing else."""
    own, spec = scenario.spec.tune.requests, scenario.workload
    whole = spec.requests
    if whole is None and spec.duration_ns is not None:
        whole = max(1, round(scenario.offered_rate_per_s * spec.duration_ns / 1e9))
    if own is not None:
        return own if whole is None else min(own, whole)
    return ALL if whole is None else min(whole, max(FEWEST, whole // SHARE))


def draws_of(scenario: TokenScenario, replications: Sequence[int]) -> list[Draw]:
    """Fresh draws, each as long as a trial."""
    count, spec = requests_of(scenario), scenario.workload
    if spec.requests is not None or spec.duration_ns is not None:
        workload = replace(spec, requests=count, duration_ns=None)
        scenario = replace(scenario, workload=workload)
    drawn = [scenario.draw(number) for number in replications]
    return [(part_of(workload, 0, count), serving) for workload, serving in drawn]


@dataclass(frozen=True)
class TokenScorer:
    """Scores settings on the same draws; safe to call from threads."""

    goal: TokenGoal
    scenario: TokenScenario
    draws: Sequence[Draw]
    run: Driver
    sure: bool = True
    """Whether constraints hold with their intervals."""

    def glance(self) -> TokenScorer:
        """The scorer of a first look: the beginning of the same draws, without intervals."""
        short = [(part_of(w, 0, GLANCE), serving) for w, serving in self.draws]
        return replace(self, draws=short, sure=False)

    def score(self, setting: Setting) -> Score:
        """Run a setting, unless it cannot keep up."""
        try:
            return self._score(setting)
        except (PolicyError, ValueError) as error:
            return Score(None, {STABLE: UNBOUNDED}, reason=str(error))

    def _score(self, setting: Setting) -> Score:
        rule, offered = rule_of(setting.table), self.scenario.offered_rate_per_s
        most = saturation(rule, self.draws, self.run, backlogs=1)
        served = most.requests.value or math.inf
        headroom = {STABLE: offered / served - 1.0}
        if offered >= served:
            reason = f"{offered:.4g} requests/s arrive, {served:.4g}/s can be served"
            return Score(None, headroom, served, reason=reason)
        traces = [self.run(rule, workload, serving) for workload, serving in self.draws]
        kept = headroom | self._violations(traces)
        if self.goal.name == "tokens":
            return Score((most.tokens.value or 0.0,), kept, served)
        return Score((self._value(traces),), kept, served)

    def _violations(self, traces: Sequence[TokenTrace]) -> dict[str, float]:
        """Of every promise, where they are constraints."""
        if not self.goal.constraints:
            return {}
        return violations_of(self.goal, self.scenario, traces, sure=self.sure)

    def _value(self, traces: Sequence[TokenTrace]) -> float:
        """The objective on these runs."""
        drifts = bool(self.scenario.spec.engine.drift)
        runs = [_Run(trace, len(traces), drifts=drifts) for trace in traces]
        every = range(len(self.scenario.targets))
        name = self.goal.name
        if name == "goodput":
            spent = spread(runs, "latency_ms", every)
            late = PER_LATENCY_MS * float(spent.mean()) / 1e6
            return goodput(runs, self.scenario) * (1.0 - late)
        values = spread(runs, f"{name.rpartition('_')[0]}_ms", every)
        found = float(values.mean()) if name.endswith("mean") else percentile(values, 0.99)
        return found / 1e6


def violations_of(
    goal: TokenGoal, scenario: TokenScenario, traces: Sequence[TokenTrace], *, sure: bool
) -> dict[str, float]:
    """By how much each promise is broken, as a logarithm; at most 0 where it is kept."""
    drifts = bool(scenario.spec.engine.drift)
    found = check(0.0, traces, goal.promises, scenario.targets, drifts=drifts)
    named = zip(goal.constraints, found.tiers, strict=True)
    return {
        title: one.excess(
            one.missed.high if sure and one.missed.high is not None else one.missed.value
        )
        for title, one in named
    }


def goodput(runs: Sequence[_Run], scenario: TokenScenario) -> float:
    """Requests within their targets per second."""
    good = seconds = 0.0
    for run in runs:
        kept = run.kept_promise(scenario.targets)
        good += float(by_time(run.sections, run.answer_ns[kept]).sum())
        seconds += float(run.sections.lasts_s.sum())
    return good / seconds


def spread(runs: Sequence[_Run], name: str, tiers: Sequence[int]) -> np.ndarray:
    """Values of all requests that were served, in ns; an endless one where none was."""
    values = np.concatenate([run.spread_ns(name, tiers)[0] for run in runs])
    return values if len(values) else np.array([np.inf])
