"""A search that is cut off goes on as if nothing had happened; nothing is lost or told twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cut_searches import (
    CutError,
    Landscape,
    Steps,
    best,
    in_memory,
    scenario,
    search,
    story,
    to_the_end,
    unwrapped,
)
from optuna.trial import TrialState
from tune_scenarios import TILES, small

from experiments.tune.database import database_at, sqlite_url
from experiments.tune.rounds import BATCH
from experiments.tune.store import PLACE, ROUND
from experiments.tune.tuning import tune


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return scenario(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def whole(found):
    """A search that nobody cut off."""
    return search(found, in_memory(), Landscape()).go()


@pytest.fixture(scope="module")
def steps(found):
    """What an uncut search writes, in order."""
    database = in_memory()
    counted = Steps(database.storage)
    search(found, database, Landscape()).go()
    return counted.names


def cut_off(found, database, step, *, after):
    counted = Steps(database.storage, step, after=after)
    with pytest.raises(CutError):
        search(found, database, Landscape()).go()
    unwrapped(database.storage)
    return counted


def cut_in_file(found, url, step):
    with database_at(url) as database:
        cut_off(found, database, step, after=True)


def test_the_search_has_what_could_go_wrong(whole, found):
    """Rounds of several contestants, a small space, TPE, what is unstable, what breaks a limit."""
    counts = Counter(one.setting.name for one in whole)
    assert sum(counts.values()) == 96
    assert counts["greedy"] == 12
    assert max(counts.values()) >= min(counts.values()) + BATCH, "the better half went on"
    assert any(one.score.values is None for one in whole)
    assert any(one.score.values and not one.score.feasible for one in whole)


def test_memory_and_a_file_find_the_same(found, whole, tmp_path):
    assert story(to_the_end(found, sqlite_url(tmp_path / "study.db"))) == story(whole)


def test_another_tuner_seed_tries_other_settings(tmp_path, whole):
    other = search(scenario(tmp_path, seed=6), in_memory(), Landscape()).go()
    assert story(other) != story(whole)
    assert len(other) == len(whole)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_search_that_was_cut_off_at_any_step_goes_on_as_if_it_had_not_been(
    found, whole, steps, after
):
    rng = np.random.default_rng(11)
    total = len(steps)
    chosen = {0, 1, 5, total - 1, *rng.choice(total, 24, replace=False).tolist()}
    for step in sorted(chosen):
        database = in_memory()
        cut_off(found, database, step, after=after)
        again = search(found, database, Landscape())
        tried = again.go()
        assert story(tried) == story(whole), f"{'after' if after else 'before'} step {step}"
        assert best(again, tried) == best(again, whole)


def test_the_steps_are_of_every_kind(steps):
    """Studies, fingerprints, asks, constraints, scores and ends: each is a place to be cut off."""
    counts = Counter(steps)
    assert counts["create_new_study"] == counts["set_study_user_attr"] == 5
    assert counts["create_new_trial"] == counts["set_trial_state_values"] == 96
    assert counts["set_trial_user_attr"] == 96
    assert counts["set_trial_system_attr"] > 96


def test_a_search_that_was_cut_off_again_and_again_finds_the_same(found, whole):
    rng = np.random.default_rng(12)
    for _ in range(6):
        database = in_memory()
        for _ in range(5):
            step = int(rng.integers(3, 120))
            try:
                cut_off(found, database, step, after=bool(rng.integers(2)))
            except pytest.fail.Exception:  # it came to its end before that step
                unwrapped(database.storage)
        assert story(search(found, database, Landscape()).go()) == story(whole)


def test_a_file_that_was_cut_off_between_two_tells_goes_on_in_order(found, whole, steps, tmp_path):
    """In a round of three contestants, and in a later one of two: each after its first tells."""
    ends = [k for k, name in enumerate(steps) if name == "set_trial_state_values"]
    url = sqlite_url(tmp_path / "study.db")
    for step in (ends[10], ends[20]):
        cut_in_file(found, url, step)
    assert story(to_the_end(found, url)) == story(whole)


def test_a_scorer_that_fails_in_its_thread_leaves_a_study_to_go_on_with(found, whole):
    for first in (0, 30, 55):
        database = in_memory()
        with pytest.raises(CutError):
            search(found, database, Landscape(cut_at=first)).go()
        assert story(search(found, database, Landscape()).go()) == story(whole)


def test_rounds_that_forget_what_was_asked_find_something_else(found, whole, steps, monkeypatch):
    """The negative control: without finishing the round, some cuts change what is tried."""
    monkeypatch.setattr("experiments.tune.rounds.Rounds._finish", lambda self, told: [])
    ends = [k for k, name in enumerate(steps) if name == "set_trial_state_values"]
    differing = 0
    for step in ends[45:90:3]:
        database = in_memory()
        cut_off(found, database, step, after=True)
        differing += story(search(found, database, Landscape()).go()) != story(whole)
    assert differing


def test_what_was_running_is_retired_and_its_place_is_told_once(found, steps, tmp_path):
    url = sqlite_url(tmp_path / "study.db")
    middle = [k for k, name in enumerate(steps) if name == "set_trial_state_values"][50]
    cut_in_file(found, url, middle)
    with database_at(url) as database:
        stale = [
            shelf.trials(TrialState.RUNNING) for shelf in search(found, database, None).shelves
        ]
        tried = search(found, database, Landscape()).go()
        again = search(found, database, None)
        failed = [shelf.trials(TrialState.FAIL) for shelf in again.shelves]
        told = [shelf.trials(TrialState.COMPLETE, TrialState.PRUNED) for shelf in again.shelves]
        running = [shelf.running() for shelf in again.shelves]
    assert sum(map(len, stale)) > 0
    assert [[t.number for t in one] for one in failed] == [[t.number for t in one] for one in stale]
    assert not any(running)
    for shelf in told:
        assert sorted(t.user_attrs[PLACE] for t in shelf) == list(range(len(shelf)))
        assert [t.user_attrs[PLACE] for t in shelf] == list(range(len(shelf)))
        rounds = [t.user_attrs[ROUND] for t in shelf]
        assert rounds == sorted(rounds)
    assert sum(map(len, told)) == len(tried) == 96


def test_a_setting_that_was_scored_is_not_scored_again(found, whole):
    database = in_memory()
    first, second = Landscape(cut_at=60), Landscape()
    with pytest.raises(CutError):
        search(found, database, first).go()
    told = len(search(found, database, None).tried())
    search(found, database, second).go()
    assert told > BATCH
    keys = {one.setting.key for one in whole}
    assert len(second.scored) <= 96 - told + 1 < len(keys)


def test_tune_finds_the_same_in_memory_in_a_file_and_cut_off(tmp_path, monkeypatch):
    """The whole of it, on the real kernel."""
    small_one = small(
        tmp_path,
        'objective = "mean"\ntrials = 40\nreplications = 1\npolicies = ["waits", "greedy"]',
        model=TILES,
    )
    url = sqlite_url(tmp_path / "cut.db")
    expected = plain(tune(small_one, load_curve=False))
    assert (
        plain(tune(small_one, storage=sqlite_url(tmp_path / "a.db"), load_curve=False)) == expected
    )
    from experiments.tune.scores import Scorer

    real, calls = Scorer.score, []

    def cut(self, setting):
        calls.append(setting)
        if len(calls) == 25:
            raise CutError
        return real(self, setting)

    monkeypatch.setattr(Scorer, "score", cut)
    with pytest.raises(CutError):
        tune(small_one, storage=url, load_curve=False)
    assert plain(tune(small_one, storage=url, load_curve=False)) == expected


def plain(found):
    return {key: value for key, value in found.to_dict().items() if key != "seconds"}
