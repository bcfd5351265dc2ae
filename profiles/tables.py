"""A profile out of a published table: one row per measured point, several models in one file.

Columns: ``model, task, device, precision, framework, batch_size, length_tokens, audio_seconds,
latency_ms_mean, latency_ms_p50, latency_ms_p90, latency_ms_p95, latency_ms_p99, source_repo,
source_path, source_commit, note``.  Further columns are ignored.  ``batch_size`` must be there, one
of the two lengths, and a mean or a p50; the others may be missing or empty.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from .grid import Point, complete_part, count, grid, time_ns
from .latency import PERCENTILES, Profile
from .metadata import Metadata, ProfileError

IDENTITY = ("model", "task", "device", "precision", "framework", "source_commit")
"""Columns in which the rows of one profile must agree."""
MEAN = "latency_ms_mean"
ENGINES = re.compile("tensorrt|aitemplate|graph", re.IGNORECASE)
"""Frameworks known to run a compiled or captured model; others count as eager."""
Row = dict[str, str]


def read_table(
    path: str | Path,
    where: Mapping[str, str],
    *,
    name: str = "",
    complete: bool = False,
    licence: str = "not stated",
) -> Profile:
    """The rows of a table that match, as a profile.

    Args:
        path: a CSV file with the columns of the module's docstring.
        where: text wanted in each column; ``|`` separates alternatives, case does not matter, and
            numbers are equal as numbers.
        name: of the profile; by default made of model, device, framework and precision.
        complete: take the largest part of the rows that is a full grid, instead of refusing holes.
        licence: of the figures, for the record.

    Raises:
        ProfileError: no row matches, they are of several models or devices, or the grid has holes.
    """
    place = str(path)
    rows = _select(_read(Path(path)), where, place)
    _refuse_mixture(rows, place)
    unit = "tokens" if _everywhere(rows, "length_tokens") else "audio_ms"
    length_column = "length_tokens" if unit == "tokens" else "audio_seconds"
    statistic = "p50" if _everywhere(rows, "latency_ms_p50") else "mean"
    columns = [f"latency_ms_{statistic}"]
    keys = [key for key in PERCENTILES if key > 50 and _everywhere(rows, f"latency_ms_p{key}")]
    columns += [f"latency_ms_p{key}" for key in keys]
    points = []
    for line, row in rows:
        here = f"{place}, line {line}"
        size = count(row.get("batch_size"), "batch_size", here)
        length = _length(row.get(length_column), length_column, here)
        times = tuple(time_ns(row.get(column), column, here) for column in columns)
        points.append(Point(line, size, length, times))
    if complete:
        points = complete_part(points)
    sizes, lengths, (latency_ns, *above) = grid(points, place)
    kept = {point.line for point in points}
    metadata = _metadata([row for line, row in rows if line in kept], licence, place)
    percentiles = dict(zip(keys, above, strict=True))
    return Profile(
        name or _name(metadata), sizes, lengths, latency_ns, unit, statistic, metadata, percentiles
    )


def _read(path: Path) -> list[tuple[int, Row]]:
    """Rows with their line numbers."""
    rows = []
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), restval="")
        for row in reader:
            if None in row:
                raise ProfileError(
                    f"{path}, line {reader.line_num}: there must be {len(row) - 1} values, "
                    f"but got more"
                )
            rows.append((reader.line_num, {key: value.strip() for key, value in row.items()}))
        columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"{path}: the table must be readable CSV text, but: {error}") from None
    lengths, statistics = ("length_tokens", "audio_seconds"), (MEAN, "latency_ms_p50")
    for needed in (("batch_size",), lengths, statistics):
        if not set(needed) & set(columns):
            raise ProfileError(f"{path}: the table must have a column {' or '.join(needed)}")
    return rows


def _select(
    rows: list[tuple[int, Row]], where: Mapping[str, str], place: str
) -> list[tuple[int, Row]]:
    for column, wanted in where.items():
        there = _distinct(row.get(column, "") for _, row in rows)
        if rows and column not in rows[0][1]:
            known = ", ".join(rows[0][1])
            raise ProfileError(f"{place}: `where` names {column!r}, but the columns are {known}")
        alternatives = [_comparable(text) for text in wanted.split("|")]
        rows = [(line, row) for line, row in rows if _comparable(row[column]) in alternatives]
        if not rows:
            raise ProfileError(f"{place}: no row has {column} = {wanted!r}; there are {there}")
    if not rows:
        raise ProfileError(f"{place}: there must be at least one row of data, but there is none")
    return rows


def _refuse_mixture(rows: list[tuple[int, Row]], place: str) -> None:
    for column in IDENTITY:
        if len({row.get(column, "") for _, row in rows}) > 1:
            there = _distinct(row.get(column, "") for _, row in rows)
            raise ProfileError(
                f"{place}: a profile has one {column}, but the rows have {there}; "
                f"choose one with `where`"
            )
    if all(any(row.get(key) for _, row in rows) for key in ("length_tokens", "audio_seconds")):
        raise ProfileError(
            f"{place}: lengths must be all tokens or all audio, but the rows have both"
        )


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(repr(value) for value in dict.fromkeys(values))


def _comparable(text: str) -> str | Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return text.strip().casefold()


def _everywhere(rows: list[tuple[int, Row]], column: str) -> bool:
    return all(row.get(column) for _, row in rows)


def _length(text: str | None, column: str, place: str) -> int:
    if column == "length_tokens":
        return count(text, column, place)
    ms = time_ns(text, column, place)  # 10^6 of the cell's unit: seconds become us
    if ms % 1000:
        raise ProfileError(f"{place}: {column} must be a whole number of ms, but got {text!r}")
    return ms // 1000


def _metadata(rows: list[Row], licence: str, place: str) -> Metadata:
    """What all rows say; a remark that only some of them carry counts as a defect."""
    notes = [row.get("note", "").split("; ") for row in rows]
    shared = [part for part in notes[0] if part and all(part in parts for parts in notes)]
    some = dict.fromkeys(part for parts in notes for part in parts if part and part not in shared)
    first = {column: rows[0].get(column) or "not stated" for column in IDENTITY}
    return Metadata(
        model=first["model"],
        task=first["task"],
        device=first["device"],
        precision=first["precision"],
        framework=first["framework"],
        execution="engine" if ENGINES.search(first["framework"]) else "eager",
        timed="; ".join(shared) or "not stated",
        licence=licence,
        source_repository=rows[0].get("source_repo", ""),
        source_path=rows[0].get("source_path") or Path(place).name,
        source_commit=rows[0].get("source_commit", ""),
        defects=tuple(some),
    )


def _name(metadata: Metadata) -> str:
    words = (metadata.model, metadata.device, metadata.framework, metadata.precision)
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
