"""The text of a profile's files, both ways; :mod:`profiles.store` says what the files are.

What is written reads back exactly: times are whole ns, in ms with up to six decimals in the grid
(for people and spreadsheets) and in ns in the samples.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any, NamedTuple

import numpy as np

from .grid import Point, count, grid, time_ns
from .latency import PERCENTILES, IntArray, Profile, Samples
from .metadata import ProfileError, to_mapping

FORMAT = 1
POINT_COLUMNS = ("batch_size", "length", "latency_ms")
PERCENTILE_COLUMNS = {f"p{key}_ms": key for key in PERCENTILES}
SAMPLE_COLUMNS = ("batch_size", "length", "start_ns", "latency_ns")


class Grid(NamedTuple):
    """What stands in the grid file."""

    batch_size: IntArray
    length: IntArray
    latency_ns: IntArray
    percentiles_ns: dict[int, IntArray]


def grid_text(profile: Profile) -> str:
    """Text of the grid file."""
    percentiles = sorted(profile.percentiles_ns)
    grids = [profile.latency_ns, *(profile.percentiles_ns[key] for key in percentiles)]
    lines = [",".join((*POINT_COLUMNS, *(f"p{key}_ms" for key in percentiles)))]
    for i, size in enumerate(profile.batch_size):
        for j, length in enumerate(profile.length):
            lines.append(",".join((f"{size},{length}", *(_ms(times[i, j]) for times in grids))))
    return "\n".join(lines) + "\n"


def read_grid(text: str, place: str) -> Grid:
    """The grid from the text of its file.

    Raises:
        ProfileError: a column, a cell or a point is missing, unknown, twice there or wrong.
    """
    header, rows = rows_of(text, place, POINT_COLUMNS, tuple(PERCENTILE_COLUMNS))
    columns = [column for column in header if column.endswith("_ms")]
    points = []
    for line, row in rows:
        cell, here = dict(zip(header, row, strict=True)), f"{place}, line {line}"
        size = count(cell["batch_size"], "batch_size", here)
        length = count(cell["length"], "length", here)
        times = tuple(time_ns(cell[column], column, here) for column in columns)
        points.append(Point(line, size, length, times))
    sizes, lengths, times_ns = grid(points, place)
    by_column = dict(zip(columns, times_ns, strict=True))
    percentiles = {
        key: by_column[column] for column, key in PERCENTILE_COLUMNS.items() if column in by_column
    }
    return Grid(sizes, lengths, by_column["latency_ms"], percentiles)


def side_text(profile: Profile) -> str:
    """Text of the side file."""
    side: dict[str, Any] = {
        "format": FORMAT,
        "length_unit": profile.length_unit,
        "statistic": profile.statistic,
    }
    if profile.lag1 is not None:
        side["lag1"] = profile.lag1
    return json.dumps(side | to_mapping(profile.metadata), indent=2, ensure_ascii=False) + "\n"


def read_side(text: str, place: str) -> dict[str, Any]:
    """The side file as a mapping, without its format number.

    Raises:
        ProfileError: it is not JSON, of another format, or lacks unit or statistic.
    """
    try:
        side = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{place}: the file must be JSON, but: {error}") from None
    if not isinstance(side, dict):
        raise ProfileError(f"{place}: the file must hold one JSON object, but got {side!r:.40}")
    for key in ("format", "length_unit", "statistic"):
        if key not in side:
            raise ProfileError(f"{place}: `{key}` is missing")
    version = side.pop("format")
    if version != FORMAT:
        raise ProfileError(f"{place}: `format` must be {FORMAT}, but got {version!r}")
    lag1 = side.setdefault("lag1", None)
    if lag1 is not None and (isinstance(lag1, bool) or not isinstance(lag1, int | float)):
        raise ProfileError(f"{place}: `lag1` must be a number, but got {lag1!r}")
    return side


def samples_text(samples: Samples) -> str:
    """Text of the samples file, before compression."""
    columns = [getattr(samples, column).tolist() for column in SAMPLE_COLUMNS]
    lines = [",".join(map(str, call)) for call in zip(*columns, strict=True)]
    return "\n".join((",".join(SAMPLE_COLUMNS), *lines)) + "\n"


def read_samples(text: str, place: str) -> Samples:
    """The raw calls from the text of the samples file.

    Raises:
        ProfileError: a column is missing, or a cell is not a whole number.
    """
    header, rows = rows_of(text, place, SAMPLE_COLUMNS, ())
    least = {column: 0 if column == "start_ns" else 1 for column in SAMPLE_COLUMNS}
    columns: dict[str, list[int]] = {column: [] for column in header}
    for line, row in rows:
        for column, cell in zip(header, row, strict=True):
            columns[column].append(count(cell, column, f"{place}, line {line}", least[column]))
    return Samples(*(np.array(columns[column], dtype=np.int64) for column in SAMPLE_COLUMNS))


def rows_of(
    text: str, place: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and rows with their line numbers; each row is as long as the header."""
    reader = csv.reader(io.StringIO(text))
    try:
        header = [column.strip() for column in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ProfileError(f"{place}: the file must be CSV text, but: {error}") from None
    for column in required:
        if column not in header:
            raise ProfileError(f"{place}: the column {column} is missing")
    allowed = (*required, *optional)
    for column in header:
        if column not in allowed or header.count(column) > 1:
            raise ProfileError(
                f"{place}: the columns may be {', '.join(allowed)}, each once, but got {column!r}"
            )
    for line, row in rows:
        if len(row) != len(header):
            raise ProfileError(
                f"{place}, line {line}: there must be {len(header)} values, but got {len(row)}"
            )
    return header, rows


def _ms(ns: int) -> str:
    """Ns as ms, exactly, without trailing zeros."""
    whole, part = divmod(int(ns), 10**6)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")
