"""Sequences in the files of a saved trace: columns of its requests, and a table of their slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import WorkloadError
from .sequences import SEQUENCE_COLUMNS, SLOT_COLUMNS, SequenceTimes
from .trace_files import LABELS, is_whole, read_table, write_table, wrong_key


def save_slots(times: SequenceTimes, path: Path) -> list[int]:
    """Write the table of sequences; returns what the labels say of it."""
    write_table(path, {name: getattr(times, name) for name in SLOT_COLUMNS})
    return [times.slots, int(times.places)]


def load_sequences(folder: Path, labels: dict[str, Any]) -> SequenceTimes:
    """Read back sequences and their slots.

    Raises:
        WorkloadError: a file is missing or broken, or a request is of no sequence of the table.
    """
    slots, kind = labels["slots"], labels["tables"]
    if not isinstance(slots, list) or len(slots) != 2 or not all(is_whole(n, 0) for n in slots):
        raise wrong_key(folder / LABELS, labels, "slots", "two numbers: of slots, and 1 for places")
    table = folder / f"requests.{kind}"
    of = read_table(table, SEQUENCE_COLUMNS)
    rows = read_table(folder / f"sequences.{kind}", SLOT_COLUMNS)
    known = len(rows["slot"])
    wrong = np.flatnonzero((of["sequence"] < 0) | (of["sequence"] >= known))
    if len(wrong):
        raise WorkloadError(
            f"{table}: request {wrong[0]} is of sequence {of['sequence'][wrong[0]]}, but "
            f"sequences.{kind} has {known}"
        )
    return SequenceTimes(**of, **rows, slots=slots[0], places=bool(slots[1]))
