"""Sweeps over scenarios of models that generate: steps, lines, words, the figure, the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.iteration import compare, load_scenario
from experiments.iteration import sweep as jobs
from experiments.iteration.sweep import sweep
from experiments.iteration.sweep_shown import broken
from experiments.parallel import Interrupted
from experiments.sentences import ScenarioError

TIERS = Path(__file__).parent / "data" / "two_tiers_of_tokens.toml"
RATE, BUDGET = "workload.arrivals.rate_per_s", "policies.vllm.max_num_batched_tokens"
OVER = {RATE: [10, 30, 60], BUDGET: [32, 512]}
FEW = ["workload.requests=2000"]


@pytest.fixture(scope="module")
def found():
    return sweep(TIERS, OVER, ["vllm", "urgent"], settings=FEW)


def test_every_combination_is_a_comparison_of_its_own(found):
    assert [step.settings[RATE] for step in found.steps] == [10, 10, 30, 30, 60, 60]
    assert [step.settings[BUDGET] for step in found.steps] == [32, 512] * 3
    at = load_scenario(TIERS, [*FEW, f"{RATE}=30", f"{BUDGET}=512"])
    alone = compare(at, ["vllm", "urgent"])
    step = found.steps[3]
    for outcome in step.outcomes:
        assert outcome.to_dict() == alone.outcome(outcome.policy).to_dict()


def test_a_line_goes_along_one_key_with_the_others_held(found):
    first = found.line(RATE, "vllm", "ttft_ms.mean")
    assert [point.x for point in first] == [10, 30, 60]
    assert first[0].value < first[1].value
    assert first[2].value is None
    assert not first[2].stable
    wide = found.line(RATE, "vllm", "ttft_ms.mean", {BUDGET: 512})
    assert wide[1].value < first[1].value
    assert 0.0 < found.line(RATE, "vllm")[0].value <= 1.0


def test_words_say_who_leads_and_who_cannot_keep_up(found):
    assert "Most requests within their targets" in found.verdict
    assert "Unstable at 2 of 6 steps: vllm and urgent" in found.verdict


def test_results_are_frames_json_html_and_figures(found):
    frame = found.to_frame()
    assert len(frame) == 12
    assert {RATE, BUDGET, "policy", "slo_attainment"} <= set(frame.columns)
    told = json.loads(found.to_json())
    assert told["kind"] == "iterations-sweep"
    assert len(told["steps"]) == 6
    assert "<table>" in found._repr_html_()
    panels = found.against("rate_per_s")
    assert [bool(axes.get_ylabel()) for axes in panels] == [True] * 3
    assert len(panels[0].lines) == 2


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({RATE: [1, -1]}, "rate_per_s"),
        ({"engine.max_num_seq": [1, 2]}, "did you mean"),
        ({BUDGET: [8]}, "max_num_batched_tokens >= max_num_seqs"),
    ],
)
def test_a_step_that_is_wrong_is_told_before_anything_runs(over, said, monkeypatch):
    monkeypatch.setattr(jobs, "judge", lambda *_: pytest.fail("something ran"))
    with pytest.raises(ScenarioError, match=said):
        sweep(TIERS, over)


def test_ctrl_c_keeps_the_steps_that_are_done(monkeypatch):
    steps = iter([jobs.in_threads])

    def stopped(*arguments):
        for real in steps:
            return real(*arguments)
        raise Interrupted([])

    monkeypatch.setattr(jobs, "in_threads", stopped)
    found = sweep(TIERS, {RATE: [10, 20]}, ["vllm"], settings=FEW)
    assert found.interrupted
    assert len(found.steps) == 1


def test_names_are_broken_behind_underscores():
    assert broken("shortest_prompt_first") == "shortest_\nprompt_\nfirst"
    assert broken("chunked_512") == "chunked_\n512"
    assert broken("vllm_like") == "vllm_like"


def test_the_command_prints_tables_and_writes_a_run(tmp_path):
    words = ["sweep", TIERS, "--over", f"{RATE}=10:30:3", "--policy", "vllm", "--set", FEW[0]]
    told = CliRunner().invoke(
        app, [str(word) for word in [*words, "--out", tmp_path]], env={"COLUMNS": "100"}
    )
    assert told.exit_code == 0, told.output
    assert "requests within their targets, %" in told.output
    assert all(len(line) <= 100 for line in told.output.splitlines() if "run:" not in line)
    folder = tmp_path / "two_tiers" / "sweep-1"
    names = {path.name for path in folder.iterdir()}
    assert {"result.json", "manifest.json", "against-rate_per_s.png"} <= names
    wrong = CliRunner().invoke(app, ["sweep", str(TIERS), "--over", "x", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
