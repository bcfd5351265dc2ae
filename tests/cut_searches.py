"""Searches that are cut off at a chosen step, on a landscape that costs nothing to score."""

from __future__ import annotations

import math

from optuna.storages import InMemoryStorage
from tune_scenarios import TILES, small

from experiments.parallel import nothing
from experiments.tune.contestants import contestants_of
from experiments.tune.database import Database, database_at
from experiments.tune.goal import goal_of
from experiments.tune.scores import STABLE, Score
from experiments.tune.search import Search, rank

TUNE = """
objective = "mean"
trials = 96
policies = ["waits", "queue_depth_wait", "rate_aware", "aimd", "greedy"]
space = { greedy = { max_batch_size = [1, 12] } }
"""

WRITES = (
    "create_new_study", "set_study_user_attr", "create_new_trial", "set_trial_user_attr",
    "set_trial_system_attr", "set_trial_state_values",
)  # fmt: skip
"""Everything that changes a database."""


class CutError(Exception):
    """The process ends here."""


class Landscape:
    """A scorer with hills, ties and settings that cannot keep up."""

    def __init__(self, cut_at=None):
        self.scored = []
        self.cut_at = cut_at

    def glance(self):
        return Landscape()

    def score(self, setting):
        if len(self.scored) == self.cut_at:
            raise CutError
        self.scored.append(setting)
        size = setting.table["max_batch_size"]
        wait = setting.table.get("max_wait_ms", 0.0)
        if size < 3:
            return Score(None, {STABLE: 0.5 / size}, reason="a backlog grows")
        place = 4.0 + 7.0 * len(setting.name) % 23.0
        value = 5.0 + abs(math.log(size / place)) + round(math.sin(size + 3.0 * wait), 1)
        return Score((value,), {STABLE: -0.1, "p99 <= 9": wait - 4.0})


def scenario(folder, seed=5):
    return small(folder, TUNE + f"[seeds]\ntuner = {seed}", model=TILES)


def search(found, database, scorer, name="s"):
    return Search(found, goal_of(found), scorer, contestants_of(found), database, name, nothing)


def story(tried):
    """What a search did: who, where, which setting, with which score."""
    return [(one.setting.name, one.place, one.setting.key, one.score) for one in tried]


def best(one, tried):
    return min(tried, key=lambda each: rank(each.score, one.goal)).setting.key


class Steps:
    """Counts what is written to a database, and ends the process before or after one step."""

    def __init__(self, storage, cut_at=None, *, after=False):
        self.done, self.names = 0, []
        for name in WRITES:
            setattr(storage, name, self._wrapped(name, getattr(storage, name), cut_at, after))

    def _wrapped(self, name, real, cut_at, after):
        def write(*args, **more):
            if self.done == cut_at and not after:
                raise CutError
            self.done += 1
            self.names.append(name)
            found = real(*args, **more)
            if self.done - 1 == cut_at:
                raise CutError
            return found

        return write


def unwrapped(storage):
    """The same database, as a new process finds it."""
    for name in WRITES:
        storage.__dict__.pop(name, None)


def in_memory():
    return Database(InMemoryStorage())


def to_the_end(found, url, name="s"):
    """A search in a database, from where it stopped to its end."""
    with database_at(url) as database:
        return search(found, database, Landscape(), name).go()
