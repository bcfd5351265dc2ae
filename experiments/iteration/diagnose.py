"""Why a model that generates is slow, and what to change: each remedy is simulated.

A cause that a run shows is a finding only where one of its remedies betters what it makes worse by
at least 5 %, on the same arrivals, and surely: the paired interval leaves 0 out.  What betters it
and has fewer requests within their targets is no remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.diagnosis.words import milliseconds
from experiments.parallel import Progress, nothing
from experiments.plain import dumps, plain
from experiments.wording import percent
from sim.iteration.metrics import measure, paired_difference

from .causes import Cause, Change, Seen, causes
from .compare import as_scenario, compare, driver, entrants
from .saturation import Draw, saturation_per_s
from .scenario import TokenScenario

if TYPE_CHECKING:
    from rich.console import Console

    from sim.iteration.measures import TokenMeasures

LEAST = 0.05
"""Share by which a remedy has to better what is wrong."""

WORSE = 0.005
"""Share of the requests within their targets that a remedy may cost."""

ENOUGH = 20_000
"""Requests with which the best rule is looked for."""

WORDS = {
    "itl_ms.p99": "p99 of the gap between tokens",
    "ttft_ms.mean": "mean time to the first token",
    "latency_ms.mean": "mean latency",
    "tpot_ms.mean": "mean time per output token",
}


@dataclass(frozen=True)
class Remedy:
    """A change that was simulated."""

    what: str
    before: float
    after: float
    """Of the cause's statistic, in ms."""
    first_ms: tuple[float | None, float | None]
    """Mean time to the first token before and after."""
    attained: tuple[float | None, float | None]
    """Share of the requests within their targets before and after."""

    @property
    def share(self) -> float:
        """By how much it betters the statistic."""
        return 1.0 - self.after / self.before


@dataclass(frozen=True)
class TokenFinding:
    """A cause, its evidence, and the remedies that help, the best first."""

    cause: str
    because: str
    evidence: str
    statistic: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True)
class TokenDiagnosis:
    """What was found of one rule on one scenario."""

    scenario: Mapping[str, Any]
    policy: str
    stable: bool
    saturation_per_s: float
    findings: tuple[TokenFinding, ...]
    best_of: int
    """The rule was chosen as the best of so many; 1: it was named, or is the only one."""
    values: Mapping[str, float | None]

    @property
    def verdict(self) -> str:
        """The answer in words."""
        offered = float(self.scenario["offered_rate_per_s"])
        if not self.stable:
            need = -(-offered // (0.8 * self.saturation_per_s))
            said = (
                f"{self.policy} cannot keep up: {offered:.3g} requests/s arrive and it serves "
                f"{self.saturation_per_s:.3g}; it takes {need:.0f} replicas to be at most 80 % "
                "loaded."
            )
            helpful = [r for f in self.findings for r in f.remedies]
            return said + (f" What helps first: {helpful[0].what}." if helpful else "")
        if not self.findings:
            return (
                f"no fault found: {self.policy} is at {offered / self.saturation_per_s:.0%} load."
            )
        main = self.findings[0]
        best = main.remedies[0]
        return (
            f"{WORDS[main.statistic]} is {milliseconds(best.before)} because {main.because}. What "
            f"helps most: {best.what} ({milliseconds(best.after)}, -{percent(best.share)})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": "iterations-diagnosis",
            "subject": f"{self.scenario['name']}, {self.policy}",
            "scenario": plain(self.scenario),
            "policy": self.policy,
            "best_of": self.best_of,
            "stable": self.stable,
            "saturation_per_s": self.saturation_per_s,
            "verdict": self.verdict,
            "values": plain(self.values),
            "findings": [
                {
                    "cause": one.cause,
                    "because": one.because,
                    "evidence": one.evidence,
                    "statistic": one.statistic,
                    "remedies": [
                        {
                            "what": r.what,
                            "before": r.before,
                            "after": r.after,
                            "ttft_ms_mean": list(r.first_ms),
                            "slo_attainment": list(r.attained),
                        }
                        for r in one.remedies
                    ],
                }
                for one in self.findings
            ],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return dumps(self.to_dict())


def diagnose(
    scenario: TokenScenario | str | Path,
    policy: str | None = None,
    progress: Progress | None = None,
) -> TokenDiagnosis:
    """Why a rule is slow on a scenario, and what to change.

    Args:
        scenario: loaded, or the name or path to load.
        policy: a policy of the scenario; by default its best.
        progress: told what is being done.

    Raises:
        ScenarioError: the scenario or the policy's name is wrong.
    """
    loaded, tell = as_scenario(scenario), progress or nothing
    chosen = policy or best_of(loaded, tell)
    ((name, rule),) = entrants(loaded, [chosen]).items()
    run = driver("kernel")
    tell(f"running {name}", 0, 1)
    draw = loaded.draw()
    workload, serving = draw
    trace = run(rule, workload, serving)
    saturation = saturation_per_s(rule, [draw], run)
    now = measure(trace, loaded.targets)
    seen = Seen(rule, serving.engine, trace, now)
    stable = loaded.offered_rate_per_s < saturation
    found, shown = [], list(causes(seen))
    total = sum(len(cause.changes) for cause in shown)
    done = 0
    for cause in shown:
        remedies = []
        for change in cause.changes:
            tell(change.what, done, total)
            done += 1
            remedy = tried(change, cause, now, draw, loaded)
            if remedy is not None:
                remedies.append(remedy)
        if remedies:
            ordered = tuple(sorted(remedies, key=lambda r: -r.share))
            found.append(
                TokenFinding(cause.name, cause.because, cause.evidence, cause.statistic, ordered)
            )
    found.sort(key=lambda finding: -finding.remedies[0].share)
    names = ("ttft_ms.mean", "tpot_ms.mean", "itl_ms.p99", "latency_ms.mean", "slo_attainment")
    return TokenDiagnosis(
        loaded.facts(len(workload), 1),
        name,
        stable,
        saturation,
        tuple(found),
        1 if policy else len(loaded.policies),
        {key: value_of(now, key) for key in names},
    )


def best_of(scenario: TokenScenario, progress: Progress) -> str:
    """The best rule of a scenario; where none keeps up the one that serves most."""
    if len(scenario.policies) == 1:
        return next(iter(scenario.policies))
    requests = scenario.workload.requests
    if requests is not None and requests > ENOUGH:
        scenario = replace(scenario, workload=replace(scenario.workload, requests=ENOUGH))
    found = compare(scenario, progress=progress)
    if found.best is not None:
        return found.best
    return max(found.outcomes, key=lambda one: one.measures.saturation_per_s or 0.0).policy


def tried(
    change: Change, cause: Cause, now: TokenMeasures, draw: Draw, scenario: TokenScenario
) -> Remedy | None:
    """A change simulated on the same arrivals; None where it does not surely help."""
    workload, serving = draw
    other = replace(serving, engine=change.engine)
    try:
        trace = driver("kernel")(change.rule, workload, other)
    except ValueError:
        return None  # the engine does not allow it
    then = measure(trace, scenario.targets)
    before, after = value_of(now, cause.statistic), value_of(then, cause.statistic)
    if before is None or after is None or after > (1.0 - LEAST) * before:
        return None
    if paired_difference(then, now, cause.statistic).verdict != "lower":
        return None
    first, share = "ttft_ms.mean", "slo_attainment"
    kept, keeps = value_of(now, share), value_of(then, share)
    if kept is not None and keeps is not None and keeps < kept - WORSE:
        return None
    return Remedy(
        change.what,
        before,
        after,
        (value_of(now, first), value_of(then, first)),
        (kept, keeps),
    )


def value_of(measures: TokenMeasures, statistic: str) -> float | None:
    """A number without its interval."""
    found = measures.estimates().get(statistic)
    return None if found is None else found.value


def print_diagnosis(screen: Console, found: TokenDiagnosis) -> None:
    """The verdict, then each finding with its evidence and remedies."""
    facts = found.scenario
    chosen = f" (the best of {found.best_of})" if found.best_of > 1 else ""
    screen.print(
        f"[bold]{facts['name']}[/bold]   {found.policy}{chosen}, {facts['requests']:,} requests, "
        f"{facts['offered_rate_per_s']:.4g}/s\n"
    )
    screen.print(found.verdict)
    for one in found.findings:
        screen.print(f"\n[bold]{one.cause}[/bold]   {one.evidence}")
        for r in one.remedies:
            words = f"  {r.what}: {WORDS[one.statistic]} {milliseconds(r.before)} -> "
            words += milliseconds(r.after)
            before, after = r.first_ms
            if one.statistic != "ttft_ms.mean" and before is not None and after is not None:
                words += f", first token {milliseconds(before)} -> {milliseconds(after)}"
            if None not in r.attained:
                words += f", within targets {percent(r.attained[0])} -> {percent(r.attained[1])}"
            screen.print(words)
