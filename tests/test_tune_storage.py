"""Where studies are kept, and what is said when they cannot be: one sentence, and no password."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cut_searches import Landscape, in_memory, scenario, search, story, to_the_end
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError
from test_cli import one_sentence
from typer.testing import CliRunner

from experiments.addresses import without_password
from experiments.cli import app
from experiments.sentences import RunFailed, ScenarioError
from experiments.tune import database
from experiments.tune.database import Database, database_at, sqlite_url
from experiments.tune.store import Shelf

FILE = """
name = "small"
[workload]
requests = 2_000
arrivals = { process = "poisson", load = 0.5 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.greedy]
kind = "greedy"
[tune]
objective = "mean"
policies = ["greedy"]
trials = 8
"""


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Runs ``batchwright tune`` in a folder that holds ``small.toml``."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(FILE)
    return lambda *options: CliRunner().invoke(app, ["tune", *map(str, options)])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@h/db", "postgresql://u:***@h/db"),
        ("--storage=postgresql://u:se:c/r@et@h/db", "--storage=postgresql://u:***@h/db"),
        ("postgresql:///db?user=u&password=secret", "postgresql:///db?user=u&password=***"),
        ("mysql://h/db?PASSWD=secret&x=1", "mysql://h/db?PASSWD=***&x=1"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("sqlite:////tmp/study.db", "sqlite:////tmp/study.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address, shown):
    assert without_password(address) == shown


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("study.db", "--storage study.db"),
        ("foo://u:secret@h/db", "--storage foo://u:***@h/db"),
        ("postgresql://u:secret@h:port/db", "--storage postgresql://u:***@h:port/db"),
    ],
)
def test_what_is_no_address_is_refused(tune, address, said):
    assert one_sentence(tune("small.toml", "--storage", address), 2) == (
        f"error: {said} must be a database address, as postgresql://user@host/name or "
        "sqlite:///file.db; signs like @ : / in a password are written %40 %3A %2F"
    )
    assert not list(Path("runs").rglob("manifest.json")), "no run to go on with"


def test_a_server_that_is_not_there_is_refused(tune):
    pytest.importorskip("psycopg")
    said = one_sentence(tune("small.toml", "--storage", "postgresql://u:secret@127.0.0.1:1/d"), 2)
    assert said.startswith(
        "error: --storage postgresql+psycopg://u:***@127.0.0.1:1/d cannot be used: "
    )
    assert "refused" in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_driver_that_is_not_installed_is_named(tune, monkeypatch, scheme):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = one_sentence(tune("small.toml", "--storage", f"{scheme}://u:secret@h/d"), 2)
    assert said == (
        "error: --storage postgresql+psycopg://u:***@h/d needs the package psycopg: "
        "pip install 'psycopg[binary]'"
    )


@pytest.mark.parametrize(
    ("installed", "driver"),
    [({"psycopg"}, "psycopg"), ({"psycopg2"}, "psycopg2"), ({"psycopg", "psycopg2"}, "psycopg")],
)
def test_a_plain_address_takes_the_driver_that_is_there(monkeypatch, installed, driver):
    monkeypatch.setattr(database, "find_spec", lambda name: name if name in installed else None)
    for scheme in ("postgres", "postgresql"):
        assert database._address(f"{scheme}://u@h/d").drivername == f"postgresql+{driver}"


def test_a_folder_that_is_not_there_is_refused(tune):
    assert one_sentence(tune("small.toml", "--storage", "sqlite:///no/such/study.db"), 2) == (
        "error: the study in no/such/study.db cannot be used: No such file or directory"
    )


def test_a_file_that_is_no_database_is_refused(tune):
    Path("notes.db").write_text("some notes, far from any database\n" * 100)
    assert one_sentence(tune("small.toml", "--storage", "sqlite:///notes.db"), 2) == (
        "error: the study in notes.db cannot be used: file is not a database"
    )


def test_a_file_that_another_process_works_on_is_refused(tune, tmp_path):
    url = sqlite_url(tmp_path / "study.db")
    code = (
        f"from experiments.tune.database import database_at\nwith database_at({url!r}):\n"
        "    print('here', flush=True)\n    input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "here\n"
        said = one_sentence(tune("small.toml", "--storage", url), 2)
        other.communicate("\n", timeout=300)
    assert said == (
        f"error: the study in {tmp_path}/study.db is being worked on by another process: wait "
        "until it has ended; machines share a study in postgresql://user@host/name"
    )
    assert tune("small.toml", "--storage", url, "--quiet").exit_code == 0, "it can be had now"


@pytest.mark.parametrize("other", ["trials", "objective", "seed", "scenario"])
def test_a_study_of_something_else_under_the_same_name_is_refused(tune, other):
    same = ("small.toml", "--storage", "sqlite:///s.db", "--study", "mine", "--quiet")
    assert tune(*same).exit_code == 0
    changes = {
        "trials": ("--trials", 9),
        "objective": ("--objective", "busy"),
        "seed": ("--set", "seeds.tuner=9"),
        "scenario": ("--set", "service.servers=2"),
    }
    assert one_sentence(tune(*same, *changes[other]), 2) == (
        "error: study mine/greedy belongs to another scenario, goal or seed; give another --study "
        "name, or repeat the settings that it was begun with"
    )
    assert tune(*same).exit_code == 0, "the same again is welcome"


def failing(reason, *, wrapped):
    """What Optuna makes of a failure: the driver's error, sometimes in one of its own."""
    error = OperationalError("INSERT", {}, sqlite3.OperationalError(reason))
    if not wrapped:
        raise error
    raise StorageInternalError("An exception is raised during the commit.") from error


@pytest.mark.parametrize(
    ("reason", "wrapped"),
    [("database or disk is full", True), ("attempt to write a readonly database", False)],
)
def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_told(
    tmp_path, monkeypatch, reason, wrapped
):
    found, url = scenario(tmp_path), sqlite_url(tmp_path / "study.db")
    whole = search(found, in_memory(), Landscape()).go()
    real, told = Shelf.tell, []

    def tell(self, job, score):
        if len(told) == 20:
            failing(reason, wrapped=wrapped)
        told.append(job)
        real(self, job, score)

    monkeypatch.setattr(Shelf, "tell", tell)
    with pytest.raises(RunFailed) as caught:
        to_the_end(found, url)
    room = "make room: " if "full" in reason else ""
    assert str(caught.value) == (
        f"the study in {tmp_path}/study.db fails: {reason}; {room}what was told is kept, and "
        "--resume goes on with it"
    )
    monkeypatch.setattr(Shelf, "tell", real)
    assert story(to_the_end(found, url)) == story(whole)


def test_a_database_that_fails_gives_one_sentence_and_code_1(tune, monkeypatch):
    full = "database or disk is full"
    monkeypatch.setattr(Shelf, "tell", lambda *_: failing(full, wrapped=False))
    said = one_sentence(tune("small.toml"), 1)
    file = Path("runs/small/tune-1/study.db").resolve()
    assert said == (
        f"error: the study in {file} fails: database or disk is full; make room: what was told is "
        "kept, and --resume goes on with it"
    )


def test_a_run_says_where_its_study_is_and_keeps_no_password(tune, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["batchwright", "tune", "--storage=mysql://u:secret@h/d"])
    url = "sqlite:///shared.db?password=secret"
    result = tune("small.toml", "--storage", url, "--study", "mine", "--quiet")
    assert result.exit_code == 0, result.output
    text = Path("runs/small/tune-1/manifest.json").read_text()
    manifest = json.loads(text)
    assert "secret" not in text
    assert manifest["storage"] == "sqlite:///shared.db?password=***"
    assert manifest["study"] == "mine"
    assert not Path("runs/small/tune-1/study.db").exists()


def running(storage=None):
    """A run that was cut off: its manifest as the command leaves it."""
    file = Path("runs/small/tune-1/manifest.json")
    manifest = json.loads(file.read_text()) | {"status": "running"}
    file.write_text(json.dumps(manifest | ({"storage": storage} if storage else {})))


def test_resume_goes_on_in_the_storage_that_the_run_was_begun_with(tune):
    assert tune("small.toml", "--storage", "sqlite:///s.db", "--quiet").exit_code == 0
    first = json.loads(Path("runs/small/tune-1/result.json").read_text())
    running()
    assert tune("small.toml", "--resume", "--quiet").exit_code == 0
    assert not Path("runs/small/tune-1/study.db").exists()
    second = json.loads(Path("runs/small/tune-1/result.json").read_text())
    assert first | {"seconds": 0} == second | {"seconds": 0}
    running()
    assert one_sentence(tune("small.toml", "--resume", "--storage", "sqlite:///t.db"), 2) == (
        "error: run small/tune-1 keeps its study in --storage sqlite:///s.db"
    )
    running("postgresql://u:***@h/d")
    assert one_sentence(tune("small.toml", "--resume"), 2) == (
        "error: run small/tune-1 keeps its study in postgresql://u:***@h/d, and no password: give "
        "--storage again, with the password"
    )


def test_a_study_in_memory_by_address_works(tmp_path):
    found = scenario(tmp_path)
    assert len(to_the_end(found, "sqlite://")) == 96


def test_whoever_waits_is_told_of_other_machines_only_on_a_server(tmp_path):
    with database_at(sqlite_url(tmp_path / "a.db")) as file, database_at(None) as memory:
        assert not file.shared
        assert not memory.shared
    with pytest.raises(ScenarioError), database_at("nothing"):
        pass
    assert isinstance(in_memory(), Database)


def test_a_copy_in_memory_holds_what_the_file_holds(tmp_path):
    """Trials, states, values, parameters, attributes, constraints: as a new process reads them."""
    url = sqlite_url(tmp_path / "study.db")
    found = scenario(tmp_path)

    def held(opened):
        shelves = search(found, opened, Landscape()).shelves
        trials = [shelf.study.get_trials() for shelf in shelves]
        return [
            (t.number, t.state, t.values, t.params, t.distributions,
             json.dumps(t.user_attrs, sort_keys=True), t.system_attrs)
            for shelf in trials
            for t in shelf
        ]  # fmt: skip

    with database_at(url) as opened:
        search(found, opened, Landscape()).go()
        copy = held(opened)
        with pytest.raises(NotImplementedError):
            opened.storage.delete_study(0)
    with database_at(url) as opened:
        assert held(opened) == copy
    assert len(copy) == 96
