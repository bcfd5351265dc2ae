"""Every request of the windows that count, as a table beside the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.records import write_table
from policies.contract import IntArray

from .driving import Driven, kinds
from .seen import FATES
from .window import Window

if TYPE_CHECKING:
    import pandas as pd

STEM = "requests"


def write_requests(driven: Driven, folder: Path) -> Path:
    """Write ``requests``, as Parquet where that can be written, else as CSV.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    import pandas as pd

    frames = [_frame(each, driven) for _, windows in kinds(driven) for each in windows]
    whole = pd.concat(frames, ignore_index=True).rename_axis("request")
    return write_table(whole, folder / STEM)


def _frame(window: Window, driven: Driven) -> pd.DataFrame:
    """One row a request; times in ns from when the first was due, -1 where there is none."""
    import pandas as pd

    answers, seen = window.answers, window.seen
    zero = int(answers.planned_ns[0])
    names = [tier.name for tier in driven.target.scenario.tiers]
    return pd.DataFrame(
        {
            "load": driven.scenarios[window.load].load,
            "window": window.repeat,
            "tier": pd.Categorical.from_codes(seen.tier.astype(np.int64), pd.Index(names)),
            "length": window.workload.length,
            "planned_ns": answers.planned_ns - zero,
            "sent_ns": _since(answers.sent_ns, zero),
            "done_ns": _since(answers.done_ns, zero),
            "status": answers.status,
            "fate": pd.Categorical.from_codes(seen.fate.astype(np.int64), pd.Index(FATES)),
            "wait_ns": seen.wait_ns,
            "service_ns": seen.service_ns,
            "batch_size": seen.size,
        }
    )


def _since(instants: IntArray, zero: int) -> IntArray:
    found: IntArray = np.where(instants < 0, -1, instants - zero)
    return found


__all__ = ["write_requests"]
