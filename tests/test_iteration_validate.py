"""``batchwright validate`` with an ``[engine]``, as a user meets it: emulated, in a few seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_iteration_live_validation import calibrated, sound, validation, window  # noqa: F401
from typer.testing import CliRunner

from experiments.cli import app
from experiments.iteration import load_scenario
from experiments.iteration import validation_recorded as recorded
from experiments.iteration.validate_asked import USUAL, asked_of
from experiments.iteration.validate_plan import (
    FITTING,
    Requests,
    needed_ns,
    reach_of,
    target_of,
    wishes_for,
)
from experiments.sentences import ScenarioError
from experiments.validation.asking import usual
from profiles.models.decoder_shapes import DECODERS
from profiles.steps_store import load as load_profile

SCENARIO = """
name = "quick"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 60 }
prompts = { distribution = "uniform", min = 4, max = 60 }
outputs = { distribution = "uniform", min = 2, max = 12 }
[[workload.tiers]]
name = "all"
slo = { ttft_ms = 50, tpot_ms = 10 }
[engine]
max_num_seqs = 8
max_model_len = 128
memory = { blocks = 60, block_tokens = 8 }
[engine.times]
fixed_ms = 1.0
prefill_token_us = 20
sequence_us = 50
[policies.vllm]
kind = "vllm_like"
max_num_batched_tokens = 64
[policies.whole]
kind = "request_level"
"""
SHORT = ("--rounds", "1", "--window", "1s", "--calibrate", "6s")


def batchwright(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validate-tokens")
    (folder / "quick.toml").write_text(SCENARIO)
    return folder


@pytest.fixture(scope="module")
def run(place):
    """One validation, and what it printed as JSON."""
    scenario, out = place / "quick.toml", place / "runs"
    done = batchwright("validate", scenario, *SHORT, "--json", "--out", out)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_the_run_is_one_json_object_and_a_folder(run, place):
    folder = Path(run["run"])
    assert folder == place / "runs" / "quick" / "validate-1"
    assert run["kind"] == "iterations-validation"
    assert json.loads((folder / "result.json").read_text())["verdict"] == run["verdict"]
    # on a machine that is busy with other tests no window may count, and there is nothing to draw
    drawn = {"ttft.png", "latency.svg", "predicted.png"} <= set(run["figures"])
    assert drawn == any(not one["rejected"] for one in run["windows"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["command"], manifest["device"]) == ("validate", "emulated")


def test_every_window_is_kept_and_replays_exactly(run):
    windows = sorted((Path(run["run"]) / "live").iterdir())
    assert len(windows) == len(run["windows"]) >= 1
    for folder in windows:
        assert recorded.load(folder).replay().exact
    counted = [one for one in run["windows"] if not one["rejected"]]
    assert run["replays_exact"] == f"{len(counted)} of {len(counted)}"


def test_the_calibrated_profile_can_be_used_in_a_scenario(run, place):
    (side,) = (Path(run["run"]) / "calibrated").glob("*.json")
    found = load_profile(side)
    assert found.form().fixed_ns > 0
    text = SCENARIO.partition("[engine.times]")[0].replace(
        "[engine]", f'[engine]\nprofile = "{side}"'
    )
    mine = place / "calibrated.toml"
    mine.write_text(text + '[policies.vllm]\nkind = "vllm_like"\nmax_num_batched_tokens = 64\n')
    assert load_scenario(mine).service.startswith("quick-calibrated")


@pytest.mark.slow
def test_a_tuned_rule_takes_part_and_a_run_is_taken_for_its_scenario(place):
    out = place / "tuned"
    done = batchwright("tune", place / "quick.toml", "--trials", "8", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    done = batchwright("validate", out / "quick" / "tune-1", *SHORT, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["policies"]) == ["vllm", "tuned"]
    tuned = json.loads((out / "quick" / "tune-1" / "result.json").read_text())
    best = tuned["policies"][tuned["winner"]]["parameters"]
    assert found["policies"]["tuned"]["kind"] == best["kind"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--policy", "vlm"), "scenario quick has no policy 'vlm'; did you mean vllm?"),
        (("--load", "1.5"), "--load must be above 0 and below 1, but got 1.5"),
        (("--window", "late"), "--window must be a time as in 15s or 1m, but got 'late'"),
        (
            ("--device", "cpu"),
            "the times of scenario quick are a formula, of no model that can run here: name one "
            f"with --model ({', '.join(DECODERS)}), or use --device emulated",
        ),
        (
            ("--device", "cuda"),
            "--device cuda: models that generate run on the CPU here; give cpu or emulated",
        ),
        (
            ("--model", "gpt2-mini"),
            "--model runs a model, and --device emulated none: leave one out",
        ),
        (
            ("--precision", "fp16"),
            "--precision fp16 does not go with an [engine]: models that generate run in fp32, "
            "eager",
        ),
        (
            ("--set", "workload.arrivals.rate_per_s=9000"),
            "9000 requests/s arrive, and this engine serves",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(place, arguments, sentence):
    out = place / "none"
    done = batchwright("validate", place / "quick.toml", *arguments, "--out", out)
    assert done.exit_code == 2
    assert f"error: {sentence}" in done.stderr, done.stderr
    assert not list(out.rglob("*.json"))


def test_a_run_takes_no_overrides(run):
    done = batchwright("validate", run["run"], "--set", "seeds.arrivals=3")
    assert done.exit_code == 2
    assert "--set changes a scenario, but" in done.stderr


def test_too_little_time_to_calibrate_says_how_much_it_takes(place):
    given = ("--rounds", "1", "--window", "1s", "--calibrate", "0.02s")
    done = batchwright("validate", place / "quick.toml", *given, "--out", place / "none")
    assert done.exit_code == 2
    assert "--calibrate leaves 0.01 s for each of 2 calibrations, which is too little here" in (
        done.stderr
    )


# interruptions

PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from experiments.cli import main
main()
"""
LIMIT_S = 300.0
"""For whatever comes to an end at all, on a machine that stands still now and then."""


@pytest.fixture
def started(place, tmp_path):
    """A validation of many rounds whose first window is done."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM, "validate", str(place / "quick.toml")),
            *("--rounds", "99", "--window", "1s", "--calibrate", "300s"),
            *("--out", "runs", "--json"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "runs" / "quick" / "validate-1"
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


def test_ctrl_c_keeps_the_windows_and_judges_them(started):
    process, folder = started
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, err
    assert "interrupted: what was done is in" in err
    found = json.loads(out)
    assert found["interrupted"]
    assert len(found["windows"]) == len(list((folder / "live").iterdir())) >= 1
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_an_engine_that_dies_is_told_and_the_windows_before_are_kept(started):
    process, _folder = started
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in map(int, path.read_text().split()):
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, err
    assert "was killed by signal 9" in err or "load generator has died" in err
    assert "the windows before are judged, and kept in" in err
    assert len(json.loads(out)["windows"]) >= 1


# what is planned


@pytest.fixture(scope="module")
def scenario(place):
    return load_scenario(place / "quick.toml")


def test_the_requests_of_a_window_come_at_just_the_rate_and_fit_the_engine(scenario):
    long = replace(scenario, engine=scenario.engine._replace(longest=60))
    requests = Requests(long)
    assert 0.0 < requests.left_out < 0.5
    found = requests(50.0, 8.0)
    assert len(found) == 400
    assert found.arrival_ns[-1] == pytest.approx(8e9, rel=1e-6)
    assert np.all(np.diff(found.arrival_ns) >= 0)
    assert (found.prompt + found.output).max() <= 60
    half = requests(25.0, 16.0)
    assert half.arrival_ns / 2 == pytest.approx(found.arrival_ns, abs=2)
    assert np.array_equal(half.prompt, found.prompt)
    assert len(requests(0.1, 1.0)) == 20


def test_a_model_that_holds_less_than_half_of_the_requests_is_refused(scenario):
    short = replace(scenario, engine=scenario.engine._replace(longest=30))
    with pytest.raises(ScenarioError, match="% of the requests of scenario quick are longer than"):
        Requests(short)


def test_what_is_calibrated_is_what_the_windows_reach_and_fits_the_time(scenario):
    target = target_of(scenario, "emulated", None, 1)
    rules = dict(scenario.policies)
    requests = Requests(scenario)
    few, many = (reach_of(scenario, rules, requests, (load,), 5.0) for load in (0.1, 0.9))
    assert few.sequences < many.sequences <= 8
    assert few.prefill.max() <= many.prefill.max()
    roomy, tight = (wishes_for(target, many, 10**9 * n, 0) for n in (60, 1))
    assert (roomy.fullest, roomy.prefill) == (0, many.prefill.max())
    assert tight.fullest > 0
    assert needed_ns(scenario.times, tight) < needed_ns(scenario.times, roomy)
    assert needed_ns(scenario.times, roomy) < 60e9
    assert FITTING[0] == (0, 1.0)


def test_a_model_holds_as_many_tokens_as_it_knows_positions(scenario):
    target = target_of(scenario, "cpu", "gpt2-mini", 1)
    assert target.scenario.engine.longest == 128
    longer = replace(scenario, engine=scenario.engine._replace(longest=4096))
    assert target_of(longer, "cpu", "gpt2-mini", 1).scenario.engine.longest == 1024
    assert target_of(scenario, "cpu", "whisper-tiny-decoder", 1).speech
    assert target.known is None
    assert target_of(scenario, "emulated", None, 1).known.times == scenario.times


def test_a_live_engine_does_not_swap(scenario):
    swaps = replace(scenario, engine=scenario.engine._replace(swaps=True))
    with pytest.raises(ScenarioError, match=r'engine\.preemption = "swap"'):
        target_of(swaps, "emulated", None, 1)


def test_two_rules_run_where_none_is_named():
    chat = load_scenario("chat", ["workload.requests=2000"])
    assert list(asked_of(chat, None).rules) == ["vllm_like", "decode_first"]
    assert list(asked_of(chat, ["continuous"]).rules) == ["continuous"]
    tables = {"a": {"kind": "request_level"}, "b": {"kind": "continuous"}}
    assert usual(tables, USUAL) == ["b"]
    assert usual({"a": {"kind": "request_level"}}, USUAL) == ["a"]
