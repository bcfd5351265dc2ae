"""The compiled event loop, its first half: who waits, who gives up, who is let in."""

from __future__ import annotations

import numpy as np

from policies.contract import NEVER, NOBODY

from .cache import compiled_piece as piece
from .heaps import drop_first, push
from .system import (
    ARRIVED,
    HEAD,
    IN_SERVICE,
    OLDEST_NS,
    PRESENT,
    TAIL,
    TOUCHED,
    WAITING,
    System,
)
from .trace import EXPIRED, REJECTED, UNFINISHED


@piece
def set_head(system: System, lane: int, request: int) -> None:
    """Let a lane begin at ``request``; it is empty if that is NOBODY."""
    system.lanes[HEAD, lane] = request
    if request == NOBODY:
        system.lanes[TAIL, lane] = NOBODY
        system.lanes[OLDEST_NS, lane] = NEVER
        return
    system.lanes[OLDEST_NS, lane] = system.arrival_ns[request]
    if system.links.shape[0] > 0:
        system.links[request].previous = NOBODY


@piece
def join(system: System, request: int) -> None:
    """Put a request at the tail of its lane."""
    lane = int(np.int64(system.fates[request].lane))
    last = system.lanes[TAIL, lane]
    if last == NOBODY:
        set_head(system, lane, request)
    else:
        system.next[last] = request
        if system.links.shape[0] > 0:
            system.links[request].previous = last
    system.lanes[TAIL, lane] = request
    system.lanes[WAITING, lane] += 1


@piece
def leave(system: System, request: int) -> None:
    """Take a request out of the middle of its lane."""
    lane = int(np.int64(system.fates[request].lane))
    after = int(np.int64(system.next[request]))
    before = system.links[request].previous
    system.lanes[WAITING, lane] -= 1
    if before == NOBODY:
        set_head(system, lane, after)
        return
    system.next[before] = after
    if after == NOBODY:
        system.lanes[TAIL, lane] = before
    else:
        system.links[after].previous = before


@piece
def think(system: System, client: int) -> None:
    """Let a client think from now on."""
    clients, count = system.clients, system.count
    cycle = clients.cycle[client]
    clients.cycle[client] = cycle + 1
    pause_ns = clients.think_ns[client, cycle % clients.think_ns.shape[1]]
    clients.wake_ns[client] = count.now_ns + pause_ns
    count.thinking = push(clients.heap, count.thinking, clients.wake_ns, client)


@piece
def begin(system: System) -> None:
    """Before the first instant: the clients of a closed loop think."""
    for client in range(system.clients.wake_ns.shape[0]):
        think(system, client)


@piece
def expire(system: System) -> None:
    """Step 1: those whose patience has ended leave."""
    count, patience, queues = system.count, system.patience, system.queues
    while count.deadlines > 0 and system.deadline_ns[patience[0]] <= count.now_ns:
        request = patience[0]
        count.deadlines = drop_first(patience, count.deadlines, system.deadline_ns)
        if not gives_up(system, request):
            continue
        queue = queue_of(system, request)
        leave(system, request)
        queues[PRESENT, queue] -= 1
        queues[TOUCHED, queue] = 1
        count.ongoing -= 1
        count_tier(system, queue, request, -1)
        system.fates[request].status = EXPIRED
        if system.clients.wake_ns.shape[0] > 0:
            think(system, system.links[request].client)


@piece
def gives_up(system: System, request: int) -> bool:
    """Whether a request may give up: it waits, and was never in a batch, sealed or running."""
    fate = system.fates[request]
    return bool(fate.status == UNFINISHED and fate.batch < 0)


@piece
def lane_base(system: System, queue: int) -> int:
    """The first lane of a queue."""
    return int(queue * (system.lanes.shape[1] // system.queues.shape[1]))


@piece
def queue_of(system: System, request: int) -> int:
    """The queue that a request waits in."""
    each = system.lanes.shape[1] // system.queues.shape[1]
    return int(np.int64(system.fates[request].lane) // each)


@piece
def count_tier(system: System, queue: int, request: int, more: int) -> None:
    """Let more or fewer of a request's tier wait, where that is limited."""
    if system.of_tier.shape[1] > 0:
        system.of_tier[queue, system.tier[request]] += more


@piece
def finds_room(system: System, request: int, queue: int) -> bool:
    """Whether a request may join a queue."""
    limits, queues = system.limits, system.queues
    present = queues[PRESENT, queue]
    if limits.counts_in_system:
        present += queues[IN_SERVICE, queue]
    if present >= limits.capacity or system.length[request] > limits.longest_admitted:
        return False
    if limits.tier_capacity.shape[0] == 0:
        return True
    tier = system.tier[request]
    return bool(system.of_tier[queue, tier] < limits.tier_capacity[tier])


@piece
def admit(system: System, queue: int) -> None:
    """Reject the arrival at hand or put it into its lane of a queue."""
    count, queues, request = system.count, system.queues, system.count.request
    queues[ARRIVED, queue] += 1
    queues[TOUCHED, queue] = 1
    if not finds_room(system, request, queue):
        system.fates[request].status = REJECTED
        system.fates[request].lane = -1
        if system.clients.wake_ns.shape[0] > 0:
            think(system, system.links[request].client)
        return
    system.fates[request].lane += lane_base(system, queue)
    join(system, request)
    queues[PRESENT, queue] += 1
    count.ongoing += 1
    count_tier(system, queue, request, 1)
    if system.patience.shape[0] > 0 and system.deadline_ns[request] != NEVER:
        count.deadlines = push(system.patience, count.deadlines, system.deadline_ns, request)


@piece
def next_arrival(system: System) -> bool:
    """Step 3: the next arrival, in id order; those of a closed loop are by (instant, client)."""
    count, clients = system.count, system.clients
    request = count.arrived
    if request >= system.arrival_ns.shape[0]:
        return False
    if clients.wake_ns.shape[0] > 0:
        if count.thinking == 0 or clients.wake_ns[clients.heap[0]] > count.now_ns:
            return False
        system.links[request].client = clients.heap[0]
        system.arrival_ns[request] = count.now_ns
        if system.deadline_ns[request] != NEVER:
            system.deadline_ns[request] += count.now_ns
        count.thinking = drop_first(clients.heap, count.thinking, clients.wake_ns)
    elif system.arrival_ns[request] > count.now_ns:
        return False
    count.request = request
    count.arrived += 1
    return True
