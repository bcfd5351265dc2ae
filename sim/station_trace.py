"""What a station did, as a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from policies.contract import IntArray

from .changes import Changes
from .sequences import SequenceTimes, unseated
from .trace import EXPIRED, SERVED, Trace

if TYPE_CHECKING:
    from .station import Station


def trace_of(station: Station) -> Trace:
    """Columns of those who arrived and of the batches that ran; no batch may be running."""
    assert not station.busy, "a batch is running"
    arrived = slice(0, station.arrived)
    batch = station.batch_of[arrived]
    columns: Any = np.array(station.records, dtype=np.int64).reshape(-1, 7).T
    start_ns, finish_ns, size, longest, lane, server, formed_ns = columns
    status = station.status[arrived]
    batch = np.where(status == SERVED, batch, -1)
    served, expired = batch >= 0, status == EXPIRED
    finish_of = np.where(expired, station.room.deadline_ns[arrived], -1)
    for left_ns in (station.lost_ns, station.shed_ns):
        finish_of[list(left_ns)] = list(left_ns.values())
    request_times = {
        name: np.where(served, values[np.maximum(batch, 0)], -1) if len(values) else batch
        for name, values in (("start", start_ns), ("finish", finish_ns), ("server", server))
    }
    return Trace(
        arrival_ns=_arrival_ns(station),
        length=station.workload.length[arrived],
        tier=station.room.tier[arrived].astype(np.int8),
        lane=station.room.lane[arrived].astype(np.int16),
        start_ns=request_times["start"],
        finish_ns=np.where(served, request_times["finish"], finish_of),
        batch=batch.astype(np.int32),
        server=request_times["server"].astype(np.int16),
        status=station.status[arrived].astype(np.int8),
        batch_start_ns=start_ns,
        batch_finish_ns=finish_ns,
        batch_size=size.astype(np.int32),
        batch_longest=longest.astype(np.int32),
        batch_lane=lane.astype(np.int16),
        batch_server=server.astype(np.int16),
        batch_formed_ns=formed_ns,
        servers=station.service.servers,
        tiers=station.workload.tiers,
        length_unit=station.workload.length_unit,
        changes=_changes(station),
        sheds=any(queue.sheds for queue in station.queues),
        sequences=_sequences(station),
    )


def _arrival_ns(station: Station) -> IntArray:
    """What rules see as arrivals may be when a request's turn came."""
    seating = station.seating
    known = station.room.arrival_ns if seating is None else seating.arrival_ns
    return known[: station.arrived]


def _sequences(station: Station) -> SequenceTimes | None:
    if station.seating is None:
        return unseated(station.workload.sequences, _arrival_ns(station))
    return station.seating.times(station.arrived)


def _changes(station: Station) -> Changes | None:
    if station.replicas is None:
        return None
    failed = np.zeros(len(station.records), dtype=np.bool_)
    failed[station.failed] = True
    return Changes(failed, np.array(station.replicas.log, dtype=np.int64))
