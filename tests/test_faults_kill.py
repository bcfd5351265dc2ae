"""kill -9 at any point: what was told is kept, nothing half written has a name, one can go on."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from faults import (
    LIMIT_S,
    MEASURE,
    ended,
    halves,
    is_intact,
    laid_out,
    latest_of,
    started,
    timeless,
)

from experiments.runs import MANIFEST, RESULT

KILLS = {signal.SIGKILL: 20, signal.SIGTERM: 4, signal.SIGHUP: 4}
TUNING = "runs/small/tune-1"

HELD = """
import time
from pathlib import Path
from experiments import cli_run, cli_tune
from experiments.cli import main
def held(*_):
    Path("drawing").touch()
    while True:
        time.sleep(0.01)
cli_run.write_figures = cli_tune.write_figures = held
main()
"""
"""The command; it stands still where it would draw the figures."""

TOLD = "SELECT trial_id FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"


def killed_while_drawing(work, *arguments):
    """A command that is killed when its result is written and its manifest is not."""
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, *arguments], cwd=work, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + LIMIT_S
    while not (work / "drawing").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (work / "drawing").unlink()
    process.kill()
    process.communicate()


def test_a_run_that_is_killed_before_its_manifest_is_no_run(tmp_path):
    work = laid_out(tmp_path)
    killed_while_drawing(work, "simulate", "small.toml", "--engine", "simpy")
    run = work / "runs/small/simulate-1"
    assert (run / RESULT).is_file()
    assert not (run / MANIFEST).exists()
    assert latest_of(work / "runs") == []
    done = ended(work, "report", "runs/small/simulate-1")
    assert (done.returncode, done.stderr) == (
        2, "error: run small/simulate-1 was not finished: it has no manifest.json; wait until it "
        "has ended, or run it again\n")  # fmt: skip
    done = ended(work, "simulate", "small.toml", "--engine", "simpy", "--quiet")
    assert done.returncode == 0
    assert latest_of(work / "runs") == [work / "runs/small/simulate-2"] * 2


def test_a_tuning_that_is_killed_while_it_draws_is_judged_again(tmp_path):
    work = laid_out(tmp_path)
    killed_while_drawing(work, "tune", "small.toml")
    run = work / TUNING
    before = timeless(run / RESULT)
    assert json.loads((run / MANIFEST).read_text())["status"] == "running"
    assert latest_of(work / "runs") == []
    assert is_intact(run / "study.db")
    (run / RESULT).unlink()
    done = ended(work, "report", TUNING)
    assert (done.returncode, done.stderr) == (
        2, "error: run small/tune-1 has no result.json: it was not finished; go on with: "
        f"batchwright tune {TUNING} --resume\n")  # fmt: skip
    done = ended(work, "tune", "small", "--resume", "--quiet")
    assert done.returncode == 0, done.stderr
    assert timeless(run / RESULT) == before
    assert json.loads((run / MANIFEST).read_text())["status"] == "complete"
    assert latest_of(work / "runs") == [run] * 2


def told(run):
    """The trials that were told, as the database has them."""
    if not (run / "study.db").exists():
        return set()
    try:
        with closing(sqlite3.connect(run / "study.db", timeout=LIMIT_S)) as connection:
            return {trial for (trial,) in connection.execute(TOLD)}
    except sqlite3.OperationalError:  # its tables are not made yet
        return set()


def stopped_at(work, after_s, number, *arguments):
    """Begin a command and send it a signal some time later; its exit code."""
    process = started(work, *arguments)
    time.sleep(after_s)
    process.send_signal(number)
    process.communicate(timeout=LIMIT_S)
    return process.returncode


def timed(work, *arguments):
    """How long a command takes when it is left alone."""
    before = time.monotonic()
    done = ended(work, *arguments)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - before


def going_on(work):
    """Whether there is a tuning in the first folder to go on with."""
    file = work / TUNING / MANIFEST
    return file.exists() and json.loads(file.read_text())["status"] != "complete"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), KILLS.items(), ids=[one.name for one in KILLS])
def test_a_tuning_that_is_killed_at_any_points_loses_nothing(tmp_path, number, times):
    whole, work = laid_out(tmp_path / "whole"), laid_out(tmp_path / "killed")
    lasts_s = timed(whole, "tune", "small.toml", "--quiet")
    expected = timeless(whole / TUNING / RESULT)
    rng, kills, known = np.random.default_rng(int(number)), 0, set()
    points = iter(rng.permutation(np.linspace(0.02, 1.0, times)))
    while kills < times:
        command = ("small", "--resume") if going_on(work) else ("small.toml",)
        kills += stopped_at(work, lasts_s * next(points, 0.3), number, "tune", *command) != 0
        assert halves(work / "runs") == []
        latest_of(work / "runs")
        assert known <= told(work / TUNING), "what was told stays told"
        known = told(work / TUNING)
        if (work / TUNING / RESULT).exists():
            assert timeless(work / TUNING / RESULT) == expected
        if (work / TUNING).exists() and not going_on(work):
            shutil.rmtree(work / "runs")
            known = set()
    command = ("small", "--resume") if going_on(work) else ("small.toml",)
    done = ended(work, "tune", *command, "--quiet")
    assert done.returncode == 0, done.stderr
    assert timeless(max((work / "runs/small").glob("tune-*")) / RESULT) == expected
    assert halves(work / "runs") == []


TIERS = "workload.tiers=[{name='all',slo={ms=20,percentile=90}}]"
OTHERS = (
    ("compare", "small.toml"),
    ("sweep", "small.toml", "--over", "service.servers=1,2"),
    ("capacity", "small.toml", "--set", TIERS),
    ("validate", "small.toml", "--window", "1s", "--calibrate", "2s", "--rounds", "1"),
    ("report", "made"),
    ("export", "made", "--to", "triton", "--to", "json"),
    MEASURE,
)


def processes_of(folder):
    """Processes whose working directory a folder is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", OTHERS, ids=lambda one: " ".join(one[:2]))
def test_any_command_works_after_it_was_killed_at_any_point(tmp_path, command):
    work = laid_out(tmp_path / "work")
    (work / "made.toml").write_text((work / "small.toml").read_text().replace("small", "made"))
    timed(work, "simulate", "made.toml", "--quiet")
    lasts_s = timed(work, *command)
    before = latest_of(work / "runs")
    for share in (0.1, 0.4, 0.6, 0.75, 0.9):
        stopped_at(work, share * lasts_s, signal.SIGKILL, *command)
        assert halves(work) == []
        latest_of(work / "runs")
        for folder in (work / "runs").glob("*/*-*"):
            said = ended(work, "report", str(folder), "--to", str(tmp_path / "report.html"))
            assert said.returncode in (0, 2), said.stderr
            assert said.returncode == 0 or "was not finished" in said.stderr, said.stderr
    deadline = time.monotonic() + LIMIT_S
    while processes_of(work):  # servers and load generators end with who began them
        assert time.monotonic() < deadline, processes_of(work)
        time.sleep(0.1)
    done = ended(work, *command)
    assert done.returncode == 0, done.stderr
    assert halves(work) == []
    assert len(latest_of(work / "runs")) >= len(before)
