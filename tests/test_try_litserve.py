"""``batchwright try --on litserve``: the real server, in a few seconds; structure, never times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from trying import SCENARIO, SHORT, check_run, needs, servers_left, tried

from experiments.config import load_scenario
from experiments.stacks import STACKS
from experiments.stacks.environments import is_available
from experiments.stacks.processes import MARK
from experiments.stacks.real_model import real_model, row_with
from profiles import load, save
from profiles.models.machine import cpu_name

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
def test_a_real_model_is_run_as_its_profile_says(tmp_path):
    shipped = load("bert-tiny-cpu-fp32")
    metadata = replace(shipped.metadata, device=cpu_name())  # what it took elsewhere is calibrated
    profile = save(replace(shipped, metadata=metadata), tmp_path)
    known = "model = { table_ms = [20.0, 22.0, 24.0, 26.0] }"
    text = SCENARIO.replace(known, f"profile = '{profile}'")
    text = text.replace("[service]", "lengths = { constant = 256 }\n[service]")
    (tmp_path / "own.toml").write_text(text)
    model = real_model("bert-tiny", load_scenario(str(tmp_path / "own.toml")))
    if not is_available(row_with(STACKS["litserve"], model)):
        pytest.skip("LitServe beside PyTorch is not installed: try --model bert-tiny --install")
    arguments = ("--on", "litserve", "--policy", "collecting", "--model", "bert-tiny")
    folder, found = tried(tmp_path, *arguments, scenario=text)
    check_run(folder, found, "litserve", ["tuned"])
    assert found["scenario"]["model"].startswith("bert-tiny in fp32 with PyTorch 2.13.0 on ")
    about = found["variants"]["tuned"]
    assert about["against_profile"]["share"] > 0.0
    assert about["windows_took"] > 0.0
    assert not (folder / "server" / "tuned" / "profiles").exists()


@pytest.mark.slow
def test_the_default_is_tried_beside_the_setting(tmp_path):
    folder, found = tried(tmp_path, "--on", "litserve", "--policy", "collecting", "--default")
    check_run(folder, found, "litserve", ["tuned", "default"])
    api = json.loads((folder / "server" / "default" / "litserve.json").read_text())["api"]
    assert api == {"max_batch_size": 4}
    assert "; predicted: " in found["verdict"]
