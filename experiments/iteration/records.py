"""Every request and every iteration of a run as tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.records import write_table
from sim.iteration.trace import STEP
from sim.trace import STATUS_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from sim.iteration.trace import TokenTrace


def writer(folder: Path) -> Callable[[str, int, TokenTrace], None]:
    """Write each trace of a run into its folder."""

    def write(policy: str, replication: int, trace: TokenTrace) -> None:
        stem = f"{policy}-{replication}"
        write_table(requests_frame(trace), folder / f"requests-{stem}")
        write_table(iterations_frame(trace), folder / f"iterations-{stem}")

    return write


def requests_frame(trace: TokenTrace) -> pd.DataFrame:
    """One row a request; instants are -1 where there is none."""
    import pandas as pd

    return pd.DataFrame(
        {
            "arrival_ns": trace.arrival_ns,
            "prompt": trace.prompt,
            "output": trace.output,
            "tier": np.array([tier.name for tier in trace.tiers])[trace.tier],
            "status": np.array(STATUS_NAMES)[trace.status],
            "first_token_ns": trace.instant_ns(trace.token_step[trace.offset[:-1]]),
            "last_token_ns": trace.instant_ns(trace.token_step[trace.offset[1:] - 1]),
            "answer_ns": trace.instant_ns(trace.finished),
            "preempted": trace.preempted,
            "recomputed": trace.recomputed,
        }
    )


def iterations_frame(trace: TokenTrace) -> pd.DataFrame:
    """One row an iteration."""
    import pandas as pd

    return pd.DataFrame({name: trace.steps[name] for name in STEP.names or ()})
