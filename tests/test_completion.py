"""Shell completion: the right words, quickly, and nothing heavy imported for them."""

from __future__ import annotations

import builtins
import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import MappingProxyType

import pytest

from experiments import completion
from experiments.config import SHIPPED, scenario_names, token_scenario_names
from policies import POLICIES
from profiles import names as profile_names
from sim.lengths import DATASETS

HEAVY = ("torch", "numba", "optuna", "pandas", "matplotlib", "scipy", "numpy", "simpy")
PROGRAM = (
    "import sys\nsys.argv = ['batchwright']\nfrom experiments.cli import main\n"
    "try:\n    main()\nfinally:\n"
    f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
)
CLOSED_LOOP = tomllib.loads((SHIPPED / "closed_loop.toml").read_text())["policies"]
MINE = '[policies.waits]\nkind = "greedy"\n[policies.wider]\nkind = "snap"\n'


def complete(*words, folder=None):
    """What bash is offered for the last word; what was imported that is heavy."""
    line = " ".join(("batchwright", *words))
    asked = {
        "COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_BATCHWRIGHT_COMPLETE": "complete_bash",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=folder,
        timeout=300, env={**os.environ, **asked},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split(), done.stderr.strip().splitlines()[-1]


@pytest.fixture
def place(tmp_path):
    """A folder with a scenario of one's own and two runs."""
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "notes.txt").write_text("")
    for number, name in enumerate(("bert/compare-1", "mine/tune-1")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "result.json").write_text(json.dumps({"policies": {"first": {}, "second": {}}}))
        os.utime(folder / "manifest.json", (number, number))
        (folder.parent / "latest").write_text(f"{folder.name}\n")
    (tmp_path / "runs" / "latest").write_text("mine/tune-1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("do",), ["doctor"]),
        (("compare", "mi"), ["minilm-cpu", "mixed_sla", "mine.toml"]),
        (("compare", "closed_loop", "--policy", ""), list(CLOSED_LOOP)),
        (("compare", "mine.toml", "--policy", "w"), ["waits", "wider"]),
        (("simulate", "mine.toml", "--policy", "wi"), ["wider"]),
        (("tune", "mine.toml", "--policy", "w"), ["waits", "wider", "weighted_fair"]),
        (("tune", "chat", "--policy", "v"), ["vllm_like"]),
        (("tune", "chat", "--policy", "sl"), ["sla_tiers"]),
        (("tune", "whisper", "--policy", "gr"), []),
        (("export", "la"), ["latest"]),
        (("export", "mine", "--policy", "s"), ["second"]),
        (("export", "latest", "--policy", "f"), ["first"]),
        (("export", "latest", "--to", "tr"), ["triton"]),
        (("diagnose", "runs/b"), ["runs/bert/", "runs/bert/compare-1"]),
        (("report", "runs/m"), ["runs/mine/tune-1"]),
        (("validate", "mine"), ["mine.toml", "mine"]),
        (("profile", "show", "jasper-t4"), ["jasper-t4-fp16", "jasper-t4-fp32"]),
        (("init", "--profile", "minilm"), ["minilm-cpu-fp32"]),
        (("init", "--lengths", "s"), ["sst2"]),
        (("compare", "bert", "--eng"), ["--engine"]),
        (("compare", "bert", "--engine", "s"), ["simpy"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_shell_is_offered_what_fits_without_a_heavy_import(place, words, offered):
    found, heavy = complete(*words, folder=place)
    assert found == offered
    assert heavy == "[]"


def test_words_are_those_of_the_package():
    names = scenario_names() + token_scenario_names()
    assert completion.scenarios("")[: len(names)] == names
    assert completion.kinds("") == list(POLICIES)
    assert completion.profiles("")[: len(profile_names())] == profile_names()
    assert completion.datasets("")[: len(DATASETS)] == list(DATASETS)


def test_without_a_scenario_every_kind_is_offered(place):
    found, _ = complete("compare", "--policy", "g", folder=place)
    assert found == ["greedy"]


def test_broken_files_offer_nothing_and_do_no_harm(place):
    (place / "mine.toml").write_text("no [ toml")
    (place / "runs" / "mine" / "tune-1" / "result.json").write_text("no json")
    assert complete("compare", "mine.toml", "--policy", "zz", folder=place)[0] == []
    assert complete("export", "mine", "--policy", "zz", folder=place)[0] == []


def test_many_runs_do_not_make_a_shell_wait(tmp_path, monkeypatch):
    """Each is looked at once and none is read: a hundred are offered, however many there are."""
    monkeypatch.chdir(tmp_path)
    for number in range(3 * completion.RUNS_MOST):
        folder = Path("runs/many") / f"compare-{number}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")

    class Context:
        params = MappingProxyType({"out": None})
        args = ()

    looked, age = [], completion._age
    monkeypatch.setattr(completion, "_age", lambda path: looked.append(path) or age(path))
    monkeypatch.setattr(io, "open", None)
    monkeypatch.setattr(builtins, "open", None)
    found = completion.runs(Context, "runs/")
    monkeypatch.undo()
    assert len(found) == completion.RUNS_MOST
    assert len(looked) == len(set(looked)) == 3 * completion.RUNS_MOST


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell, tmp_path):
    program = PROGRAM.replace("'batchwright']", f"'batchwright', '--show-completion', '{shell}']")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert f"_BATCHWRIGHT_COMPLETE=complete_{shell}" in done.stdout
