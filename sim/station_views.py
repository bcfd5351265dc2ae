"""What a station shows: to a router, and of a batch that starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.contract import expected_ns
from policies.routing import RouteView

from .service import drawn_ns
from .service_times import Batch

if TYPE_CHECKING:
    from .station import Station


def route_view(station: Station, request: int, now_ns: int) -> RouteView:
    """What a router sees of an arrival and of the queues."""
    queues, replicas = station.queues, station.replicas
    return RouteView(
        now_ns=now_ns,
        length=int(station.room.length[request]),
        tier=int(station.room.tier[request]),
        routed=station.routed,
        available=np.ones(len(queues), dtype=np.int64)
        if replicas is None
        else replicas.available(),
        waiting=np.array([queue.present for queue in queues]),
        in_service=np.array([queue.in_service for queue in queues]),
        servers=np.array([len(queue.servers) for queue in queues]),
    )


def batch_on(
    station: Station, server: int, members: list[int], lane: int, now_ns: int, places: int = 0
) -> Batch:
    """The batch that a server starts now; it counts among those on its GPU already.

    Args:
        station: where it starts.
        server: on which.
        members: requests.
        lane: theirs, or -1.
        now_ns: when.
        places: that it is charged for; 0: as many as members.
    """
    service, group, room = station.service, station.service.grouping, station.room
    longest = int(room.length[members].max())
    tables_ns = service.tables_ns[group.profiles[server]]
    models = {0} if len(tables_ns) == 1 else set(room.tier[members].tolist())
    usual = max(
        expected_ns(tables_ns[model], service.length_edges, places or len(members), longest)
        for model in models
    )
    return Batch(
        place=len(station.records),
        server=server,
        number=int(station.batches[server]),
        members=tuple(members),
        longest=longest,
        lane=lane,
        models=tuple(sorted(models)),
        start_ns=now_ns,
        expected_ns=drawn_ns(usual, 1.0),
        idle_ns=now_ns - int(station.idle_since_ns[server]),
        on_gpu=int(station.on_gpu[group.gpus[server]]),
        places=places,
    )
