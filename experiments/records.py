"""Every request and every batch of a run as tables: Parquet where pyarrow is, else CSV."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.sequences import SEQUENCE_COLUMNS
from sim.stages import STAGE_COLUMNS
from sim.trace import STATUS_NAMES, Trace

if TYPE_CHECKING:
    import pandas as pd

OnTrace = Callable[[str, int, Trace], None]
"""Called with the policy's name, the replication and the trace as soon as it is there."""


def writer(folder: Path) -> OnTrace:
    """Writes ``<policy>[-r<n>]-requests`` and ``-batches`` into a run's folder."""

    def write(policy: str, replication: int, trace: Trace) -> None:
        stem = policy if replication == 0 else f"{policy}-r{replication}"
        write_table(requests_frame(trace), folder / f"{stem}-requests")
        write_table(batches_frame(trace), folder / f"{stem}-batches")

    return write


def requests_frame(trace: Trace) -> pd.DataFrame:
    """One row a request; times in ns, -1 where there is none."""
    import pandas as pd

    columns = ("arrival_ns", "length", "tier", "lane", "start_ns", "finish_ns", "batch", "server")
    frame = pd.DataFrame({name: getattr(trace, name) for name in columns})
    names = pd.Index(STATUS_NAMES)
    frame["status"] = pd.Categorical.from_codes(trace.status.astype(np.int64), names)
    if trace.stages is not None:
        frame = frame.assign(**{name: getattr(trace.stages, name) for name in STAGE_COLUMNS})
    if trace.sequences is not None:
        known = trace.sequences
        frame = frame.assign(**{name: getattr(known, name) for name in SEQUENCE_COLUMNS})
        frame["slot"] = known.slot[known.sequence]
    return frame.rename_axis("request")


def batches_frame(trace: Trace) -> pd.DataFrame:
    """One row a batch; times in ns."""
    import pandas as pd

    columns = ("start_ns", "finish_ns", "size", "longest", "lane", "server")
    frame = pd.DataFrame({name: getattr(trace, f"batch_{name}") for name in columns})
    if trace.sequences is not None and trace.sequences.places:
        frame["places"] = trace.batch_places
    return frame.rename_axis("batch")


def write_table(frame: pd.DataFrame, stem: Path) -> Path:
    """Write a table whole or not at all, as ``.parquet`` or ``.csv``.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    parquet = find_spec("pyarrow") is not None
    path = stem.with_name(stem.name + (".parquet" if parquet else ".csv"))
    part = path.with_name(f".{path.name}.part")
    try:
        if parquet:
            frame.reset_index().to_parquet(part, index=False)
        else:
            frame.to_csv(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return path
