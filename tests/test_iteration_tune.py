"""Tuning of rules of continuous batching: what is tried, how it is judged, what is recommended."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli_tune import Asked, run_tune
from experiments.iteration import load_scenario, tune_run
from experiments.iteration import tune as tuner
from experiments.iteration.tune import check_tuning, tune
from experiments.iteration.tune_judging import (
    DEFAULT,
    beats,
    entries_of,
    plainer,
    winner_of,
)
from experiments.iteration.tune_scores import TokenScorer, draws_of, goal_of, requests_of
from experiments.iteration.tune_space import contestants_of, rule_of
from experiments.parallel import nothing
from experiments.sentences import ScenarioError
from experiments.tune.contestants import Setting
from experiments.tune.database import sqlite_url
from experiments.tune.search import Search
from policies.contract import NEVER
from policies.iteration import RULES
from sim.iteration import kernel
from sim.iteration.metrics import measure

TIERS = Path(__file__).parent / "data" / "two_tiers_of_tokens.toml"
QUICK = [
    "tune.requests=1500",
    "tune.replications=2",
    "tune.trials=24",
    'tune.policies=["continuous"]',
]
PLANTED = [
    "workload.arrivals.rate_per_s=24",
    "workload.tiers=[{name='all', slo={tpot_ms=8, ttft_ms=2000, percentile=90}}]",
    "workload.outputs={constant=30}",
    *("engine.max_num_seqs=64", "engine.times.sequence_us=1000", "engine.times.fixed_ms=1"),
    *("engine.memory.blocks=2000", "policies.vllm.max_num_seqs=64"),
]
"""Each token takes about 1 ms and 1 ms a sequence more: with up to 6 in the batch it is on time."""


def tokens(*settings):
    return load_scenario(TIERS, [*QUICK, *settings])


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("source", [TIERS, "chat"])
def test_every_setting_of_a_space_can_be_bound(source, kind):
    scenario = load_scenario(source, [f'tune.policies=["{kind}"]'])
    (contestant,) = contestants_of(scenario)
    tiers = tuple(tier.tier for tier in scenario.workload.tiers)
    serving = scenario.serving()
    ends = [sorted({0, len(axis.values) // 2, len(axis.values) - 1}) for axis in contestant.axes]
    names = [axis.name for axis in contestant.axes]
    for places in product(*ends):
        at = contestant.chosen(dict(zip(names, places, strict=True)))
        serving.bound(rule_of(contestant.setting(at).table), tiers)
    assert all(list(axis.values) == sorted(set(axis.values)) for axis in contestant.axes)
    assert contestant.points > 1


def test_what_means_nothing_is_not_tuned():
    two = {one.name: [a.name for a in one.axes] for one in contestants_of(load_scenario(TIERS))}
    assert "by_priority" in two["vllm_like"]
    free = load_scenario("chat", ["engine.memory={blocks=1000000}"])
    one = {each.name: [a.name for a in each.axes] for each in contestants_of(free)}
    assert "by_priority" not in one["vllm_like"]
    assert "watermark" in one["vllm_like"]
    endless = replace(free, engine=free.engine._replace(blocks=NEVER))
    assert "watermark" not in [a.name for e in contestants_of(endless) for a in e.axes]


def test_keys_that_are_not_tuned_stay_and_usual_ones_are_left_out():
    scenario = load_scenario(TIERS, ["policies.whole.padded=false", 'tune.policies=["whole"]'])
    (whole,) = contestants_of(scenario)
    table = whole.setting({"max_num_seqs": 4, "max_wait_ms": 0}).table
    assert table == {"kind": "request_level", "padded": False, "max_num_seqs": 4}
    plain = plainer(Setting("x", {"kind": "vllm_like", "max_num_seqs": 8, "watermark": 0.1}, 1))
    assert dict(plain.table) == {"kind": "vllm_like", "max_num_seqs": 8}


@pytest.mark.parametrize("objective", ["goodput", "ttft_p99", "latency_mean", "tpot_p99"])
def test_a_score_is_the_number_of_a_run(objective):
    scenario = tokens(f"tune.objective={objective}", "tune.requests=6000", "workload.requests=6000")
    goal, draws = goal_of(scenario), draws_of(scenario, [7])
    setting = Setting("x", {"kind": "vllm_like", "max_num_batched_tokens": 128}, 1)
    score = TokenScorer(goal, scenario, draws, kernel.run).score(setting)
    trace = kernel.run(rule_of(setting.table), *draws[0])
    found = measure(trace, scenario.targets, tail=1).estimates()
    name = {"goodput": "goodput_per_s", "latency_mean": "latency_ms.mean"}.get(objective)
    name = name or objective.replace("_p99", "_ms.p99")
    assert score.values[0] == pytest.approx(found[name].value, rel=1e-5)
    assert bool(score.violations.keys() - {"stable"}) == (objective != "goodput")


def test_of_equal_goodputs_the_faster_is_better():
    scenario = tokens("tune.objective=goodput", "workload.arrivals.rate_per_s=5")
    scorer = TokenScorer(goal_of(scenario), scenario, draws_of(scenario, [7]), kernel.run)
    slow, fast = (
        scorer.score(Setting("x", {"kind": "decode_first", "chunk_tokens": chunk}, 1)).values[0]
        for chunk in (16, 512)
    )
    assert 0.0 < fast - slow < 1e-4


def test_what_cannot_keep_up_has_no_value():
    scenario = tokens("workload.arrivals.rate_per_s=500")
    scorer = TokenScorer(goal_of(scenario), scenario, draws_of(scenario, [7]), kernel.run)
    score = scorer.score(Setting("x", {"kind": "continuous"}, 1))
    assert score.values is None
    assert score.violations["stable"] > 1.0
    wrong = scorer.score(Setting("x", {"kind": "continuous", "max_num_seqs": 10_000}, 1))
    assert "max_num_seqs" in wrong.reason


def test_a_planted_optimum_is_found_and_beats_what_is_there():
    scenario = tokens(*PLANTED, 'tune.policies=["continuous", "vllm_like"]')
    found = tune(scenario)
    best = found.winner
    assert best.role == "tuned"
    assert best.setting.table["max_num_seqs"] in (4, 6)
    by_hand = {
        size: TokenScorer(found.goal, scenario, draws_of(scenario, [5]), kernel.run)
        .score(Setting("x", {"kind": "continuous", "max_num_seqs": size}, 1))
        .values
        for size in (2, 6, 12, 64)
    }
    assert by_hand[2] is None  # cannot keep up
    assert by_hand[6][0] > max(by_hand[12][0], by_hand[64][0])
    assert best.against(found.of("vllm")).verdict == "higher"
    assert "more within their targets" in found.verdict
    assert all(one.score.values is None or one.score.values[0] >= 0 for one in found.tried)


def test_a_constraint_is_respected():
    longer = ["tune.requests=6000", "workload.requests=6000"]
    settings = [*PLANTED, "tune.objective=ttft_p99", *longer]
    free = [*settings, "workload.tiers.0.slo={tpot_ms=100000, percentile=90}"]
    bound, unbound = tune(tokens(*settings)), tune(tokens(*free))
    assert bound.winner.feasible
    assert bound.winner.setting.table["max_num_seqs"] in (4, 6)
    assert unbound.winner.setting.table.get("max_num_seqs", 64) > 6
    first = "ttft_ms.mean"
    assert unbound.winner.outcome.value(first) < bound.winner.outcome.value(first)
    assert "kept with 95 % confidence" in bound.verdict


def test_promises_that_nobody_keeps_have_no_winner():
    scenario = tokens(
        "tune.objective=latency_mean", "workload.tiers.people.slo={tpot_ms=1, percentile=80}",
        'tune.policies=["continuous"]', "tune.trials=8",
    )  # fmt: skip
    found = tune(scenario)
    assert found.winner is None
    assert "No setting surely keeps what is promised" in found.verdict
    assert tune_words_toml(found) is None


def tune_words_toml(found):
    from experiments.iteration.tune_words import winner_toml

    return winner_toml(found, Path("runs/x/tune-1"))


def test_saturated_tokens_can_be_what_is_looked_for():
    found = tune(tokens("tune.objective=tokens", "tune.trials=8"))
    sizes = [one.setting.table.get("max_num_seqs", 16) for one in found.judged]
    assert found.winner.worth[0].value >= max(one.worth[0].value for one in found.judged) * 0.99
    assert max(sizes) == 16


@pytest.fixture(scope="module")
def found():
    return tune(tokens())


def test_a_present_setting_that_nothing_beats_is_kept_and_that_is_said(found):
    assert {one.role for one in found.judged} == {"tuned", "present", "default"}
    everyone = set(RULES)
    kept = winner_of([one for one in found.judged if one.role == "present"], found.goal, everyone)
    assert kept.role == "present"
    again = replace(found, winner=found.of("vllm"))
    from experiments.iteration.tune_words import verdict_of

    assert verdict_of(again).startswith("Keep vllm as it is (vllm_like with max_num_batched_tokens")
    assert not beats(found.of("vllm"), found.of("vllm"), found.goal)
    twin = replace(found.of("vllm"), name="twin", role="tuned")
    assert winner_of([twin, found.of("vllm")], found.goal, everyone).name == "vllm"
    assert winner_of(found.judged, found.goal, {"continuous"}).setting.table["kind"] == "continuous"


def test_nothing_is_judged_twice():
    scenario = tokens()
    same = Setting("vllm_like", {"kind": "vllm_like", "max_num_batched_tokens": 128}, 1)
    full = Setting("vllm_like", {**same.table, "max_num_seqs": 16}, 1)
    names = [entry.name for entry in entries_of(scenario, [same, full])]
    assert names == ["vllm", "urgent", "tiers", "whole", "vllm_default"]
    small = load_scenario(TIERS, ["engine.max_num_seqs=4096", "policies={a={kind='continuous'}}"])
    assert DEFAULT["max_num_batched_tokens"] < small.engine.sequences
    assert [entry.name for entry in entries_of(small, [])] == ["a"]


def test_the_same_seed_finds_the_same_and_another_looks_elsewhere(found):
    again = tune(tokens())
    first, second = found.to_dict(), again.to_dict()
    for told in (first, second):
        told.pop("seconds")
    assert first == second
    few = ['tune.policies=["vllm_like"]', "tune.trials=16"]
    one, other = (tune(tokens(*few, f"seeds.tuner={seed}")).to_dict() for seed in (1, 2))
    assert one["tried"] != other["tried"]


def test_fresh_runs_are_other_requests_than_those_of_the_search():
    scenario = tokens()
    a, b = (draws_of(scenario, [k])[0][0] for k in (1000, 3000))
    assert len(a) == len(b) == 1500
    assert not np.array_equal(a.prompt, b.prompt)
    assert requests_of(load_scenario("chat")) == 12_000
    assert requests_of(load_scenario(TIERS)) == 4000


def test_results_are_frames_json_html_and_figures(found):
    told = json.loads(found.to_json())
    assert told["kind"] == "iterations-tuning"
    assert told["winner"] in told["policies"]
    assert len(told["differences"]) == len(found.judged) - 1
    frame = found.to_frame()
    assert len(frame) == len(found.tried)
    assert {"policy", "kind", "goodput", "feasible"} <= set(frame.columns)
    assert "<table>" in found._repr_html_()
    drawn = found.plot
    assert drawn["history"].get_xlabel()
    assert drawn["parameter"].get_xlabel() == "max_num_seqs"


class CutError(Exception):
    """The process ended here."""


def test_a_search_that_was_cut_off_goes_on_as_if_nothing_had_happened(tmp_path, found, monkeypatch):
    calls, real = iter(range(100)), Search._score

    def cut(self, job):
        if next(calls) == 2:
            raise CutError
        return real(self, job)

    url = sqlite_url(tmp_path / "study.db")
    monkeypatch.setattr(Search, "_score", cut)
    with pytest.raises(CutError):
        tune(tokens(), storage=url)
    monkeypatch.setattr(Search, "_score", real)
    again = tune(tokens(), storage=url)
    first, second = found.to_dict(), again.to_dict()
    for each in (first, second):
        each.pop("seconds")
    assert first == second


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tune.objective=p98", "must be one of goodput"),
        ('tune.objective=["goodput", "tokens"]', "must be one objective of"),
        ('tune.policies=["vllmlike"]', "did you mean vllm_like?"),
        ("tune.objective=ttft_p99", "--set tune.requests=5600"),
        ("workload.tiers=[{name='all'}]", "goodput needs a tier with targets"),
    ],
)
def test_what_cannot_be_tuned_is_one_sentence(setting, said):
    goodput = [] if "objective" in setting else ["tune.objective=goodput"]
    with pytest.raises(ScenarioError) as told:
        check_tuning(load_scenario(TIERS, [*QUICK, *goodput, setting]))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_the_command_writes_a_winner_that_can_be_pasted(tmp_path):
    words = ["tune", TIERS, "--policy", "continuous", "--trials", 8, "--objective", "goodput"]
    words += [w for s in QUICK[:2] for w in ("--set", s)]
    told = CliRunner().invoke(
        app, [str(word) for word in [*words, "--out", tmp_path]], env={"COLUMNS": "100"}
    )
    assert told.exit_code == 0, told.output
    assert "judged on fresh runs" in told.output
    assert all(len(line) <= 100 for line in told.output.splitlines() if str(tmp_path) not in line)
    folder = tmp_path / "two_tiers" / "tune-1"
    names = {path.name for path in folder.iterdir()}
    assert {"result.json", "manifest.json", "winner.toml", "study.db", "history.png"} <= names
    table = tomllib.loads((folder / "winner.toml").read_text())["policies"]["tuned"]
    rule_of(table)
    result = json.loads((folder / "result.json").read_text())
    assert result["policies"][result["winner"]]["parameters"]["kind"] == table["kind"]
    wrong = CliRunner().invoke(
        app, ["tune", str(TIERS), "--with", "x.pbtxt", "--out", str(tmp_path)]
    )
    assert wrong.exit_code == 2


def test_resume_goes_on_with_the_run_that_was_cut_off(tmp_path, monkeypatch):
    asked = Asked(str(TIERS), settings=[*QUICK[:2], QUICK[3]], trials=8)
    calls, real = iter(range(100)), Search._score

    def cut(self, job):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(self, job)

    monkeypatch.setattr(tune_run, "write_figures", lambda *_: [])
    monkeypatch.setattr(Search, "_score", cut)
    monkeypatch.setattr(tuner, "finalists", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_tune(asked, tmp_path, nothing)
    folder = tmp_path / "two_tiers" / "tune-1"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
    monkeypatch.undo()
    monkeypatch.setattr(tune_run, "write_figures", lambda *_: [])
    running = (folder / "manifest.json").read_text()
    for source in (str(TIERS), str(folder)):
        (folder / "manifest.json").write_text(running)
        done = run_tune(Asked(source, resume=True), tmp_path, nothing)
        assert done.folder == folder
        assert json.loads((folder / "manifest.json").read_text())["status"] == "complete"
        assert len(json.loads((folder / "result.json").read_text())["tried"]) == 5


def test_a_name_that_is_taken_gets_a_number():
    text = "policies={vllm_default={kind='vllm_like',max_num_batched_tokens=512},"
    text += "tuned_continuous={kind='request_level'}}"
    scenario = load_scenario(TIERS, [text])
    names = [
        entry.name
        for entry in entries_of(scenario, [Setting("continuous", {"kind": "continuous"}, 1)])
    ]
    assert names == ["tuned_continuous_2", "vllm_default", "tuned_continuous", "vllm_default_2"]
