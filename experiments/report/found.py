"""What a report is made of: the folders of runs as they lie on the disk, and saved diagnoses.

1. Nothing is computed again, and nothing is looked up outside of a run's folder.
2. A diagnosis is what ``diagnose --json`` printed: a file of its own, or ``diagnosis.json`` in the
   folder of the run that it is about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.places import is_file, is_folder
from experiments.plain import plain
from experiments.rerun import read_manifest, read_result, run_name
from experiments.runs import RUNS, RunError, is_part, is_unfinished, resolve_run

DIAGNOSIS = "diagnosis.json"
EXPORT = "export"
WINNER = "winner.toml"

LARGEST = 64_000
"""Bytes of one file that are shown."""

MOST_FILES = 60
"""Files of all exports that are shown."""


@dataclass(frozen=True)
class Shown:
    """A file with its text."""

    name: str
    """Its path inside the run's folder."""
    text: str


@dataclass(frozen=True)
class Run:
    """One run, or one diagnosis."""

    name: str
    """``<scenario>/<command>-<n>``, or the name of a diagnosis' file."""
    command: str
    result: Mapping[str, Any]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    diagnosis: Mapping[str, Any] | None = None

    @property
    def title(self) -> str:
        """The scenario's name, or what was diagnosed."""
        return str(self.manifest.get("name") or self.result.get("subject") or self.name)

    @property
    def about(self) -> Mapping[str, Any]:
        """What the result says of the scenario; nothing where it only names it."""
        found = self.result.get("scenario")
        return found if isinstance(found, Mapping) else {}


def opened(run: str | Path, root: Path = RUNS) -> Run:
    """A run by its folder, its scenario or ``latest``; or a diagnosis by its file.

    Raises:
        RunError: there is no such run, or it is unfinished or damaged.
    """
    path = Path(run)
    if is_file(path):
        return Run(path.name, "diagnose", diagnosis_of(path))
    if is_folder(path) and not is_file(path / "manifest.json") and not is_unfinished(path):
        raise RunError(
            f"{path} is no run: it has no manifest.json; give the folder of a run, as "
            f"{root}/SCENARIO/compare-1, a scenario's name or `latest`"
        )
    folder = resolve_run(run, root)
    manifest, result = plain(read_manifest(folder)), plain(read_result(folder))
    beside = folder / DIAGNOSIS
    diagnosis = diagnosis_of(beside) if beside.is_file() else None
    command = str(manifest.get("command"))
    return Run(run_name(folder), command, result, manifest, folder, diagnosis)


def diagnosis_of(path: Path) -> dict[str, Any]:
    """What ``diagnose --json`` printed.

    Raises:
        RunError: the file is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not {"verdict", "findings"} <= set(found):
        raise RunError(
            f"{path} is no diagnosis: give a run, or a file of `batchwright diagnose RUN --json`"
        )
    return found


def exports_of(folder: Path) -> dict[str, list[Shown]]:
    """The files of ``export/<stack>/`` by stack; what is no text or too long says so."""
    found: dict[str, list[Shown]] = {}
    top = folder / EXPORT
    files = sorted(
        path
        for path in top.rglob("*")
        if path.is_file() and not path.is_symlink() and not any(map(is_part, (path, *path.parents)))
    )
    for path in files[:MOST_FILES]:
        stack = path.relative_to(top).parts[0]
        found.setdefault(stack, []).append(Shown(str(path.relative_to(folder)), text_of(path)))
    return found


def winner_of(folder: Path) -> Shown | None:
    """The winner of a tuning, as a table of a scenario."""
    path = folder / WINNER
    return Shown(WINNER, text_of(path)) if path.is_file() else None


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        RunError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data[:LARGEST].decode(errors="strict" if len(data) <= LARGEST else "ignore")
    except UnicodeDecodeError:
        return f"({len(data):,} bytes that are no text)"
    if "\0" in text:
        return f"({len(data):,} bytes that are no text)"
    return text if len(data) <= LARGEST else f"{text}\n... ({len(data):,} bytes in all)"
