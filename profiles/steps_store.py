"""Profiles of iterations on disk: ``NAME.steps.csv`` with the grid, and two files beside it.

Format 1:

1. ``NAME.steps.csv``: ``prefill, sequences, context, step_ms``, one row per point of a full grid,
   in any order.  The points without sequences stand there once, with context 0.
2. ``NAME.steps.json``: ``format``, ``prompt_tokens``, and what ran, on what and how.
3. ``NAME.steps-calls.csv.gz``, where raw calls were kept: ``kind, number, prefill, sequences,
   context, pairs, wall_ns, instant_ns``, one row per call in their order, warm-up included.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .codec import rows_of
from .grid import count, time_ns
from .metadata import ProfileError
from .steps import KINDS, StepCall, StepProfile
from .steps_runner import Work
from .store import SHIPPED, write_whole

FORMAT = 1
GRID, SIDE, CALLS = ".steps.csv", ".steps.json", ".steps-calls.csv.gz"
COLUMNS = ("prefill", "sequences", "context", "step_ms")
CALL_COLUMNS = (
    *("kind", "number", "prefill", "sequences", "context"),
    *("pairs", "wall_ns", "instant_ns"),
)


def names() -> list[str]:
    """Names of the shipped profiles of iterations, sorted."""
    found = (path for folder in SHIPPED for path in folder.glob(f"*{SIDE}"))
    return sorted(path.name.removesuffix(SIDE) for path in found)


def save(profile: StepProfile, folder: str | Path) -> list[Path]:
    """Write a profile's files into a folder, which is made if need be; the side file comes last.

    Returns:
        The files, the side file first; :func:`load` takes any of them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    grid, side, calls = (folder / f"{profile.name}{suffix}" for suffix in (GRID, SIDE, CALLS))
    if profile.calls:
        write_whole(calls, gzip.compress(calls_text(profile).encode(), mtime=0))
    else:
        calls.unlink(missing_ok=True)
    write_whole(grid, grid_text(profile).encode())
    write_whole(side, side_text(profile).encode())
    return [side, grid, calls] if profile.calls else [side, grid]


def load(name_or_path: str | Path) -> StepProfile:
    """A shipped profile of iterations by its name, or any by the path of one of its files.

    Raises:
        ProfileError: there is no such profile, or a file of it is broken.
    """
    folder, name = find(str(name_or_path))
    side_path, grid_path = folder / f"{name}{SIDE}", folder / f"{name}{GRID}"
    side = read_side(_text(side_path), str(side_path))
    axes, step_ns = read_grid(_text(grid_path), str(grid_path))
    calls_path = folder / f"{name}{CALLS}"
    calls = _read_calls(calls_path) if calls_path.exists() else ()
    prompt_tokens = side.pop("prompt_tokens")
    try:
        return StepProfile(name, *axes, step_ns, prompt_tokens, side, calls)
    except ProfileError as error:
        raise ProfileError(f"{folder / name}{GRID}: {str(error).partition(': ')[2]}") from None


def find(wanted: str) -> tuple[Path, str]:
    """Folder and name of a profile of iterations that is shipped or the user's.

    Raises:
        ProfileError: there is none.
    """
    for folder in SHIPPED:
        if wanted in {path.name.removesuffix(SIDE) for path in folder.glob(f"*{SIDE}")}:
            return folder, wanted
    path = Path(wanted)
    name = path.name
    for suffix in (GRID, SIDE, CALLS):
        name = name.removesuffix(suffix)
    there = [suffix for suffix in (SIDE, GRID) if (path.parent / f"{name}{suffix}").is_file()]
    if not there or not name:
        nearest = difflib.get_close_matches(wanted, names(), n=3, cutoff=0.4) or names()
        raise ProfileError(
            f"{wanted!r} is neither a shipped profile of iterations nor a file of one; nearest: "
            f"{', '.join(nearest)}"
        )
    if len(there) < 2:
        missing = GRID if there[0] == SIDE else SIDE
        raise ProfileError(
            f"{path.parent / name}{there[0]}: a profile of iterations is two files, but "
            f"{name}{missing} is missing"
        )
    return path.parent, name


def grid_text(profile: StepProfile) -> str:
    """Text of the grid file."""
    lines = [",".join(COLUMNS)]
    for p, d, c in np.ndindex(*profile.step_ns.shape):
        sequences = int(profile.sequences[d])
        if (not p and not d) or (not d and c):
            continue
        context = int(profile.context[c]) if sequences else 0
        step_ms = f"{profile.step_ns[p, d, c] / 1e6:.6f}"
        lines.append(f"{profile.prefill[p]},{sequences},{context},{step_ms}")
    return "\n".join(lines) + "\n"


def read_grid(text: str, place: str) -> tuple[tuple[Any, Any, Any], Any]:
    """The three axes and the medians.

    Raises:
        ProfileError: a column, a cell or a point is missing, twice there or wrong.
    """
    header, rows = rows_of(text, place, COLUMNS, ())
    found: dict[tuple[int, int, int], int] = {}
    for line, row in rows:
        cell, here = dict(zip(header, row, strict=True)), f"{place}, line {line}"
        key = tuple(count(cell[column], column, here, 0) for column in COLUMNS[:3])
        if key in found:
            raise ProfileError(f"{here}: the point {key[0]}, {key[1]}, {key[2]} is there twice")
        if (key[1] == 0) != (key[2] == 0) or not any(key):
            raise ProfileError(
                f"{here}: a point has sequences with context, or prefill tokens and neither, but "
                f"got {key[0]}, {key[1]}, {key[2]}"
            )
        found[key[0], key[1], key[2]] = time_ns(cell["step_ms"], "step_ms", here)
    axes = [sorted({key[axis] for key in found} | {0}) for axis in range(3)]
    axes[2].remove(0)
    step_ns = np.zeros([len(axis) for axis in axes], dtype=np.int64)
    for p, d, c in np.ndindex(*step_ns.shape):
        key = (axes[0][p], axes[1][d], axes[2][c] if d else 0)
        if key not in found and any(key):
            raise ProfileError(
                f"{place}: the grid must be full, but the point {key[0]}, {key[1]}, {key[2]} "
                f"(prefill, sequences, context) is missing"
            )
        step_ns[p, d, c] = found.get(key, 0)
    prefill, sequences, context = (np.array(axis, dtype=np.int64) for axis in axes)
    return (prefill, sequences, context), step_ns


def side_text(profile: StepProfile) -> str:
    """Text of the side file."""
    side = {"format": FORMAT, "prompt_tokens": profile.prompt_tokens, **profile.about}
    return json.dumps(side, indent=2, ensure_ascii=False, default=str) + "\n"


def read_side(text: str, place: str) -> dict[str, Any]:
    """The side file as a mapping, without its format number.

    Raises:
        ProfileError: it is not JSON, of another format, or lacks the length of prompts.
    """
    try:
        side = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProfileError(f"{place}: the file must be JSON, but: {error}") from None
    if not isinstance(side, dict):
        raise ProfileError(f"{place}: the file must hold one JSON object, but got {side!r:.40}")
    for key in ("format", "prompt_tokens"):
        if key not in side:
            raise ProfileError(f"{place}: `{key}` is missing")
    if (version := side.pop("format")) != FORMAT:
        raise ProfileError(f"{place}: `format` must be {FORMAT}, but got {version!r}")
    tokens = side["prompt_tokens"]
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise ProfileError(
            f"{place}: `prompt_tokens` must be a whole number from 1, but got {tokens!r}"
        )
    return side


def calls_text(profile: StepProfile) -> str:
    """Text of the file of calls, before compression."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CALL_COLUMNS)
    for call in profile.calls:
        table.writerow((call.kind, call.number, *call.work, call.wall_ns, call.instant_ns))
    return text.getvalue()


def _read_calls(path: Path) -> tuple[StepCall, ...]:
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        found = tuple(_call(row) for row in csv.DictReader(io.StringIO(text)))
    except (
        OSError,
        EOFError,
        zlib.error,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
    ) as e:
        raise ProfileError(
            f"{path}: the file must be gzip of rows {','.join(CALL_COLUMNS)}, but reading it "
            f"failed: {type(e).__name__}: {e}"
        ) from None
    return found


def _call(row: Mapping[str, str]) -> StepCall:
    if row["kind"] not in KINDS:
        raise ValueError(f"a kind must be one of {', '.join(KINDS)}, but got {row['kind']!r}")
    work = Work(
        int(row["prefill"]), int(row["sequences"]), int(row["context"]), float(row["pairs"])
    )
    return StepCall(
        row["kind"], int(row["number"]), work, int(row["wall_ns"]), int(row["instant_ns"])
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: the file must be readable UTF-8 text, but: {error}") from None
