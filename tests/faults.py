"""What the tests of faults share: a small scenario, a small disk, and the command in a process.

1. A small disk is a file system in memory, which only root may mount; where it cannot be mounted
   its tests are skipped, and say so.
2. A command is run here where nothing needs a process of its own, because to start one takes longer
   than what is tested.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.cli import app
from experiments.runs import LATEST, MANIFEST, RESULT, is_part

LIMIT_S = 300.0
"""For whatever ends at all, on a machine that stands still now and then."""

SCENARIO = """
name = "small"
[workload]
requests = 3_000
arrivals = { process = "gamma", cv = 2.0, load = 0.5 }
[service]
model = { base_ms = 2.0, per_request_ms = 0.35, max_batch_size = 32 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 32
max_wait_ms = 5.0
[policies.greedy]
kind = "greedy"
[tune]
objective = "mean"
trials = 24
replications = 1
policies = ["waits", "greedy"]
"""

FUNCTION = """
def serve(lengths):
    return [sum(lengths)] * len(lengths)
"""
"""A model of one's own, without a framework."""

MEASURE = ("profile", "measure", "--callable", "mine:serve", "--max-batch-size", "2", "--lengths",
           "8,16", "--budget", "3s")  # fmt: skip

MAIN = "from experiments.cli import main; main()"


def typed(*arguments):
    """What a command prints, and its exit code, without a process of its own."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


def unprivileged():
    """What to begin a command with so that its permissions hold for root, too."""
    if os.geteuid() != 0:
        return ["env"]
    every = "-dac_override,-dac_read_search"
    words = ["setpriv", f"--bounding-set={every}", f"--inh-caps={every}"]
    if shutil.which("setpriv") is None:
        return None
    return words if subprocess.run([*words, "true"], check=False).returncode == 0 else None


def started(folder, *arguments, env=None, through=(), **how):
    """A command in a process of its own."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    return subprocess.Popen(
        [*through, sys.executable, "-c", MAIN, *map(str, arguments)], cwd=folder,
        env=os.environ | (env or {}), **how,
    )  # fmt: skip


def ended(folder, *arguments, **how):
    """A command in a process of its own, and what came of it."""
    process = started(folder, *arguments, **how)
    out, err = process.communicate(timeout=LIMIT_S)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def laid_out(folder):
    """A folder with a scenario and a function to measure."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.toml").write_text(SCENARIO)
    (folder / "mine.py").write_text(FUNCTION)
    return folder


def mount(*arguments):
    """Whether something could be mounted."""
    tool = shutil.which("mount")
    if tool is None or os.geteuid() != 0:
        return False
    return subprocess.run([tool, *arguments], capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder, kib=4096):
    """A folder that is a disk of its own.

    Raises:
        pytest.skip.Exception: none can be mounted.
    """
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)):
        pytest.skip("a small file system can be mounted by root only, and not in every container")
    before = Path.cwd()
    try:
        yield folder
    finally:
        os.chdir(before)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave_room(disk, kib):
    """Fill a disk but for a few KiB."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    free = shutil.disk_usage(disk).free
    with ballast.open("wb") as file:
        file.write(b"x" * max(0, free - 1024 * kib))


def make_room(disk):
    (disk / "ballast").unlink()


def files_of(folder):
    """Every file below a folder, half made ones apart."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".study.db.lock"]
    return [path for path in found if not is_part(path)]


def is_whole(path):
    """Whether a file is what its name says, to its end."""
    content = path.read_bytes()
    match path.suffix:
        case ".json":
            return isinstance(json.loads(content), dict)
        case ".png":
            return content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
        case ".svg":
            return content.rstrip().endswith(b"</svg>")
        case ".html":
            return content.rstrip().endswith(b"</html>")
        case ".db":
            return is_intact(path)
    return bool(content)


def is_intact(database):
    """What SQLite says of a database, together with its log."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def halves(root):
    """Files of runs that are not whole, although they have their names."""
    skipped = (".db-wal", ".db-shm")
    return [
        path for path in files_of(root) if not path.name.endswith(skipped) and not is_whole(path)
    ]


def latest_of(root):
    """The runs that are named as the latest; each is there, with a manifest and a result."""
    named = []
    for pointer in (root / LATEST, *root.glob(f"*/{LATEST}")):
        if pointer.exists():
            folder = pointer.parent / pointer.read_text().strip()
            assert (folder / MANIFEST).is_file(), pointer
            assert (folder / RESULT).is_file(), pointer
            named.append(folder)
    return named


def timeless(result):
    """A result without the time that it took."""
    found = json.loads(Path(result).read_text())
    return {key: value for key, value in found.items() if key != "seconds"}
