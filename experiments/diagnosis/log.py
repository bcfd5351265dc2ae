"""A user's own log of requests, read from CSV.

1. One line a request.  Needed are when it arrived, when its batch started and finished; requests
   of one batch have the same value in ``batch``, or the same start and finish where it is missing.
2. Times are in the unit that ends the column's name (``_s``, ``_ms``, ``_us``, ``_ns``), else in
   the one that is given; they may count from anything.
3. ``pre_start`` and ``pre_finish`` are those of pre-processing, ``post_start`` and ``post_finish``
   of post-processing; a request whose start or finish is empty was not served.
4. How many workers and servers there are is the most that were ever busy at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.contract import IntArray, Tier
from sim.errors import nearest

from .errors import DiagnosisError
from .seen import Mask, Seen

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
TIMES = ("arrival", "pre_start", "pre_finish", "start", "finish", "post_start", "post_finish")
"""Columns that hold an instant, in order."""
LONGEST_NS = 2**62
LONGEST = 2**31 - 1
NEEDED = ("arrival", "start", "finish")
OTHERS = ("batch", "length", "tier", "server")


def read_log(path: str | Path, columns: Mapping[str, str] | None = None, unit: str = "s") -> Seen:
    """Read a log.

    Args:
        path: the CSV file, maybe gzipped.
        columns: names of its columns by what they hold: :data:`TIMES` and :data:`OTHERS`.  What is
            not named is looked for under its own name, with and without a unit.
        unit: of times whose column does not end in one.

    Raises:
        DiagnosisError: the file cannot be read, lacks a column, or a value makes no sense.
    """
    path, named = Path(path), dict(columns or {})
    for key in named:
        if key not in TIMES + OTHERS:
            raise DiagnosisError(f"--columns: {key} is not known; {nearest(key, TIMES + OTHERS)}")
    if unit not in UNITS:
        raise DiagnosisError(f"--unit = {unit!r} must be one of {', '.join(UNITS)}")
    frame = _table(path)
    places = {key: _column(path, frame, key, named) for key in TIMES + OTHERS}
    times = {
        key: _instants(path, frame[name], key, unit)
        for key in TIMES
        if (name := places[key]) is not None
    }
    first = min(float(np.nanmin(values)) for values in times.values() if np.isfinite(values).any())
    lost = ~np.isfinite(times["start"]) | ~np.isfinite(times["finish"])
    instants = {key: values - first for key, values in times.items()}
    for key, values in instants.items():
        if np.abs(values[np.isfinite(values)]).max(initial=0.0) >= LONGEST_NS:
            raise DiagnosisError(
                f"{path}: {places[key]} is more than 146 years after the first; say the unit of "
                "times, as in --unit ms"
            )
    _check(path, instants, lost, places)
    order = np.argsort(instants["arrival"], kind="stable")
    labels = {key: frame[name] for key in OTHERS if (name := places[key]) is not None}
    return _seen(path, instants, labels, lost, order)


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError as error:
        raise DiagnosisError(f"{path} is not there; give a CSV file") from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DiagnosisError(f"{path} cannot be read as CSV: {error}") from error
    except pd.errors.EmptyDataError as error:
        raise DiagnosisError(f"{path} is empty; give a header and one line a request") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if not len(frame):
        raise DiagnosisError(f"{path} holds a header but no request; give one line a request")
    return frame


def _column(path: Path, frame: pd.DataFrame, key: str, named: Mapping[str, str]) -> str | None:
    """The name of a column; None where it may be missing and is."""
    header = list(frame.columns)
    if key in named:
        if named[key] not in header:
            hint = nearest(named[key], header)
            raise DiagnosisError(f"{path} has no column {named[key]!r} for {key}; {hint}")
        return named[key]
    known = [key, *(f"{key}_{unit}" for unit in UNITS)] if key in TIMES else [key, f"{key}_id"]
    found = [name for name in known if name in header]
    if found:
        return found[0]
    if key in NEEDED:
        raise DiagnosisError(
            f"{path} has no column for {key} ({', '.join(known)}); it has {', '.join(header)}: "
            f"name it, as in --columns {key}=NAME"
        )
    return None


def _instants(path: Path, cells: pd.Series[str], key: str, unit: str) -> Any:
    """float64 (N,) in ns, NaN where a cell is empty."""
    import pandas as pd

    suffix = str(cells.name).rpartition("_")[2]
    factor = UNITS[suffix if suffix in UNITS and "_" in str(cells.name) else unit]
    text = cells.str.strip()
    with np.errstate(over="ignore"):  # what is infinite is told below
        values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64) * factor
    empty = (text == "").to_numpy()
    bad = np.flatnonzero(~np.isfinite(values) & ~empty)
    if len(bad):
        raise DiagnosisError(
            f"{path}, line {bad[0] + 2}: {cells.name} = {cells.iloc[bad[0]]!r} must be a number of "
            f"{'seconds' if factor == UNITS['s'] else suffix if suffix in UNITS else unit}"
        )
    if key not in ("start", "finish") and empty.any() and key in NEEDED:
        raise DiagnosisError(f"{path}, line {np.flatnonzero(empty)[0] + 2}: {cells.name} is empty")
    return values


def _check(path: Path, at: Mapping[str, Any], lost: Mask, places: Mapping[str, str | None]) -> None:
    """Instants of each served request are in order."""
    if lost.all():
        raise DiagnosisError(f"{path}: no request has both a start and a finish")
    present = [key for key in TIMES if key in at]
    for before, after in pairwise(present):
        wrong = np.flatnonzero(~lost & (at[after] < at[before]))
        if len(wrong):
            raise DiagnosisError(
                f"{path}, line {wrong[0] + 2}: {places[after]} is before {places[before]}; are the "
                "columns and their units right?"
            )
    still = np.flatnonzero(~lost & (at["finish"] <= at["start"]))
    if len(still):
        raise DiagnosisError(
            f"{path}, line {still[0] + 2}: {places['finish']} must be after {places['start']}; a "
            "batch takes time"
        )


def _seen(
    path: Path, at: Mapping[str, Any], labels: Mapping[str, Any], lost: Mask, order: IntArray
) -> Seen:
    def instants(key: str, otherwise: IntArray) -> IntArray:
        if key not in at:
            return otherwise
        own = at[key][order]
        return np.where(np.isfinite(own), np.nan_to_num(np.rint(own)), otherwise).astype(np.int64)

    from .batches import batches_of, busiest

    lost = lost[order]
    arrival = np.rint(at["arrival"][order]).astype(np.int64)
    queued = instants("pre_finish", arrival)
    start = instants("start", queued)
    finish = instants("finish", start)
    servers = labels["server"].to_numpy()[order] if "server" in labels else None
    batch_names = labels["batch"].to_numpy()[order] if "batch" in labels else None
    length = _lengths(path, labels.get("length"), order)
    made = batches_of(path, start, finish, length, lost, batch_names, servers)
    start = np.where(lost, start, made.start_ns[made.batch])
    finish = np.where(lost, finish, made.finish_ns[made.batch])
    pre_start, done = instants("pre_start", arrival), instants("post_finish", finish)
    post_start = instants("post_start", finish)
    tier, tiers = _tiers(labels.get("tier"), order)
    queued = np.minimum(queued, start)
    return Seen(
        arrival_ns=arrival,
        pre_start_ns=np.minimum(pre_start, queued),
        queued_ns=queued,
        start_ns=start,
        finish_ns=finish,
        post_start_ns=np.maximum(post_start, finish),
        done_ns=np.maximum(np.maximum(done, finish), post_start),
        length=length,
        tier=tier,
        batch=np.where(lost, -1, made.batch),
        lost=lost,
        batch_start_ns=made.start_ns,
        batch_finish_ns=made.finish_ns,
        batch_size=made.size,
        batch_longest=made.longest,
        batch_server=made.server,
        servers=made.servers,
        tiers=tiers,
        pre_workers=busiest(pre_start, queued) if "pre_finish" in at else 0,
        post_workers=busiest(post_start[~lost], done[~lost]) if "post_finish" in at else 0,
    )


def _lengths(path: Path, cells: Any, order: IntArray) -> IntArray:
    import pandas as pd

    if cells is None:
        return np.ones(len(order), dtype=np.int64)
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~((values >= 0) & (values <= LONGEST)))
    if len(bad):
        raise DiagnosisError(
            f"{path}, line {bad[0] + 2}: {cells.name} = {cells.iloc[bad[0]]!r} must be a length "
            f"from 0 to {LONGEST}"
        )
    return np.asarray(np.maximum(np.rint(values[order]), 1).astype(np.int64))


def _tiers(cells: Any, order: IntArray) -> tuple[IntArray, tuple[Tier, ...]]:
    """Numbers are ranks, 0 the most urgent; names are urgent in the order in which they appear."""
    if cells is None:
        return np.zeros(len(order), dtype=np.int64), (Tier("all"),)
    names = cells.to_numpy()[order]
    known = list(dict.fromkeys(names.tolist()))
    if all(name.isdigit() for name in known):
        known.sort(key=int)
    place = {name: k for k, name in enumerate(known)}
    return np.array([place[name] for name in names]), tuple(Tier(name) for name in known)
