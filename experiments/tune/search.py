"""The search: every contestant is tried evenly, then the better half of them where they look good.

1. A contestant with few settings is gone through whole.  The others begin with a Sobol sequence
   and the best settings of a first look at many more, on a short run.
2. After it all search on, round by round, until half of the budget is used: who looks good evenly
   spread is often not who is best.  The rest goes to the better half of them, at least two; with
   several objectives, to all.
3. Every round is asked, run in threads, and told in order, so that the same seed finds the same
   settings however often the search is cut off.
4. Machines that share a study end together: who finds nothing more to ask waits for what the
   others run, and runs it again if they are not heard of any more.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from optuna.trial import FrozenTrial

from experiments.parallel import Interrupted, Progress, in_threads, uninterrupted
from experiments.plain import plain
from experiments.scenario import Scenario
from experiments.tables import content

from .contestants import Contestant, Setting
from .database import Database
from .goal import Goal
from .rounds import BATCH, Rounds
from .sampler import START, PlacedSampler
from .scores import SCORE, Score, Scorer
from .screen import screened
from .store import PLACE, SETTING, Direction, Job, Shelf

FEWEST = 2
"""Contestants that search to the end: the best of a large space is found late."""

LOOK_AGAIN_S = 1.0
"""How often a machine that has nothing to do looks whether the others have ended."""


@dataclass(frozen=True)
class Tried:
    """A setting that was tried."""

    setting: Setting
    score: Score
    place: int
    """In the search of its contestant."""


@dataclass
class Search:
    """A search that goes on where it stopped."""

    scenario: Scenario
    goal: Goal
    scorer: Scorer
    contestants: tuple[Contestant, ...]
    database: Database
    name: str
    progress: Progress
    shelves: list[Shelf] = field(init=False)
    rounds: Rounds = field(init=False)
    _scores: dict[str, Score] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        budget, share = self.budget, self.share
        start = 2 ** max(3, int(math.log2(max(8, min(2 * START, share) // 2))))
        directions: list[Direction] = [
            "maximize" if one.sign < 0 else "minimize" for one in self.goal.objectives
        ]
        print_of = fingerprint(self.scenario, self.contestants, budget)
        self.shelves = []
        for order, contestant in enumerate(self.contestants):
            first = contestant.points if contestant.points <= share else start
            sampler = PlacedSampler(contestant, self.scenario.seeds.tuner, order, first)
            name = f"{self.name}/{contestant.name}"
            self.shelves.append(Shelf.open(self.database, name, sampler, directions, print_of))
        self.rounds = Rounds(self.shelves, budget, self._better_half)

    @property
    def budget(self) -> int:
        """Trials in all."""
        return self.scenario.spec.tune.trials

    @property
    def share(self) -> int:
        """Trials for each contestant, if they were shared out evenly."""
        return max(BATCH, self.budget // len(self.contestants))

    def go(self) -> list[Tried]:
        """Search until the budget is used up; gives everything that was tried."""
        self.rounds.retire()
        self._look_around()
        while True:
            if jobs := self._next():
                self._run(jobs)
            elif self.database.shared and self.rounds.anybody_runs():
                self.progress("waiting for other machines", self._done(), self.budget)
                time.sleep(LOOK_AGAIN_S)
            else:
                return self.tried()
            if self.database.shared:
                self.rounds.retire()

    def _next(self) -> Sequence[Job]:
        """The next round; with Ctrl-C meanwhile it is given back."""
        jobs: Sequence[Job] = ()
        try:
            with uninterrupted():
                jobs = self.rounds.next()
        except KeyboardInterrupt:
            for job in jobs:
                job.shelf.give_back([job.trial])
            raise
        return jobs

    def _look_around(self) -> None:
        """Find out where contestants that have not been spread yet begin."""
        scorer = self.scorer.glance()
        for place, shelf in enumerate(self.shelves):
            sampler = shelf.sampler
            if scorer is None or sampler.exhaustive or len(shelf.taken()) >= sampler.start:
                continue
            self.progress(f"a first look at {sampler.contestant.name}", self._done(), self.budget)
            sampler.screened = screened(
                sampler.contestant, scorer.score, lambda score: rank(score, self.goal),
                seed=self.scenario.seeds.tuner, place=place, trials=self.share,
                wanted=sampler.start // 2,
            )  # fmt: skip

    def _run(self, jobs: Sequence[Job]) -> None:
        """Run a round in threads and tell it in order; with Ctrl-C as far as it is known."""
        told, names = 0, [job.setting.name for job in jobs]
        try:
            with self.database.beating([job.trial for job in jobs]):
                scores = in_threads(self._score, jobs, names, self._watching(len(jobs)))
                for job, score in zip(jobs, scores, strict=True):
                    with uninterrupted():
                        job.shelf.tell(job, score)
                        told += 1
        except KeyboardInterrupt as error:
            ended = takewhile(lambda job: job.setting.key in self._scores, jobs)
            with uninterrupted():
                for job in ended if isinstance(error, Interrupted) else ():
                    job.shelf.tell(job, self._scores[job.setting.key])
                    told += 1
                for job in jobs[told:]:
                    job.shelf.give_back([job.trial])
            raise

    def tried(self) -> list[Tried]:
        """Everything that was told, contestant by contestant."""
        return [self._read(shelf, trial) for shelf in self.shelves for trial in shelf.finished()]

    def _read(self, shelf: Shelf, trial: FrozenTrial) -> Tried:
        kept = trial.user_attrs[SETTING]
        setting = Setting(shelf.sampler.contestant.name, kept["table"], kept["servers"])
        score = Score.from_dict(trial.user_attrs[SCORE])
        self._scores.setdefault(setting.key, score)
        return Tried(setting, score, trial.user_attrs[PLACE])

    def _done(self) -> int:
        """Trials that were told."""
        return sum(len(shelf.finished()) for shelf in self.shelves)

    def _better_half(self, orders: Sequence[int]) -> list[int]:
        """Of some contestants those whose best setting is among the better half."""
        if len(self.goal.objectives) > 1 or len(orders) < 2:
            return list(orders)
        tried = self.tried()
        best = {k: _best(tried, self.contestants[k].name, self.goal) for k in orders}
        ranked = sorted(orders, key=lambda k: (best[k], k))
        return sorted(ranked[: max(FEWEST, -(-len(ranked) // 2))])

    def _score(self, job: Job) -> Score:
        """The score of a setting; one that was scored before is looked up."""
        key = job.setting.key
        if key not in self._scores:
            self._scores[key] = self.scorer.score(job.setting)
        return self._scores[key]

    def _watching(self, jobs: int) -> Callable[[str, int, int], None]:
        """Progress with the best so far."""
        done, best = self._done(), self._best_so_far()

        def tell(_name: str, finished: int, _total: int) -> None:
            self.progress(f"searching{best}", done + finished, self.budget)

        tell("", 0, jobs)
        return tell

    def _best_so_far(self) -> str:
        feasible = [one for one in self.tried() if one.score.feasible]
        if not feasible or len(self.goal.objectives) > 1:
            return ""
        measure = self.goal.objectives[0]
        best = min(feasible, key=lambda one: rank(one.score, self.goal))
        assert best.score.values is not None, "it is feasible"
        unit = f" {measure.word.unit}" if measure.word.unit else ""
        return f", best {measure.title} {best.score.values[0]:.4g}{unit} ({best.setting.name})"


def _best(tried: Sequence[Tried], name: str, goal: Goal) -> tuple[float, float]:
    """Rank of a contestant's best setting."""
    own = [rank(one.score, goal) for one in tried if one.setting.name == name]
    return min(own, default=(math.inf, math.inf))


def rank(score: Score, goal: Goal) -> tuple[float, float]:
    """Order of scores by the first objective: feasible ones first, then by their excess."""
    if score.values is None:
        return (1.0 + score.excess, math.inf)
    worth = goal.objectives[0].sign * score.values[0]
    return (0.0 if score.feasible else score.excess, worth)


def fingerprint(scenario: Scenario, contestants: Sequence[Contestant], budget: int) -> str:
    """What a study is for: the scenario, the goal, who competes, the budget and the seed."""
    about = {
        "scenario": scenario.hash,
        "tune": str(content(scenario.spec.tune)),
        "contestants": [
            (one.name, one.kind, [list(axis) for axis in one.axes]) for one in contestants
        ],
        "budget": budget,
        "seed": scenario.seeds.tuner,
    }
    return hashlib.sha256(json.dumps(plain(about)).encode()).hexdigest()


__all__ = ["BATCH", "Search", "Tried", "fingerprint", "rank"]
