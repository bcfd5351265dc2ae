"""What is said where a replay was made of a shorter log, as ``batchwright init`` makes it.

The intervals tell of the order in which stretches of the log came; what another log of its length
would have had, they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schema_arrivals import TraceFile

RECORDED = "recorded_requests"
"""The fact of a result."""


def recorded(arrivals: Any) -> dict[str, int]:
    """The fact about arrivals that were made of a shorter log; none about others."""
    if not isinstance(arrivals, TraceFile) or arrivals.recorded is None:
        return {}
    return {RECORDED: int(arrivals.recorded)}


def of_few(scenario: Mapping[str, Any]) -> str:
    """How far the intervals of a result reach; empty where they reach as far as always."""
    few = scenario.get(RECORDED)
    if few is None:
        return ""
    return (
        f"The arrivals are stretches of a log of {few:,} requests in random order: intervals do "
        "not know how much another log of that length would differ."
    )
