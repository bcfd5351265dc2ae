"""Rules of continuous batching compared at every combination of the values of some keys."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.compare import number_or_text
from experiments.parallel import Interrupted, Progress, in_threads, nothing
from experiments.plain import plain
from experiments.results import Point, Step, Sweep
from experiments.verdict import spread, tied
from experiments.wording import half_width, joined, settings_text
from policies.iteration.contract import Rule

from .compare import TOKENS_TOGETHER, driver, entrants, judge
from .config import load_scenario
from .outcome import TokenOutcome, columns, judged_by, ties

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

STATISTICS = {
    "slo_attainment": "requests within their targets, %",
    "ttft_ms.mean": "mean time to first token, ms",
    "tpot_ms.mean": "mean time per output token, ms",
    "latency_ms.mean": "mean latency, ms",
}
"""What the figures of a sweep show, and how it is called."""


@dataclass(frozen=True, repr=False)
class TokenSweep(Sweep):
    """The same comparison over values of one or more keys of a scenario with an ``[engine]``."""

    @property
    def promised(self) -> bool:
        """Whether any tier has targets at some step."""
        return any(o.promised for step in self.steps for o in rules_of(step))

    def line(
        self, key: str, policy: str, measure: str = "", at: Mapping[str, Any] | None = None
    ) -> list[Point]:
        """The points of one rule along one key; the other keys stand at ``at``, or their first.

        Args:
            key: whole, as ``workload.arrivals.rate_per_s``.
            policy: the name of a rule.
            measure: a statistic as ``ttft_ms.mean`` or ``slo_attainment``; by default the share
                within the targets, or without any the mean latency.
            at: values of the other keys.
        """
        statistic = measure or ("slo_attainment" if self.promised else "latency_ms.mean")
        fixed = {k: self.steps[0].settings[k] for k in self.keys if k != key} | dict(at or {})
        points = []
        for step in self.steps:
            if any(step.settings[k] != wanted for k, wanted in fixed.items()):
                continue
            for outcome in rules_of(step):
                if outcome.policy != policy:
                    continue
                found = outcome.measures.estimates().get(statistic)
                value = None if found is None else found.value
                half = None if found is None else half_width(found)
                points.append(Point(step.settings[key], value, half, outcome.stable))
        return points

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        steps = [
            {
                "settings": plain(step.settings),
                "policies": {o.policy: plain(o.to_dict()) for o in rules_of(step)},
                "tied_with_best": list(ties(rules_of(step))),
            }
            for step in self.steps
        ]
        return {
            "kind": "iterations-sweep",
            "scenario": plain(self.scenario),
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "keys": list(self.keys),
            "steps": steps,
            "interrupted": self.interrupted,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a combination and rule."""
        import pandas as pd

        rows = [
            {**step.settings, "policy": o.policy, **columns(o)}
            for step in self.steps
            for o in rules_of(step)
        ]
        return pd.DataFrame(rows)

    def against(self, key: str | None = None) -> list[Axes]:
        """Share within the targets, first token and pace against a key; see ``plot``."""
        from .sweep_shown import against

        return against(self, self.key_called(key))

    @property
    def plot(self) -> Any:
        """The figures of a sweep are drawn by :meth:`against`."""
        return self.against

    def _repr_html_(self) -> str:
        from .sweep_shown import html_of

        return html_of(self)


def rules_of(step: Step) -> tuple[TokenOutcome, ...]:
    """The outcomes of a step."""
    found: Any = step.outcomes
    rules: tuple[TokenOutcome, ...] = found
    return rules


def sweep(
    scenario: str | Path,
    over: Mapping[str, Sequence[Any]],
    policies: Sequence[str] | Mapping[str, Rule] | None = None,
    engine: str = "kernel",
    progress: Progress | None = None,
    *,
    settings: Sequence[str] = (),
) -> TokenSweep:
    """Compare rules at every combination of the values of some keys.

    Args:
        scenario: the name or path to load.
        over: values by dotted key, as ``{"workload.arrivals.rate_per_s": [2, 4, 6]}``.
        policies: names, or rules of your own by name; by default all of the scenario.
        engine: ``kernel`` or ``simpy``.
        progress: told what is being done.
        settings: ``KEY=VALUE`` overrides that hold at every step.

    Raises:
        ScenarioError: the scenario is wrong at some step; found before anything runs.
        KeyboardInterrupt: Ctrl-C before any step was done; later the result says ``interrupted``.
    """
    started = time.perf_counter()
    run, tell = driver(engine), progress or nothing
    grid = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
    loaded = [
        load_scenario(scenario, [*settings, *(f"{key}={value}" for key, value in at.items())])
        for at in grid
    ]
    fields = [entrants(here, policies) for here in loaded]
    steps: list[Step] = []
    facts: dict[str, Any] = {}
    interrupted = False
    for number, (at, here, field) in enumerate(zip(grid, loaded, fields, strict=True)):
        tell(settings_text(at), number, len(grid))
        draws = [here.draw(k) for k in range(here.spec.run.replications)]
        facts = facts or here.facts(sum(len(workload) for workload, _ in draws), len(draws))
        tokens = sum(int(workload.output.sum()) for workload, _ in draws)

        def one(name: str, rules: Any = field, draws: Any = draws, at: Any = here) -> TokenOutcome:
            return replace(judge(name, rules[name], draws, at, run), curves=None)

        try:
            at_once = max(1, TOKENS_TOGETHER // max(1, tokens))
            found: Any = in_threads(one, list(field), list(field), nothing, at_once)
        except Interrupted:
            interrupted = True
            break
        steps.append(Step({k: number_or_text(v) for k, v in at.items()}, tuple(found)))
    if not steps:
        raise KeyboardInterrupt
    done = TokenSweep(facts, tuple(over), tuple(steps), engine, interrupted=interrupted)
    return replace(done, verdict=verdict_of(done), seconds=time.perf_counter() - started)


def verdict_of(found: TokenSweep) -> str:
    """Who leads where, ties included, and where each rule is unstable."""
    places = [settings_text(step.settings) for step in found.steps]
    most = any(judged_by(rules_of(step)) == "goodput_per_s" for step in found.steps)
    what = "Most requests within their targets" if most else "Lowest mean latency"
    won: dict[tuple[str, ...], list[str]] = {}
    lost: dict[tuple[str, ...], list[str]] = {}
    for place, step in zip(places, found.steps, strict=True):
        if len(step.outcomes) > 1 and (first := ties(rules_of(step))):
            won.setdefault(tuple(sorted(first)), []).append(place)
        if unstable := tuple(o.policy for o in rules_of(step) if not o.stable):
            lost.setdefault(unstable, []).append(place)
    grid = len(found.keys) > 1
    said = [f"{what} at {spread(at, places, grid)}: {tied(who)}." for who, at in won.items()]
    said += [f"Unstable at {spread(at, places, grid)}: {joined(who)}." for who, at in lost.items()]
    return " ".join(said)
