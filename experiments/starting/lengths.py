"""Recorded lengths as a table of a scenario: a lognormal where it has them, else a histogram.

A lognormal is one line that anybody can change; a histogram is a file beside the scenario.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policies.contract import IntArray
from sim.lengths import WIDEST, Lognormal

KINDS = ("auto", "histogram", "lognormal")
"""What ``--lengths`` takes beside a log."""
LIKE = 0.03
"""Largest difference of the distribution functions at which a lognormal stands for the lengths."""
LIKE_QUANTILE = 0.05
"""How far its p99 may be off: long requests decide what padding costs."""
SHOWN = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class LengthsFound:
    """Keys of a ``lengths`` table, a file where it needs one, and the reasons."""

    keys: dict[str, Any]
    rows: tuple[tuple[int, int], ...] = ()
    """Lengths and counts, of a histogram."""
    why: tuple[str, ...] = field(default=())


def choose_lengths(
    length: IntArray, wanted: str, unit: str | None, file: str, *, usual: bool = False
) -> LengthsFound:
    """The table for recorded lengths.

    Args:
        length: int64 (N,), at least 1.
        wanted: one of :data:`KINDS`.
        unit: ``tokens`` or ``audio_ms``.
        file: name of the histogram's file.
        usual: whether the unit is that of the profile, and need not be said.
    """
    figures = _figures(length, unit)
    low, high = int(length.min()), int(length.max())
    said = {} if unit is None or usual else {"unit": unit}
    if low == high:
        return LengthsFound({"constant": low, **said}, why=(f"All are {low}.",))
    median, sigma, distance, p99_off = _lognormal(length)
    off = (
        f"their distribution is within {distance:.2g} of a lognormal of median {median:g} and "
        f"sigma {sigma:g}, whose p99 is {_percent(p99_off)} off"
    )
    fits = distance <= LIKE and abs(p99_off) <= LIKE_QUANTILE
    if wanted == "lognormal" or (wanted == "auto" and fits):
        keys: dict[str, Any] = {"distribution": "lognormal", "median": median, "sigma": sigma}
        keys |= {"min": low, "max": high, **said}
        return LengthsFound(keys, why=(f"{figures}; {off}.",))
    values, counts = np.unique(length, return_counts=True)
    rows = tuple(zip(values.tolist(), counts.tolist(), strict=True))
    reason = "" if wanted == "histogram" else f"; a histogram, since {off}"
    return LengthsFound({"histogram": file}, rows, (f"{figures}{reason}.",))


def _figures(length: IntArray, unit: str | None) -> str:
    quantiles = ", ".join(f"p{100 * share:g} {np.quantile(length, share):,.0f}" for share in SHOWN)
    noun = {"audio_ms": " ms of audio", "tokens": " tokens", None: ""}[unit]
    return f"mean {length.mean():,.4g}{noun}, {quantiles}, longest {length.max():,}"


def _lognormal(length: IntArray) -> tuple[float, float, float, float]:
    """Median, sigma (moments of logarithms), largest difference, and p99 over the log's less 1."""
    logs = np.log(length)
    median = float(f"{math.exp(float(logs.mean())):.4g}")
    sigma = float(f"{float(logs.std()):.4g}")
    low, high = int(length.min()), int(length.max())
    if high - low >= WIDEST:
        return median, sigma, 1.0, math.inf
    pmf = Lognormal(median, sigma, low, high).pmf()
    counts = np.bincount(length - low, minlength=high - low + 1)
    known = np.zeros(high - low + 1)
    known[pmf.length - low] = pmf.probability
    distance = float(np.abs(known.cumsum() - counts.cumsum() / len(length)).max())
    return median, sigma, distance, pmf.quantile(0.99) / float(np.quantile(length, 0.99)) - 1.0


def _percent(share: float) -> str:
    """``+1.2 %``; what rounds to nothing has no sign."""
    text = f"{100 * share:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text
