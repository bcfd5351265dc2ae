"""A log of requests, read from CSV: when each arrived, and maybe how long it is and of which tier.

1. One line a request, in any order.  Instants are numbers in the unit that ends the column's name
   (``_s``, ``_ms``, ``_us``, ``_ns``), else in the one that is given, else in the one that their
   size tells; or dates with a time as in ISO 8601.  They may count from anything.
2. A line without an arrival, or with a length that is none, is an error with its number.  Few
   lines without a length take that of the request before, which the log's notes say.
3. Lengths of clips are kept in ms, whatever the unit of their column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.sentences import ScenarioError
from policies.contract import IntArray
from sim.errors import nearest

from .columns import UNITS, WHAT, candidates, is_heard, unit_in
from .table import read_table

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 2**31 - 1
TIERS_MOST = 16
"""More different values are names of something else."""
URGENT = ("premium", "paid", "gold", "interactive", "realtime", "pro", "enterprise", "high", "vip")
PATIENT = ("free", "trial", "low", "batch", "bulk", "offline", "background", "archive")
"""Names of tiers that say how urgent they are."""
SINCE_1970 = (("ns", 1e17), ("us", 1e14), ("ms", 1e11))
"""Instants from that number on are of this unit: in a larger one they came after the year 5000."""
SECONDS_BELOW = 100
"""Clips whose median is below that number are told in seconds: a tenth of a second says nothing."""
LACK_MOST = 0.05
"""Share of requests that may lack a length."""


@dataclass(frozen=True, eq=False)
class Log:
    """Requests in the order in which they arrived."""

    path: Path
    arrival_ns: IntArray
    """int64 (N,), not decreasing, begins at 0."""
    length: IntArray | None
    """int64 (N,), at least 1; of a model that generates, the prompt."""
    output: IntArray | None
    """int64 (N,), at least 1, tokens that were generated."""
    tier: IntArray | None
    """int64 (N,), the place in ``tiers``."""
    tiers: tuple[str, ...]
    columns: Mapping[str, str]
    """Names of the columns that were read, by what they hold."""
    unit: str | None
    """What the lengths count, where the column says it: ``tokens`` or ``audio_ms``."""
    notes: tuple[str, ...] = ()
    """What was understood of the file, in sentences."""

    def __len__(self) -> int:
        return int(self.arrival_ns.shape[0])


def read_log(
    path: Path,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    counts: str | None = None,
) -> Log:
    """Read a log.

    Args:
        path: the CSV file, maybe gzipped.
        columns: names of its columns by what they hold: ``arrival``, ``length``, ``output``,
            ``tier``.
        unit: of instants whose column does not end in one.
        counts: what the lengths of the model count, ``tokens`` or ``audio_ms``, where it is known.

    Raises:
        ScenarioError: the file cannot be read, lacks a column, or a value makes no sense.
    """
    named = dict(columns or {})
    for key in named:
        if key not in WHAT:
            raise ScenarioError(f"--columns {key}: is not known; {nearest(key, WHAT)}")
    if unit is not None and unit not in UNITS:
        raise ScenarioError(f"--unit {unit} must be one of {', '.join(UNITS)}")
    frame = read_table(path)
    places = {key: _column(path, list(frame.columns), key, named, counts) for key in WHAT}
    found = {key: name for key, name in places.items() if name is not None}
    if "tier" not in named and "tier" in found and frame[found["tier"]].nunique() > TIERS_MOST:
        del found["tier"]
    instants, told = _instants(path, frame[found["arrival"]], unit)
    order = np.argsort(instants, kind="stable")
    notes = [_read(found, told)]
    lengths = {
        key: _lengths(path, frame[found[key]], order, notes)
        for key in ("length", "output")
        if key in found
    }
    counted, length = _in_unit(found.get("length"), lengths.get("length"), counts)
    tier, tiers = _tiers(path, frame[found["tier"]], order) if "tier" in found else (None, ())
    return Log(
        path=path,
        arrival_ns=(instants - instants[order[0]])[order],
        length=None if length is None else np.maximum(np.rint(length), 1).astype(np.int64),
        output=np.maximum(np.rint(lengths["output"]), 1).astype(np.int64)
        if "output" in lengths
        else None,
        tier=tier,
        tiers=tiers,
        columns=found,
        unit=counted,
        notes=(*notes, *_not_found(found, list(frame.columns))),
    )


def _read(found: Mapping[str, str], told: str) -> str:
    others = ", ".join(f"{key} from {name}" for key, name in found.items() if key != "arrival")
    return f"Read: arrival from {found['arrival']} ({told}){', ' * bool(others)}{others}."


def _not_found(found: Mapping[str, str], header: list[str]) -> list[str]:
    left = [name for name in header if name not in found.values()]
    if "length" in found or not left:
        return []
    maybe = " or ".join(left[:3])
    return [f"No column was taken for lengths; if {maybe} holds them: --columns length=NAME."]


def _column(
    path: Path, header: list[str], key: str, named: Mapping[str, str], counts: str | None
) -> str | None:
    """The name of a column; None where it may be missing and is."""
    if key in named:
        if named[key] not in header:
            hint = nearest(named[key], header)
            raise ScenarioError(f"{path} has no column {named[key]!r} for {key}; {hint}")
        return named[key]
    taken = set(named.values())
    found = [name for name in candidates(header, key, counts) if name not in taken]
    if not found and key == "arrival":
        raise ScenarioError(
            f"{path} has no column for arrival (arrival, timestamp, received_at, ...); it has "
            f"{', '.join(header)}: name it, as in --columns arrival=NAME"
        )
    return found[0] if found else None


def _instants(path: Path, cells: pd.Series[str], unit: str | None) -> tuple[IntArray, str]:
    """int64 (N,) in ns, not yet from 0, and how they were understood."""
    import pandas as pd

    text, name = cells.str.strip(), str(cells.name)
    empty = np.flatnonzero((text == "").to_numpy())
    if len(empty):
        raise ScenarioError(f"{path}, line {empty[0] + 2}: {name} is empty")
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        return _dates(path, text, name), "dates"
    unit = unit_in(name) or unit or _by_size(values)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ScenarioError(
            f"{path}, line {bad[0] + 2}: {name} = {text.iloc[bad[0]]!r} must be a number of {unit}"
        )
    whole = np.floor(values[0])
    with np.errstate(over="ignore"):  # what is infinite is told below
        from_first = np.rint((values - whole) * UNITS[unit])
    if np.abs(from_first).max() >= 2**62:
        raise ScenarioError(
            f"{path}: {name} spans more than 146 years in {unit}; say its unit, as in --unit ms"
        )
    return np.asarray(from_first.astype(np.int64)), f"in {unit}"


def _by_size(values: Any) -> str:
    """Seconds, or what instants since 1970 that large must count."""
    with np.errstate(over="ignore"):
        usual = float(np.nanmedian(values))
    return next((unit for unit, least in SINCE_1970 if usual >= least), "s")


def _dates(path: Path, text: pd.Series[str], name: str) -> IntArray:
    import pandas as pd

    tidy = text.str.replace(r",(?=\d+)", ".", regex=True)
    tidy = tidy.str.replace(r"^(\d{4})/(\d{1,2})/", r"\1-\2-", regex=True)
    tidy = tidy.str.replace(r" ?(UTC|GMT)$", "Z", regex=True)
    found: Any = pd.to_datetime(tidy, errors="coerce", utc=True, format="ISO8601")
    bad = np.flatnonzero(found.isna().to_numpy())
    if len(bad):
        raise ScenarioError(
            f"{path}, line {bad[0] + 2}: {name} = {text.iloc[bad[0]]!r} must be a number, or a "
            "date and time as 2026-01-31 12:00:00.25"
        )
    first = found.iloc[0]
    return np.asarray(((found - first) // pd.Timedelta(1, "ns")).to_numpy(dtype=np.int64))


def _lengths(
    path: Path, cells: pd.Series[str], order: IntArray, notes: list[str]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 (N,), as they stand, in the order of arrival."""
    import pandas as pd

    text = cells.str.strip()
    if not text.str.contains(".", regex=False).any():
        text = text.str.replace(r"^(\d+),(\d{1,2}|\d{4,})$", r"\1.\2", regex=True)
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    lacks = np.asarray((text == "").to_numpy(), dtype=bool)
    bad = np.flatnonzero(~((values >= 0) & (values <= LONGEST)) & ~lacks)
    if len(bad):
        raise ScenarioError(
            f"{path}, line {bad[0] + 2}: {cells.name} = {cells.iloc[bad[0]]!r} must be a length "
            f"from 0 to {LONGEST}"
        )
    if not lacks.any():
        return np.asarray(values[order])
    line = int(np.flatnonzero(lacks)[0]) + 2
    if lacks.mean() > LACK_MOST:
        raise ScenarioError(
            f"{path}, line {line}: {cells.name} is empty, as in {100 * lacks.mean():.3g} % of the "
            "lines; name another column, as in --columns length=NAME, or leave those lines out"
        )
    notes.append(
        f"{int(lacks.sum()):,} requests have no {cells.name} (line {line} first): each takes that "
        "of the one before."
    )
    return np.asarray(pd.Series(values[order]).ffill().bfill().to_numpy(dtype=np.float64))


def _in_unit(name: str | None, length: Any, counts: str | None) -> tuple[str | None, Any]:
    """What lengths count, and lengths of clips in ms."""
    if name is None:
        return None, None
    if not is_heard(name) and counts != "audio_ms":
        return ("tokens" if "token" in name.lower() else None), length
    if not is_heard(name) and "token" in name.lower():
        return "tokens", length
    unit = unit_in(name) or ("s" if float(np.median(length)) < SECONDS_BELOW else "ms")
    return "audio_ms", length * (UNITS[unit] / UNITS["ms"])


def _tiers(path: Path, cells: pd.Series[str], order: IntArray) -> tuple[IntArray, tuple[str, ...]]:
    """Numbers are ranks, 0 the most urgent; names that say so are urgent or patient.

    Others stand between them, in the order in which they appear.
    """
    names = cells.str.strip().to_numpy()[order]
    known = list(dict.fromkeys(names.tolist()))
    if "" in known:
        line = np.flatnonzero((cells.str.strip() == "").to_numpy())[0] + 2
        raise ScenarioError(f"{path}, line {line}: {cells.name} is empty")
    if len(known) > TIERS_MOST:
        raise ScenarioError(
            f"{path}: {cells.name} has {len(known)} different values, so it holds no tiers; name "
            "another column, as in --columns tier=NAME"
        )
    if all(name.isdigit() for name in known):
        known.sort(key=Decimal)  # of any length
    known.sort(key=lambda name: (name.lower() in PATIENT) - (name.lower() in URGENT))
    place = {name: k for k, name in enumerate(known)}
    return np.array([place[name] for name in names.tolist()]), tuple(known)
