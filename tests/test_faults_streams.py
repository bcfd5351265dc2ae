"""Terminals, names and folders that are not as they should be: closed, full, gone, or strange."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from faults import LIMIT_S, ended, halves, laid_out, latest_of, started, typed

from experiments.runs import MANIFEST, RESULT, resolve_run
from experiments.streams import PLAINLY, forgiving, plainly

SIMULATE = ("simulate", "small.toml", "--engine", "simpy")
RUN = "runs/small/simulate-1"


@pytest.fixture
def work(tmp_path):
    return laid_out(tmp_path / "work")


def redirected(how):
    """Begin a command through a shell that closes or redirects its streams."""
    return ["sh", "-c", f'exec "$@" {how}', "sh"]


def test_closed_streams_end_no_run_and_nothing_is_written_into_its_files(work):
    done = ended(work, *SIMULATE, through=redirected("<&- >&- 2>&-"))
    assert done.returncode == 0
    assert halves(work / "runs") == []
    assert latest_of(work / "runs")
    assert "lowest" not in (work / RUN / RESULT).read_text()[:100]


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "2>/dev/full"])
def test_a_list_is_printed_as_far_as_it_can_be(work, how):
    done = ended(work, "stacks", through=redirected(how))
    assert done.returncode == 0
    assert done.stderr == ""
    assert ("Triton" in done.stdout) == (how != ">&-")


def test_an_output_that_is_full_is_said_and_the_run_is_kept(work):
    done = ended(work, *SIMULATE, through=redirected(">/dev/full"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"the run is written: {RUN}",
        "error: cannot use the output: No space left on device; make room, or choose another "
        "folder with --out",
    ]
    assert latest_of(work / "runs") == [work / RUN] * 2
    done = ended(work, "stacks", through=redirected(">/dev/full"))
    assert (done.returncode, done.stderr) == (
        1, "error: cannot write: No space left on device; make room, or choose another folder "
        "with --out\n")  # fmt: skip


def test_a_reader_that_goes_ends_the_command_without_a_word(work):
    with started(work, "scenarios", "--json") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(LIMIT_S) == 1


def test_a_terminal_that_is_gone_ends_no_run(work):
    ours, theirs = os.openpty()
    process = started(work, *SIMULATE, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.close(ours)
    process.wait(LIMIT_S)
    assert halves(work / "runs") == []
    assert latest_of(work / "runs") == [work / RUN] * 2


def test_signs_that_an_encoding_lacks_are_written_in_letters(work):
    done = ended(work, *SIMULATE, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert " +- " in done.stdout
    assert "?" not in done.stdout
    for encoding in ("ascii", "latin-1", "cp437"):
        text = "5.7 ± 0.1 │ Ωμέγα é \udcff"
        assert b"Traceback" not in text.encode(encoding, PLAINLY)
    with pytest.raises(UnicodeDecodeError):
        plainly(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))


def test_what_cannot_be_said_is_lost_and_the_rest_is_said(tmp_path):
    told = forgiving(None)
    assert told.encoding == "utf-8"
    assert told.errors == PLAINLY
    assert told.write("\n") == 1
    told.flush()


def test_a_folder_that_was_deleted_is_called_deleted(work, monkeypatch):
    gone = work / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for command in (("simulate", work / "small.toml"), ("tune", work / "small.toml"), ("doctor",),
                    ("export", "--to", "triton"), ("init",)):  # fmt: skip
        done = typed(*command, *(["--yes"] if command == ("init",) else []))
        assert done.exit_code in (1, 2), done.output
        assert len(done.stderr.splitlines()) == 1, done.output
        assert "the folder that you are in was deleted" in done.stderr, done.output


STRANGE = ("two words ünï→ [a]*{b}", "-q\nline quo'te\"s %20?x#y&z")


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name)[1:-1])
def test_a_path_may_have_any_name(tmp_path, monkeypatch, name):
    from experiments import cli_tune

    monkeypatch.setattr(cli_tune, "write_figures", lambda *_: [])
    work = laid_out(tmp_path / name)
    scenario = shutil.copy(work / "small.toml", work / f"{name}.toml")
    monkeypatch.chdir(work)
    for command in (
        ("simulate", f"./{name}.toml"),
        ("tune", scenario, "--trials", "16", "--quiet"),
        ("tune", "small.toml", "--trials", "16", "--quiet", "--out", f"./{name} out"),
        ("report",),
        ("report", work / "runs/small/tune-1", "--to", f"./{name} report.html"),
        ("export", "--to", "json", "--out", f"./{name} out"),
    ):
        done = typed(*command)
        assert done.exit_code == 0, (command, done.output)
    assert halves(work / "runs") == []
    assert (work / f"{name} out/small/tune-1/study.db").is_file()
    manifest = json.loads((work / "runs/small/tune-1" / MANIFEST).read_text())
    assert Path(manifest["path"]).name == f"{name}.toml"


def test_a_path_may_be_no_text(tmp_path):
    work = laid_out(tmp_path / os.fsdecode(b"by\xfftes"))
    simulate = (SIMULATE[0], work / SIMULATE[1], *SIMULATE[2:])
    for command in (simulate, ("report",), ("export", "--to", "json"), ("report", "small")):
        done = ended(work, *command)
        assert done.returncode == 0, done
        assert "Traceback" not in done.stderr
    assert halves(work / "runs") == []
    manifest = json.loads((work / RUN / MANIFEST).read_text())
    assert Path(manifest["path"]) == work / "small.toml"


def test_links_to_folders_of_runs_are_followed(work, monkeypatch):
    monkeypatch.chdir(work)
    (work / "elsewhere").mkdir()
    (work / "runs").symlink_to("elsewhere")
    assert typed(*SIMULATE).exit_code == 0
    (work / "mine").symlink_to(RUN)
    for command in (("report", "mine"), ("report",), ("export", "mine", "--to", "json")):
        done = typed(*command)
        assert done.exit_code == 0, done.output
    assert (work / "elsewhere/small/simulate-1/export/json").is_dir()
    (work / "runs").unlink()
    (work / "runs").symlink_to("nowhere")
    done = typed(*SIMULATE)
    assert done.stderr == (
        "error: cannot use runs: File exists; something else is there: rename it, or choose "
        "another folder with --out\n"
    )


def test_a_clock_that_was_set_back_does_not_make_an_old_run_the_latest(work, monkeypatch):
    monkeypatch.chdir(work)
    for _ in range(2):
        assert typed(*SIMULATE).exit_code == 0
    later = 4_000_000_000
    for path in Path(RUN).iterdir():
        os.utime(path, (later, later))
    assert resolve_run("small").name == "simulate-2"
    assert typed(*SIMULATE).exit_code == 0
    assert resolve_run().name == "simulate-3"


def test_a_folder_for_temporary_files_that_is_missing_is_not_missed(work):
    nowhere = {"TMPDIR": "/nonexistent", "TEMP": "/nonexistent", "TMP": ""}
    done = ended(work, "init", "new.toml", "--yes", env=nowhere)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert (work / "new.toml").is_file()
