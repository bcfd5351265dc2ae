"""``batchwright profile measure``: from a model to a profile, and a sentence where that fails."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path

import pytest
from drawn_runner import NOT_FINITE, DrawnRunner, VirtualClock
from typer.testing import CliRunner

import profiles
from experiments.cli import app
from experiments.cli_measure import read_budget, read_lengths
from profiles import ProfileError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("profiles.conditions.load_average", lambda: 1.0)
    return lambda *arguments: CliRunner().invoke(app, ["profile", "measure", *arguments])


@pytest.fixture
def model(monkeypatch):
    """The stand-in that every name opens; what it was opened with is in ``model.wanted``."""
    runner = DrawnRunner(VirtualClock(), sigma=0.1, phi=0.5)

    def opened(name, **wanted):
        runner.wanted = {"model": name, **wanted}
        return runner

    monkeypatch.setattr("profiles.models.open_runner", opened)
    monkeypatch.setattr("profiles.campaign.RealClock", lambda: runner.clock)
    return runner


SMALL = ("--max-batch-size", "4", "--lengths", "16,64", "--budget", "20s")


def test_it_shows_the_plan_the_medians_the_hold_out_and_what_is_next(run, model):
    result = run("drawn", *SMALL, "--into", "mine")
    assert result.exit_code == 0, result.output
    for words in (
        "plan: batch sizes 1 to 4 x lengths 16, 64 tokens: 8 cells, 50 to 200 calls each in 200 "
        "rounds of random order, and 3 shapes off the grid",
        "steady calls for noise",
        "written: mine/drawn-cpu-fp32.json, mine/drawn-cpu-fp32-raw.csv.gz, ",
        'next: profile = "mine/drawn-cpu-fp32.json"',
    ):
        assert words in result.stderr
    for words in ("latency, ms (p50)", "hold-out", "lag-1 0.", "took", "x 1.0"):
        assert words in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    assert profiles.load("mine/drawn-cpu-fp32").batch_size.tolist() == [1, 2, 3, 4]
    assert model.closed


def test_json_is_one_object_and_nothing_else(run, model):
    result = run("drawn", *SMALL, "--json", "--name", "n")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert found["name"] == "n"
    assert found["files"] == ["n.json", "n-raw.csv.gz", "n-rounds.csv", "n-memory.csv"]
    assert found["rounds_done"] == found["plan"]["rounds"] == 200
    assert len(found["hold_out"]["shapes"]) == 3
    assert found["lag1"] == profiles.load("n").lag1
    assert found["limits"] == []


def test_quiet_says_no_plan_and_no_next_step(run, model):
    result = run("drawn", *SMALL, "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "hold-out" in result.stdout


def test_the_model_is_opened_as_it_was_asked_for(run, model):
    run("drawn", *SMALL, "--device", "cuda:1", "--precision", "bf16", "--mode", "graphs",
        "--threads", "2", "--seed", "7")  # fmt: skip
    assert model.wanted == {"model": "drawn", "device": "cuda:1", "precision": "bf16",
                            "mode": "graphs", "threads": 2, "seed": 7}  # fmt: skip


def test_interrupted_it_keeps_the_complete_rounds_and_ends_with_130(run, model):
    model.before = {200: KeyboardInterrupt()}
    result = run("drawn", *SMALL)
    assert result.exit_code == 130
    last = result.stderr.splitlines()[-1]
    assert last.startswith("interrupted; ")
    assert last.endswith(" of 200 rounds are kept: drawn-cpu-fp32.json")
    assert profiles.load("drawn-cpu-fp32").metadata.defects[-1].endswith("interrupted")
    assert model.closed


def test_interrupted_at_once_it_writes_nothing(run, model):
    model.before = {2: KeyboardInterrupt()}
    result = run("drawn", *SMALL, "--quiet")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    assert list(Path().iterdir()) == []
    assert model.closed


def test_a_model_that_breaks_keeps_the_complete_rounds_and_ends_with_2(run, model):
    model.before = {200: NOT_FINITE}
    result = run("drawn", *SMALL)
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: drawn: the output must be finite, but has NaN; ")
    assert profiles.load("drawn-cpu-fp32")


def test_a_model_that_breaks_at_once_is_one_sentence(run, model):
    model.before = {0: NOT_FINITE}
    result = run("drawn", *SMALL)
    assert result.exit_code == 2
    assert result.stderr == "error: drawn: the output must be finite, but has NaN\n"
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("drawn", "--budget", "soon"),
         "--budget must be a time as in 90s, 5m or 1h, but got 'soon'"),
        (("drawn", "--lengths", "16,x"),
         "--lengths must be whole numbers as in 16,32,64, but got '16,x'"),
        (("drawn", "--lengths", "900"),
         "--lengths must be from 1 to 512 tokens for drawn, but got 900"),
        (("drawn", "--budget", "0.01s"),
         "0.0063 s of --budget are left after the pilot, but the smallest plan (batch size 1, "
         "lengths 16, 256) takes 1 s: give a longer budget or shorter lengths"),
        ((), "name one model (batchwright profile measure --list shows them), or your own with "
         "--hf PATH, --onnx FILE or --callable PKG.MOD:FN"),
        (("--onnx", "a.onnx", "--hf", "b"),
         "name one model (batchwright profile measure --list shows them), or your own with "
         "--hf PATH, --onnx FILE or --callable PKG.MOD:FN"),
        (("drawn", "--callable", "a:b"),
         "name one model (batchwright profile measure --list shows them), or your own with "
         "--hf PATH, --onnx FILE or --callable PKG.MOD:FN"),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_sentence_and_exit_code_2(run, model, arguments, sentence):
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (2, f"error: {sentence}\n")


def test_an_unknown_model_names_the_nearest(run):
    result = run("bert-teeny")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "error: there is no model 'bert-teeny'; the nearest is bert-tiny"
    )
    assert result.stderr.count("\n") == 1


def test_without_torch_it_says_what_to_install(run, monkeypatch):
    real = builtins.__import__

    def without_torch(name, *rest):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest)

    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("profiles.models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_torch)
    result = run("bert-tiny")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: running a model needs torch, which is not installed: "
        "pip install 'batchwright[models]'\n"
    )


def test_list_names_the_reference_models(run):
    result = run("--list")
    assert result.exit_code == 0
    for name in ("bert-tiny", "bert-base", "wav2vec2-base"):
        assert f" {name} " in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    listed = json.loads(run("--list", "--json").stdout)["models"]
    assert {row["length_unit"] for row in listed} == {"tokens", "audio_ms"}


def test_a_function_of_ones_own_is_measured(run, monkeypatch):
    Path("own_model.py").write_text(
        "def serve(lengths):\n    return [sum(lengths)] * len(lengths)\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    result = run("--callable", "own_model:serve", "--max-batch-size", "2", "--lengths", "8,16",
                 "--budget", "2s", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["name"] == "callable-own-model-serve-cpu-fp32"
    assert profiles.load(found["files"][0]).batch_size.tolist() == [1, 2]


def test_budgets_and_lengths_are_read():
    assert [read_budget(text) for text in ("90s", "5m", "1.5h", "7")] == [
        90 * 10**9, 300 * 10**9, 5_400 * 10**9, 7 * 10**9]  # fmt: skip
    assert read_lengths("16, 32,64") == (16, 32, 64)
    assert read_lengths("") == ()
    for text in ("", "-5s", "5 days", "0s"):
        with pytest.raises(ProfileError, match="--budget must be a time"):
            read_budget(text)


def test_a_real_model_is_measured_on_this_cpu(run):
    pytest.importorskip("torch", reason="running a model needs torch")
    result = run(
        "bert-tiny", "--max-batch-size", "2", "--lengths", "16,32", "--budget", "3s", "--json"
    )
    assert result.exit_code == 0, result.output
    profile = profiles.load(json.loads(result.stdout)["files"][0])
    assert profile.length_unit == "tokens"
    assert profile.metadata.model == "bert-tiny"
    assert profile.metadata.framework.startswith("torch ")
    # 0.5 GFLOP at most, on any core of the last ten years.
    assert 50_000 < profile.latency_ns.min() <= profile.latency_ns.max() < 500_000_000
