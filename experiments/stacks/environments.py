"""Where a stack is installed: here, or in an environment of its own that is made on request.

Stacks exclude one another (their pins of numpy, pydantic and uvloop), and some need hundreds of
megabytes.  Where all that a stack needs is installed beside this project, that is used.  Otherwise
it is looked for in ``environments/<stack>-<digest>`` of the cache folder, where the digest is of
what it needs and of the version of Python.  A file that is written last says that it is whole.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cache import cache_folder

from .contract import NotInstalled, StackError, StackFailed

if TYPE_CHECKING:
    from . import Row

WHOLE = "whole"
"""The file that says so."""

PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?(?P<rule>==|<)(?P<version>[0-9.]+)")
"""What the table of stacks may say of a package."""


def python_of(row: Row, *, install: bool, say: Callable[[str], None]) -> Path:
    """The interpreter that has a stack.

    Args:
        row: the stack.
        install: whether to make an environment where there is none.
        say: told what is done when that takes a while.

    Raises:
        NotInstalled: it is not there, and was not to be installed.
        StackError: it needs another Python, or something beside Python.
        StackFailed: it could not be installed.
    """
    own = Path(sys.executable)
    if is_here(row.needs):
        _check_programs(row)
        return own
    if sys.version_info[:2] not in row.pythons:
        known = ", ".join(f"3.{minor}" for _, minor in row.pythons)
        raise StackError(
            f"{row.title} runs with Python {known}, but this is {sys.version_info.major}."
            f"{sys.version_info.minor}: install batchwright there"
        )
    _check_programs(row)
    folder = folder_of(row)
    if (folder / WHOLE).is_file():
        return folder / "bin" / "python"
    if not install:
        raise NotInstalled(
            f"{row.title} is not installed: --install makes an environment for it in {folder} "
            f"({row.size_mb} MB)"
        )
    say(f"installing {row.title} ({row.size_mb} MB) into {folder}")
    _make(folder, row)
    return folder / "bin" / "python"


def is_here(needs: Sequence[str]) -> bool:
    """Whether this environment has all that a stack needs, in the versions that are known."""
    return all(map(_is_met, needs))


def folder_of(row: Row) -> Path:
    """Where the environment of a stack is, or would be."""
    text = " ".join((*row.needs, sys.version.split()[0], sys.platform))
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return cache_folder() / "environments" / f"{row.name}-{digest}"


def is_available(row: Row) -> bool:
    """Whether a stack could be run now, without installing anything."""
    try:
        python_of(row, install=False, say=lambda _: None)
    except StackError:
        return False
    return True


def _is_met(need: str) -> bool:
    found = PIN.fullmatch(need)
    if found is None:
        raise ValueError(f"{need!r} must be a package with ==version or <version")
    try:
        have = version(found["name"]).partition("+")[0]
    except PackageNotFoundError:
        return False
    return (
        have == found["version"]
        if found["rule"] == "=="
        else _parts(have) < _parts(found["version"])
    )


def _parts(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


def _check_programs(row: Row) -> None:
    """Refuse a stack that needs a program which is not there.

    Raises:
        StackError: it does.
    """
    for program, why in row.programs:
        if shutil.which(program) is None:
            raise StackError(f"{row.title} needs {program} ({why}), which is not on the PATH")


def _make(folder: Path, row: Row) -> None:
    """Make an environment, whole or not at all; it cannot be moved, so it is made in place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        _run([sys.executable, "-m", "venv", str(folder)], row)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", *row.needs], row)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / WHOLE).write_text("\n".join(row.needs) + "\n", encoding="utf-8")


def _run(argv: list[str], row: Row) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise StackFailed(f"{row.title} cannot be installed: {said}")
