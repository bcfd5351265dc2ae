"""The folder of a run: ``runs/<scenario>/<command>-<n>/``, its manifest, and how to find it again.

1. A folder is created by exactly one process and never overwritten.
2. A file appears whole or not at all: it is written under another name, then renamed.
3. ``latest``, beside a scenario's runs and beside the scenarios, is a text file that names the
   newest run.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .addresses import without_password
from .places import is_file
from .plain import dumps

RUNS = Path("runs")
"""Where runs go, relative to the working directory."""

NO_RUN = "holds no run yet; `batchwright compare SCENARIO` makes one"

LATEST = "latest"
MANIFEST = "manifest.json"
RESULT = "result.json"

PART = ".part"
"""How the name of what is not whole yet ends."""

RECORDED_PACKAGES = (
    "batchwright",
    "numpy",
    "numba",
    "scipy",
    "simpy",
    "pandas",
    "matplotlib",
    "optuna",
    "pydantic",
)
"""The packages whose version can change a number or a picture."""


class RunError(ValueError):
    """A run that was asked for does not exist."""


def now() -> str:
    """This instant, in UTC and ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that it appears whole or not at all; bytes of names that are no text get a ?.

    Raises:
        OSError: the disk is full or the folder cannot be written; it names the path.
    """
    content = data.encode(errors="replace") if isinstance(data, str) else data
    part = part_of(path)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):  # nor can be removed what is on a disk that cannot be written
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def part_of(path: Path) -> Path:
    """Where a file or a folder is made before it gets its name; no other process makes it there.

    Machines that share a disk have equal process numbers, so there is a random one, too.
    """
    return path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}{PART}")


def is_part(path: Path) -> bool:
    """Whether a process that has ended may have left this, half made."""
    return path.name.startswith(".") and path.name.endswith(PART)


def folder_name(scenario: str) -> str:
    """A scenario's name as a folder: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", scenario).strip(".-") or "scenario"


def create_run(scenario: str, command: str, root: Path = RUNS) -> Path:
    """Create the next free folder ``<root>/<scenario>/<command>-<n>``."""
    parent = root / folder_name(scenario)
    parent.mkdir(parents=True, exist_ok=True)
    taken = [
        int(match[1])
        for entry in parent.iterdir()
        if (match := re.fullmatch(rf"{re.escape(command)}-(\d+)", entry.name))
    ]
    number = max(taken, default=0) + 1
    while True:
        folder = parent / f"{command}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process was faster
            number += 1
            continue
        return folder


def name_latest(folder: Path) -> None:
    """Let ``latest`` of the scenario, and of all scenarios, name this run."""
    write_atomic(folder.parent / LATEST, f"{folder.name}\n")
    write_atomic(folder.parent.parent / LATEST, f"{folder.parent.name}/{folder.name}\n")


def resolve_run(
    run: str | Path = LATEST, root: Path = RUNS, commands: Collection[str] | None = None
) -> Path:
    """The folder of a run.

    Args:
        run: a run's folder, a scenario's name (its newest run) or ``latest`` (the newest of all).
        root: where runs are kept.
        commands: of a scenario, or of all, the newest finished run of one of these commands.

    Raises:
        RunError: there is no such run.
    """
    name = str(run)
    for folder in (Path(name), root / name):
        if is_file(folder / MANIFEST):
            return folder
    pointer = root / LATEST if name == LATEST else root / folder_name(name) / LATEST
    if is_file(pointer):
        folder = pointer.parent / pointer.read_text(encoding="utf-8", errors="replace").strip()
        if commands is not None and folder.name.rpartition("-")[0] not in commands:
            folder = _newest(pointer.parent, commands) or folder
        if is_file(folder / MANIFEST):
            return folder
    for folder in (Path(name), root / name):
        if is_unfinished(folder):
            raise RunError(
                f"run {folder.parent.name}/{folder.name} was not finished: it has no {MANIFEST}; "
                "wait until it has ended, or run it again"
            )
    known = sorted(entry.parent.name for entry in root.glob(f"*/{LATEST}"))
    have = f"has runs of {', '.join(known)}" if known else NO_RUN
    raise RunError(
        f"there is no run {name!r}: give a run's folder, a scenario's name or `{LATEST}` "
        f"({root} {have})"
    )


def is_unfinished(folder: Path) -> bool:
    """Whether this is the folder of a run that is at work, or was cut off."""
    numbered = re.fullmatch(r"[a-z]+-\d+", folder.name) is not None
    return numbered and folder.is_dir() and not (folder / MANIFEST).is_file()


def resolve_aloud(
    run: str | Path, commands: Collection[str], tell: Callable[[str], None], root: Path = RUNS
) -> Path:
    """The folder of a run, as :func:`resolve_run`; a newer run that it cannot be of is told.

    Args:
        run: a run's folder, a scenario's name or ``latest``.
        commands: the newest finished run of one of these.
        tell: given one sentence, where there is something to tell.
        root: where runs are kept.

    Raises:
        RunError: there is no such run.
    """
    folder = resolve_run(run, root, commands)
    missed = _passed_over(run, folder, commands, root)
    if missed is not None:
        tell(f"note: {missed} came to no result; {folder} is the newest run that has one")
    return folder


def _passed_over(
    run: str | Path, folder: Path, commands: Collection[str], root: Path
) -> Path | None:
    """The newest run that began after the one that was found by name, and has no result."""
    if Path(run) == folder or root / run == folder or not is_file(folder / RESULT):
        return None
    found_ns = (folder / RESULT).stat().st_mtime_ns
    later = [
        (path.stat().st_mtime_ns, path)
        for path in root.glob("*/*" if str(run) == LATEST else f"{folder.parent.name}/*")
        if path.name.rpartition("-")[0] in commands and path.is_dir()
        if not is_file(path / RESULT) and path.stat().st_mtime_ns > found_ns
    ]
    return max(later)[1] if later else None


def _newest(parent: Path, commands: Collection[str]) -> Path | None:
    """The run of one of some commands whose result was written last, at any depth."""
    results = [
        path
        for path in parent.rglob(RESULT)
        if path.parent.name.rpartition("-")[0] in commands and (path.parent / MANIFEST).is_file()
    ]
    return max(results, key=lambda path: path.stat().st_mtime_ns).parent if results else None


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can change a result."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine that a run was made on, without names of hosts or users."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
    }


def write_manifest(folder: Path, contents: dict[str, Any]) -> None:
    """Write ``manifest.json``: what is needed to repeat the run.

    Args:
        folder: the run's folder.
        contents: scenario, hash, seeds, profile, and when the run started; versions, machine,
            command line and the instant of writing are added.
    """
    manifest = {
        **contents,
        "finished": now(),
        "command_line": ["batchwright", *map(without_password, sys.argv[1:])],
        "versions": versions(),
        "machine": machine(),
    }
    write_atomic(folder / MANIFEST, dumps(manifest))
