"""``batchwright validate`` as a user meets it: on the emulated device, in a few seconds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.validation import recorded
from experiments.validation.summary import REPLAYED
from sim.timing import cores

SCENARIO = """
name = "three"
[workload]
requests = 2000
arrivals = { process = "poisson", load = 0.4 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[service]
model = { base_ms = 8.0, per_request_ms = 1.0, per_length_ms = 0.01, max_batch_size = 4 }
[policies.static]
kind = "static"
batch_size = 2
[policies.greedy]
kind = "greedy"
[policies.size_or_timeout]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 3.0
"""
SHORT = ("--rounds", "2", "--window", "1s", "--calibrate", "3s")


def batchwright(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validate")
    (folder / "three.toml").write_text(SCENARIO)
    return folder


@pytest.fixture(scope="module")
def run(place):
    """One validation, and what it printed as JSON."""
    done = batchwright(
        "validate", str(place / "three.toml"), *SHORT, "--json", "--out", str(place / "runs")
    )
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_the_run_is_one_json_object_and_a_folder(run, place):
    folder = Path(run["run"])
    assert folder == place / "runs" / "three" / "validate-1"
    assert json.loads((folder / "result.json").read_text())["verdict"] == run["verdict"]
    # on a machine that is busy with other tests no window may count, and there is nothing to draw
    drawn = {"batch-sizes.png", "predicted.svg", "latency.png"} <= set(run["figures"])
    assert drawn == any(not one["condition"]["rejected"] for one in run["windows"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["command"], manifest["device"]) == ("validate", "emulated")


def test_every_window_is_kept_and_replayed(run):
    windows = sorted((Path(run["run"]) / "live").iterdir())
    assert len(windows) >= 4  # two policies, two rounds; rejected ones are kept, too
    for folder in windows:
        kept = recorded.load(folder)
        assert len(kept.window.trace) >= 50
        kept.window.trace.check(workload=kept.workload)
        if len(cores()) < 4:  # no generator of its own, whose messages would be on their way
            assert kept.replay_errors() == dict.fromkeys(REPLAYED, 0.0)


def test_the_calibrated_profile_is_a_profile_like_any_other(run):
    saved = Path(run["run"]) / "calibrated" / "three-calibrated.json"
    shown = batchwright("profile", "show", str(saved), "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["length_unit"] == "tokens"


def test_without_a_choice_one_static_and_one_adaptive_policy_run(run):
    names = {path.name.partition("-load")[0] for path in (Path(run["run"]) / "live").iterdir()}
    assert names == {"static", "greedy"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--policy", "greddy"), "scenario three has no policy 'greddy'; did you mean greedy?"),
        (("--load", "1.5"), "--load must be above 0 and below 1, but got 1.5"),
        (("--window", "soon"), "--window must be a time as in 15s or 1m, but got 'soon'"),
        (
            ("--device", "cpu"),
            "the profile of scenario three is of no model, which is not a reference model; name one"
            " with --model (batchwright profile measure --list shows them), or use --device"
            " emulated",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(place, arguments, sentence):
    out = place / "none"
    done = batchwright("validate", str(place / "three.toml"), *arguments, "--out", str(out))
    assert done.exit_code == 2
    assert done.stderr.strip().endswith(f"error: {sentence}"), done.stderr
    assert not list(out.rglob("*.json"))


def test_policies_that_do_not_run_may_want_larger_batches_than_are_calibrated(place):
    done = batchwright(
        "validate", str(place / "three.toml"), "--policy", "static", "--rounds", "1",
        "--window", "1s", "--calibrate", "2s", "--json", "--out", str(place / "small"),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["calibration"]["batch_sizes"] == [1, 2]


def test_a_closed_loop_has_no_load(place):
    done = batchwright(
        "validate", "closed_loop", "--load", "0.3", *SHORT, "--out", str(place / "none")
    )
    assert done.exit_code == 2
    assert "scenario closed_loop has no load to set, since its clients wait for answers" in (
        done.stderr
    )


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_a_model_cannot_run(place):
    done = batchwright(
        "validate", "bert-tiny-cpu", "--device", "cpu", *SHORT, "--out", str(place / "none")
    )
    assert done.exit_code == 2
    assert "running a model needs torch, which is not installed" in done.stderr


def validated(place, function, *options):
    """A validation of a function beside this file, from the command line."""
    program = "from experiments.cli import main; main()"
    model = ("--device", "cpu", "--model", f"callable:live_models:{function}")
    command = ("validate", str(place / "three.toml"), *model, "--policy", "greedy", *options)
    return subprocess.run(
        [sys.executable, "-c", program, *command, "--out", str(place / function)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_function_of_ones_own_can_be_the_model(place):
    done = validated(
        place, "sleeps", "--rounds", "1", "--window", "1s", "--calibrate", "2s", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["device"]["model"] == "callable:live_models:sleeps"


def test_a_model_that_breaks_is_one_sentence(place):
    done = validated(place, "nan", *SHORT)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "error: callable:live_models:nan returned NaN or infinity for a batch of 1"
    )
