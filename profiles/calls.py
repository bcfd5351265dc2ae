"""Raw timed calls as they were made, warm-up included, and their file.

``NAME-raw.csv.gz``: one row per call in the order in which they were made.  ``batch_size, length,
round, kind, gap_ns, wall_ns, device_ns, instant_ns``; ``device_ns`` is empty where the device
cannot say, ``instant_ns`` is the start of the call from any origin.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .latency import Samples
from .metadata import ProfileError
from .store import find, write_whole

KINDS = ("warmup", "grid", "holdout", "steady", "paced")
RAW = "-raw.csv.gz"


class Call(NamedTuple):
    """One timed call."""

    batch_size: int
    length: int
    round: int
    """Of the grid and the hold-out; of the other kinds the number of the series."""
    kind: str
    """One of :data:`KINDS`."""
    gap_ns: int
    """Idle time before the call that was asked for; 0 is back to back."""
    wall_ns: int
    device_ns: int | None
    instant_ns: int


def samples(calls: Iterable[Call], kind: str = "grid") -> Samples:
    """The calls of one kind as the samples of a profile."""
    rows = [
        (call.batch_size, call.length, call.instant_ns, call.wall_ns)
        for call in calls
        if call.kind == kind
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Samples(*(np.ascontiguousarray(column) for column in columns))


def write_calls(calls: Sequence[Call], path: Path) -> None:
    """Write the raw file; the same calls make the same bytes."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Call._fields)
    for call in calls:
        table.writerow(["" if value is None else value for value in call])
    write_whole(path, gzip.compress(text.getvalue().encode(), mtime=0))


def read_calls(path: Path) -> list[Call]:
    """The calls of a raw file that :func:`write_calls` wrote.

    Raises:
        ProfileError: the file is broken.
    """
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        return [_call(row) for row in csv.DictReader(io.StringIO(text))]
    except (
        OSError,
        EOFError,
        csv.Error,
        zlib.error,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
    ) as e:
        raise ProfileError(
            f"{path}: the file must be gzip of rows {','.join(Call._fields)}, but reading it "
            f"failed: {type(e).__name__}: {e}"
        ) from None


def raw_path(name_or_path: str | Path) -> Path | None:
    """Where the raw calls of a profile are, which may have none.

    Raises:
        ProfileError: there is no such profile.
    """
    folder, name = find(str(name_or_path))
    path = folder / f"{name}{RAW}"
    return path if path.is_file() else None


def _call(row: dict[str, str]) -> Call:
    return Call(
        batch_size=int(row["batch_size"]),
        length=int(row["length"]),
        round=int(row["round"]),
        kind=row["kind"],
        gap_ns=int(row["gap_ns"]),
        wall_ns=int(row["wall_ns"]),
        device_ns=int(row["device_ns"]) if row["device_ns"] else None,
        instant_ns=int(row["instant_ns"]),
    )
