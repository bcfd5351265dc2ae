"""The search: every contestant is tried evenly, then the better half of them where they look good.

1. A contestant with few settings is gone through whole.  The others begin with a Sobol sequence.
2. What is left of the budget goes, batch by batch, to the better half of the contestants; with
   several objectives, to all.
3. Every batch is asked, run in threads, and told in order, so that the same seed finds the same
   settings however often the search is cut off.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from experiments.parallel import Progress, in_threads
from experiments.plain import plain
from experiments.scenario import Scenario
from experiments.tables import content

from .contestants import Contestant, Setting
from .goal import Goal
from .sampler import START, PlacedSampler
from .scores import Score, Scorer
from .store import SCORE, SETTING, Direction, Shelf

BATCH = 8
"""Trials of one contestant that are asked together."""


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
    storage: BaseStorage
    name: str
    shared: bool
    progress: Progress
    shelves: list[Shelf] = field(init=False)
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
            self.shelves.append(
                Shelf.open(
                    self.storage,
                    f"{self.name}/{contestant.name}",
                    sampler,
                    directions,
                    print_of,
                    shared=self.shared,
                )
            )

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
        known = [shelf.retire() for shelf in self.shelves]
        while jobs := self._next(known):
            scores = in_threads(
                lambda job: self._score(job.setting), jobs,
                [job.setting.name for job in jobs], self._beating(jobs),
            )  # fmt: skip
            for job, score in zip(jobs, scores, strict=True):
                setting = {"table": plain(job.setting.table), "servers": job.setting.servers}
                job.shelf.tell(job.trial, score, setting)
        return self.tried()

    def tried(self) -> list[Tried]:
        """Everything that was told, contestant by contestant."""
        return [
            found
            for shelf in self.shelves
            for trial in shelf.finished()
            if (found := self._read(shelf, trial)) is not None
        ]

    def _read(self, shelf: Shelf, trial: FrozenTrial) -> Tried | None:
        told = trial.user_attrs.get(SETTING)
        if told is None or SCORE not in trial.user_attrs:
            return None
        setting = Setting(shelf.sampler.contestant.name, told["table"], told["servers"])
        score = Score.from_dict(trial.user_attrs[SCORE])
        self._scores.setdefault(setting.key, score)
        return Tried(setting, score, trial.user_attrs["place"])

    def _next(self, known: Sequence[dict[int, dict[str, Any]]]) -> list[_Job]:
        """Trials to run together: of those who have not begun to look, then of the better half."""
        taken = [shelf.taken() for shelf in self.shelves]
        left = self.budget - sum(map(len, taken))
        begun = [
            len(done) >= shelf.sampler.start
            for done, shelf in zip(taken, self.shelves, strict=True)
        ]
        if all(begun):
            turn = self._better_half()
        else:
            turn = [place for place, whole in enumerate(begun) if not whole]
        jobs: list[_Job] = []
        for order in turn:
            shelf = self.shelves[order]
            sampler = shelf.sampler
            end = sampler.start if not begun[order] or sampler.exhaustive else math.inf
            batch_end = (len(taken[order]) // BATCH + 1) * BATCH
            place = 0
            while left > 0 and len(taken[order]) < min(batch_end, end):
                while place in taken[order]:
                    place += 1
                taken[order].add(place)
                left -= 1
                trial = shelf.ask(place, known[order].get(place))
                jobs.append(_job(shelf, trial))
        return jobs

    def _better_half(self) -> list[int]:
        """Who gets the next batch: contestants whose best setting is among the better half."""
        open_ones = [k for k, shelf in enumerate(self.shelves) if not shelf.sampler.exhaustive]
        if len(self.goal.objectives) > 1 or len(open_ones) < 2:
            return open_ones
        tried = self.tried()
        best = {k: _best(tried, self.contestants[k].name, self.goal) for k in open_ones}
        ranked = sorted(open_ones, key=lambda k: (best[k], k))
        return sorted(ranked[: -(-len(ranked) // 2)])

    def _score(self, setting: Setting) -> Score:
        """The score of a setting; one that was scored before is looked up."""
        if setting.key not in self._scores:
            self._scores[setting.key] = self.scorer.score(setting)
        return self._scores[setting.key]

    def _beating(self, jobs: list[_Job]) -> Callable[[str, int, int], None]:
        """Progress that also says to a shared database that this machine is alive."""
        done = sum(len(shelf.taken()) for shelf in self.shelves) - len(jobs)
        best = self._best_so_far()

        def tell(_name: str, finished: int, _total: int) -> None:
            self.progress(f"searching{best}", done + finished, self.budget)
            for job in jobs if self.shared else ():
                job.shelf.beat(job.trial)

        tell("", 0, len(jobs))
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


@dataclass(frozen=True)
class _Job:
    shelf: Shelf
    trial: Trial
    setting: Setting


def _job(shelf: Shelf, trial: Trial) -> _Job:
    contestant = shelf.sampler.contestant
    places = {name: int(place) - 1 for name, place in trial.params.items()}
    return _Job(shelf, trial, contestant.setting(contestant.chosen(places)))


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
