"""Processes that begin at one time: on one folder, one study, one cache."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from faults import LIMIT_S, halves, is_whole, laid_out, latest_of, started, timeless
from numba.core.caching import IndexDataCacheFile

from experiments.runs import MANIFEST, RESULT
from experiments.tune.database import sqlite_url
from sim.cache_files import CodeFiles

AT_ONCE = 8
COMPILED_TWICE = """
import sys
from pathlib import Path
from sim.cache import compile_kept
def add(a, b):
    return a + b
made = compile_kept(add, Path(sys.argv[1]))
values = {"int": (1, 2), "float": (1.5, 2.0), "complex": (1j, 2.0)}[sys.argv[2]]
print(made(*values), len(made.stats.cache_hits))
"""


def all_of(work, *commands, **how):
    """What came of commands that were begun at one time."""
    processes = [started(work, *command, **how) for command in commands]
    return [(*process.communicate(timeout=LIMIT_S), process.returncode) for process in processes]


def begun_together(work, many):
    """Comparisons in one folder, each with a run of its own in the end."""
    command = ("simulate", "small.toml", "--engine", "simpy", "--json")
    done = all_of(work, *[command] * many)
    assert [code for *_, code in done] == [0] * many, done
    found = {json.loads(out)["run"] for out, *_ in done}
    assert found == {f"runs/small/simulate-{k}" for k in range(1, many + 1)}
    assert halves(work / "runs") == []
    assert len(latest_of(work / "runs")) == 2
    results = [timeless(work / run / RESULT) for run in found]
    assert results == [results[0]] * many


def test_two_runs_that_begin_together_get_folders_of_their_own(tmp_path):
    begun_together(laid_out(tmp_path), 2)


@pytest.mark.slow
def test_eight_runs_that_begin_together_get_folders_of_their_own(tmp_path):
    begun_together(laid_out(tmp_path), AT_ONCE)


@pytest.mark.slow
def test_eight_tunings_that_begin_together_find_the_same(tmp_path):
    work = laid_out(tmp_path)
    done = all_of(work, *[("tune", "small.toml", "--quiet")] * AT_ONCE)
    assert [code for *_, code in done] == [0] * AT_ONCE, done
    runs = [work / f"runs/small/tune-{k}" for k in range(1, AT_ONCE + 1)]
    results = [timeless(run / RESULT) for run in runs]
    assert results == [results[0]] * AT_ONCE
    assert halves(work / "runs") == []


@pytest.mark.slow
def test_of_eight_that_go_on_with_one_tuning_one_does_and_the_others_say_why_not(tmp_path):
    work = laid_out(tmp_path)
    assert all_of(work, ("tune", "small.toml", "--quiet"))[0][2] == 0
    run = work / "runs/small/tune-1"
    expected = timeless(run / RESULT)
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"status": "running"}))
    (run / RESULT).unlink()
    done = all_of(work, *[("tune", "small", "--resume", "--quiet")] * AT_ONCE)
    assert 0 in [code for *_, code in done], done
    for _, said, code in done:
        assert code in (0, 2), said
        if code == 2:  # while the first works on it, and after it has ended
            assert "is being worked on by another process" in said or "was cut off" in said
    assert timeless(run / RESULT) == expected
    assert is_whole(run / "study.db")


@pytest.mark.slow
def test_eight_tunings_of_one_file_of_studies_take_turns_or_say_why_not(tmp_path):
    work = laid_out(tmp_path)
    storage = sqlite_url(tmp_path / "all.db")
    command = ("tune", "small.toml", "--quiet", "--storage", storage)
    done = all_of(work, *[command] * AT_ONCE)
    assert 0 in [code for *_, code in done], done
    refused = [said for _, said, code in done if code == 2]
    assert all("is being worked on by another process" in said for said in refused)
    assert len([code for *_, code in done if code in (0, 2)]) == AT_ONCE
    assert is_whole(tmp_path / "all.db")
    kept = list((work / "runs/small").glob("tune-*"))
    assert all((run / RESULT).is_file() for run in kept if (run / MANIFEST).is_file()), kept


def racing(kind, folder, keys):
    """Files of a cache that threads extend at one time; gives what each key is answered with."""
    ready = Barrier(len(keys))

    def save(key):
        files = kind(str(folder), "function", "stamp")
        read = files._load_index
        if kind is IndexDataCacheFile:  # all read the index before anybody extends it
            files._load_index = lambda: [read(), ready.wait(LIMIT_S)][0]
        else:
            ready.wait(LIMIT_S)
        files.save(key, f"code for {key}")

    with ThreadPoolExecutor(len(keys)) as threads:
        list(threads.map(save, keys))
    files = kind(str(folder), "function", "stamp")
    return {key: files.load(key) for key in keys}


def test_code_for_different_types_that_is_kept_at_one_time_is_told_apart(tmp_path):
    keys = ["int", "float", "complex", "bool"]
    (tmp_path / "numba").mkdir()
    (tmp_path / "ours").mkdir()
    theirs = racing(IndexDataCacheFile, tmp_path / "numba", keys)
    assert theirs != {key: f"code for {key}" for key in keys}, "numba's own files are mixed up"
    assert racing(CodeFiles, tmp_path / "ours", keys) == {key: f"code for {key}" for key in keys}
    assert not list((tmp_path / "ours").glob("*.tmp.*"))


def test_an_index_never_names_a_file_that_is_not_there_yet(tmp_path, monkeypatch):
    files = CodeFiles(str(tmp_path), "function", "stamp")
    files.save("int", "code for int")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CodeFiles, "_save_index", killed)
    with pytest.raises(KeyboardInterrupt):
        files.save("float", "code for float")
    monkeypatch.undo()
    files = CodeFiles(str(tmp_path), "function", "stamp")
    assert (files.load("int"), files.load("float")) == ("code for int", None)


def compiled(folder, kind):
    import subprocess

    done = subprocess.run(
        [sys.executable, f"{folder}/twice.py", folder, kind], capture_output=True, text=True,
        check=True, cwd=Path(__file__).parents[1], env=os.environ | {"PYTHONPATH": "."},
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.slow
def test_eight_processes_that_compile_into_one_cache_are_answered_each_with_its_own(tmp_path):
    (tmp_path / "twice.py").write_text(COMPILED_TWICE)  # numba keeps nothing of ``python -c``
    sums = {"int": "3", "float": "3.5", "complex": "(2+1j)"}
    kinds = [*sums, *sums, "int", "float"]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        first = list(threads.map(lambda kind: compiled(str(tmp_path), kind), kinds))
        again = list(threads.map(lambda kind: compiled(str(tmp_path), kind), kinds))
    assert [found for found, _ in first] == [sums[kind] for kind in kinds]
    assert again == [[sums[kind], "1"] for kind in kinds]
