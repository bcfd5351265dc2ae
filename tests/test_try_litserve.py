"""``batchwright try --on litserve``: the real server, in a few seconds; structure, never times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trying import SCENARIO, SHORT, check_run, needs, servers_left, tried

from experiments.stacks.processes import MARK

pytestmark = needs("litserve")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tried(tmp_path_factory.mktemp("litserve"), "--on", "litserve", "--policy", "collecting")


def test_a_trial_holds_the_server_against_the_simulator(run):
    check_run(*run, "litserve", ["tuned"])
    _, found = run
    assert found["variants"]["tuned"]["policy"]["kind"] == "collection_window"


def test_the_server_ran_what_was_exported(run):
    folder, _ = run
    api = json.loads((folder / "server" / "tuned" / "litserve.json").read_text())["api"]
    assert api == {"max_batch_size": 4, "batch_timeout": 0.005}


def test_no_process_is_left(run):
    assert not servers_left()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_trial_that_is_stopped_leaves_no_process(tmp_path, how):
    (tmp_path / "slow.toml").write_text(SCENARIO)
    command = [sys.executable, "-c", "from experiments.cli import app; app()"]
    command += ["try", "slow.toml", "--on", "litserve", "--policy", "collecting", *SHORT]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as trial:
        log = tmp_path / "runs" / "slow" / "try-1" / "server" / "tuned" / "server.log"
        while not log.is_file():
            assert trial.poll() is None, trial.stderr.read()
            time.sleep(0.05)
        trial.send_signal(how)
        trial.wait()
        said = trial.stderr.read()
    assert trial.returncode == (130 if how == signal.SIGINT else 128 + how), said
    mark = f"{MARK}={trial.pid}-".encode()
    assert not [
        entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _carries(entry, mark)
    ]


def _carries(entry, mark):
    try:
        return mark in (entry / "environ").read_bytes() and entry.name != str(os.getpid())
    except OSError:
        return False


@pytest.mark.slow
def test_the_default_is_tried_beside_the_setting(tmp_path):
    folder, found = tried(tmp_path, "--on", "litserve", "--policy", "collecting", "--default")
    check_run(folder, found, "litserve", ["tuned", "default"])
    api = json.loads((folder / "server" / "default" / "litserve.json").read_text())["api"]
    assert api == {"max_batch_size": 4}
    assert "; predicted: " in found["verdict"]
