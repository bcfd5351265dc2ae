"""``batchwright profile measure --steps``, and list, show and check of profiles of iterations."""

from __future__ import annotations

import json
import sys
import types

import pytest
from typer.testing import CliRunner

from experiments.cli import app

SHIPPED = "gpt2-mini-cpu-fp32"


def run(*arguments):
    return CliRunner().invoke(app, ["profile", *arguments])


class Quick:
    """In place of a decoder: takes next to no time."""

    name = "gpt2-mini"

    def __init__(self, model, *, slots, longest, threads, seed):
        self.slots, self.longest, self.ran = slots, longest, 0

    def about(self):
        return {"model": "gpt2-mini", "device": "cpu", "precision": "fp32"}

    def pretend(self, pieces):
        self.ran += 1
        if self.ran == Broken.at:
            raise Broken.error

    def close(self):
        pass


class Broken:
    at, error = -1, None


@pytest.fixture
def quick(monkeypatch):
    """Measured without torch."""
    module = types.ModuleType("profiles.models.decoder_runner")
    module.DecoderRunner = Quick
    monkeypatch.setitem(sys.modules, "profiles.models.decoder_runner", module)
    monkeypatch.setattr(Broken, "at", -1)


def test_a_model_is_measured_written_and_shown(quick, tmp_path):
    arguments = ("gpt2-mini", "--steps", "--budget", "5m", "--max-batch-size", "4")
    found = run("measure", *arguments, "--into", str(tmp_path))
    assert found.exit_code == 0, found.output
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [
        f"{SHIPPED}.steps-calls.csv.gz", f"{SHIPPED}.steps.csv", f"{SHIPPED}.steps.json",
    ]  # fmt: skip
    assert "ms of an iteration" in found.output
    assert "under [engine] in a scenario" in found.stderr.replace("\n", " ")
    shown = json.loads(run("show", str(tmp_path / files[2]), "--json").output)
    assert shown["sequences"] == [0, 1, 2, 3, 4]
    assert shown["calls"]["holdout"] >= 80


def test_an_interrupted_measurement_keeps_its_rounds_and_ends_with_130(
    quick, tmp_path, monkeypatch
):
    monkeypatch.setattr(Broken, "at", 900)
    monkeypatch.setattr(Broken, "error", KeyboardInterrupt())
    found = run("measure", "gpt2-mini", "--steps", "--into", str(tmp_path), "--json")
    assert found.exit_code == 130
    assert "rounds are kept" in found.stderr
    kept = json.loads(found.stdout)
    assert kept["about"]["stopped"] == "interrupted"
    assert 1 <= kept["about"]["rounds"] < 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--steps",), "--steps measures one of gpt2-tiny"),
        (("gpt9", "--steps"), "there is no model 'gpt9' that generates; the nearest is gpt2-tiny"),
        (("gpt2-mini", "--steps", "--device", "cuda"), "--device does not go with --steps"),
        (("gpt2-mini", "--steps", "--lengths", "16"), "--lengths does not go with --steps"),
        (("gpt2-mini", "--steps", "--budget", "soon"), "--budget must be a time"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(quick, arguments, sentence):
    found = run("measure", *arguments)
    assert found.exit_code == 2
    assert sentence in found.stderr.replace("\n", " ")
    assert "Traceback" not in found.output


def test_the_list_has_a_part_for_iterations():
    found = run("list")
    assert SHIPPED in found.output
    rows = json.loads(run("list", "--json").output)["iterations"]
    assert {row["name"] for row in rows} >= {SHIPPED}
    assert all(row["tokens_per_s"] > 0 for row in rows)


def test_a_shipped_profile_is_shown_with_grid_formula_and_what_was_held_out():
    found = run("show", SHIPPED)
    assert found.exit_code == 0
    for words in ("a prefill token", "iterations off the grid", "lag-1", "torch 2.13.0"):
        assert words in " ".join(found.output.split())


def test_a_check_is_held_to_its_bound():
    found = run("check", SHIPPED)
    assert found.exit_code == 0
    assert "within the bound of 5 %" in found.output
    strict = run("check", SHIPPED, "--bound", "0.1", "--json")
    assert strict.exit_code == 1
    told = json.loads(strict.output)
    assert not told["within"]
    assert told["error_median"] > 0.001
    assert len(told["held_out"]) == 16


def test_a_profile_that_is_not_there_is_told_of_in_a_sentence():
    found = run("show", "nothing.steps.json")
    assert found.exit_code == 2
    assert "neither a shipped profile of iterations" in found.stderr.replace("\n", " ")
