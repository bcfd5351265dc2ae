"""The compiled event loop, its third part: replicas that come and go (:mod:`sim.changes`)."""

from __future__ import annotations

import numpy as np

from policies.contract import NEVER, NOBODY

from .cache import compiled_piece as piece
from .changes import DOWN, LEAVING, OFF, READY, STARTING
from .heaps import drop_first, push
from .steps_queue import count_tier, lane_base, leave, set_head, think
from .steps_sealed import drop_sealed
from .system import (
    AVAILABLE,
    BUSY_SINCE_NS,
    EXPECTED_NS,
    FINISH_NS,
    FIRST,
    FIRST_SERVER,
    GPU,
    HEAD,
    IDLE,
    IDLE_SINCE_NS,
    IN_SERVICE,
    LAST_SERVER,
    OUTAGE,
    PRESENT,
    QUEUE,
    SEALED,
    SIZE,
    STATE,
    TAIL,
    TOUCHED,
    UNTIL_NS,
    UP,
    WAITING,
    System,
)
from .trace import LOST, UNFINISHED


@piece
def plan_change(system: System) -> None:
    """Find when the next change may come."""
    replicas, count = system.replicas, system.count
    count.change_ns = count.tick_ns
    for replica in range(replicas.shape[1]):
        count.change_ns = min(count.change_ns, replicas[UNTIL_NS, replica])
        count.change_ns = min(count.change_ns, next_outage_ns(system, replica))


@piece
def next_outage_ns(system: System, replica: int) -> int:
    """When a replica fails next; NEVER where it does not."""
    place = system.replicas[OUTAGE, replica]
    if place >= system.outages_ns.shape[1]:
        return NEVER
    return int(system.outages_ns[replica, place, 0])


@piece
def show(system: System, replica: int) -> None:
    """Let the queue know which servers of a replica may start batches."""
    replicas, servers, queues = system.replicas, system.servers, system.queues
    own = queues.shape[1] > 1
    state = replicas[STATE, replica]
    serves = state == READY or (state == LEAVING and own)
    queue = servers[QUEUE, replicas[FIRST_SERVER, replica]]
    for server in range(replicas[FIRST_SERVER, replica], replicas[LAST_SERVER, replica]):
        servers[UP, server] = 1 if serves else 0
    queues[IDLE, queue] = 0
    for server in range(queues[FIRST_SERVER, queue], queues[LAST_SERVER, queue]):
        if servers[SIZE, server] == 0:
            queues[IDLE, queue] += servers[UP, server]
    queues[TOUCHED, queue] = 1


@piece
def show_available(system: System) -> None:
    """Say who takes requests, or will, where nobody does."""
    replicas, queues = system.replicas, system.queues
    if queues.shape[1] == 1:
        return
    ready = 0
    for replica in range(replicas.shape[1]):
        ready += 1 if replicas[STATE, replica] == READY else 0
    for replica in range(replicas.shape[1]):
        state = replicas[STATE, replica]
        takes = state == READY
        if ready == 0:
            takes = state in (STARTING, DOWN)
        queues[AVAILABLE, replica] = 1 if takes else 0


@piece
def serves_from_now(system: System, replica: int) -> None:
    """A replica is ready."""
    replicas = system.replicas
    replicas[STATE, replica] = READY
    replicas[UNTIL_NS, replica] = NEVER
    for server in range(replicas[FIRST_SERVER, replica], replicas[LAST_SERVER, replica]):
        system.servers[IDLE_SINCE_NS, server] = system.count.now_ns
    show(system, replica)


@piece
def orphan(system: System, request: int) -> None:
    """Put a request among those that have to go elsewhere."""
    count = system.count
    count.orphans = push(system.orphans, count.orphans, system.arrival_ns, request)


@piece
def abort(system: System, server: int) -> None:
    """End the batch of a server whose replica fails."""
    servers, count, queues = system.servers, system.count, system.queues
    size = servers[SIZE, server]
    if size == 0:
        return
    batch = np.int64(system.fates[servers[FIRST, server]].batch)
    system.batches[batch].finish_ns = count.now_ns
    system.batches[batch].failed = 1
    request = servers[FIRST, server]
    while request != NOBODY:
        system.fates[request].status = UNFINISHED
        orphan(system, request)
        request = system.links[request].mate
    queues[IN_SERVICE, servers[QUEUE, server]] -= size
    system.clock.on_gpu[servers[GPU, server]] -= 1
    servers[SIZE, server] = 0
    servers[FINISH_NS, server] = NEVER
    servers[BUSY_SINCE_NS, server] = -1
    servers[EXPECTED_NS, server] = -1
    servers[IDLE_SINCE_NS, server] = count.now_ns


@piece
def empty(system: System, queue: int) -> None:
    """Let everybody leave a queue, sealed batches too."""
    each = lane_base(system, 1)
    for lane in range(queue * each, (queue + 1) * each):
        while system.lanes[WAITING, lane] > 0:
            request = system.lanes[HEAD, lane]
            leave(system, request)
            system.queues[PRESENT, queue] -= 1
            count_tier(system, queue, request, -1)
            orphan(system, request)
    while system.sealed.shape[0] > 0 and system.queues[SEALED, queue] > 0:
        request = drop_sealed(system, queue)
        while request != NOBODY:
            orphan(system, request)
            request = system.links[request].mate


@piece
def fails(system: System, replica: int) -> None:
    """Begin an outage."""
    replicas = system.replicas
    up_ns = system.outages_ns[replica, replicas[OUTAGE, replica], 1]
    replicas[OUTAGE, replica] += 1
    before = replicas[STATE, replica]
    if before == OFF:
        return
    if before == LEAVING:
        replicas[STATE, replica] = OFF
    else:
        replicas[STATE, replica] = DOWN
        if before == DOWN:
            up_ns = max(up_ns, replicas[UNTIL_NS, replica])
        replicas[UNTIL_NS, replica] = up_ns
    for server in range(replicas[FIRST_SERVER, replica], replicas[LAST_SERVER, replica]):
        abort(system, server)
    if system.queues.shape[1] > 1:
        empty(system, replica)
    show(system, replica)


@piece
def change(system: System) -> bool:
    """Who is ready, and who fails; False where nothing changes at this instant."""
    replicas, count = system.replicas, system.count
    if count.change_ns > count.now_ns:
        return False
    for replica in range(replicas.shape[1]):
        state = replicas[STATE, replica]
        waits = state in (STARTING, DOWN)
        if waits and replicas[UNTIL_NS, replica] <= count.now_ns:
            serves_from_now(system, replica)
        while next_outage_ns(system, replica) <= count.now_ns:
            fails(system, replica)
    show_available(system)
    return True


@piece
def next_orphan(system: System) -> bool:
    """The next request that has to go elsewhere; those that are lost are done with."""
    count = system.count
    while count.orphans > 0:
        request = system.orphans[0]
        count.orphans = drop_first(system.orphans, count.orphans, system.arrival_ns)
        if system.lost_ns.shape[0] == 0:
            count.request = request
            return True
        system.fates[request].status = LOST
        system.lost_ns[request] = count.now_ns
        count.ongoing -= 1
        if system.clients.wake_ns.shape[0] > 0:
            think(system, system.links[request].client)
    return False


@piece
def join_again(system: System, queue: int) -> None:
    """Put the request at hand into its lane of a queue, in the place that its id gives it."""
    request, lanes = system.count.request, system.lanes
    own = int(np.int64(system.fates[request].lane)) % lane_base(system, 1)
    lane = lane_base(system, queue) + own
    system.fates[request].lane = lane
    before = NOBODY
    after = lanes[HEAD, lane]
    while after != NOBODY and after < request:
        before = after
        after = int(np.int64(system.next[after]))
    system.next[request] = after
    system.links[request].previous = before
    if after == NOBODY:
        lanes[TAIL, lane] = request
    else:
        system.links[after].previous = request
    if before == NOBODY:
        set_head(system, lane, request)
    else:
        system.next[before] = request
    lanes[WAITING, lane] += 1
    system.queues[PRESENT, queue] += 1
    system.queues[TOUCHED, queue] = 1
    count_tier(system, queue, request, 1)


@piece
def has_nothing(system: System, replica: int) -> bool:
    """Whether a replica may go."""
    replicas = system.replicas
    for server in range(replicas[FIRST_SERVER, replica], replicas[LAST_SERVER, replica]):
        if system.servers[SIZE, server] > 0:
            return False
    return bool(system.queues.shape[1] == 1 or system.queues[PRESENT, replica] == 0)
