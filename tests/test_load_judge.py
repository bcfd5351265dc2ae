"""LoadGen's queries as requests over HTTP, and its verdict on a server."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from v2_server import V2, listening

from experiments.cli import app
from experiments.mlperf.over_http import Told, within

FAKE = Path(__file__).parent / "fake_loadgen"
SCENARIO = """
name = "judged"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 100 }
lengths = { constant = 10 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 60_000 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.2, max_batch_size = 16 }
[policies.greedy]
kind = "greedy"
"""


@pytest.fixture(autouse=True)
def loadgen(monkeypatch):
    """The library itself where it is installed, or what stands for it."""
    if find_spec("mlperf_loadgen") is None:
        monkeypatch.syspath_prepend(str(FAKE))


def judged(folder, v2, *words):
    (folder / "judged.toml").write_text(SCENARIO)
    with listening(v2) as (url, _):
        return CliRunner().invoke(
            app,
            [
                *("load", url, str(folder / "judged.toml"), "--model", "m", "--judge", "mlperf"),
                *("--window", "1s", "--out", str(folder / "runs"), *words),
            ],
            env={"COLUMNS": "100"},
        )


def test_every_query_becomes_a_request_and_is_judged(tmp_path):
    v2 = V2()
    done = judged(tmp_path, v2, "--json")
    assert done.exit_code == 0, done.output
    (verdict,) = json.loads(done.stdout)["verdicts"]
    assert verdict["stopping"]["queries"] == len(v2.came) == 100
    assert verdict["failed"] == 0
    assert verdict["own_latency_ms"]["p99"] > 0
    assert verdict["within"]["value"] == 1.0
    assert (tmp_path / "runs/judged/judge-1/mlperf/own/mlperf_log_detail.txt").is_file()


def test_a_test_with_a_refusal_is_not_valid(tmp_path):
    done = judged(tmp_path, V2(statuses=[200] * 9 + [429]))
    assert done.exit_code == 0, done.output
    assert "m is not judged valid: 10 queries were refused or failed" in done.stdout


def test_the_share_within_the_target_leaves_the_warm_up_out_and_counts_refusals_as_missed():
    latency = np.array([900] * 200 + [10] * 1800)
    good = np.array([1] * 1980 + [0] * 20)
    found = within(Told(latency, good), 100)
    assert found["value"] == pytest.approx(1780 / 1800)
    assert found["low"] < found["value"] < found["high"]
