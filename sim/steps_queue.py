"""The compiled event loop, its first half: who waits, who gives up, who is let in."""

from __future__ import annotations

import numpy as np

from policies.contract import NEVER, NOBODY

from .cache import compiled_piece as piece
from .heaps import drop_first, push
from .system import HEAD, OLDEST_NS, TAIL, WAITING, System
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
    count, patience = system.count, system.patience
    while count.deadlines > 0 and system.deadline_ns[patience[0]] <= count.now_ns:
        request = patience[0]
        count.deadlines = drop_first(patience, count.deadlines, system.deadline_ns)
        if system.fates[request].status != UNFINISHED:
            continue
        leave(system, request)
        count.waiting -= 1
        system.fates[request].status = EXPIRED
        if system.clients.wake_ns.shape[0] > 0:
            think(system, system.links[request].client)


@piece
def admit(system: System, request: int) -> None:
    """Reject an arrival or put it into its lane."""
    limits, count = system.limits, system.count
    present = count.waiting
    if limits.counts_in_system:
        present += count.in_service
    if present >= limits.capacity or system.length[request] > limits.longest_admitted:
        system.fates[request].status = REJECTED
        system.fates[request].lane = -1
        if system.clients.wake_ns.shape[0] > 0:
            think(system, system.links[request].client)
        return
    join(system, request)
    count.waiting += 1
    if system.patience.shape[0] > 0 and system.deadline_ns[request] != NEVER:
        count.deadlines = push(system.patience, count.deadlines, system.deadline_ns, request)


@piece
def arrive(system: System) -> None:
    """Step 3: arrivals, in id order; ids of a closed loop are given by (instant, client)."""
    count, clients = system.count, system.clients
    closed = clients.wake_ns.shape[0] > 0
    while count.arrived < system.arrival_ns.shape[0]:
        request = count.arrived
        if closed:
            if count.thinking == 0 or clients.wake_ns[clients.heap[0]] > count.now_ns:
                return
            system.links[request].client = clients.heap[0]
            system.arrival_ns[request] = count.now_ns
            if system.deadline_ns[request] != NEVER:
                system.deadline_ns[request] += count.now_ns
            count.thinking = drop_first(clients.heap, count.thinking, clients.wake_ns)
        elif system.arrival_ns[request] > count.now_ns:
            return
        count.arrived += 1
        admit(system, request)
