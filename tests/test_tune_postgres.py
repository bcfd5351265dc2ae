"""Several machines work on one study in a PostgreSQL that the test starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import postgres_server
import pytest
from cut_searches import Landscape, in_memory, scenario, search, story, to_the_end
from optuna.trial import TrialState
from tune_scenarios import TILES, small

from experiments.sentences import RunFailed, ScenarioError
from experiments.tune import database
from experiments.tune import search as searching
from experiments.tune.database import Database, database_at
from experiments.tune.store import PLACE

pytestmark = pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing())

TRIALS = 64
TUNE = f"""
objective = "mean"
trials = {TRIALS}
replications = 1
policies = ["waits", "queue_depth_wait", "greedy"]
"""
WORKER = Path(__file__).with_name("tune_worker.py")
LIMIT_S = 300.0
"""For whatever comes to an end at all, on a machine that stands still now and then."""


@pytest.fixture(scope="module")
def address():
    with postgres_server.running() as url:
        yield url


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return small(tmp_path_factory.mktemp("together"), TUNE, model=TILES)


def machine(quick, address, study, folder, name, does="works", left_after_s=60):
    command = [
        sys.executable, WORKER, quick.path, address, study, str(left_after_s), folder, name, does,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process):
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return json.loads(out)


def waited_for(condition, process):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def trials_of(quick, address, study):
    """All trials of a study, contestant by contestant."""
    with database_at(address) as database:
        shelves = search(quick, database, None, name=study).shelves
        return [shelf.study.get_trials(deepcopy=False) for shelf in shelves]


def by_state(trials):
    return Counter(trial.state for shelf in trials for trial in shelf)


def places_told(trials):
    told = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        (order, trial.user_attrs[PLACE])
        for order, shelf in enumerate(trials)
        for trial in shelf
        if trial.state in told
    ]


def test_one_machine_finds_on_a_server_what_it_finds_in_memory(address, tmp_path):
    """Every number comes back bit by bit, and the signs of the password are understood."""
    found = scenario(tmp_path)
    assert story(to_the_end(found, address)) == story(search(found, in_memory(), Landscape()).go())


def test_two_machines_share_the_work_and_report_the_same_winner(quick, address, tmp_path):
    first, second = (
        machine(quick, address, "two", tmp_path, name, "shares") for name in ("one", "other")
    )
    one, other = ended(first), ended(second)
    assert one["winner"] == other["winner"]
    assert one["verdict"] == other["verdict"]
    assert one["tried"] == other["tried"]
    trials = trials_of(quick, address, "two")
    assert by_state(trials)[TrialState.RUNNING] == 0
    places = places_told(trials)
    assert len(places) == len(set(places)), "a place was told twice"
    assert len(places) == len(one["tried"])
    assert TRIALS <= len(places) <= TRIALS + 2, "commits that cross may exceed the budget"
    assert min(one["told"], other["told"]) >= 8, "both took part"
    assert one["told"] + other["told"] == len(places), "nothing was run twice"


def test_trials_of_a_machine_that_was_killed_are_run_by_the_other(quick, address, tmp_path):
    victim = machine(quick, address, "killed", tmp_path, "victim", "hangs", left_after_s=3)
    try:
        waited_for(
            lambda: by_state(trials_of(quick, address, "killed"))[TrialState.RUNNING] >= 8, victim
        )
        survivor = machine(quick, address, "killed", tmp_path, "survivor", left_after_s=3)
        waited_for((tmp_path / "survivor.told").exists, survivor)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
    found = ended(survivor)
    trials = trials_of(quick, address, "killed")
    states = by_state(trials)
    assert states[TrialState.FAIL] >= 8
    assert states[TrialState.RUNNING] == 0
    places = places_told(trials)
    assert len(places) == len(set(places)) == len(found["tried"]) == TRIALS


def test_a_machine_that_ended_before_it_was_heard_of_is_not_waited_for(
    address, tmp_path, monkeypatch
):
    monkeypatch.setattr(database, "HEARTBEAT_S", 1)
    monkeypatch.setattr(database, "LEFT_AFTER_S", 1)
    monkeypatch.setattr(searching, "LOOK_AGAIN_S", 0.2)
    found = scenario(tmp_path)
    with database_at(address) as opened, monkeypatch.context() as silent:
        silent.setattr(Database, "beat", lambda *_: None)
        search(found, opened, None, name="unheard").shelves[0].ask(0, 1)
    tried = to_the_end(found, address, name="unheard")
    assert len(tried) == 96
    trials = trials_of(found, address, "unheard")
    assert by_state(trials)[TrialState.FAIL] == 1
    assert trials[0][0].state == TrialState.FAIL
    assert (0, 0) in places_told(trials)


def test_a_place_that_two_asked_at_once_belongs_to_the_first(address, tmp_path):
    found = scenario(tmp_path)
    with database_at(address) as here, database_at(address) as there:
        one, other = (search(found, each, None, name="race") for each in (here, there))
        mine, theirs = (each.shelves[0].ask(0, 1) for each in (one, other))
        assert mine.setting == theirs.setting
        assert other.rounds._own([theirs]) == []
        assert one.rounds._own([mine]) == [mine]
        other.rounds.retire()
        asked = {(job.shelf.study.study_name, job.place) for job in other.rounds.next()}
        assert (one.shelves[0].study.study_name, 0) not in asked
    assert by_state(trials_of(found, address, "race"))[TrialState.FAIL] == 1


def without_its_server(begun, stack):
    stack.close()
    begun.go()


def test_a_server_that_goes_away_ends_the_run_in_a_sentence_without_the_password(tmp_path):
    found = scenario(tmp_path)
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server.running())
        with pytest.raises(RunFailed) as caught, database_at(url) as database:
            without_its_server(search(found, database, Landscape()), stack)
    port = url.rpartition(":")[2]
    said = str(caught.value)
    assert said.startswith(f"--storage postgresql+psycopg://tuner:***@127.0.0.1:{port} fails: ")
    assert said.endswith("; what was told is kept, and --resume goes on with it")
    assert "refused" in said
    assert "p@ss" not in said
    assert "p%40ss" not in said


def test_a_wrong_password_is_refused_without_showing_it(address):
    wrong = address.replace(postgres_server.ESCAPED, "guess%40ed")
    with pytest.raises(ScenarioError) as caught, database_at(wrong):
        pass
    assert "cannot be used: " in str(caught.value)
    assert 'password authentication failed for user "tuner"' in str(caught.value)
    assert "guess" not in str(caught.value)
