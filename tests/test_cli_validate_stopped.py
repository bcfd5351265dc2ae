"""A live run that is cut off: what was measured is kept, judged, and said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCENARIO = """
name = "cut"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.4 }
[service]
model = { table_ms = [5.0, 6.0] }
[policies.greedy]
kind = "greedy"
"""
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from experiments.cli import main
main()
"""
"""Processes in the background ignore Ctrl-C unless they say otherwise."""


LIMIT_S = 300.0
"""For whatever comes to an end at all, on a machine that stands still now and then."""


@pytest.fixture
def started(tmp_path):
    """A validation of many rounds whose first window is done."""
    (tmp_path / "cut.toml").write_text(SCENARIO)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM, "validate", "cut.toml", "--rounds", "200"),
            *("--window", "1s", "--calibrate", "100s", "--out", "runs", "--json"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "runs" / "cut" / "validate-1"
    until = time.monotonic() + LIMIT_S
    try:
        while not list(folder.glob("live/*/window.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield process, folder
    finally:
        process.kill()
        process.communicate()


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ctrl_c_keeps_the_windows_and_judges_them(started):
    process, folder = started
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    assert "interrupted: what was done is in" in err
    found = json.loads(out)
    assert found["scenario"]["stopped"] == "interrupted"
    assert len(found["windows"]) == len(list((folder / "live").iterdir()))
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_a_server_that_dies_is_told_and_the_windows_before_are_kept(started):
    process, folder = started
    for child in children(process.pid):
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, err
    assert "was killed by signal 9" in err or "load generator has died" in err
    assert "the windows before are judged, and kept in" in err
    assert len(json.loads(out)["windows"]) >= 1
    assert (folder / "result.json").exists()
