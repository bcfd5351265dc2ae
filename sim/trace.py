"""The one result type of every driver: what happened to each request and in each batch.

Times are int64 nanoseconds.  Everything else (waits, padding, queue depth, utilisation) is derived
in :mod:`sim.metrics` and :mod:`sim.series`, from simulated and live traces by the same code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, IntArray, Tier

from .changes import Changes
from .errors import WorkloadError
from .sequence_files import load_sequences, save_slots
from .sequences import SEQUENCE_COLUMNS, SequenceTimes
from .service import Service
from .stages import STAGE_COLUMNS, StageTimes
from .trace_files import LABELS, read_batches, read_labels, read_table, write_table, wrong_key
from .workload import Workload

if TYPE_CHECKING:
    import pandas as pd

SERVED, REJECTED, EXPIRED, UNFINISHED, LOST = range(5)
"""Values of ``Trace.status``.  UNFINISHED still waits when no event remains; LOST was with a
replica that failed."""

STATUS_NAMES = ("served", "rejected", "expired", "unfinished", "lost")
"""The words for the values of ``Trace.status``."""

REQUEST_COLUMNS: dict[str, type[np.signedinteger[Any]]] = {
    "arrival_ns": np.int64,
    "length": np.int32,
    "tier": np.int8,
    "lane": np.int16,
    "start_ns": np.int64,
    "finish_ns": np.int64,
    "batch": np.int32,
    "server": np.int16,
    "status": np.int8,
}
"""Columns per request, with their dtypes."""

BATCH_COLUMNS: dict[str, type[np.signedinteger[Any]]] = {
    "start_ns": np.int64,
    "finish_ns": np.int64,
    "size": np.int32,
    "longest": np.int32,
    "lane": np.int16,
    "server": np.int16,
    "formed_ns": np.int64,
}
"""Columns per batch, with their dtypes; the fields of :class:`Trace` put ``batch_`` before them."""


@dataclass(frozen=True, eq=False)
class Trace:
    """N requests in order of arrival, and M batches in order of (start, firing)."""

    arrival_ns: IntArray
    """int64 (N,)"""
    length: NDArray[np.int32]
    """int32 (N,)"""
    tier: NDArray[np.int8]
    """int8 (N,)"""
    lane: NDArray[np.int16]
    """int16 (N,); -1 where the request was rejected"""
    start_ns: IntArray
    """int64 (N,): start of its batch; -1 where there is none"""
    finish_ns: IntArray
    """int64 (N,): end of its batch, or of its post-processing where there is one; of an expired
    request the instant it gave up, or was shed; else -1"""
    batch: NDArray[np.int32]
    """int32 (N,): index of its batch, or -1"""
    server: NDArray[np.int16]
    """int16 (N,): server of its batch, or -1"""
    status: NDArray[np.int8]
    """int8 (N,)"""

    batch_start_ns: IntArray
    """int64 (M,)"""
    batch_finish_ns: IntArray
    """int64 (M,)"""
    batch_size: NDArray[np.int32]
    """int32 (M,)"""
    batch_longest: NDArray[np.int32]
    """int32 (M,): longest length in the batch"""
    batch_lane: NDArray[np.int16]
    """int16 (M,): its lane, or -1 where the batch is mixed"""
    batch_server: NDArray[np.int16]
    """int16 (M,)"""
    batch_formed_ns: IntArray
    """int64 (M,): when its members were fixed; its start, unless it was sealed before a server was
    free"""

    servers: int
    tiers: tuple[Tier, ...] = (Tier("all"),)
    length_unit: str = "tokens"
    stages: StageTimes | None = None
    """When requests were in CPU stages before and after the GPU; None: there are none."""
    changes: Changes | None = None
    """Replicas that came and went; None: all were always there."""
    sheds: bool = False
    """Whether the policy may let requests go unserved: they are expired, too, at that instant."""
    sequences: SequenceTimes | None = None
    """Which requests belong together, and the slots that held them; None: none do."""

    def __len__(self) -> int:
        return int(self.arrival_ns.shape[0])

    @property
    def formed_ns(self) -> IntArray:
        """int64 (N,): when each request's batch was formed; -1 where it has none."""
        return np.append(self.batch_formed_ns, -1)[self.batch]

    @property
    def batch_places(self) -> NDArray[np.int32]:
        """int32 (M,): what each batch is charged for: its size, or places where they are fixed."""
        if self.sequences is None:
            return self.batch_size
        return self.sequences.places_of(self.batch, self.batch_size)

    @property
    def seals(self) -> bool:
        """Whether a batch was formed before a server was free."""
        return bool((self.batch_formed_ns < self.batch_start_ns).any())

    def equals(self, other: Trace) -> bool:
        """Whether every column and every label is the same: how drivers are compared."""
        labels = (self.servers, self.tiers, self.length_unit, self.sheds)
        if labels != (other.servers, other.tiers, other.length_unit, other.sheds):
            return False
        apart = ("stages", "changes", "sequences")
        return all(_alike(getattr(self, name), getattr(other, name)) for name in apart) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _fields()
        )

    def check(
        self,
        service: Service | None = None,
        workload: Workload | None = None,
        *,
        largest_batch: int | None = None,
    ) -> None:
        """Assert the numbered invariants of :mod:`sim.invariants` and :mod:`sim.conformance`.

        Those of sequences are in :mod:`sim.sequence_invariants`.
        Where there are CPU stages those of :mod:`sim.stage_invariants` come first.

        Args:
            service: also holds the trace against the servers, the profile and the capacity.
            workload: also holds it against who arrived, and how patient they were.
            largest_batch: the limit on batch sizes; by default the service's.

        Raises:
            AssertionError: with the number of the invariant and the first request or batch that
                breaks it.
        """
        from . import conformance, invariants, sequence_invariants

        if self.stages is not None:
            from . import stage_invariants

            stage_invariants.check(self, service, workload, largest_batch)
            return
        if largest_batch is None:
            largest_batch = NEVER if service is None else service.largest_batch
        invariants.check(self, largest_batch)
        sequence_invariants.check(self)
        if workload is not None:
            conformance.check_workload(self, workload)
        if service is not None:
            conformance.check_admission(self, service)
            conformance.check_times(self, service)

    def to_frame(self) -> pd.DataFrame:
        """One row per request; ``status`` is a category."""
        import pandas as pd

        frame = pd.DataFrame(self._request_columns())
        frame["status"] = pd.Categorical.from_codes(
            self.status.tolist(), categories=pd.Index(STATUS_NAMES)
        )
        frame.index.name = "request"
        return frame

    def batches_frame(self) -> pd.DataFrame:
        """One row per batch."""
        import pandas as pd

        frame = pd.DataFrame({name: getattr(self, f"batch_{name}") for name in BATCH_COLUMNS})
        frame.index.name = "batch"
        return frame

    def save(self, folder: str | Path, kind: str | None = None) -> Path:
        """Write ``requests``, ``batches`` and ``trace.json`` into a folder.

        Args:
            folder: made if it is not there.
            kind: ``"parquet"`` or ``"csv"``; by default Parquet where pyarrow is installed.
        """
        chosen = kind or ("parquet" if find_spec("pyarrow") else "csv")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        requests = self._request_columns()
        batches = {name: getattr(self, f"batch_{name}") for name in BATCH_COLUMNS}
        write_table(folder / f"requests.{chosen}", requests)
        write_table(folder / f"batches.{chosen}", batches)
        labels = {
            "tables": chosen,
            "servers": self.servers,
            "length_unit": self.length_unit,
            "tiers": [tier._asdict() for tier in self.tiers],
        }
        if self.stages is not None:
            labels["stages"] = [self.stages.pre_workers, self.stages.post_workers]
        if self.changes is not None:
            labels["changes"] = self.changes.to_dict()
        if self.sheds:
            labels["sheds"] = True
        if self.sequences is not None:
            labels["slots"] = save_slots(self.sequences, folder / f"sequences.{chosen}")
        (folder / LABELS).write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Trace:
        """Read back what :meth:`save` wrote.

        Raises:
            WorkloadError: a file is missing or broken, or together they are no trace of a run.
        """
        folder = Path(folder)
        labels = read_labels(folder / LABELS)
        table = folder / f"requests.{labels['tables']}"
        requests, stages, sequences = read_table(table, REQUEST_COLUMNS), None, None
        if "stages" in labels:
            stages = StageTimes(*read_table(table, STAGE_COLUMNS).values(), *labels["stages"])
        if "slots" in labels:
            sequences = load_sequences(folder, labels)
        batches = read_batches(folder / f"batches.{labels['tables']}", BATCH_COLUMNS)
        found = cls(
            **requests,
            **{f"batch_{name}": column for name, column in batches.items()},
            servers=labels["servers"],
            tiers=labels["tiers"],
            length_unit=labels["length_unit"],
            stages=stages,
            changes=_changes(folder / LABELS, labels, len(batches["start_ns"])),
            sheds=bool(labels.get("sheds", False)),
            sequences=sequences,
        )
        try:
            found.check()
        except AssertionError as error:
            raise WorkloadError(f"{folder} holds no trace of a run: {error}") from error
        return found

    def _request_columns(self) -> dict[str, NDArray[Any]]:
        """Every column per request, those of the stages included."""
        columns = {name: getattr(self, name) for name in REQUEST_COLUMNS}
        if self.stages is not None:
            columns |= {name: getattr(self.stages, name) for name in STAGE_COLUMNS}
        if self.sequences is not None:
            columns |= {name: getattr(self.sequences, name) for name in SEQUENCE_COLUMNS}
        return columns


def _alike(one: Any, other: Any) -> bool:
    """Whether two parts that a trace may have are the same, or both are missing."""
    if one is None or other is None:
        return one is other
    return bool(one.equals(other))


def _fields() -> list[str]:
    """The array fields of a trace."""
    return [*REQUEST_COLUMNS, *(f"batch_{name}" for name in BATCH_COLUMNS)]


def _changes(path: Path, labels: dict[str, Any], batches: int) -> Changes | None:
    """What is saved of replicas that came and went."""
    if "changes" not in labels:
        return None
    try:
        return Changes.from_dict(labels["changes"], batches)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        right = "failed, a list of batches, and replicas, a list of [instant, ready, starting]"
        raise wrong_key(path, labels, "changes", right) from error
