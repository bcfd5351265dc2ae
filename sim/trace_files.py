"""The files of a saved trace: tables of whole numbers, and what stands beside them.

1. A table is Parquet or CSV by its suffix, with one column a field; more columns are ignored.
2. Numbers are whole and fit the column's dtype; where one is none, the sentence names its line.
3. What is read is a trace of a run: whoever made the files, the numbered invariants hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, Tier

from .errors import WorkloadError

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("parquet", "csv")
LABELS = "trace.json"
SERVERS_MOST = 2**15 - 1
"""Places of servers are int16."""

Dtypes = Mapping[str, type[np.signedinteger[Any]]]


def write_table(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write columns as Parquet or CSV, by the file's suffix.

    Raises:
        ValueError: another suffix.
    """
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        import pandas as pd

        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        raise ValueError(f"{path}: a trace is saved as `parquet` or `csv`, not `{path.suffix[1:]}`")


def read_table(path: Path, dtypes: Dtypes) -> dict[str, Any]:
    """Read columns of known dtypes from Parquet or CSV, by the file's suffix.

    Raises:
        WorkloadError: the file is no table, lacks a column, or a value is no number that fits.
    """
    frame = _frame(path)
    missing = [name for name in dtypes if name not in frame.columns]
    if missing:
        raise WorkloadError(
            f"{path}: column `{missing[0]}` is missing; a trace has {', '.join(dtypes)}"
        )
    return {name: _column(path, name, frame[name], dtype) for name, dtype in dtypes.items()}


def read_batches(path: Path, dtypes: Dtypes) -> dict[str, Any]:
    """Read the table of batches; one from before batches could be sealed has no ``formed_ns``.

    Raises:
        WorkloadError: as :func:`read_table`.
    """
    frame = _frame(path)
    wanted = [name for name in dtypes if name != "formed_ns" or name in frame.columns]
    found = read_table(path, {name: dtypes[name] for name in wanted})
    return {"formed_ns": found["start_ns"], **found}


def _frame(path: Path) -> pd.DataFrame:
    """The table, with whatever is in it."""
    import pandas as pd

    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table: pd.DataFrame = pq.ParquetFile(path).read().to_pandas()
        except (pa.ArrowException, ValueError) as error:
            raise OSError(0, f"it is no Parquet file: {error}") from error
        return table
    except pd.errors.EmptyDataError as error:
        raise WorkloadError(f"{path} is empty; it must hold the table of a saved trace") from error
    except ImportError as error:
        raise WorkloadError(f"{path} needs the package pyarrow: pip install pyarrow") from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WorkloadError(f"{path} cannot be read as a table: {reason}") from error


def _column(
    path: Path, name: str, cells: Any, dtype: type[np.signedinteger[Any]]
) -> NDArray[np.signedinteger[Any]]:
    """Whole numbers of a column."""
    limits, values = np.iinfo(dtype), np.asarray(cells)
    if values.ndim != 1:
        raise WorkloadError(f"{path}: column `{name}` stands there twice")
    if values.dtype.kind not in "iu":
        values = _parsed(path, name, values)
    wrong = np.flatnonzero((values < limits.min) | (values > limits.max))
    if len(wrong):
        raise _no_number(path, name, int(wrong[0]), values[wrong[0]], limits)
    return values.astype(dtype)


def _parsed(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Texts, or anything else, as whole numbers."""
    try:
        if values.dtype.kind == "O" and all(type(value) is str for value in values):
            return values.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    limits = np.iinfo(np.int64)
    found = np.zeros(len(values), dtype=np.int64)
    for line, value in enumerate(values.tolist()):
        whole = _whole(value)
        if whole is None or not limits.min <= whole <= limits.max:
            raise _no_number(path, name, line, value, limits)
        found[line] = whole
    return found


def _whole(value: Any) -> int | None:
    """A value as the whole number that it is; None where it is none."""
    if isinstance(value, str) and len(value) <= len(str(-NEVER)):
        sign = value.strip().removeprefix("-")
        return int(value) if sign.isascii() and sign.isdigit() else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _no_number(path: Path, name: str, row: int, value: Any, limits: Any) -> WorkloadError:
    place = f"line {row + 2}" if path.suffix == ".csv" else f"row {row}"
    return WorkloadError(
        f"{path}, {place}: {name} = {str(value)[:60]!r} must be a whole number from {limits.min} "
        f"to {limits.max}"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        WorkloadError: it is not there, or something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkloadError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise WorkloadError(f"{path} must hold a JSON object, but got {repr(found)[:60]}")
    return found


def read_labels(path: Path) -> dict[str, Any]:
    """What stands beside the tables, each key of its type; ``tiers`` are tiers.

    Raises:
        WorkloadError: it is not there, or a key is missing or wrong.
    """
    found = read_json(path)
    if found.get("tables") not in KINDS:
        raise wrong_key(path, found, "tables", "one of parquet, csv")
    if not is_whole(found.get("servers"), 1, SERVERS_MOST):
        raise wrong_key(path, found, "servers", f"a whole number from 1 to {SERVERS_MOST}")
    if not isinstance(found.get("length_unit"), str):
        raise wrong_key(path, found, "length_unit", "a text, tokens or audio_ms")
    tiers = found.get("tiers")
    if not isinstance(tiers, list) or not tiers or not all(map(_is_tier, tiers)):
        raise wrong_key(path, found, "tiers", "a list of tables with name, slo_ns, percentile")
    workers = found.get("stages", [0, 0])
    pair = isinstance(workers, list) and len(workers) == 2
    if not pair or not all(is_whole(each, 0, SERVERS_MOST) for each in workers):
        raise wrong_key(path, found, "stages", "two numbers of workers")
    return {**found, "tiers": tuple(Tier(**tier) for tier in tiers)}


def wrong_key(path: Path, found: Mapping[str, Any], key: str, right: str) -> WorkloadError:
    """A key of a JSON file is missing, or is not what it must be."""
    if key not in found:
        return WorkloadError(f"{path}: {key} is missing; give {right}")
    return WorkloadError(f"{path}: {key} = {repr(found[key])[:60]} must be {right}")


def is_whole(value: Any, least: int, most: int = NEVER) -> bool:
    """Whether a value of JSON is a whole number in a range."""
    return type(value) is int and least <= value <= most


def _is_tier(table: Any) -> bool:
    if not isinstance(table, dict) or not set(table) <= set(Tier._fields):
        return False
    percentile = table.get("percentile", 99.0)
    return (
        isinstance(table.get("name"), str)
        and is_whole(table.get("slo_ns", 1), 0)
        and type(percentile) in (int, float)
        and 0.0 < percentile < 100.0
        and isinstance(table.get("backlog", False), bool)
    )
