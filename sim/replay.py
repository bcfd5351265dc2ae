"""Replay of recorded requests from a CSV file, plain or gzip.

1. The file is read row by row and may be larger than memory; what is kept are 8 bytes an instant, 4
   a length and 1 a tier.
2. Seconds are decimals and become ns exactly: ``0.0520000`` is 52,000,000 ns.  What is finer than 1
   ns is rounded half to even.  Instants may also be dates (:mod:`sim.dates`), just as exact.
3. The first request of the file arrives at instant 0, the others as long after it as in the file.
4. Whatever is wrong is told with file, line, column and value.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal, DecimalException
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray

from .dates import date_ns
from .errors import WorkloadError, is_positive, nearest, require

SECOND_NS = 1_000_000_000

LATEST_S = Decimal(2**62) / SECOND_NS
"""146 years: beyond it sums of instants would overflow int64."""

LONGEST = 2**31 - 1
"""Lengths are int32."""

ROWS = 65_536
"""Rows that are converted at a time."""

COLUMNS = ("arrival_s", "length", "tier")


@dataclass(frozen=True, eq=False)
class Replay:
    """Recorded arrivals as an arrival process that ends.

    ``time_scale`` stretches time: 0.5 replays twice as fast.
    """

    recorded_ns: IntArray
    """int64 (N,), not decreasing, begins at 0."""
    length: NDArray[np.int32] | None = None
    """int32 (N,), or None where the file has none."""
    tier: NDArray[np.int8] | None = None
    """int8 (N,), or None where the file has none."""
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        require(is_positive(self.time_scale), "time_scale > 0", time_scale=self.time_scale)

    def __len__(self) -> int:
        return int(self.recorded_ns.shape[0])

    @cached_property
    def recorded_rate_per_s(self) -> float:
        """Gaps over the span of the file, before scaling.

        Raises:
            WorkloadError: all requests come at one instant.
        """
        span_ns = int(self.recorded_ns[-1])
        if span_ns == 0:
            raise WorkloadError(
                f"the {len(self)} request(s) of the trace all come at one instant, so it has no"
                " rate; give a trace with at least two instants"
            )
        return (len(self) - 1) * SECOND_NS / span_ns

    @property
    def rate_per_s(self) -> float:
        """Mean rate of the replay."""
        return self.recorded_rate_per_s / self.time_scale

    @property
    def gap_cv(self) -> float:
        """Of the recorded gaps."""
        gaps = np.diff(self.recorded_ns).astype(np.float64)
        return float(gaps.std() / gaps.mean())

    def at_rate(self, rate_per_s: float) -> Self:
        """The same requests with time stretched to a mean rate."""
        require(is_positive(rate_per_s), "rate_per_s > 0", rate_per_s=rate_per_s)
        return replace(self, time_scale=self.recorded_rate_per_s / rate_per_s)

    def instants_ns(self, rng: np.random.Generator) -> Iterator[NDArray[Any]]:
        """The recorded instants, exact where time is not stretched; draws nothing."""
        for begin in range(0, len(self), ROWS):
            block = self.recorded_ns[begin : begin + ROWS]
            yield block if self.time_scale == 1.0 else block * self.time_scale


def read_trace(
    file: str | Path,
    columns: Mapping[str, str] | None = None,
    tiers: Sequence[str] = (),
) -> Replay:
    """Read recorded requests.

    Args:
        file: CSV with a header, or the same as gzip (``.gz``).
        columns: names of the columns in the file by what they hold: ``arrival_s`` (needed),
            ``length`` and ``tier``.  What is not named is looked for under its own name, and
            ``length`` and ``tier`` may be missing then.
        tiers: names of the tiers.  A file's tier is one of them, or its index.  Without names the
            tier column is not read.

    Raises:
        WorkloadError: the file cannot be read, or a row is wrong.
    """
    named = dict(columns or {})
    for key in named:
        if key not in COLUMNS:
            raise WorkloadError(f"columns.{key} is not known; {nearest(key, COLUMNS)}")
    if not tiers and "tier" not in named:
        named["tier"] = ""
    path = Path(file)
    with _opened(path) as lines:
        reader = csv.reader(lines)
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise WorkloadError(f"{path} is empty; give a header line and one line a request")
        places = {key: _place(path, header, key, named) for key in COLUMNS}
        converters: dict[str, Callable[[str], int]] = {
            "arrival_s": _instant_ns,
            "length": _length,
            "tier": _tier_index(tiers),
        }
        wanted = {key: (place, converters[key]) for key, place in places.items() if place >= 0}
        table = _columns(path, reader, header, wanted)
    instants = table["arrival_s"]
    if not len(instants):
        raise WorkloadError(f"{path} holds a header but no request; give one line a request")
    return Replay(instants - instants[0], table.get("length"), table.get("tier"))


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOBase]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as lines:
                yield lines
        else:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                yield lines
    except (EOFError, OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WorkloadError(f"{path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path} is not text in UTF-8, so it is no CSV file") from error
    except csv.Error as error:
        raise WorkloadError(f"{path} is not a CSV file: {error}") from error


def _place(path: Path, header: list[str], key: str, named: Mapping[str, str]) -> int:
    """Index of a column, -1 where it may be missing and is."""
    name = named.get(key, key)
    if name in header:
        return header.index(name)
    if name == "" or (key not in named and key != "arrival_s"):
        return -1
    raise WorkloadError(f"{path} has no column {name!r} for {key}; {nearest(name, header)}")


WIDTHS: dict[str, Any] = {"arrival_s": np.int64, "length": np.int32, "tier": np.int8}


def _columns(
    path: Path,
    reader: Any,
    header: list[str],
    wanted: Mapping[str, tuple[int, Callable[[str], int]]],
) -> dict[str, NDArray[Any]]:
    """Converted columns; blank lines at the end of the file are none."""
    blocks: dict[str, list[NDArray[Any]]] = {key: [] for key in wanted}
    values: dict[str, list[int]] = {key: [] for key in wanted}
    last_ns, count = -1, 0
    for row in reader:
        if not row:
            continue
        line = reader.line_num
        count += 1
        for key, (place, convert) in wanted.items():
            if place >= len(row):
                raise WorkloadError(
                    f"{path}, line {line}: {len(row)} values, but {header[place]} is column"
                    f" {place + 1}"
                )
            try:
                values[key].append(convert(row[place].strip()))
            except _WrongValueError as wrong:
                raise WorkloadError(
                    f"{path}, line {line}: {header[place]} = {row[place]!r} must be {wrong}"
                ) from None
        if values["arrival_s"][-1] < last_ns:
            name = header[wanted["arrival_s"][0]]
            raise WorkloadError(
                f"{path}, line {line}: {name} = {row[wanted['arrival_s'][0]]} is earlier than the"
                f" line before; sort the file by {name}"
            )
        last_ns = values["arrival_s"][-1]
        if count % ROWS == 0:
            _flush(values, blocks)
    _flush(values, blocks)
    return {key: np.concatenate(parts) for key, parts in blocks.items()}


def _flush(values: dict[str, list[int]], blocks: dict[str, list[NDArray[Any]]]) -> None:
    for key, column in values.items():
        blocks[key].append(np.array(column, dtype=WIDTHS[key]))
        column.clear()


class _WrongValueError(Exception):
    """A value is not what the text says."""


INSTANT = "a number of seconds, not below 0, or a date and time as 2026-01-31 12:00:00.25"


def _instant_ns(text: str) -> int:
    try:
        seconds = Decimal(text)
    except DecimalException:
        found = date_ns(text)
        if found is None or found < 0:
            raise _WrongValueError(INSTANT) from None
        return found
    if not seconds.is_finite() or seconds < 0:
        raise _WrongValueError(INSTANT)
    if seconds > LATEST_S:
        raise _WrongValueError("at most 146 years of seconds")
    return int((seconds * SECOND_NS).to_integral_value())


def _length(text: str) -> int:
    digits = text.lstrip("0")
    if not (digits and text.isascii() and text.isdigit()):
        raise _WrongValueError("a whole number of at least 1")
    if len(digits) > len(str(LONGEST)) or int(digits) > LONGEST:
        raise _WrongValueError(f"at most {LONGEST}")
    return int(digits)


def _tier_index(tiers: Sequence[str]) -> Callable[[str], int]:
    index = {name: place for place, name in enumerate(tiers)}
    index = {str(place): place for place in range(len(tiers))} | index

    def convert(text: str) -> int:
        try:
            return index[text]
        except KeyError:
            raise _WrongValueError(f"a tier of the workload; {nearest(text, tiers)}") from None

    return convert
