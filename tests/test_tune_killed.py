"""``batchwright tune`` is killed or interrupted, and goes on to the same end."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from tune_scenarios import TILES, small

from experiments.runs import MANIFEST, RESULT
from experiments.tune.tuning import tune

TRIALS = 48
TUNE = f"""
objective = "mean"
trials = {TRIALS}
replications = 1
policies = ["waits", "queue_depth_wait", "greedy"]
"""

SLOWLY = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # heard in the background, too
from experiments import cli_tune
from experiments.cli import main
from experiments.tune import judging, search
real, real_outcome = search.Search._score, judging._Bench._outcome
def score(self, job):
    time.sleep({slower_s})
    return real(self, job)
def outcome(self, *given):
    time.sleep({judges_s})
    return real_outcome(self, *given)
search.Search._score, judging._Bench._outcome = score, outcome
cli_tune.write_figures = lambda *_: []
main()
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return small(tmp_path_factory.mktemp("killed"), TUNE, model=TILES)


def timeless(text):
    found = json.loads(text)
    return {key: value for key, value in found.items() if key != "seconds"}


def batchwright(folder, *arguments, slower_s=0.02, judges_s=0.0):
    """The command in a process of its own; it draws nothing, and takes its time for each trial."""
    code = SLOWLY.format(slower_s=slower_s, judges_s=judges_s)
    return subprocess.Popen(
        [sys.executable, "-c", code, "tune", *map(str, arguments)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def waited_for(condition, process, limit_s=40.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(run):
    """How many trials are in which state, in the database of a run."""
    try:
        with closing(sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT state, count(*) FROM trials GROUP BY state")
            return dict(found.fetchall())
    except sqlite3.OperationalError:  # it is only now being made
        return {}


def told(run):
    found = states(run)
    return found.get("COMPLETE", 0) + found.get("PRUNED", 0)


def test_a_tuning_that_was_killed_at_any_instant_ends_with_the_same_result(quick, tmp_path):
    rng = np.random.default_rng(21)
    run = tmp_path / "runs/small/tune-1"
    arguments = (quick.path,)
    for target in (0, 5, 26, TRIALS):  # tables are made; two rounds; the judging
        process = batchwright(tmp_path, *arguments)
        ready = (run / "study.db").exists if target == 0 else lambda n=target: told(run) >= n
        waited_for(ready, process)
        time.sleep(float(rng.uniform(0.0, 0.1)))
        if target == 5:  # once in the middle of a trial for sure
            waited_for(lambda: states(run).get("RUNNING", 0) > 0, process)
        process.kill()
        assert process.communicate()[0] == ""
        assert process.returncode == -signal.SIGKILL
        assert not (run / RESULT).exists()
        assert json.loads((run / MANIFEST).read_text())["status"] == "running"
        arguments = ("small", "--resume")
    process = batchwright(tmp_path, *arguments, slower_s=0)
    process.communicate()
    assert process.returncode == 0
    expected = tune(quick)
    assert timeless((run / RESULT).read_text()) == timeless(expected.to_json())
    assert states(run).keys() <= {"COMPLETE", "PRUNED", "FAIL"}
    assert states(run)["FAIL"] > 0, "what was running when it was killed is retired"
    assert told(run) == TRIALS
    assert json.loads((run / MANIFEST).read_text())["status"] == "complete"


def test_ctrl_c_judges_what_is_known_and_says_how_to_go_on(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path)
    waited_for(lambda: told(run) >= 20, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert err.splitlines()[0] == ("go on with: batchwright tune runs/small/tune-1 --resume")
    assert err.splitlines()[-1] == "interrupted: what was done is in runs/small/tune-1"
    assert "Traceback" not in err
    assert "winner" in out
    found = json.loads((run / RESULT).read_text())
    assert found["interrupted"] is True
    assert 20 <= len(found["tried"]) < TRIALS
    assert json.loads((run / MANIFEST).read_text())["status"] == "interrupted"
    assert "RUNNING" not in states(run), "what was not told is given back at once"
    process = batchwright(tmp_path, "runs/small/tune-1", "--resume", slower_s=0)
    process.communicate()
    assert process.returncode == 0
    assert timeless((run / RESULT).read_text()) == timeless(tune(quick).to_json())


def test_ctrl_c_in_a_round_keeps_what_the_threads_have_ended(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, slower_s=0.4)
    waited_for(lambda: states(run).get("RUNNING", 0) == 24, process)
    time.sleep(1.5)
    assert told(run) == 0, "a round is told when it has ended"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130
    assert 2 <= told(run) < 24
    assert states(run)["FAIL"] == 24 - told(run)


def test_a_second_ctrl_c_stops_at_once(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, judges_s=2.0)
    waited_for(lambda: told(run) >= 20, process)
    process.send_signal(signal.SIGINT)
    waited_for(lambda: "RUNNING" not in states(run), process)
    time.sleep(1.0)  # what was running is given back; now it judges, which takes 8 s and more
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    out, err = process.communicate(timeout=40)
    assert time.monotonic() - before < 5.0
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines() == [
        "nothing is judged yet; go on with: batchwright tune runs/small/tune-1 --resume",
        "interrupted",
    ]
    assert not (run / RESULT).exists()


def test_ctrl_c_before_anything_is_told_says_so(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, slower_s=1)
    waited_for((run / MANIFEST).exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines() == [
        "nothing is judged yet; go on with: batchwright tune runs/small/tune-1 --resume",
        "interrupted",
    ]
