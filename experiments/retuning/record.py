"""The record of a server: requests as a log, and the batches that they were in.

1. It is a trace as scenarios read them, with the columns of :mod:`experiments.serving`; a trace of
   other origin will do, and has no batches then.
2. Requests of one server whose waiting ended at the same nanosecond were in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experiments.sentences import ScenarioError
from experiments.starting.log import Log
from policies.contract import IntArray
from sim.replay import read_trace

if TYPE_CHECKING:
    import pandas as pd

OF_BATCHES = ("waited_ms", "service_ms", "batch_size", "padded_to", "server")
SERVED, REFUSED = "served", ("rejected", "expired", "shed")


@dataclass(frozen=True, eq=False)
class Batches:
    """What was served together, in the order in which it started."""

    size: IntArray
    """int64 (M,)"""
    padded_to: IntArray
    """int64 (M,)"""
    service_ns: IntArray
    """int64 (M,), at least 1."""

    def __len__(self) -> int:
        return len(self.size)


@dataclass(frozen=True, eq=False)
class Record:
    """What a server saw."""

    log: Log
    batches: Batches | None
    refused: int
    """Requests that it did not serve."""


def read_record(path: Path, tiers: Sequence[str], called: str) -> Record:
    """Read the record of a server.

    Args:
        path: a CSV file, maybe gzipped.
        tiers: of the scenario that it is for.
        called: what sentences call it.

    Raises:
        ScenarioError: it is empty, or its tiers are not the scenario's.
        WorkloadError: it is no trace.
    """
    frame = _frame(path, called)
    if not len(frame):
        raise ScenarioError(f"{called} has no requests yet: nothing can be tuned from it")
    if "arrival_s" not in frame.columns:
        raise ScenarioError(
            f"{called} has no column arrival_s, so it is no record of batchwright serve; "
            "`batchwright init --from-log` reads logs of any columns"
        )
    _check_tiers(frame, tiers, called)
    trace = read_trace(path, {}, tiers if len(tiers) > 1 else ())
    log = Log(
        path=path,
        arrival_ns=trace.recorded_ns,
        length=None if trace.length is None else trace.length.astype(np.int64),
        output=None,
        tier=None if trace.tier is None else trace.tier.astype(np.int64),
        tiers=tuple(tiers),
        columns={},
        unit=None,
    )
    outcome = frame["outcome"] if "outcome" in frame.columns else None
    refused = 0 if outcome is None else int(outcome.isin(REFUSED).sum())
    return Record(log, _batches(frame, trace.recorded_ns), refused)


def _frame(path: Path, called: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise ScenarioError(f"{called} is empty: nothing can be tuned from it") from None
    except OSError as error:
        raise ScenarioError(f"{called} cannot be read: {error.strerror or error}") from None
    except (ValueError, pd.errors.ParserError):
        raise ScenarioError(f"{called} is no CSV file, as batchwright serve writes it") from None


def _check_tiers(frame: pd.DataFrame, tiers: Sequence[str], called: str) -> None:
    if "tier" not in frame.columns:
        if len(tiers) > 1:
            raise ScenarioError(f"{called} has no column tier, but the scenario has several tiers")
        return
    names = list(dict.fromkeys(frame["tier"].str.strip()))
    known = {*tiers, *map(str, range(len(tiers)))}
    strange = [name for name in names if name not in known]
    if strange:
        raise ScenarioError(
            f"{called} has requests of tier {strange[0]!r}, but the scenario has "
            f"{'the tier' if len(tiers) == 1 else 'the tiers'} {', '.join(tiers)}: give the "
            "scenario that was served"
        )


def _batches(frame: pd.DataFrame, arrival_ns: IntArray) -> Batches | None:
    """The batches of requests that were served; None where the record does not tell them."""
    import pandas as pd

    known = {*OF_BATCHES, "outcome"} <= set(frame.columns) and len(frame) == len(arrival_ns)
    if not known:
        return None
    served = (frame["outcome"] == SERVED).to_numpy()
    parts: dict[str, NDArray[Any]] = {
        name: pd.to_numeric(frame.loc[served, name], errors="coerce").to_numpy(dtype=np.float64)
        for name in OF_BATCHES
    }
    if not served.any() or not all(np.isfinite(part).all() for part in parts.values()):
        return None
    start_ns = arrival_ns[served] + np.rint(parts["waited_ms"] * 1e6).astype(np.int64)
    _, firsts = np.unique(np.stack([start_ns, parts["server"].astype(np.int64)]), axis=1,
                          return_index=True)  # fmt: skip
    return Batches(
        size=parts["batch_size"][firsts].astype(np.int64),
        padded_to=parts["padded_to"][firsts].astype(np.int64),
        service_ns=np.maximum(1, np.rint(parts["service_ms"][firsts] * 1e6)).astype(np.int64),
    )


__all__ = ["Batches", "Record", "read_record"]
