"""``batchwright try`` in tests: a scenario that a server on a busy machine keeps up with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.stacks import STACKS
from experiments.stacks.environments import is_available
from experiments.stacks.outcome import TOLERANCE, Trial
from experiments.stacks.processes import MARK

SCENARIO = """
name = "slow"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.5 }
[service]
model = { table_ms = [20.0, 22.0, 24.0, 26.0] }
[policies.waiting]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 5.0
[policies.collecting]
kind = "collection_window"
max_batch_size = 4
max_wait_ms = 5.0
[policies.greedy]
kind = "greedy"
"""
SHORT = ("--load", "0.5", "--window", "1s", "--repeats", "1", "--calibrate", "3s")


def needs(stack):
    """Skip where a stack is not installed."""
    why = f"{STACKS[stack].title} is not installed: batchwright try --on {stack} --install"
    return pytest.mark.skipif(not is_available(STACKS[stack]), reason=why)


def batchwright(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def tried(folder, *arguments, scenario=SCENARIO):
    """Try a policy of a scenario; returns the run's folder and what it printed as JSON."""
    path = folder / "slow.toml"
    path.write_text(scenario)
    out = folder / "runs"
    done = batchwright("try", path, *arguments, *SHORT, "--json", "--out", out)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    return Path(found["run"]), found


def check_run(folder, found, stack, variants):
    """What every trial has, whatever the machine made of its times."""
    assert folder.name == "try-1"
    assert json.loads((folder / "manifest.json").read_text())["stack"] == stack
    assert {"latency.png", "batch-sizes.png"} <= {path.name for path in folder.iterdir()}
    kept = json.loads((folder / "result.json").read_text())
    trial = Trial.of(kept)
    assert list(trial.variants) == list(variants)
    assert trial.loads == (0.5,)
    assert len(trial.cells) == len(variants) * len(TOLERANCE)
    assert all(cell.measured_mean > 0 for cell in trial.cells)
    assert all(cell.predicted_mean > 0 for cell in trial.cells)
    for shapes in trial.shapes:
        for shares in (shapes.measured_sizes, shapes.predicted_sizes):
            assert sum(shares) == pytest.approx(1.0)
            assert len(shares) <= 4, "no batch is larger than the policy allows"
        assert list(shapes.measured_ms) == sorted(shapes.measured_ms)
    assert all(each["p50_ms"] > 0 for each in trial.floor)
    assert found["verdict"] == trial.verdict


def servers_left():
    """Processes of servers that this process started, and that have not ended."""
    text = f"{MARK}={os.getpid()}-".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                if text in (entry / "environ").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found
