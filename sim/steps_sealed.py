"""The compiled event loop, its fifth part: rules that are asked before a server is free.

They form batches, or let requests go.  Only rules that seal or shed have it compiled.

A sealed batch is a chain of requests; its row in ``System.sealed`` is that of the first of them,
and the rows of a queue are linked, oldest first.
"""

from __future__ import annotations

import numpy as np

from policies.contract import FIRE, NEVER, NOBODY, SHED

from .answer import SOUND, fault_of_ahead
from .cache import compiled_piece as piece
from .steps import next_idle, occupy, start
from .steps_queue import count_tier, lane_base, set_head
from .system import (
    ASK_NS,
    FIRST,
    FIRST_SEALED,
    FIRST_SERVER,
    FORMED_NS,
    HEAD,
    IDLE,
    IN_SEALED,
    LAST_SEALED,
    LAST_SERVER,
    PRESENT,
    SEALED,
    SEALED_REQUESTS,
    TAKE,
    TOUCHED,
    UP,
    WAITING,
    System,
)
from .trace import EXPIRED, SERVED

NONE, AHEAD = -1, -2
"""In the place of the server that a question is about: none yet, and that every one is busy."""


@piece
def ask_next_or_ahead(system: System) -> bool:
    """Step 4 where rules seal or shed: start what is sealed, then find the next question.

    As :func:`sim.steps.ask_next`; but where no server of a queue is idle, the rule is asked once a
    round about none, as long as more batches may be sealed or where it sheds.
    """
    count, queues = system.count, system.queues
    if count.fault != SOUND or count.now_ns >= system.limits.until_ns:
        return False
    while count.queue < queues.shape[1]:
        queue = count.queue
        if queues[TOUCHED, queue] != 0 or queues[ASK_NS, queue] <= count.now_ns:
            queues[TOUCHED, queue] = 1
            while queues[SEALED, queue] > 0 and queues[IDLE, queue] > 0:
                start_sealed(system)
            if count.server == NONE:
                queues[ASK_NS, queue] = NEVER
            if queues[PRESENT, queue] > queues[SEALED_REQUESTS, queue]:
                if count.server != AHEAD and queues[IDLE, queue] > 0:
                    count.server = next_idle(system, queue)
                    if count.server >= 0:
                        return True
                elif count.server == NONE and asks_ahead(system, queue):
                    count.server = AHEAD
                    return True
            queues[TOUCHED, queue] = 0
        count.ask_ns = min(count.ask_ns, queues[ASK_NS, queue])
        count.queue += 1
        count.server = NONE
    return False


@piece
def asks_ahead(system: System, queue: int) -> bool:
    """Whether the rule is asked though no server is idle; there has to be one at all."""
    queues = system.queues
    if queues[SEALED, queue] >= system.limits.seals and not system.limits.sheds:
        return False
    up = 0
    for server in range(queues[FIRST_SERVER, queue], queues[LAST_SERVER, queue]):
        up += system.servers[UP, server]
    return bool(up > 0)


@piece
def obey_or_seal(system: System, answer: int) -> None:
    """Do what the policy answered, about a server or about none."""
    lanes, count, queue = system.lanes, system.count, system.count.queue
    low, high = lane_base(system, queue), lane_base(system, queue + 1)
    largest = system.clock.service_ns.shape[2]
    take, waiting = lanes[TAKE, low:high], lanes[WAITING, low:high]
    may = 2 if system.limits.sheds else 0
    if count.server >= 0 or system.queues[SEALED, queue] < system.limits.seals:
        may += 1
    count.fault = fault_of_ahead(answer, take, waiting, count.now_ns, largest, may)
    if count.fault != SOUND:
        return
    if answer == SHED:
        shed(system)
        count.server = NONE
    elif answer == FIRE:
        if count.server >= 0:
            if system.formed_ns.shape[0] > 0:
                system.formed_ns[count.started] = count.now_ns
            start(system)
        else:
            seal(system)
        count.server = NONE
    else:
        system.queues[ASK_NS, queue] = min(system.queues[ASK_NS, queue], answer)


@piece
def shed(system: System) -> None:
    """Let those go unserved that the lanes' ``take`` names."""
    lanes, queues, queue, count = system.lanes, system.queues, system.count.queue, system.count
    for lane in range(lane_base(system, queue), lane_base(system, queue + 1)):
        taken = lanes[TAKE, lane]
        if taken == 0:
            continue
        request = lanes[HEAD, lane]
        for _ in range(taken):
            system.fates[request].status = EXPIRED
            system.shed_ns[request] = count.now_ns
            count_tier(system, queue, request, -1)
            request = int(np.int64(system.next[request]))
        queues[PRESENT, queue] -= taken
        count.ongoing -= taken
        lanes[WAITING, lane] -= taken
        lanes[TAKE, lane] = 0
        set_head(system, lane, request)


@piece
def seal(system: System) -> None:
    """Form the batch that the lanes' ``take`` names, and let it wait for a server."""
    lanes, queues, queue = system.lanes, system.queues, system.count.queue
    first, lane_of_all = NOBODY, NOBODY
    size = longest = 0
    for lane in range(lane_base(system, queue), lane_base(system, queue + 1)):
        count = lanes[TAKE, lane]
        if count == 0:
            continue
        lane_of_all = lane if size == 0 else -1
        size += count
        request = lanes[HEAD, lane]
        for _ in range(count):
            system.fates[request].batch = IN_SEALED
            longest = max(longest, system.length[request])
            system.links[request].mate = first
            first = request
            request = int(np.int64(system.next[request]))
        lanes[WAITING, lane] -= count
        lanes[TAKE, lane] = 0
        set_head(system, lane, request)
    row = system.sealed[first]
    row.formed_ns = system.count.now_ns
    row.size, row.longest, row.lane = size, longest, lane_of_all
    if queues[SEALED, queue] == 0:
        queues[FIRST_SEALED, queue] = first
    else:
        system.sealed[queues[LAST_SEALED, queue]].after = first
    queues[LAST_SEALED, queue] = first
    queues[SEALED, queue] += 1
    queues[SEALED_REQUESTS, queue] += size
    queues[FORMED_NS, queue] = system.count.now_ns


@piece
def start_sealed(system: System) -> None:
    """Start the oldest sealed batch of the queue at hand on its longest idle server."""
    count, tiers = system.count, system.tiers
    queue, first = count.queue, system.queues[FIRST_SEALED, count.queue]
    row, record = system.sealed[first], system.batches[count.started]
    count.server = NONE
    count.server = next_idle(system, queue)
    record.size, record.longest, record.lane = row.size, row.longest, row.lane
    system.formed_ns[count.started] = row.formed_ns
    system.queues[SEALED_REQUESTS, queue] -= row.size
    system.queues[SEALED, queue] -= 1
    system.queues[FIRST_SEALED, queue] = row.after
    system.servers[FIRST, count.server] = first
    tiers[:] = 0
    request = first
    while request != NOBODY:
        system.fates[request].batch = count.started
        system.fates[request].status = SERVED
        tiers[system.tier[request] if tiers.shape[0] > 1 else 0] += 1
        count_tier(system, queue, request, -1)
        request = system.links[request].mate
    occupy(system, int(np.int64(row.size)))
    count.server = NONE


@piece
def drop_sealed(system: System, queue: int) -> int:
    """Break up the oldest sealed batch of a queue; the first request of its chain."""
    queues, first = system.queues, system.queues[FIRST_SEALED, queue]
    row = system.sealed[first]
    queues[SEALED_REQUESTS, queue] -= row.size
    queues[PRESENT, queue] -= row.size
    queues[SEALED, queue] -= 1
    queues[FIRST_SEALED, queue] = row.after
    request = first
    while request != NOBODY:
        count_tier(system, queue, request, -1)
        request = system.links[request].mate
    return int(first)
