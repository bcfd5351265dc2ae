"""``batchwright profile``: lists, pictures, and tables that a user brings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import profiles
from experiments.cli import app

TABLE = """model,device,batch_size,length_tokens,latency_ms_mean
bert,GPU 1,1,128,1.0
bert,GPU 1,8,128,2.0
bert,GPU 1,1,256,1.5
bert,GPU 1,8,256,4.0
bert,GPU 2,1,128,9.0
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["profile", *arguments])


def test_list_names_every_shipped_profile_within_100_columns(run):
    result = run("list")
    assert result.exit_code == 0, result.output
    for name in profiles.names():
        assert f" {name} " in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100


def test_show_says_where_it_comes_from_and_draws_it(run):
    result = run("show", "bert-base-a100-tensorrt-fp16")
    assert result.exit_code == 0, result.output
    for word in (
        "NVIDIA/TensorRT",
        "defects",
        "timed",
        "fitted",
        "efficiency k/S(k)",
        "Apache-2.0",
    ):
        assert word in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    picture = Path("runs/profiles/bert-base-a100-tensorrt-fp16.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_show_marks_the_most_efficient_batch_size(run):
    found = json.loads(run("show", "bert-base-a100-tensorrt-fp16", "--json").stdout)
    rates = [row[0] for row in found["efficiency_per_s"]]
    assert found["batch_size"][rates.index(max(rates))] == found["best_batch_size"] == 64
    assert max(rates) == pytest.approx(64 / 7.55e-3)


def test_import_keeps_the_rows_that_match_and_writes_our_format(run):
    Path("table.csv").write_text(TABLE)
    result = run("import", "table.csv", "--where", "device=GPU 1", "--into", "mine", "--name", "b")
    assert result.exit_code == 0, result.output
    profile = profiles.load("mine/b")
    assert profile.batch_size.tolist() == [1, 8]
    assert profile.latency_ns.tolist() == [[1_000_000, 1_500_000], [2_000_000, 4_000_000]]


def test_import_of_a_mixture_says_what_to_choose(run):
    Path("table.csv").write_text(TABLE)
    result = run("import", "table.csv")
    assert result.exit_code == 2
    assert 'choose one with --where, as in --where "device=NVIDIA L4"' in result.stderr
    assert result.stderr.count("\n") == 1


def test_show_says_where_times_rise_in_steps(run):
    shipped = profiles.load("bert-base-rtx3090-cuda-graphs-fp16")
    captured = dataclasses.replace(shipped.metadata, versions={"mode": "graphs"})
    profiles.save(dataclasses.replace(shipped, metadata=captured), "mine")
    words = "no slope: what the next batch size and the next length cost"
    assert words in run("show", f"mine/{shipped.name}").stdout
    assert json.loads(run("show", f"mine/{shipped.name}", "--json").stdout)["latency"] == "bucket"
    assert words not in run("show", shipped.name).stdout
