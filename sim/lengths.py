"""How long requests are: whole numbers of tokens, or of milliseconds of audio.

1. Every kind is an exact :class:`~sim.pmf.LengthPmf`; requests are drawn from it by inversion, with
   one uniform number each, so n lengths are the first n of any longer draw of the same stream.
2. A kind that knows its unit (``tokens`` or ``audio_ms``) says so; ``None`` takes the profile's.
3. Whatever theory needs (the load, a mean, quantiles) is a finite sum over the pmf, not a sample.
"""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .errors import WorkloadError, is_positive, nearest, require
from .pmf import LengthPmf

UNITS = ("tokens", "audio_ms")

LONGEST = 2**31 - 1
"""Lengths are int32."""

WIDEST = 2**22
"""Most distinct lengths of a distribution: 32 MiB of float64."""

DATASETS_FOLDER = Path(__file__).parent / "datasets"

DATASETS = tuple(sorted(path.stem for path in DATASETS_FOLDER.glob("*.csv")))
"""Names of the shipped length distributions; sources are in ``datasets/README.md``."""


class Lengths(Protocol):
    """What every kind of length has."""

    @property
    def unit(self) -> str | None:
        """``tokens``, ``audio_ms``, or None: that of the profile."""
        ...

    def pmf(self) -> LengthPmf:
        """Exact probabilities."""
        ...


@dataclass(frozen=True)
class Constant:
    """All requests are equally long."""

    constant: int
    unit: str | None = None

    def __post_init__(self) -> None:
        require(
            1 <= self.constant <= LONGEST, f"1 <= constant <= {LONGEST}", constant=self.constant
        )

    def pmf(self) -> LengthPmf:
        """One value."""
        return LengthPmf(np.array([self.constant]), np.ones(1))


@dataclass(frozen=True)
class Lognormal:
    """Lognormal with a median and a sigma of the logarithm, conditioned on [min, max].

    Conditioned, not clipped: nothing piles up at the ends.  Rounded to the nearest whole length.
    """

    median: float
    sigma: float
    min: int
    max: int
    unit: str | None = None

    def __post_init__(self) -> None:
        require(is_positive(self.median), "median > 0", median=self.median)
        require(is_positive(self.sigma), "sigma > 0", sigma=self.sigma)
        _check_range(self.min, self.max)

    def pmf(self) -> LengthPmf:
        """Differences of the distribution function half a step around each length."""
        length = np.arange(self.min, self.max + 1)
        edges = np.concatenate([[self.min], length[:-1] + 0.5, [self.max]])
        score = np.log(edges / self.median) / self.sigma
        # differences of small tails are exact, those of numbers near 1 are not
        below = -ndtr(-score) if score[0] > 0 else ndtr(score)
        weight = np.diff(below)
        if self.min == self.max:
            weight = np.ones(1)
        if not weight.sum() > 0:
            raise WorkloadError(
                f"a lognormal with median {self.median:g} and sigma {self.sigma:g} has no mass"
                f" between {self.min} and {self.max}"
            )
        return LengthPmf.of_counts(length, weight)


@dataclass(frozen=True)
class Uniform:
    """Each whole length from ``min`` to ``max`` is equally likely."""

    min: int
    max: int
    unit: str | None = None

    def __post_init__(self) -> None:
        _check_range(self.min, self.max)

    def pmf(self) -> LengthPmf:
        """Equal probabilities."""
        length = np.arange(self.min, self.max + 1)
        return LengthPmf.of_counts(length, np.ones(len(length)))


@dataclass(frozen=True)
class Histogram:
    """Counts by length from a CSV file.

    The header is ``tokens,count`` or ``audio_ms,count`` (then the unit is known) or
    ``length,count``.
    """

    file: str

    @property
    def unit(self) -> str | None:
        """As the header says."""
        return self._found[0]

    def pmf(self) -> LengthPmf:
        """Counts over their sum."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[str | None, LengthPmf]:
        """Read once: a run goes on with the file that it began with."""
        return _read_histogram(self.file)


@dataclass(frozen=True)
class Dataset:
    """Lengths as a public data set has them: a histogram that comes with the package."""

    dataset: str

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            hint = nearest(self.dataset, DATASETS)
            raise WorkloadError(f"there is no length data set {self.dataset!r}; {hint}")

    @property
    def unit(self) -> str | None:
        """``tokens`` or ``audio_ms``."""
        return Histogram(str(DATASETS_FOLDER / f"{self.dataset}.csv")).unit

    def pmf(self) -> LengthPmf:
        """Counts over their sum."""
        return Histogram(str(DATASETS_FOLDER / f"{self.dataset}.csv")).pmf()


@dataclass(frozen=True, eq=False)
class Column:
    """Lengths from the trace that gives the arrivals: request i has the length of row i."""

    recorded: NDArray[np.int32]
    """int32 (rows,), at least 1."""
    unit: str | None = None

    def pmf(self) -> LengthPmf:
        """Shares of the rows."""
        return LengthPmf.of_counts(self.recorded, np.ones(len(self.recorded)))


LENGTHS = {
    "constant": Constant,
    "lognormal": Lognormal,
    "uniform": Uniform,
    "histogram": Histogram,
    "dataset": Dataset,
    "column": Column,
}
"""Every kind of length by the key, or the distribution, that names it in a scenario."""


def _check_range(low: int, high: int) -> None:
    require(1 <= low <= high <= LONGEST, f"1 <= min <= max <= {LONGEST}", min=low, max=high)
    require(high - low < WIDEST, f"max - min < {WIDEST}", min=low, max=high)


def _read_histogram(file: str) -> tuple[str | None, LengthPmf]:
    """Unit and probabilities; a file is read again once it has changed."""
    try:
        known = Path(file).stat()
    except OSError as error:
        raise WorkloadError(f"{file} cannot be read: {error.strerror}") from error
    return _histogram(file, str(Path(file).absolute()), known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=32)
def _histogram(file: str, _path: str, _changed: int, _size: int) -> tuple[str | None, LengthPmf]:
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
            known = (*UNITS, "length")
            if len(header) != 2 or header[0] not in known or header[1] != "count":
                raise WorkloadError(
                    f"{file}, line 1: the header must be tokens,count or audio_ms,count or"
                    f" length,count, but is {','.join(header)!r}"
                )
            rows = [
                _counted(f"{file}, line {line}", row)
                for line, row in zip(itertools.count(2), csv.reader(lines), strict=False)
            ]
    except OSError as error:
        raise WorkloadError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{file} is not text in UTF-8, so it is no CSV file") from error
    except csv.Error as error:
        raise WorkloadError(f"{file} is not a CSV file: {error}") from error
    if not any(count for _, count in rows):
        raise WorkloadError(f"{file} counts no request at all; give at least one count above 0")
    table = np.array(rows, dtype=np.int64)
    return (header[0] if header[0] in UNITS else None), LengthPmf.of_counts(
        table[:, 0], table[:, 1]
    )


def _counted(place: str, row: list[str]) -> tuple[int, int]:
    """Length and count of a row."""
    if len(row) != 2:
        raise WorkloadError(f"{place}: {','.join(row)!r} must be a length and a count")
    for text, noun, least in ((row[0], "a length", 1), (row[1], "a count", 0)):
        whole = text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST))
        if not (whole and least <= int(text) <= LONGEST):
            raise WorkloadError(
                f"{place}: {text!r} must be {noun}, a whole number from {least} to {LONGEST}"
            )
    return int(row[0]), int(row[1])
