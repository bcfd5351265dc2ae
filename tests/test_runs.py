"""Run folders: numbered, never overwritten, whole files only, and found again by name."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from experiments.plain import dumps, plain
from experiments.runs import (
    RunError,
    create_run,
    name_latest,
    resolve_run,
    write_atomic,
    write_manifest,
)


def finished(scenario, command, root):
    folder = create_run(scenario, command, root)
    write_manifest(folder, {"command": command})
    name_latest(folder)
    return folder


def test_folders_are_numbered_by_command(tmp_path):
    names = [create_run("bert", command, tmp_path).name for command in ("compare", "sweep") * 2]
    assert names == ["compare-1", "sweep-1", "compare-2", "sweep-2"]


def test_the_next_number_is_above_the_largest_even_after_a_deletion(tmp_path):
    for _ in range(3):
        folder = create_run("bert", "compare", tmp_path)
    (tmp_path / "bert" / "compare-1").rmdir()
    assert folder.name == "compare-3"
    assert create_run("bert", "compare", tmp_path).name == "compare-4"


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: create_run("bert", "compare", tmp_path), range(40)))
    assert len(set(folders)) == 40


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "né pas"])
def test_a_scenario_name_cannot_leave_the_folder(tmp_path, name):
    folder = create_run(name, "compare", tmp_path / "runs")
    assert folder.resolve().parent.parent == (tmp_path / "runs").resolve()


def test_a_run_is_found_by_folder_by_scenario_and_as_latest(tmp_path):
    first = finished("bert", "compare", tmp_path)
    second = finished("bert", "sweep", tmp_path)
    other = finished("speech", "compare", tmp_path)
    assert resolve_run(first, tmp_path) == first
    assert resolve_run("bert/compare-1", tmp_path) == first
    assert resolve_run("bert", tmp_path) == second
    assert resolve_run("latest", tmp_path) == other


def test_a_run_that_is_not_there_is_one_sentence(tmp_path):
    finished("bert", "compare", tmp_path)
    with pytest.raises(RunError) as caught:
        resolve_run("brt", tmp_path)
    assert str(caught.value) == (
        "there is no run 'brt': give a run's folder, a scenario's name or `latest` "
        f"({tmp_path} has runs of bert)"
    )
    with pytest.raises(RunError, match="holds no run yet"):
        resolve_run("latest", tmp_path / "empty")


def test_a_folder_without_a_manifest_is_not_a_run(tmp_path):
    folder = create_run("bert", "compare", tmp_path)
    with pytest.raises(RunError):
        resolve_run(folder, tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomic(path, "old")

    def full(self, other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(path, "new")
    assert caught.value.filename == str(path)
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "old"


def test_a_manifest_says_how_to_repeat_the_run(tmp_path):
    write_manifest(tmp_path, {"seeds": {"arrivals": 1}})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seeds"] == {"arrivals": 1}
    assert {"python", "batchwright", "numpy", "numba"} <= manifest["versions"].keys()
    assert manifest["machine"]["cpus"] >= 1
    assert manifest["command_line"][0] == "batchwright"
    assert manifest["finished"].endswith("+00:00")


def test_json_has_no_nan_and_no_numpy():
    values = {
        "nan": np.nan, "inf": [float("inf")], "array": np.arange(2), "one": np.float32(0.5),
        "flag": np.bool_(True), "exact": Decimal("0.1"), "path": Path("a"), "pair": (1, None),
    }  # fmt: skip
    assert json.loads(dumps(values)) == {
        "nan": None, "inf": [None], "array": [0, 1], "one": 0.5,
        "flag": True, "exact": 0.1, "path": "a", "pair": [1, None],
    }  # fmt: skip


def test_what_has_no_json_form_is_an_error():
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain(object())


def test_the_newest_run_of_some_commands_can_be_asked_for(tmp_path):
    compared, measured = (create_run("bert", name, tmp_path) for name in ("compare", "capacity"))
    for folder in (compared, measured):
        (folder / "manifest.json").write_text("{}")
        (folder / "result.json").write_text("{}")
        name_latest(folder)
    assert resolve_run("bert", tmp_path) == measured
    assert resolve_run("bert", tmp_path, ("tune", "compare")) == compared
    assert resolve_run("latest", tmp_path, ("tune", "compare")) == compared
    assert resolve_run("bert", tmp_path, ("tune",)) == measured


def test_of_several_such_runs_the_one_that_was_written_last_is_taken(tmp_path):
    import os

    runs = [create_run("bert", name, tmp_path) for name in ("compare", "tune", "capacity")]
    for place, folder in enumerate(runs):
        (folder / "manifest.json").write_text("{}")
        (folder / "result.json").write_text("{}")
        os.utime(folder / "result.json", ns=(place * 10**9, place * 10**9))
    name_latest(runs[-1])
    assert resolve_run("bert", tmp_path, ("tune", "compare")) == runs[1]
