"""``batchwright tune`` is killed or interrupted, and goes on to the same end.

No test depends on how fast the machine is: the process waits where it is to be met (at a score,
before a trial is told, in the judging) until it is killed, or until it is let go.
"""

from __future__ import annotations

import json
import os
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
ROUND = 24
"""Trials of the first round: a batch of each of three contestants."""
TUNE = f"""
objective = "mean"
trials = {TRIALS}
replications = 1
policies = ["waits", "queue_depth_wait", "greedy"]
"""
LIMIT_S = 300.0
"""For whatever comes to an end at all, on a machine that stands still now and then."""

HELD = """
import itertools
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # heard in the background, too
from experiments import cli_tune
from experiments.cli import main
from experiments.tune import judging, search, store

def mark(what):
    with open(what + ".at", "a") as file:
        file.write(".")

def hold(owner, name, what, first):
    real, calls = getattr(owner, name), itertools.count()
    def held(*given):
        if next(calls) >= first:
            mark(what)
            while not Path(what + ".go").exists():
                time.sleep(0.005)
        return real(*given)
    setattr(owner, name, held)

POINTS = {{
    "looking": (search.Search, "_look_around"),
    "scoring": (search.Search, "_score"),
    "telling": (store.Shelf, "tell"),
    "judging": (judging._Bench, "_outcome"),
}}
for what, first in {holds}.items():
    hold(*POINTS[what], what, first)

real_shutdown = ThreadPoolExecutor.shutdown
def shutdown(pool, wait=True, *, cancel_futures=False):
    if cancel_futures:
        real_shutdown(pool, wait=False, cancel_futures=True)
        mark("stopping")  # nothing begins any more
    real_shutdown(pool, wait=wait)
ThreadPoolExecutor.shutdown = shutdown
cli_tune.write_figures = lambda *_: []
main()
"""
"""The command; from the given call on of a function it says where it is, and waits to be let go."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return small(tmp_path_factory.mktemp("killed"), TUNE, model=TILES)


@pytest.fixture(scope="module")
def whole(quick):
    """What a tuning finds that nobody disturbs."""
    return timeless(tune(quick).to_json())


def timeless(text):
    found = json.loads(text)
    return {key: value for key, value in found.items() if key != "seconds"}


def batchwright(folder, *arguments, **holds):
    """The command in a process of its own; it draws nothing, and waits where it is told to."""
    for old in (*folder.glob("*.at"), *folder.glob("*.go")):
        old.unlink()
    code = HELD.format(holds=holds)
    return subprocess.Popen(
        [sys.executable, "-c", code, "tune", *map(str, arguments)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def waited_for(condition, process):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def at(folder, what):
    """How many have come to where they wait."""
    file = folder / f"{what}.at"
    return file.stat().st_size if file.exists() else 0


def let_go(folder, what):
    (folder / f"{what}.go").touch()


def interrupted(folder, process, what, times=1):
    """Ctrl-C while it waits somewhere; let go when nothing new begins."""
    process.send_signal(signal.SIGINT)
    waited_for(lambda: at(folder, "stopping") == times, process)
    let_go(folder, what)


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


def test_a_tuning_that_was_killed_at_any_instant_ends_with_the_same_result(quick, whole, tmp_path):
    rng = np.random.default_rng(21)
    run = tmp_path / "runs/small/tune-1"
    arguments = (quick.path,)
    for ready, told_by_then, holds in (
        ((run / "study.db").exists, 0, {"scoring": 5}),  # tables are made
        (lambda: at(tmp_path, "telling"), 5, {"telling": 5}),  # a round is told in part
        (lambda: at(tmp_path, "scoring"), ROUND, {"scoring": ROUND}),  # in the midst of the second
        (lambda: at(tmp_path, "judging"), TRIALS, {"judging": 0}),
    ):
        process = batchwright(tmp_path, *arguments, **holds)
        waited_for(ready, process)
        time.sleep(float(rng.uniform(0.0, 0.1)))
        process.kill()
        assert process.communicate()[0] == ""
        assert process.returncode == -signal.SIGKILL
        assert told(run) == told_by_then
        assert not (run / RESULT).exists()
        assert json.loads((run / MANIFEST).read_text())["status"] == "running"
        arguments = ("small", "--resume")
    process = batchwright(tmp_path, *arguments)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert timeless((run / RESULT).read_text()) == whole
    assert states(run).keys() <= {"COMPLETE", "PRUNED", "FAIL"}
    assert states(run)["FAIL"] > 0, "what was running when it was killed is retired"
    assert told(run) == TRIALS
    assert json.loads((run / MANIFEST).read_text())["status"] == "complete"


def test_ctrl_c_judges_what_is_known_and_says_how_to_go_on(quick, whole, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, scoring=30)
    waited_for(lambda: at(tmp_path, "scoring"), process)
    interrupted(tmp_path, process, "scoring")
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    assert err.splitlines()[0] == ("go on with: batchwright tune runs/small/tune-1 --resume")
    assert err.splitlines()[-1] == "interrupted: what was done is in runs/small/tune-1"
    assert "Traceback" not in err
    assert "winner" in out
    found = json.loads((run / RESULT).read_text())
    assert found["interrupted"] is True
    assert 30 < len(found["tried"]) < TRIALS
    assert json.loads((run / MANIFEST).read_text())["status"] == "interrupted"
    assert "RUNNING" not in states(run), "what was not told is given back at once"
    process = batchwright(tmp_path, "runs/small/tune-1", "--resume")
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert timeless((run / RESULT).read_text()) == whole


def test_ctrl_c_in_a_round_keeps_what_the_threads_have_ended(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    threads = min(os.cpu_count(), ROUND)
    process = batchwright(tmp_path, quick.path, scoring=6)
    waited_for(lambda: at(tmp_path, "scoring") == min(threads, ROUND - 6), process)
    assert told(run) == 0, "a round is told when it has ended"
    assert states(run)["RUNNING"] == ROUND
    interrupted(tmp_path, process, "scoring")
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert told(run) >= 6 + min(threads, ROUND - 6), "those that had begun were waited for"
    assert told(run) < ROUND or threads > ROUND - 6
    assert states(run).get("FAIL", 0) == ROUND - told(run)


def test_a_second_ctrl_c_stops_at_once(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, scoring=30, judging=0)
    waited_for(lambda: at(tmp_path, "scoring"), process)
    interrupted(tmp_path, process, "scoring")
    waited_for(lambda: at(tmp_path, "judging"), process)
    assert "RUNNING" not in states(run), "it is given back before the judging"
    interrupted(tmp_path, process, "judging", times=2)
    out, err = process.communicate(timeout=LIMIT_S)
    assert at(tmp_path, "judging") <= os.cpu_count(), "no other was begun"
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines() == [
        "nothing is judged yet; go on with: batchwright tune runs/small/tune-1 --resume",
        "interrupted",
    ]
    assert not (run / RESULT).exists()


def test_ctrl_c_before_anything_is_told_says_so(quick, tmp_path):
    run = tmp_path / "runs/small/tune-1"
    process = batchwright(tmp_path, quick.path, looking=0)
    waited_for(lambda: at(tmp_path, "looking"), process)
    assert (run / MANIFEST).exists()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines() == [
        "nothing is judged yet; go on with: batchwright tune runs/small/tune-1 --resume",
        "interrupted",
    ]
