"""Why a model that generates is slow: planted faults are found, their remedies simulated."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.iteration import load_scenario
from experiments.iteration.diagnose import diagnose

BASE = """
name = "planted"

[workload]
requests = 4000
arrivals = {{ process = "poisson", rate_per_s = {rate} }}
prompts = {{ distribution = "lognormal", median = {prompt}, sigma = {sigma}, max = 4000 }}
outputs = {{ distribution = "uniform", min = 20, max = 100 }}

[engine]
max_num_seqs = {most}
max_model_len = 8192
memory = {{ blocks = {blocks} }}

[engine.times]
fixed_ms = 8
prefill_token_us = 60
sequence_us = 30

[policies.now]
kind = "{kind}"
{more}
"""


@pytest.fixture
def found(tmp_path):
    def find(**changed):
        facts = {
            "rate": 5.0, "prompt": 100, "sigma": 0.1, "most": 64, "blocks": 8000,
            "kind": "vllm_like", "more": "",
        } | changed  # fmt: skip
        path = tmp_path / "planted.toml"
        path.write_text(BASE.format(**facts))
        return diagnose(load_scenario(path))

    return find


@pytest.mark.parametrize("seed", [1, 2])
def test_a_healthy_engine_has_no_fault(tmp_path, seed):
    path = tmp_path / "healthy.toml"
    path.write_text(
        BASE.format(
            rate=5.0, prompt=100, sigma=0.1, most=64, blocks=8000, kind="vllm_like", more=""
        )
    )
    told = diagnose(load_scenario(path, [f"seeds.arrivals={seed}", f"seeds.lengths={seed + 7}"]))
    assert told.findings == ()
    assert "no fault found" in told.verdict


@pytest.mark.parametrize("kind", ["continuous", "prefill_first", "vllm_like"])
def test_long_prompts_that_block_decoding_are_told_and_chunks_help(found, kind):
    more = "max_num_batched_tokens = 8192" if kind != "continuous" else ""
    told = found(prompt=1200, sigma=0.6, rate=4.0, kind=kind, more=more)
    assert told.findings[0].cause == "long prompts block decoding"
    assert "chunk the prefill" in told.verdict
    best = told.findings[0].remedies[0]
    assert best.after < 0.6 * best.before


def test_a_small_budget_is_told_and_a_larger_one_helps(found):
    told = found(prompt=600, rate=6.0, more="max_num_batched_tokens = 64")
    assert told.findings[0].cause == "small budget"
    assert "a larger budget" in told.verdict


def test_memory_that_is_short_is_told(found):
    told = found(prompt=300, blocks=80, rate=8.0)
    assert "short of memory" in [one.cause for one in told.findings]
    assert any("memory" in r.what for one in told.findings for r in one.remedies)


def test_a_batch_that_is_full_is_told(found):
    told = found(most=4, rate=6.0)
    assert told.findings[0].cause == "batch full"
    assert "max_num_seqs = 8" in told.verdict


def test_whole_batches_are_told(found):
    told = found(kind="request_level", more="max_num_seqs = 16", rate=4.0)
    assert told.findings[0].cause == "whole batches"
    assert "join at every iteration" in told.verdict


def test_overload_says_how_many_replicas_it_takes(found):
    told = found(rate=400.0)
    assert not told.stable
    need = -(-400.0 // (0.8 * told.saturation_per_s))
    assert f"it takes {need:.0f} replicas" in told.verdict


def test_the_command_takes_a_scenario_and_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = BASE.format(
        rate=4.0, prompt=1200, sigma=0.6, most=64, blocks=8000, kind="continuous", more=""
    )
    (tmp_path / "planted.toml").write_text(text)
    runner = CliRunner()
    shown = runner.invoke(app, ["diagnose", "planted.toml"])
    assert shown.exit_code == 0, shown.output
    assert "long prompts block decoding" in shown.output
    made = runner.invoke(app, ["simulate", "planted.toml", "--quiet"])
    assert made.exit_code == 0, made.output
    told = runner.invoke(app, ["diagnose", "planted", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["findings"][0]["cause"] == "long prompts block decoding"
    unknown = runner.invoke(app, ["diagnose", "planted.toml", "--policy", "nwo"])
    assert unknown.exit_code == 2
    assert "did you mean now?" in unknown.output


def test_where_no_policy_is_named_the_best_is_diagnosed(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    told = diagnose(load_scenario(path))
    assert (told.policy, told.best_of) == ("joins", 2)
    assert (diagnose(load_scenario(path), "waits").best_of) == 1
    slow = load_scenario(path, ["workload.arrivals.rate_per_s=900"])
    told = diagnose(slow)
    assert not told.stable
    assert told.policy == "joins"


def test_of_a_run_the_policy_that_it_found_best_is_diagnosed(tmp_path):
    (tmp_path / "two.toml").write_text(TWO)
    out = tmp_path / "runs"
    runner = CliRunner()
    done = runner.invoke(app, ["compare", str(tmp_path / "two.toml"), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.stderr
    best = json.loads(done.stdout)["best"]
    done = runner.invoke(app, ["diagnose", "two/compare-1", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["policy"], found["best_of"]) == (best, 1)


TWO = """
[workload]
requests = 4000
arrivals = { process = "poisson", rate_per_s = 20 }
prompts = { distribution = "uniform", min = 20, max = 200 }
outputs = { distribution = "uniform", min = 2, max = 60 }
[engine]
max_num_seqs = 16
max_model_len = 512
[engine.times]
fixed_ms = 5
prefill_token_us = 50
sequence_us = 200
[policies.waits]
kind = "request_level"
[policies.joins]
kind = "continuous"
"""
