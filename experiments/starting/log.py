"""A log of requests, read from CSV: when each arrived, and maybe how long it is and of which tier.

1. One line a request, in any order.  Instants are numbers in the unit that ends the column's name
   (``_s``, ``_ms``, ``_us``, ``_ns``), else in the one that is given, or dates with a time as in
   ISO 8601; they may count from anything.
2. A line without an arrival, or with a length that is none, is an error with its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.sentences import ScenarioError
from policies.contract import IntArray
from sim.errors import nearest

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
WHAT = ("arrival", "length", "tier")
"""What a column may hold."""

USUAL = {
    "arrival": (
        *(
            "arrival",
            *(f"arrival_{unit}" for unit in UNITS),
            "arrived",
            "arrived_at",
            "received",
            "received_at",
            "created_at",
        ),
        *("timestamp", *(f"timestamp_{unit}" for unit in UNITS), "time", "ts", "datetime"),
    ),
    "length": (
        *("length", "tokens", "num_tokens", "input_tokens", "prompt_tokens", "context_tokens"),
        *("contexttokens", "audio_ms", "duration_ms"),
    ),
    "tier": ("tier", "priority", "class"),
}
"""Names, in small letters, under which a column is looked for where none is given."""

LONGEST = 2**31 - 1
TIERS_MOST = 16
"""More different values are names of something else."""


@dataclass(frozen=True, eq=False)
class Log:
    """Requests in the order in which they arrived."""

    path: Path
    arrival_ns: IntArray
    """int64 (N,), not decreasing, begins at 0."""
    length: IntArray | None
    """int64 (N,), at least 1."""
    tier: IntArray | None
    """int64 (N,), the place in ``tiers``."""
    tiers: tuple[str, ...]
    columns: Mapping[str, str]
    """Names of the columns that were read, by what they hold."""

    def __len__(self) -> int:
        return int(self.arrival_ns.shape[0])

    @property
    def unit(self) -> str | None:
        """What the lengths count, where the column's name says it."""
        name = self.columns.get("length", "").lower()
        return "audio_ms" if name.endswith("_ms") else "tokens" if "token" in name else None


def read_log(path: Path, columns: Mapping[str, str] | None = None, unit: str = "s") -> Log:
    """Read a log.

    Args:
        path: the CSV file, maybe gzipped.
        columns: names of its columns by what they hold: ``arrival``, ``length``, ``tier``.
        unit: of instants whose column does not end in one.

    Raises:
        ScenarioError: the file cannot be read, lacks a column, or a value makes no sense.
    """
    named = dict(columns or {})
    for key in named:
        if key not in WHAT:
            raise ScenarioError(f"--columns {key}: is not known; {nearest(key, WHAT)}")
    if unit not in UNITS:
        raise ScenarioError(f"--unit {unit} must be one of {', '.join(UNITS)}")
    frame = _table(path)
    places = {key: _column(path, list(frame.columns), key, named) for key in WHAT}
    found = {key: name for key, name in places.items() if name is not None}
    instants = _instants(path, frame[found["arrival"]], unit)
    order = np.argsort(instants, kind="stable")
    tier, tiers = _tiers(path, frame[found["tier"]], order) if "tier" in found else (None, ())
    return Log(
        path=path,
        arrival_ns=(instants - instants[order[0]])[order],
        length=_lengths(path, frame[found["length"]])[order] if "length" in found else None,
        tier=tier,
        tiers=tiers,
        columns=found,
    )


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError as error:
        raise ScenarioError(f"there is no file {path}; give a CSV file to --from-log") from error
    except pd.errors.EmptyDataError as error:
        raise ScenarioError(f"{path} is empty; give a header and one line a request") from error
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise ScenarioError(f"{path} cannot be read as CSV: {reason}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if len(frame) < 2:
        raise ScenarioError(f"{path} holds {len(frame)} request(s); a rate needs at least 2")
    return frame


def _column(path: Path, header: list[str], key: str, named: Mapping[str, str]) -> str | None:
    """The name of a column; None where it may be missing and is."""
    if key in named:
        if named[key] not in header:
            hint = nearest(named[key], header)
            raise ScenarioError(f"{path} has no column {named[key]!r} for {key}; {hint}")
        return named[key]
    small = {name.lower(): name for name in header}
    found = [small[name] for name in USUAL[key] if name in small]
    if not found and key == "arrival":
        raise ScenarioError(
            f"{path} has no column for arrival ({', '.join(USUAL[key][:5])}, ...); it has "
            f"{', '.join(header)}: name it, as in --columns arrival=NAME"
        )
    return found[0] if found else None


def _instants(path: Path, cells: pd.Series[str], unit: str) -> IntArray:
    """int64 (N,) in ns, not yet from 0."""
    import pandas as pd

    text, name = cells.str.strip(), str(cells.name)
    empty = np.flatnonzero((text == "").to_numpy())
    if len(empty):
        raise ScenarioError(f"{path}, line {empty[0] + 2}: {name} is empty")
    suffix = name.rpartition("_")[2].lower() if "_" in name else ""
    unit = suffix if suffix in UNITS else unit
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        return _dates(path, text, name)
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
    return np.asarray(from_first.astype(np.int64))


def _dates(path: Path, text: pd.Series[str], name: str) -> IntArray:
    import pandas as pd

    found: Any = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    bad = np.flatnonzero(found.isna().to_numpy())
    if len(bad):
        raise ScenarioError(
            f"{path}, line {bad[0] + 2}: {name} = {text.iloc[bad[0]]!r} must be a number, or a "
            "date and time as 2026-01-31 12:00:00.25"
        )
    first = found.iloc[0]
    return np.asarray(((found - first) // pd.Timedelta(1, "ns")).to_numpy(dtype=np.int64))


def _lengths(path: Path, cells: pd.Series[str]) -> IntArray:
    import pandas as pd

    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~((values >= 0) & (values <= LONGEST)))
    if len(bad):
        raise ScenarioError(
            f"{path}, line {bad[0] + 2}: {cells.name} = {cells.iloc[bad[0]]!r} must be a length "
            f"from 0 to {LONGEST}"
        )
    return np.asarray(np.maximum(np.rint(values), 1).astype(np.int64))


def _tiers(path: Path, cells: pd.Series[str], order: IntArray) -> tuple[IntArray, tuple[str, ...]]:
    """Numbers are ranks, 0 the most urgent; names are urgent in the order in which they appear."""
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
        known.sort(key=int)
    place = {name: k for k, name in enumerate(known)}
    return np.array([place[name] for name in names.tolist()]), tuple(known)
