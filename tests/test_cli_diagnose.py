"""``batchwright diagnose`` as an on-call engineer meets it."""

from __future__ import annotations

import json

import pytest
from planted_faults import plant
from planted_services import write_log
from typer.testing import CliRunner

from experiments.cli import app

SEED = 1

SCENARIO = """
name = "held"
[workload]
requests = 12_000
arrivals = { process = "poisson", rate_per_s = 200.0 }
lengths = { distribution = "lognormal", median = 60, sigma = 0.3, min = 8, max = 200 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 40.0 }
[service]
model = { base_ms = 4.0, per_request_ms = 0.4, per_length_ms = 0.002, max_batch_size = 32 }
noise = { kind = "gamma", cv = 0.1 }
[policies.patient]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 60.0
[policies.greedy]
kind = "greedy"
"""


def batchwright(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "held.toml"
    path.write_text(SCENARIO)
    return path


def test_the_first_line_answers_the_question(scenario):
    said = batchwright("diagnose", str(scenario))
    assert said.exit_code == 0
    first = " ".join(said.stdout.split())
    assert first.startswith("p99 is ")
    assert (
        "(target 40 ms) because servers idle while a timer holds requests back; without that"
        in (first)
    )
    assert "What helps most: no wait: fire when a server is idle (p99 " in first


def test_the_answer_is_followed_by_where_why_and_a_ranked_list(scenario):
    said = batchwright("diagnose", str(scenario)).stdout
    parts = ["where the time of all", "what p99 of", "evidence", "what to change: each simulated"]
    places = [said.index(part) for part in parts]
    assert places == sorted(places)
    rows = said[places[-1] :].splitlines()
    ranked = [line for line in rows if line.strip()[:2] in ("1 ", "2 ")]
    assert "no wait: fire when a server is idle" in ranked[0]
    assert "±" in ranked[0]
    assert "nothing, or too little to tell: " in said
    assert all(len(line) <= 100 for line in said.splitlines())


def test_a_run_is_diagnosed_as_it_was_made(scenario):
    made = batchwright("simulate", str(scenario), "--policy", "greedy", "--json")
    p99 = json.loads(made.stdout)["policies"]["greedy"]["latency_ms"]["p99"]
    for source in ("latest", "held"):
        said = batchwright("diagnose", source, "--json")
        found = json.loads(said.stdout)
        assert found["subject"] == "run held/simulate-1, policy greedy"
        assert found["healthy"] is True
        assert found["fault"] is None
        assert found["verdict"].startswith("no fault: p99 is ")
    assert p99["value"] is None or p99["value"] == pytest.approx(found["value_ms"], rel=0.1)
    other = json.loads(batchwright("diagnose", "held", "--policy", "patient", "--json").stdout)
    assert other["fault"] == "timer"


def test_json_is_one_object_with_causes_and_remedies(scenario):
    found = json.loads(batchwright("diagnose", str(scenario), "--json").stdout)
    assert found["fault"] == found["findings"][0]["name"] == "timer"
    assert found["target_ms"] == 40.0
    shares = [one["slow_share"] for one in found["stages"]]
    assert sum(shares) == pytest.approx(1.0)
    first = found["remedies"][0]
    assert first["name"] == "shorter_wait"
    assert first["gain_ms"]["low"] < first["gain_ms"]["value"] < first["gain_ms"]["high"] < 0
    values = [one["value_ms"] for one in found["remedies"]]
    assert values == sorted(values)


def test_a_saved_trace_is_diagnosed_with_or_without_its_scenario(scenario, tmp_path):
    planted = plant("slow_server", SEED)
    folder = planted.trace.save(tmp_path / "trace")
    found = json.loads(batchwright("diagnose", str(folder), "--json").stdout)
    assert found["fault"] == "slow_server"
    assert any("service times are fitted" in note for note in found["notes"])
    lent = batchwright("diagnose", str(folder), "--scenario", str(scenario), "--json")
    assert not any("fitted" in note for note in json.loads(lent.stdout)["notes"])


def test_a_log_is_diagnosed_by_its_columns(tmp_path):
    path = write_log(plant("slow_pre", SEED), tmp_path / "log.csv")
    text = path.read_text().replace("start_ms", "t_run", 1)
    assert text.startswith("arrival_ms,t_run,")
    path.write_text(text)
    said = batchwright("diagnose", str(path), "--columns", "start=t_run", "--unit", "ms", "--json")
    assert json.loads(said.stdout)["fault"] == "slow_pre"


def test_a_target_decides_what_is_a_fault(tmp_path):
    path = write_log(plant("burst", SEED), tmp_path / "log.csv")
    loose = batchwright("diagnose", str(path), "--slo", "100000").stdout
    assert loose.startswith("no fault: p99 is ")
    tight = batchwright("diagnose", str(path), "--slo", "0.1").stdout
    assert " ".join(tight.split()).startswith("p99 is ")
    assert "because requests arrive in bursts" in " ".join(tight.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-there"], "there is no run 'nothing-there'"),
        (["log.csv"], "has no column for arrival"),
        (["held.toml", "--tier", "batch"], "tier 'batch' must be one of all"),
        (["held.toml", "--policy", "best"], "scenario held has no policy 'best'"),
        (["held.toml", "--percentile", "99.99"], "p99.99 needs 100,000 requests, but there are"),
        (["log.csv", "--columns", "start"], "--columns start: must be WHAT=NAME"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, said, scenario, tmp_path):
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    answer = batchwright("diagnose", *arguments)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert said in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert len(answer.stderr.strip().splitlines()) == 1
