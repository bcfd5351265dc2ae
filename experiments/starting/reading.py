"""The log that somebody gave, read for the model that somebody named."""

from __future__ import annotations

from .log import Log, read_log
from .wishes import Wishes, load_profile


def read(wishes: Wishes) -> Log | None:
    """The log that somebody gave, read for the profile that somebody named.

    Raises:
        ScenarioError: it makes no sense.
    """
    if wishes.log is None:
        return None
    counts = None if wishes.profile is None else load_profile(wishes.profile).length_unit
    return read_log(wishes.log, wishes.columns, wishes.unit, counts)


def assumed_profile(name: str) -> str:
    """Which profile stands in where nobody named one."""
    return (
        f"No --profile was named, and every latency depends on it: {name} stands in for your "
        "model. `batchwright profile list` has others, `batchwright profile import` takes a table "
        "of yours."
    )
