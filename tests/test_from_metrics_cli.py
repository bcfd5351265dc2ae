"""``tune --from-metrics`` as a user meets it: its run, read back, and what is typed wrong."""

from __future__ import annotations

import json

import pytest
from records_by_hand import SCENARIO, record_of
from typer.testing import CliRunner

from experiments.cli import app
from experiments.config import load_scenario
from experiments.rerun import scenario_of_run


def cli(*words, place, code=0):
    done = CliRunner().invoke(app, [*words, "--out", str(place / "runs"), "--quiet"])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run of ``tune --from-metrics``, and its folder."""
    place = tmp_path_factory.mktemp("tuned")
    (place / "s.toml").write_text(SCENARIO.replace("slo = { percentile = 95, ms = 60.0 }\n", ""))
    base = load_scenario(place / "s.toml")
    record_of(base, place / "r.csv", "workload.arrivals.rate_per_s=300", slower=1.2)
    done = cli(
        "tune", str(place / "s.toml"), "--from-metrics", str(place / "r.csv"), "--trials", "6",
        "--policy", "first", "--set", "workload.requests=120000", place=place,
    )  # fmt: skip
    return place, done


def test_tuning_says_what_it_found_and_its_run_can_be_read_back(tuned):
    place, done = tuned
    folder = place / "runs" / "s" / "tune-1"
    assert "30,000 requests in" in done.stderr
    assert "all its times are multiplied by it" in done.stderr
    assert "Use " in done.stdout
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["from_metrics"]["source"] == str(place / "r.csv")
    assert manifest["status"] == "complete"
    (place / "r.csv").rename(place / "elsewhere.csv")
    scenario = scenario_of_run(folder)
    assert scenario.offered_rate_per_s == pytest.approx(300, rel=0.03)
    (place / "elsewhere.csv").rename(place / "r.csv")


def test_a_run_is_tuned_again_and_its_written_scenario_works_everywhere(tuned):
    place, _ = tuned
    folder = place / "runs" / "s" / "tune-1"
    cli("simulate", str(folder / "recorded.toml"), place=place)
    done = cli(
        "tune", str(folder), "--from-metrics", str(place / "r.csv"), "--trials", "6", "--policy",
        "first", "--set", "workload.requests=115000", place=place,
    )  # fmt: skip
    assert "so it stays as it is" in done.stderr, "the profile of that run is the server's already"
    again = scenario_of_run(place / "runs" / "s" / "tune-2")
    assert again.spec.workload.requests == 115_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from-metrics", "ftp://x"), "must be an address as http://127.0.0.1:8000"),
        (("--from-metrics", "http://"), "must be an address as http://127.0.0.1:8000"),
        (("--from-metrics", "http://127.0.0.1:9"), "http://127.0.0.1:9 cannot be reached: Conn"),
        (("--from-metrics", "no.csv"), "there is no such file; give one of batchwright serve"),
        (("--from-metrics", "r.csv", "--since", "1h"), "--since is for an address"),
        (("--from-metrics", "r.csv", "--resume"), "leave out --from-metrics"),
        (("--from-metrics", "r.csv", "--since", "soon"), "--since soon must be a time"),
        (("--since", "1h"), "--since is about what a server recorded: give --from-metrics"),
        (("--profile-as-is",), "--profile-as-is is about what a server recorded"),
        (("--apply", "127.0.0.1:8000"), "--apply 127.0.0.1:8000 must be an address"),
        (("--apply", "http://127.0.0.1:9"), "http://127.0.0.1:9 cannot be reached"),
        (("--apply", "http://127.0.0.1:9", "--token-file", "no"), "--token-file no cannot be read"),
    ],
)  # fmt: skip
def test_what_is_typed_wrong_is_one_sentence(tmp_path, words, said):
    (tmp_path / "s.toml").write_text(SCENARIO)
    done = cli("tune", str(tmp_path / "s.toml"), *words, place=tmp_path, code=2)
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not list((tmp_path / "runs").rglob("tune-*"))


def test_a_model_that_generates_has_no_record(tmp_path):
    done = cli("tune", "chat", "--from-metrics", "r.csv", place=tmp_path, code=2)
    assert "has an [engine]: --from-metrics reads what batchwright serve records" in done.stderr
