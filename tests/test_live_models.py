"""A real model behind the live driver, for a second: a smoke test without a figure to hold."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from experiments.cli import app

pytest.importorskip("torch", reason="running a model needs torch")


def test_a_model_is_validated_live_on_this_cpu(tmp_path):
    done = CliRunner().invoke(
        app,
        [
            *("validate", "bert-tiny-cpu", "--device", "cpu", "--load", "0.05", "--policy"),
            *("greedy", "--rounds", "2", "--window", "1s", "--calibrate", "4s", "--json"),
            *("--set", "policies.greedy.max_batch_size=4", "--out", str(tmp_path)),
        ],
    )
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["device"]["model"] == "bert-tiny"
    assert found["device"]["threads"] == 1
    assert len(found["calibration"]["lengths"]) > 3
    windows = list((tmp_path / "bert-tiny-cpu" / "validate-1" / "live").iterdir())
    assert len(windows) >= 2


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    done = CliRunner().invoke(
        app,
        ["validate", "bert-tiny-cpu", "--device", "cuda:7", "--out", str(tmp_path)],
    )
    assert done.exit_code == 2
    assert "there is no device cuda:7" in done.stderr
