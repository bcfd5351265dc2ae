"""Tuning from end to end, against answers that are known: in Python, and on the command line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from tune_scenarios import TILES, small
from typer.testing import CliRunner

from experiments.cli import app
from experiments.rules import policy_of
from experiments.sentences import ScenarioError
from experiments.tune.tuning import tune
from sim.theory_batch import linear_service, service_times, snap_table, solve_batches

TIERS = '[[workload.tiers]]\nname = "all"\nslo = { percentile = 99, ms = 30.0 }'
FEW = "trials = 64\nreplications = 2"
TIMES = service_times([2 + 2.8 * -(-k // 8) for k in range(1, 33)])


@pytest.fixture(scope="module")
def staircase(tmp_path_factory):
    """Steps of eight: where a cap and a minimum size pay, and snap pays more."""
    folder = tmp_path_factory.mktemp("staircase")
    tune_table = f'objective = "mean"\npolicies = ["waits"]\n{FEW}'
    return tune(small(folder, tune_table, model=TILES, load=0.7, requests=60_000))


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A straight line: where nothing beats greedy."""
    folder = tmp_path_factory.mktemp("line")
    return tune(small(folder, f'objective = "mean"\n{FEW}', load=0.5, requests=60_000))


def test_a_staircase_is_tuned_to_its_edge(staircase):
    table = staircase.winner.setting.table
    assert table["max_batch_size"] in (8, 16, 24, 32)
    assert staircase.winner.worth[0].value < 0.93 * staircase.of("greedy").worth[0].value
    exact = solve_batches(staircase.scenario["load"] * 32 / 13.2, TIMES, snap_table(TIMES))
    assert staircase.of("snap").worth[0].value == pytest.approx(exact.mean_latency, rel=0.02)


def test_the_figures_of_the_winner_are_judged_and_not_those_of_the_search(staircase):
    searched = [t for t in staircase.tried if t.setting.key == staircase.winner.setting.key]
    assert searched
    assert all(t.score.values[0] != staircase.winner.worth[0].value for t in searched)
    quoted = f"mean latency {staircase.winner.worth[0].value:.2f}"
    assert quoted[:-1] in staircase.verdict


def test_the_optimum_is_judged_beside_the_others(staircase):
    floor = staircase.floors[0]
    assert floor.exact
    optimal = staircase.of("optimal")
    assert optimal.worth[0].low < floor.value_ms * 1.01
    assert optimal.worth[0].value == pytest.approx(floor.value_ms, rel=0.02)
    assert "of the exact optimum" in staircase.verdict
    assert "Better still, where your stack can run it: snap" in staircase.verdict


def test_where_waiting_cannot_help_greedy_wins_and_the_verdict_says_so(line):
    assert line.winner.setting.table["kind"] == "greedy"
    near = re.search(
        r"Waiting cannot help here: greedy is within ([\d.]+) % of the opt", line.verdict
    )
    assert near, line.verdict
    assert float(near[1]) <= 1.0
    wait = re.search(
        r"Against it, the 5 ms wait of waits costs ([\d.]+) ms of mean latency\.", line.verdict
    )
    assert wait, line.verdict
    assert float(wait[1]) == pytest.approx(2.0, abs=0.2)
    exact = solve_batches(0.5 * 32 / 13.2, linear_service(2.0, 0.35, 32)).mean_latency
    assert line.winner.worth[0].value == pytest.approx(exact, rel=0.02)


def test_the_same_seed_finds_the_same_and_another_seed_tries_others(tmp_path):
    table = f'objective = "mean"\npolicies = ["waits"]\n{FEW}'
    first, again = (tune(small(tmp_path, table), load_curve=False) for _ in range(2))
    assert first.to_dict() | {"seconds": 0} == again.to_dict() | {"seconds": 0}
    other = small(tmp_path, table + "\n[seeds]\ntuner = 6")
    keys = [one.setting.key for one in tune(other, load_curve=False).tried]
    assert keys != [one.setting.key for one in first.tried]


def test_a_budget_is_spent_on_everybody(line):
    names = [one.setting.name for one in line.tried]
    assert len(names) == 64
    assert {"waits", "greedy", "snap", "balanced_cap"} == set(names)


def test_a_small_space_is_gone_through_whole_and_no_further(tmp_path):
    table = 'objective = "mean"\npolicies = ["greedy", "waits"]\ntrials = 80\nreplications = 1'
    found = tune(small(tmp_path, table, requests=5_000), load_curve=False)
    sizes = [t.setting.table["max_batch_size"] for t in found.tried if t.setting.name == "greedy"]
    assert sizes == list(range(1, 33))
    assert len(found.tried) == 80


def test_several_loads_give_a_setting_that_keeps_up_at_all_of_them(tmp_path):
    table = f'objective = "mean"\nloads = [0.3, 0.8]\npolicies = ["waits"]\n{FEW}'
    found = tune(small(tmp_path, table, model=TILES, requests=40_000), load_curve=False)
    assert found.winner.stable
    assert found.winner.unstable_above > 0.8
    assert [floor.exact for floor in found.floors] == [True, True]
    assert len(found.regret[found.winner.name]) == 2
    assert "Over loads 0.3 to 0.8 it is at most" in found.verdict
    named = [one.name for one in found.judged]
    assert "optimal" not in named


def test_where_no_setting_keeps_the_slo_nobody_wins_and_the_nearest_is_named(tmp_path):
    tiers = TIERS.replace("30.0", "3.0")
    table = 'policies = ["greedy"]\ntrials = 32\nreplications = 1'
    found = tune(small(tmp_path, table, tiers=tiers, requests=120_000), load_curve=False)
    assert found.winner is None
    assert found.verdict.startswith("No setting that was tried keeps p99 <= 3 ms with 95 % conf")
    assert "the nearest is greedy with" in found.verdict
    assert found.to_dict()["winner"] is None


def test_a_setting_that_keeps_the_slo_and_did_not_compete_is_named_where_nobody_wins(tmp_path):
    tiers = TIERS.replace("30.0", "18.0")
    space = "space = { waits = { max_batch_size = [17, 19], max_wait_ms = 0.0 } }"
    table = f'policies = ["waits"]\ntrials = 6\nreplications = 2\n{space}'
    mine = small(tmp_path, table, model=TILES, load=0.7, tiers=tiers, requests=120_000)
    found = tune(mine, load_curve=False)
    assert found.winner is None
    assert {one.name for one in found.judged if one.feasible} == {"snap", "optimal"}
    assert "the nearest is size_or_timeout with" in found.verdict
    assert "But snap does, with p99 16.6 ± 0.2 ms: let snap be searched too." in found.verdict


def test_where_nothing_can_serve_what_arrives_that_is_said(tmp_path):
    narrow = "space = { waits = { max_batch_size = [1, 4] } }"
    table = f'objective = "mean"\npolicies = ["waits"]\n{FEW}\n{narrow}'
    found = tune(small(tmp_path, table, load=0.8), load_curve=False)
    assert found.winner is not None or "can serve what arrives" in found.verdict
    assert all(one.score.values is None for one in found.tried)


def test_a_front_holds_settings_that_do_not_beat_each_other(tmp_path):
    table = f'objective = ["mean", "busy"]\npolicies = ["waits"]\n{FEW}'
    found = tune(small(tmp_path, table, load=0.3, requests=40_000), load_curve=False)
    front = [[estimate.value for estimate in one.worth] for one in found.front]
    assert len(front) >= 3
    assert front == sorted(front)
    assert [busy for _, busy in front] == sorted((busy for _, busy in front), reverse=True)
    assert "settings are on the front of mean latency and busy share" in found.verdict


def test_results_are_frames_and_json(staircase):
    frame = staircase.to_frame()
    assert len(frame) == 64
    assert {"policy", "max_batch_size", "max_wait_ms", "mean", "feasible"} <= set(frame.columns)
    found = json.loads(staircase.to_json())
    assert found["winner"] in found["policies"]
    assert found["policies"][found["winner"]]["parameters"] == dict(staircase.winner.setting.table)
    assert found["loads"][0]["floor"]["exact"] is True
    assert len(found["tried"]) == 64


def test_closed_loops_have_neither_loads_nor_capacity(tmp_path):
    scenario = small(tmp_path, 'objective = "capacity"', tiers=TIERS, requests=200_000)
    path = scenario.path
    text = path.read_text()
    closed = '{ process = "closed", clients = 20, think_ms = 5.0 }'
    path.write_text(re.sub(r"arrivals = .*", f"arrivals = {closed}", text))
    with pytest.raises(ScenarioError, match="a closed loop has no arrival rate"):
        tune(path)
    path.write_text(path.read_text().replace('"capacity"', '"mean"\ntrials = 24'))
    found = tune(path, load_curve=False)
    assert found.winner is not None


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs the command in a folder that holds ``small.toml``."""
    monkeypatch.chdir(tmp_path)
    small(tmp_path, f'objective = "mean"\n{FEW}', model=TILES, load=0.6)
    return lambda *words: CliRunner().invoke(app, ["tune", *map(str, words)])


def test_the_command_writes_a_run_that_can_be_used(cli):
    done = cli("small.toml", "--policy", "waits", "--trials", 40)
    assert done.exit_code == 0, done.output
    assert max(len(row) for row in done.stdout.splitlines()) <= 100
    folder = Path("runs/small/tune-1")
    kept = {path.name for path in folder.iterdir()}
    assert {"manifest.json", "result.json", "study.db", "winner.toml"} <= kept
    assert {"history.png", "history.svg"} <= kept
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["scenario"]["tune"]["trials"] == 40
    (table,) = tomllib.loads((folder / "winner.toml").read_text())["policies"].values()
    result = json.loads((folder / "result.json").read_text())
    won = result["policies"][result["winner"]]["parameters"]
    assert policy_of(table) == policy_of(won)
    assert Path("runs/small/latest").read_text().strip() == "tune-1"


def test_json_is_one_object(cli):
    done = cli("small.toml", "--policy", "greedy", "--trials", 20, "--json")
    found = json.loads(done.stdout)
    assert found["winner"]
    assert found["run"] == "runs/small/tune-1"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--policy", "greedi"], "did you mean greedy?"),
        (["--objective", "p101"], "tune.objective.0.measure"),
        (["--trials", "0"], "tune.trials = 0 must be a whole number of at least 1"),
        (["--objective", "p99"], "give at least 111112"),
        (["--resume"], "there is no tuning of small.toml in runs that was cut off"),
        (["--resume", "--trials", "9"], "--resume takes everything from the run"),
        (["--storage", "nonsense"], "--storage nonsense must be a database address"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(cli, words, sentence):
    done = cli("small.toml", *words)
    assert done.exit_code == 2, done.output
    (said,) = done.stderr.strip().splitlines()
    assert sentence in said
    assert not list(Path().glob("runs/small/tune-*/result.json"))


def test_a_run_that_is_complete_cannot_be_resumed(cli):
    assert cli("small.toml", "--policy", "greedy", "--trials", 20, "--quiet").exit_code == 0
    done = cli("runs/small/tune-1", "--resume")
    assert done.exit_code == 2
    assert "small/tune-1 is no tuning that was cut off" in done.stderr
