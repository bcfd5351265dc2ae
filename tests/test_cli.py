"""The command line: answers on stdout, failures in one sentence, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments import cli_run
from experiments.cli import app
from experiments.parallel import Interrupted

SCENARIO = """
name = "small"
[workload]
requests = 2_000
arrivals = { process = "poisson", rate_per_s = 1200.0 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
"""

HEAVY = ("torch", "numba", "optuna", "pandas", "matplotlib", "scipy", "numpy", "pydantic", "simpy")


def refuse_constant(name):
    raise AssertionError(f"{name} in JSON")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a folder that holds ``small.toml``."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SCENARIO)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def one_sentence(result, code):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from experiments.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip().splitlines()[-1] == "HEAVY []"
    assert "compare" in done.stdout


def test_version_is_that_of_the_distribution(run):
    from importlib.metadata import version

    assert run("--version").stdout == f"batchwright {version('batchwright')}\n"


def test_compare_prints_a_table_within_100_columns_without_escapes(run):
    result = run("compare", "small.toml", "--no-load-curve")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    for name in ("waits", "greedy", "snap", "balanced_cap"):
        assert re.search(rf"^ {name} ", result.stdout, re.MULTILINE)
    assert "the 5 ms wait of waits costs" in " ".join(result.stdout.split())


def test_compare_writes_figures_result_and_manifest(run):
    assert run("compare", "small.toml", "--no-load-curve").exit_code == 0
    folder = Path("runs/small/compare-1")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["scenario"]["workload"]["requests"] == 2000
    assert manifest["seeds"]["arrivals"] == 1
    assert manifest["versions"]["numpy"]
    assert len(manifest["hash"]) == 64
    result = json.loads((folder / "result.json").read_text())
    assert set(result["policies"]) == {"waits", "greedy", "snap", "balanced_cap"}
    for figure in ("latency", "batch-sizes", "padding", "queue-depth"):
        assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"{figure}.svg").read_text().startswith("<?xml")
    assert Path("runs/latest").read_text() == "small/compare-1\n"


def test_json_is_one_object_without_nan_and_nothing_else(run):
    result = run("simulate", "small.toml", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout, parse_constant=refuse_constant)
    assert result.stderr == ""
    policy = found["policies"]["waits"]
    assert policy["requests"] == 2000
    assert policy["latency_ms"]["p99"] == {"value": None, "needs": 100_000}
    assert set(policy["latency_ms"]["mean"]) == {"value", "low", "high"}
    for key in ("throughput_per_s", "utilisation", "useful_fraction", "load", "stable", "tiers"):
        assert key in policy


@pytest.mark.parametrize("command", ["scenarios", "policies"])
def test_lists_also_speak_json(run, command):
    result = run(command, "--json")
    assert len(json.loads(result.stdout)[command]) > 10


def test_both_engines_print_the_same_numbers(run):
    kernel, simpy = (
        json.loads(run("simulate", "small.toml", "--engine", engine, "--json").stdout)
        for engine in ("kernel", "simpy")
    )
    assert kernel["policies"] == simpy["policies"]


def test_records_hold_every_request_and_every_batch(run):
    import pandas as pd

    assert run("simulate", "small.toml", "--records").exit_code == 0
    folder = Path("runs/small/simulate-1")
    requests = pd.read_parquet(folder / "waits-requests.parquet")
    batches = pd.read_parquet(folder / "waits-batches.parquet")
    assert len(requests) == 2000
    assert set(requests["status"]) == {"served"}
    assert batches["size"].sum() == 2000


def test_sweep_covers_the_grid(run):
    result = run(
        "sweep", "small.toml", "--over", "service.servers=1,2",
        "--over", "workload.arrivals.rate_per_s=500:1500:3", "--json",
    )  # fmt: skip
    found = json.loads(result.stdout)
    settings = [tuple(step["settings"].values()) for step in found["steps"]]
    assert settings == [(k, rate) for k in (1, 2) for rate in (500, 1000, 1500)]
    assert "against-servers.png" in found["figures"]
    manifest = json.loads(Path("runs/small/sweep-1/manifest.json").read_text())
    assert manifest["over"]["service.servers"] == [1, 2]


def test_a_sweep_over_names_has_no_figure_and_speaks_of_none(run):
    names = "workload.arrivals.process=poisson,paced"
    result = run("sweep", "small.toml", "--over", names, "--policy", "waits")
    assert "run:      runs/small/sweep-1" in result.stderr
    assert "figures" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "nosuch"), "'nosuch'"),
        (("compare", "small.toml", "--set", "workload.requets=3"), "did you mean"),
        (("compare", "small.toml", "--set", "service"), "KEY=VALUE"),
        (("simulate", "small.toml", "--policy", "wait"), "there are waits, greedy, snap"),
        (("sweep", "small.toml", "--over", "service.servers"), "KEY=VALUES"),
        (("sweep", "small.toml", "--over", "service.servers=1,0"), "servers"),
        (("sweep", "small.toml", "--over", "service.servers=1:2:1"), "FIRST:LAST:COUNT"),
        (("profile", "show", "nosuch"), "neither a shipped profile"),
        (("profile", "import", "nosuch.csv"), "nosuch.csv"),
        (("profile", "import", "small.toml", "--where", "device"), "COLUMN=VALUE"),
    ],
)
def test_wrong_input_is_one_sentence_and_code_2(run, arguments, words):
    assert words in one_sentence(run(*arguments), 2)
    assert not list(Path().glob("runs/*/*-*"))


def test_debug_shows_the_traceback(run):
    result = run("compare", "nosuch", "--debug")
    assert type(result.exception).__name__ == "ScenarioError"


def test_a_folder_that_cannot_be_written_is_one_sentence_and_code_1(run):
    Path("taken").write_text("a file, not a folder")
    text = one_sentence(run("compare", "small.toml", "--out", "taken"), 1)
    assert "cannot use taken" in text
    assert "--out" in text


def test_a_full_disk_is_one_sentence_after_the_result_and_leaves_no_half_file(run, monkeypatch):
    def full(self, other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = run("simulate", "small.toml")
    assert result.exit_code == 1
    assert "mean, ms" in result.stdout, "what was computed is not lost"
    assert result.stderr == (
        "error: cannot use runs/small/simulate-1/result.json: No space left on device; make room, "
        "or choose another folder with --out\n"
    )
    assert not [path for path in Path("runs").rglob("*") if path.is_file()]


def test_a_failure_of_our_own_is_one_sentence_and_code_1(run, monkeypatch):
    def broken(*_arguments, **_options):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli_run.jobs, "simulate", broken)
    text = one_sentence(run("simulate", "small.toml"), 1)
    assert text == "error: the run failed: ZeroDivisionError: oh (--debug shows where)"
    assert not list(Path("runs/small").iterdir())


def test_ctrl_c_keeps_what_is_done_and_exits_with_130(run, monkeypatch):
    from experiments import compare

    real = compare.in_threads

    def stopped(work, jobs, names, progress, at_once=None):
        raise Interrupted(real(work, jobs[:2], names[:2], progress, at_once))

    monkeypatch.setattr(compare, "in_threads", stopped)
    result = run("compare", "small.toml", "--json")
    assert result.exit_code == 130
    assert set(json.loads(result.stdout)["policies"]) == {"waits", "greedy"}
    assert "runs/small/compare-1" in result.stderr
    kept = json.loads(Path("runs/small/compare-1/result.json").read_text())
    assert kept["interrupted"] is True


def test_ctrl_c_before_anything_is_done_leaves_no_folder(run, monkeypatch):
    def stopped(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_run.jobs, "compare", stopped)
    result = run("compare", "small.toml")
    assert result.exit_code == 130
    assert not list(Path("runs/small").iterdir())


def test_an_overloaded_scenario_says_by_how_much(run):
    result = run("simulate", "small.toml", "--set", "workload.arrivals.rate_per_s=4000", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["policies"]["waits"]["stable"] is False
    assert "unstable: 4,000 requests/s arrive" in found["verdict"]
    assert "65 % too many" in found["verdict"]


def test_every_printed_policy_kind_can_be_named_in_a_scenario(run):
    from policies import POLICIES

    kinds = [each["kind"] for each in json.loads(run("policies", "--json").stdout)["policies"]]
    assert kinds == list(POLICIES)
