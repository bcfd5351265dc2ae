"""What the tuner is worth against known answers, measured: ``python -m experiments.bench_tune``.

1. Ten scenarios with a known best setting, each with fresh seeds of everything: arrivals, lengths,
   noise and the search itself.
2. What the tuner recommends is run for 3 million requests that neither the tuner nor the search for
   the answer has seen, beside the best setting on the same requests.  Regret is how much worse it
   is.
3. A limit is broken where that long run exceeds it, however little.
4. Whether two settings are told apart is measured on pairs (:mod:`experiments.bench_pairs`), and
   how long a search takes on `bert`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from .bench_pairs import PairRow, compared
from .config import load_scenario
from .contest import Draw, driver
from .known_answers import KNOWN_ANSWERS, KnownAnswer, known_answer
from .plain import dumps
from .true_value import Worth, regret_of, worth_of
from .truth import FRESH, NEAR, STAGES, Truth, answer_of
from .tune.contestants import Setting
from .tune.database import sqlite_url
from .tune.goal import Goal, goal_of
from .tune.setting_words import name as key_name
from .tune.setting_words import value as key_value
from .tune.tuning import tune

SEEDS = 20

FIRST_SEED = 200
"""The search was made better by looking at seeds below: these it has not seen."""

LONG = STAGES[-1].requests
PAIRS = 24
"""Of each scenario: 240 in all."""


class Recommended(NamedTuple):
    """What one search recommends, and what it is worth."""

    seed: int
    table: dict[str, Any] | None
    """None where no setting was found that keeps the limits."""
    regret: float
    """Infinite where nothing is recommended."""
    excess: float
    """By how much limits are exceeded, as a share; 0 where they hold."""
    seconds: float

    @property
    def is_near(self) -> bool:
        """Within 1 % of the best."""
        return self.regret <= NEAR


class Row(NamedTuple):
    """One scenario, over all seeds."""

    known: KnownAnswer
    truth: Truth
    runs: tuple[Recommended, ...]

    @property
    def regret(self) -> float:
        """The mean over the seeds; infinite where one of them found nothing."""
        return mean(max(0.0, one.regret) for one in self.runs)

    @property
    def found(self) -> tuple[Recommended, ...]:
        """The searches that recommend something."""
        return tuple(one for one in self.runs if one.table is not None)

    @property
    def words(self) -> tuple[str, str]:
        """Mean and worst regret of the searches that recommend something, and how many do not."""
        if not self.found:
            return "nothing found", "nothing found"
        missing = len(self.runs) - len(self.found)
        none = f", {missing} found nothing" if missing else ""
        average = mean(max(0.0, one.regret) for one in self.found)
        return f"{100 * average:.2f} %{none}", f"{100 * max(o.regret for o in self.found):.2f} %"

    @property
    def near(self) -> int:
        """Searches that ended within 1 % of the best."""
        return sum(one.is_near for one in self.runs)

    @property
    def broken(self) -> int:
        """Recommended settings that break a limit."""
        return sum(one.excess > 0.0 for one in self.runs)

    @property
    def passes(self) -> bool:
        """Within 1 % of the best on average, and no limit broken."""
        return self.regret <= NEAR and self.broken == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "scenario": self.known.name,
            "regret": self.regret,
            "found": len(self.found),
            "near": self.near,
            "broken": self.broken,
            "runs": [one._asdict() for one in self.runs],
        }


class Judge:
    """Long runs that the tuner has not seen; each setting is run once."""

    def __init__(self, known: KnownAnswer) -> None:
        scenario = known.scenario(requests=LONG)
        self.goal: Goal = goal_of(scenario)
        self.draw: Draw = scenario.draw(FRESH)
        self.known: dict[str, Worth] = {}

    def worth(self, setting: Setting) -> Worth:
        """What a setting is truly worth."""
        if setting.key not in self.known:
            self.known[setting.key] = worth_of(self.goal, setting, self.draw, driver("kernel"))
        return self.known[setting.key]


def row_of(known: KnownAnswer, truth: Truth, seeds: Sequence[int]) -> Row:
    """Tune a scenario with every seed, and see what the recommended settings are worth."""
    judge = Judge(known)
    return Row(known, truth, tuple(recommended(known, truth, judge, seed) for seed in seeds))


def recommended(known: KnownAnswer, truth: Truth, judge: Judge, seed: int) -> Recommended:
    """One search."""
    found = tune(known.scenario(seed), load_curve=False)
    if found.setting is None:
        return Recommended(seed, None, math.inf, 0.0, found.seconds)
    worth = judge.worth(found.setting)
    regret = regret_of(worth, judge.worth(truth.best), judge.goal)
    table = dict(found.setting.table)
    return Recommended(seed, table, regret, worth.excess(judge.goal), found.seconds)


def tune_time() -> list[tuple[str, str, str]]:
    """500 trials of 200,000 requests on `bert`, kept in a file as the command keeps them."""
    settings = ["tune.trials=500", "workload.requests=200000"]
    tune(load_scenario("bert", ["tune.trials=40", "workload.requests=120000"]))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        tune(load_scenario("bert", settings), storage=sqlite_url(Path(folder) / "study.db"))
        spent = time.perf_counter() - began
    return [("tune bert, 500 x 200,000, compiled", "< 60 s", f"{spent:.1f} s")]


def table_of(rows: Sequence[Row]) -> Table:
    """The rows as Markdown."""
    table = Table(
        "scenario", "what", "goal", "best setting", "its value", "greedy", "settings",
        "mean regret", "worst", "within 1 %", "limit broken", box=box.MARKDOWN,
    )  # fmt: skip
    for row in rows:
        goal = goal_of(row.known.scenario())
        sign = goal.objectives[0].sign
        greedy = sign * (row.truth.greedy.value / row.truth.worth.value - 1.0)
        over = " (breaks the limit)" if row.truth.greedy.excess(goal) > 0.0 else ""
        table.add_row(
            row.known.name,
            row.known.about,
            goal.title,
            said(row.truth.best),
            f"{row.truth.worth.value:.4g} {goal.objectives[0].word.unit}".strip(),
            f"{100 * greedy:+.1f} %{over}",
            f"{row.truth.settings:,}",
            *row.words,
            f"{row.near} of {len(row.runs)}",
            f"{row.broken} of {len(row.found)}" if goal.constraints else "no limit",
        )
    return table


def short_table(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of the README, from what ``--json`` keeps of each scenario."""
    heads = "scenario", "goal", "best of all", "greedy", "mean regret", "worst", "within 1 %"
    lines = [" | ".join([*heads, "limit broken"]), "|".join(["---"] * 8)]
    for result in results:
        known = known_answer(result["scenario"])
        truth, goal = answer_of(known), goal_of(known.scenario())
        runs = result["runs"]
        regrets = [max(0.0, one["regret"]) for one in runs if one["table"] is not None]
        none = len(runs) - len(regrets)
        greedy = goal.objectives[0].sign * (truth.greedy.value / truth.worth.value - 1.0)
        cells = (
            known.about,
            goal.title,
            said(truth.best),
            f"{100 * greedy:+.0f} %{', over the limit' if truth.greedy.excess(goal) > 0 else ''}",
            f"{100 * mean(regrets):.2f} %{f', {none} found nothing' if none else ''}",
            f"{100 * max(regrets):.2f} %",
            f"{result['near']} of {len(runs)}",
            f"{result['broken']} of {len(regrets)}" if goal.constraints else "",
        )
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" if line[0] != "-" else f"|{line}|" for line in lines)


def said(setting: Setting) -> str:
    """``snap: max_batch_size 16``."""
    table = setting.table
    parts = [f"{key_name(k)} {key_value(k, v)}" for k, v in table.items() if k != "kind"]
    return f"{table['kind']}: {', '.join(parts)}"


def summary_of(rows: Sequence[Row]) -> str:
    """What the table says."""
    runs = [one for row in rows for one in row.runs]
    limited = [one for row in rows for one in row.found if row.known.limited]
    return (
        f"{sum(row.passes for row in rows)} of {len(rows)} scenarios are within 1 % of the best "
        f"on average without breaking a limit; {sum(one.is_near for one in runs)} of {len(runs)} "
        f"searches are; {sum(one.excess > 0.0 for one in limited)} of {len(limited)} recommended "
        f"settings break a limit."
    )


def pairs_table(rows: Sequence[PairRow]) -> Table:
    """How often two settings are taken one for the other, as Markdown."""
    table = Table(
        "true gap", "pairs", "judging: wrong", "judging: tie", "one run of the search: wrong",
        box=box.MARKDOWN,
    )  # fmt: skip
    for row in rows:
        table.add_row(row.gap, f"{row.pairs}", f"{row.wrong}", f"{row.ties}", f"{row.by_search}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description="The tuner against known answers.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="searches of each scenario")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="the others follow it")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, help="also write everything to a file")
    parser.add_argument("--skip-pairs", action="store_true", help="leave out wrong winners")
    parser.add_argument("--skip-time", action="store_true", help="leave out the speed")
    given = parser.parse_args(arguments)
    wanted = [known_answer(n) for n in given.scenario] if given.scenario else KNOWN_ANSWERS
    console, written = Console(width=400), {}  # a row of Markdown is one line
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    rows = [row_of(one, answer_of(one), seeds) for one in wanted]
    console.print(table_of(rows), summary_of(rows))
    written["scenarios"] = [row.to_dict() for row in rows]
    print(short_table(written["scenarios"]))
    if not given.skip_pairs:
        pairs = [pair for one in wanted for pair in compared(one, PAIRS)]
        console.print(pairs_table(PairRow.of(pairs)))
        written["pairs"] = [pair.to_dict() for pair in pairs]
    if not given.skip_time:
        for what, target, measured in tune_time():
            console.print(f"{what}: {measured} ({target})")
    if given.json is not None:
        given.json.write_text(dumps(written), encoding="utf-8")


if __name__ == "__main__":
    main()
