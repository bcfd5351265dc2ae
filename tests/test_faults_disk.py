"""A disk that is full or may not be written: one sentence, and nothing computed is lost."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from faults import (
    MEASURE,
    ended,
    halves,
    laid_out,
    latest_of,
    leave_room,
    make_room,
    mount,
    small_disk,
    timeless,
    typed,
    unprivileged,
)

from experiments import cli_tune
from experiments.runs import MANIFEST, RESULT
from sim.cache import compile_kept

FULL, FORBIDDEN = "No space left on device", "Read-only file system"
DROPPED = unprivileged()
COMPARE = ("compare", "small.toml", "--no-load-curve", "--quiet")
TUNE = ("tune", "small.toml", "--quiet")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished comparison and a finished tuning."""
    root = laid_out(tmp_path_factory.mktemp("made"))
    for command in (COMPARE, TUNE):
        done = typed(*command[:1], root / "small.toml", *command[2:], "--out", root / "runs")
        assert done.exit_code == 0, done.output
    return root


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 4 MiB with a scenario, which is the working directory."""
    with small_disk(tmp_path / "disk") as folder:
        monkeypatch.chdir(laid_out(folder))
        monkeypatch.syspath_prepend(str(folder))
        yield folder


def refused(done, reason, *, place=""):
    """What was said, in one sentence, of a disk that does not take anything."""
    assert done.exit_code == 1, done.output
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"error: cannot use {place}"), said
    assert f": {reason}; " in said
    assert "choose another" in said
    assert ".part" not in said
    return said


def test_a_comparison_that_does_not_fit_is_shown_and_leaves_nothing(disk):
    leave_room(disk, 0)
    done = typed(*COMPARE)
    said = refused(done, FULL, place="runs/small/compare-1/result.json")
    assert said.endswith("make room, or choose another folder with --out")
    assert "greedy" in done.stdout
    assert "lowest mean" in done.stdout
    assert not (disk / "runs/small/compare-1").exists()
    make_room(disk)
    assert typed(*COMPARE).exit_code == 0
    assert typed("report").exit_code == 0


def test_a_comparison_whose_figures_do_not_fit_is_a_run_without_them(disk):
    leave_room(disk, 120)
    done = typed(*COMPARE, "--json")
    refused(done, FULL, place="runs/small/compare-1/")
    assert json.loads(done.stdout)["run"] == "runs/small/compare-1"
    run = disk / "runs/small/compare-1"
    assert json.loads((run / MANIFEST).read_text())["status"] == "interrupted"
    assert latest_of(disk / "runs") == [run, run]
    assert halves(disk / "runs") == []
    assert not [path for path in run.iterdir() if path.suffix == ".part"]
    make_room(disk)
    assert typed("report").exit_code == 0


@pytest.mark.parametrize(
    ("room_kib", "reason"),
    [
        (0, "manifest.json: No space left on device; make room, or choose another folder"),
        (8, "study.db fails: database or disk is full; make room: what was told is kept, and"),
        (400, "study.db fails: database or disk is full; make room: what was told is kept, and"),
    ],
)
def test_a_tuning_goes_on_where_the_disk_was_full(disk, made, monkeypatch, room_kib, reason):
    monkeypatch.setattr(cli_tune, "write_figures", lambda *_: [])
    leave_room(disk, room_kib)
    done = typed(*TUNE)
    assert done.exit_code == 1, done.output
    (said,) = done.stderr.splitlines()
    assert reason in said
    assert halves(disk / "runs") == []
    make_room(disk)
    again = typed("tune", "small", "--resume", "--quiet") if room_kib else typed(*TUNE)
    assert again.exit_code == 0, again.output
    run = "runs/small/tune-1"
    assert timeless(disk / run / RESULT)["winner"] == timeless(made / run / RESULT)["winner"]
    assert timeless(disk / run / RESULT)["tried"] == timeless(made / run / RESULT)["tried"]


def test_a_winner_that_cannot_be_written_is_printed_and_judged_again_later(disk, made, monkeypatch):
    monkeypatch.setattr(cli_tune, "write_figures", lambda *_: [])
    real = cli_tune.tune

    def and_then_full(*given, **options):
        found = real(*given, **options)
        leave_room(disk, 0)
        return found

    monkeypatch.setattr(cli_tune, "tune", and_then_full)
    done = typed(*TUNE)
    assert done.exit_code == 1
    assert "greedy" in done.stdout
    assert done.stderr.splitlines() == [
        "go on with: batchwright tune runs/small/tune-1 --resume",
        "error: cannot use runs/small/tune-1/result.json: No space left on device; make room, or "
        "choose another folder with --out",
    ]
    make_room(disk)
    monkeypatch.setattr(cli_tune, "tune", real)
    assert typed("tune", "small", "--resume", "--quiet").exit_code == 0
    run = "runs/small/tune-1"
    assert timeless(disk / run / RESULT) == timeless(made / run / RESULT)
    assert json.loads((disk / run / MANIFEST).read_text())["status"] == "complete"


TIERS = "workload.tiers=[{name='all',slo={ms=20,percentile=90}}]"
WRITERS = (
    (("simulate", "small.toml"), "--out"),
    (("sweep", "small.toml", "--over", "service.servers=1,2"), "--out"),
    (
        (
            "capacity",
            "small.toml",
            "--set",
            "workload.tiers=[{name='all',slo={ms=20,percentile=90}}]",
        ),
        "--out",
    ),
    (("report", "small"), "--to"),
    (("export", "small", "--to", "triton"), "--out"),
    (("export", "small", "--to", "triton", "--out", "elsewhere"), "--out"),
    (("init", "new.toml", "--yes"), "another FILE"),
    (("schema", "--into", "schema.json"), "--into"),
    (("profile", "show", "bert-base-t4-tensorrt-fp16"), "--picture"),
    (MEASURE, "--into"),
)


@pytest.mark.parametrize(("command", "way_out"), WRITERS, ids=lambda one: " ".join(one[:2]))
@pytest.mark.parametrize("reason", [FULL, FORBIDDEN])
def test_every_command_that_writes_says_which_file_and_what_to_do(
    disk, made, command, way_out, reason
):
    shutil.copytree(made / "runs", disk / "runs")
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    if reason == FULL:
        leave_room(disk, 0)
    else:
        assert mount("-o", "remount,ro", str(disk))
    done = typed(*command)
    assert done.exit_code == 1, done.output
    assert way_out in refused_of(done, reason)
    after = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    after.pop(disk / "ballast", None)
    assert after == before, "nothing is half written, and nothing that was there is gone"
    if command[0] in ("sweep", "capacity") and reason == FULL:
        assert done.stdout, "what was computed is shown"


def refused_of(done, reason):
    """The sentence of a refusal, the last line: some commands speak before."""
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: cannot use "), said
    assert f": {reason}; " in said
    assert ".part" not in said
    return said


def test_what_was_measured_is_shown_where_it_cannot_be_kept(disk, monkeypatch):
    from experiments import cli_measure

    real = cli_measure.run

    def and_then_full(*given, **options):
        found = real(*given, **options)
        leave_room(disk, 0)
        return found

    monkeypatch.setattr(cli_measure, "run", and_then_full)
    done = typed(*MEASURE, "--quiet", "--name", "mine")
    assert done.exit_code == 1
    assert "latency, ms" in done.stdout
    said = refused_of(done, FULL)
    assert said.endswith("make room, or choose another folder with --into")
    assert not [path for path in disk.iterdir() if path.name.startswith(("mine-", ".mine"))]


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, state):
    def one_more(number):
        return number + 1

    with small_disk(tmp_path / "cache") as folder:
        made = compile_kept(one_more, folder / "first")
        leave_room(folder, 0)
        if state == "read-only":
            assert mount("-o", "remount,ro", str(folder))
        assert made(1) == 2, "its folder was there before the disk was full"
        assert made(1.5) == 2.5
        assert compile_kept(one_more, folder / "second")(1) == 2
        assert not [path for path in folder.rglob("*.nbi") if path.stat().st_size == 0]


def test_a_damaged_cache_is_compiled_again(tmp_path):
    def twice(number):
        return 2 * number

    rng = np.random.default_rng(5)
    assert compile_kept(twice, tmp_path)(3) == 6
    kept = list(tmp_path.rglob("*.nb?"))
    assert len(kept) == 2
    for path in kept:
        for content in (b"", b"\x80garbage", rng.bytes(2000), path.read_bytes()[:-40]):
            whole = path.read_bytes()
            path.write_bytes(content)
            again = compile_kept(twice, tmp_path)
            assert again(3) == 6
            assert again.stats.cache_misses
            path.write_bytes(whole)
    assert not list(tmp_path.rglob("*.tmp.*"))


@pytest.mark.skipif(not DROPPED, reason="root may write everywhere, and setpriv is not here")
def test_folders_that_may_not_be_written_cost_a_sentence_at_most(tmp_path):
    work, home = laid_out(tmp_path / "work"), tmp_path / "home"
    home.mkdir()
    for folder in (work, home):
        folder.chmod(0o555)
    places = {"HOME": str(home), "BATCHWRIGHT_CACHE": str(home / "cache"),
              "XDG_CONFIG_HOME": "", "MPLCONFIGDIR": str(home / "matplotlib")}  # fmt: skip
    how = {"env": places, "through": DROPPED}
    done = ended(work, "simulate", "small.toml", **how)
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot use runs: Permission denied; choose another folder with --out, where you "
        "may write\n"
    )
    fit = ("simulate", "small.toml", "--engine", "simpy", "--quiet", "--out", tmp_path / "runs")
    done = ended(work, *fit, **how)
    assert (done.returncode, done.stderr) == (0, "")
    assert halves(tmp_path / "runs") == []
    assert list(home.iterdir()) == []
