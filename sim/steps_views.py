"""What rules see in a compiled run: the views of policies and of routers."""

from __future__ import annotations

from policies.contract import View
from policies.routing import RouteView

from .cache import compiled_piece as piece
from .system import (
    ARRIVED,
    AVAILABLE,
    BUSY_SINCE_NS,
    EXPECTED_NS,
    FINISHED,
    FINISHED_SERVICE_NS,
    FINISHED_SIZE,
    FIRST_SERVER,
    FORMED_NS,
    HEAD,
    IDLE,
    IDLE_SINCE_NS,
    IN_SERVICE,
    LAST_SERVER,
    OLDEST_NS,
    PRESENT,
    SEALED,
    SEALED_REQUESTS,
    SERVERS,
    SIZE,
    TAIL,
    TAKE,
    WAITING,
    System,
)


@piece
def look(system: System) -> View:
    """The view of the server at hand, or of none (-1), now."""
    count, lanes, servers = system.count, system.lanes, system.servers
    queues, queue = system.queues, system.count.queue
    each = lanes.shape[1] // queues.shape[1]
    low, high = queue * each, (queue + 1) * each
    first, last = queues[FIRST_SERVER, queue], queues[LAST_SERVER, queue]
    server = count.server
    return View(
        count.now_ns,
        lanes[WAITING, low:high],
        lanes[OLDEST_NS, low:high],
        lanes[HEAD, low:high],
        lanes[TAIL, low:high],
        system.arrival_ns,
        system.length,
        system.tier,
        system.deadline_ns,
        system.next,
        server - first if server >= 0 else -1,
        last - first,
        queues[IDLE, queue],
        servers[IDLE_SINCE_NS, server] if server >= 0 else -1,
        servers[BUSY_SINCE_NS, first:last],
        servers[SIZE, first:last],
        servers[EXPECTED_NS, first:last],
        queues[ARRIVED, queue],
        queues[FINISHED, queue],
        queues[FINISHED_SIZE, queue],
        queues[FINISHED_SERVICE_NS, queue],
        system.memory[queue],
        lanes[TAKE, low:high],
        queues[FORMED_NS, queue],
        queues[SEALED, queue],
        queues[SEALED_REQUESTS, queue],
    )


@piece
def look_around(system: System) -> RouteView:
    """The view of the arrival at hand, for a router."""
    count, queues, request = system.count, system.queues, system.count.request
    return RouteView(
        count.now_ns,
        system.length[request],
        system.tier[request],
        count.routed,
        queues[AVAILABLE],
        queues[PRESENT],
        queues[IN_SERVICE],
        queues[SERVERS],
    )
