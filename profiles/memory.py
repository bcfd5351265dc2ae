"""GPU memory: the most that a batch takes, as it was measured by shape, and a model of it.

1. A batch takes ``fixed + per_request x size + per_length x size x length + per_square x size x
   length^2`` bytes: weights, what each request brings, its activations, and the scores of attention
   where they are kept.
2. Fitted coefficients are an upper envelope: no measured shape takes more than the model says.  Of
   all such models it is the one that lies least above the measurement, relative to it, in sum.
3. A shape that did not fit when it was measured never fits, whatever the model says, nor does one
   that is at least as large in both directions.

``NAME-memory.csv`` beside a profile: ``batch_size, length, peak_bytes``; no bytes where the device
ran out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .codec import rows_of
from .grid import count
from .latency import FloatArray, IntArray
from .metadata import ProfileError
from .store import find

MEMORY = "-memory.csv"
COLUMNS = ("batch_size", "length", "peak_bytes")

DEVICE_MEMORY = "device_memory_bytes"
"""Among the versions of a profile that was measured on a GPU: how much the card has."""

Shape = tuple[int, int]
"""Batch size, longest length."""


@dataclass(frozen=True)
class Peaks:
    """What was measured."""

    bytes: Mapping[Shape, int]
    """The most memory that a batch took, by shape."""
    refused: tuple[Shape, ...] = ()
    """Shapes that did not fit."""

    @property
    def limits(self) -> tuple[Shape, ...]:
        """The refused shapes that no smaller one says already."""
        return tuple(
            one
            for one in sorted(set(self.refused))
            if not any(s <= one[0] and n <= one[1] and (s, n) != one for s, n in self.refused)
        )


@dataclass(frozen=True)
class MemoryModel:
    """The most memory that a batch takes, in bytes; see the module's first rule.

    Raises:
        ProfileError: a coefficient is negative or no number.
    """

    fixed: float = 0.0
    per_request: float = 0.0
    per_length: float = 0.0
    per_square: float = 0.0
    refused: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        for name in ("fixed", "per_request", "per_length", "per_square"):
            value = getattr(self, name)
            if not 0.0 <= value < np.inf:
                raise ProfileError(f"`{name}` must not be below 0, but got {value!r}")

    def bytes_of(self, size: IntArray | int, length: IntArray | int) -> FloatArray:
        """What batches take; float64, shaped as the arguments are together."""
        found: FloatArray = self.fixed + np.asarray(size) * self._each(length)
        return found

    def most(self, limit: float, length: IntArray | int, largest: int) -> IntArray:
        """The largest batch, up to ``largest``, that fits at each longest length; 0: not even one.

        Args:
            limit: bytes that are there.
            length: int64 (any,) or one.
            largest: the largest batch that there is.
        """
        each = self._each(length)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(each > 0.0, (limit - self.fixed) / each, np.inf)
        fits = np.clip(np.floor(np.where(self.fixed > limit, 0.0, room)), 0, largest)
        # A quotient that is a hair below or above a whole number: what counts is the sum itself.
        fits = np.where(self.bytes_of(fits + 1, length) <= limit, fits + 1, fits)
        fits = np.where(self.bytes_of(fits, length) > limit, fits - 1, fits)
        for size, refused in self.refused:
            fits = np.where(np.asarray(length) >= refused, np.minimum(fits, size - 1), fits)
        found: IntArray = np.clip(fits, 0, largest).astype(np.int64)
        return found

    def _each(self, length: IntArray | int) -> FloatArray:
        """What each request of a batch takes."""
        long = np.asarray(length, dtype=np.float64)
        found: FloatArray = self.per_request + long * (self.per_length + long * self.per_square)
        return found


def fitted_memory(peaks: Peaks) -> MemoryModel:
    """The model that lies above what was measured, and as little as possible.

    Raises:
        ProfileError: nothing was measured.
    """
    from scipy.optimize import linprog

    if not peaks.bytes:
        raise ProfileError("there must be at least one shape whose memory was measured")
    shapes = np.array(sorted(peaks.bytes), dtype=np.float64)
    size, length = shapes.T
    took = np.array([peaks.bytes[shape] for shape in sorted(peaks.bytes)], dtype=np.float64)
    terms = np.stack((np.ones_like(size), size, size * length, size * length**2), axis=1)
    # In shares of the measurement, and of each term's largest value, everything is around 1.
    scale = terms.max(axis=0)
    shares = terms / scale / took[:, None] * took.max()
    # Few shapes leave terms open: of equal fits the one with the smallest coefficients.
    cost = shares.sum(axis=0) + 1e-9 * len(took)
    found = linprog(cost, A_ub=-shares, b_ub=-np.ones(len(took)), bounds=(0, None))
    if not found.success:
        raise ProfileError(f"no model lies above the measured memory: {found.message}")
    factors = found.x * took.max() / scale
    lacking = float(np.max(took - terms @ factors))
    return MemoryModel(
        fixed=float(factors[0]) + max(0.0, lacking),
        per_request=float(factors[1]),
        per_length=float(factors[2]),
        per_square=float(factors[3]),
        refused=peaks.refused,
    )


def overshoot(model: MemoryModel, peaks: Peaks) -> float:
    """How far the model lies above the measurement at most, as a share of it."""
    return max(float(model.bytes_of(*shape)) / took - 1.0 for shape, took in peaks.bytes.items())


def memory_path(name_or_path: str | Path) -> Path | None:
    """The file with a profile's measured memory; None where it has none.

    Raises:
        ProfileError: there is no such profile.
    """
    folder, name = find(str(name_or_path))
    path = folder / f"{name}{MEMORY}"
    return path if path.is_file() else None


def load_peaks(path: Path) -> Peaks:
    """The measured memory of a profile.

    Raises:
        ProfileError: the file cannot be read, or a row is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: the file cannot be read: {error}") from None
    took: dict[Shape, int] = {}
    refused: list[Shape] = []
    header, rows = rows_of(text, str(path), COLUMNS, ())
    for line, row in rows:
        cell, here = dict(zip(header, row, strict=True)), f"{path}, line {line}"
        shape = tuple(count(cell[column], column, here) for column in COLUMNS[:2])
        if cell["peak_bytes"].strip():
            took[shape[0], shape[1]] = count(cell["peak_bytes"], "peak_bytes", here)
        else:
            refused.append((shape[0], shape[1]))
    if not took:
        raise ProfileError(f"{path}: there must be at least one row with peak_bytes")
    return Peaks(took, tuple(refused))


def peaks_text(took: Mapping[Shape, int], refused: Iterable[Shape]) -> str:
    """The text of the file."""
    rows: dict[Shape, int | str] = {**took, **dict.fromkeys(refused, "")}
    lines = [f"{size},{length},{rows[size, length]}\n" for size, length in sorted(rows)]
    return "".join((",".join(COLUMNS) + "\n", *lines))
