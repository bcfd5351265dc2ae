"""What nobody means and a file may hold: numbers without end, nesting, aliases, names too long."""

from __future__ import annotations

import os
import tomllib

import pytest
from fuzz_engine import limits, processor_time
from fuzz_mutations import BOMB
from fuzz_scenarios import CLOSED, CURVES, EVERYTHING
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli_speech import LONGEST, sentence
from experiments.config import ScenarioError, load_scenario
from experiments.export.contract import ForeignFileError
from experiments.export.reading import read_file
from experiments.export.yaml_text import yaml_table
from sim.lengths import Histogram

NUMBERS = ("1e999999999", "-1e999999999", "1e-999999999", "1" + "0" * 400, "1e400", "1e29")
DEEP = ("[" * 3000, '{"a":' * 3000, "a = " + "{ b = " * 1500, "a: " + "[" * 3000, "7" * 5000)


def keys_of(tree, path=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield ".".join((*path, str(key)))
        if isinstance(value, dict | list):
            yield from keys_of(value, (*path, str(key)))


@pytest.mark.parametrize("text", [EVERYTHING, CURVES, CLOSED], ids=["all", "curve", "closed"])
def test_a_number_without_end_is_told_at_every_key(text, tmp_path):
    (tmp_path / "s.toml").write_text(text)
    told = 0
    with limits(), processor_time(120.0):
        for key in keys_of(tomllib.loads(text)):
            for number in NUMBERS:
                try:
                    load_scenario(tmp_path / "s.toml", [f"{key}={number}"])
                except ScenarioError as error:
                    assert f"--set {key}=" in str(error)
                    told += 1
    assert told > 60


@pytest.mark.parametrize("name", ["s.toml", "policy.json", "serve_config.yaml", "config.pbtxt"])
@pytest.mark.parametrize("text", DEEP, ids=["list", "json", "toml", "yaml", "digits"])
def test_what_is_nested_thousands_deep_is_told(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises((ScenarioError, ForeignFileError)):
        load_scenario(tmp_path / name) if name == "s.toml" else read_file(tmp_path / name)


@pytest.mark.parametrize("stack", [None, "ray", "kserve", "torchserve"])
def test_aliases_that_unfold_without_end_are_refused(stack, tmp_path):
    (tmp_path / "a.yaml").write_bytes(BOMB)
    with limits(), processor_time(), pytest.raises(ForeignFileError, match=r"a\.yaml"):
        read_file(tmp_path / "a.yaml", stack)


def test_aliases_that_unfold_without_end_are_told():
    with pytest.raises(ForeignFileError, match="unfold to more than 100,000 values"):
        yaml_table("a.yaml", BOMB.decode())
    assert yaml_table("a.yaml", "a: &a [1]\nb: *a\n") == {"a": [1], "b": [1]}


@pytest.mark.parametrize("command", ["simulate", "diagnose", "export", "import", "report"])
@pytest.mark.parametrize("name", ["x" * 300, "~nobody-at-all/a"])
def test_a_name_that_no_file_can_have_is_not_there(command, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--to", "json"] if command == "export" else []
    done = CliRunner().invoke(app, [command, name, *options])
    assert done.exit_code == 2, done.output
    assert "there is no" in done.stderr


def test_the_middle_of_a_long_sentence_is_left_out():
    said = sentence(ScenarioError("s.toml: " + "x" * 9000 + " must be short"))
    assert len(said) < LONGEST + 20
    assert said.startswith("error: s.toml: xxx")
    assert said.endswith("xxx must be short")


def test_a_histogram_that_has_changed_is_read_again(tmp_path):
    file = tmp_path / "h.csv"
    file.write_text("tokens,count\n8,1\n")
    assert Histogram(str(file)).pmf().length.tolist() == [8]
    file.write_text("tokens,count\n9,1\n")
    os.utime(file, ns=(0, 10**9))
    assert Histogram(str(file)).pmf().length.tolist() == [9]
