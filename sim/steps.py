"""One instant after another: the event loop that the compiled kernel runs.

How one instant is worked through (the tie rule, the same in every driver):

1. requests whose patience has ended up to now leave, in order of (deadline, id);
2. completions, in server order, each shown to ``observe``; then replicas come and go, in the order
   of :mod:`sim.changes`;
3. arrivals, in id order, those included that this instant's completions cause (closed loops);
   where there are several queues, the router says which one each joins;
4. queue by queue, where anything happened to it or its policy asked for this instant, the policy
   decides, again and again, until it waits, no server is idle, nobody waits or the run is over
   (``until_ns``).  The server that is idle longest is asked first, then the lowest index; when a
   batch starts the round begins anew; the earliest answer of a whole round of waiting is when to
   ask again.

The loop does not know the policy: it says what it wants to know, and :mod:`sim.compiled` puts a
rule beside it.  So it is compiled once, for all rules.
"""

from __future__ import annotations

import numpy as np

from policies.contract import FIRE, NEVER, NOBODY, expected_ns

from .answer import SOUND, fault_of
from .cache import compiled_piece as piece
from .heaps import drop_first
from .service import drawn_ns, idling_ns, noise_factor
from .steps_queue import count_tier, gives_up, set_head, think
from .system import (
    ASK_NS,
    BATCHES,
    BUSY_SINCE_NS,
    EXPECTED_NS,
    FINISH_NS,
    FINISHED,
    FINISHED_SERVICE_NS,
    FINISHED_SIZE,
    FIRST,
    FIRST_SERVER,
    FORMED_NS,
    GPU,
    HEAD,
    IDLE,
    IDLE_SINCE_NS,
    IN_SERVICE,
    LAST_SERVER,
    PRESENT,
    PROFILE,
    QUEUE,
    SIZE,
    TAKE,
    TOUCHED,
    UP,
    WAITING,
    System,
)
from .trace import SERVED


@piece
def advance(system: System) -> bool:
    """Go to the next instant; False when no event remains or the policy broke the contract."""
    count, clients, patience = system.count, system.clients, system.patience
    instant = min(count.ask_ns, count.next_finish_ns)
    if count.arrived < system.arrival_ns.shape[0]:
        if clients.wake_ns.shape[0] == 0:
            instant = min(instant, system.arrival_ns[count.arrived])
        elif count.thinking > 0:
            instant = min(instant, clients.wake_ns[clients.heap[0]])
    while count.deadlines > 0 and not gives_up(system, patience[0]):
        count.deadlines = drop_first(patience, count.deadlines, system.deadline_ns)
    if count.deadlines > 0:
        instant = min(instant, system.deadline_ns[patience[0]])
    instant = min(instant, count.change_ns)
    if instant == NEVER or count.fault != SOUND:
        return False
    count.ongoing_ns += count.ongoing * (instant - count.now_ns)
    count.now_ns = instant
    return True


@piece
def release(system: System, server: int) -> None:
    """A server becomes idle; in a closed loop its batch's clients begin to think."""
    servers, count, queues = system.servers, system.count, system.queues
    queue = servers[QUEUE, server]
    queues[FINISHED, queue] += 1
    queues[FINISHED_SIZE, queue] = servers[SIZE, server]
    queues[FINISHED_SERVICE_NS, queue] = count.now_ns - servers[BUSY_SINCE_NS, server]
    queues[IN_SERVICE, queue] -= servers[SIZE, server]
    queues[IDLE, queue] += servers[UP, server]
    count.ongoing -= servers[SIZE, server]
    queues[TOUCHED, queue] = 1
    system.clock.on_gpu[servers[GPU, server]] -= 1
    servers[SIZE, server] = 0
    servers[FINISH_NS, server] = NEVER
    servers[BUSY_SINCE_NS, server] = -1
    servers[EXPECTED_NS, server] = -1
    servers[IDLE_SINCE_NS, server] = count.now_ns
    request = servers[FIRST, server] if system.clients.wake_ns.shape[0] > 0 else NOBODY
    while request != NOBODY:
        think(system, system.links[request].client)
        request = system.links[request].mate


@piece
def complete_next(system: System) -> bool:
    """Step 2: complete one batch that ends now; whether there was one."""
    servers, count = system.servers, system.count
    if count.next_finish_ns > count.now_ns:
        return False
    count.next_finish_ns = NEVER
    found = False
    for server in range(servers.shape[1]):
        if not found and servers[FINISH_NS, server] == count.now_ns:
            release(system, server)
            count.server = server
            count.queue = servers[QUEUE, server]
            found = True
        else:
            count.next_finish_ns = min(count.next_finish_ns, servers[FINISH_NS, server])
    return found


@piece
def collect(system: System, batch: int) -> None:
    """Take the requests that the lanes' ``take`` names into a batch."""
    lanes, tiers, record = system.lanes, system.tiers, system.batches[batch]
    queue = system.count.queue
    each = lanes.shape[1] // system.queues.shape[1]
    first = NOBODY
    size = longest = 0
    tiers[:] = 0
    for lane in range(queue * each, (queue + 1) * each):
        count = lanes[TAKE, lane]
        if count == 0:
            continue
        record.lane = lane if size == 0 else -1
        size += count
        request = lanes[HEAD, lane]
        for _ in range(count):
            fate = system.fates[request]
            fate.batch = batch
            fate.status = SERVED
            longest = max(longest, system.length[request])
            tiers[system.tier[request] if tiers.shape[0] > 1 else 0] += 1
            count_tier(system, queue, request, -1)
            if system.limits.remembers:
                system.links[request].mate = first
                first = request
            request = int(np.int64(system.next[request]))
        lanes[WAITING, lane] -= count
        lanes[TAKE, lane] = 0
        set_head(system, lane, request)
    system.servers[FIRST, system.count.server] = first
    record.size = size
    record.longest = longest


@piece
def start(system: System) -> None:
    """Start the batch that the lanes' ``take`` names on the server at hand."""
    count = system.count
    collect(system, count.started)
    system.queues[FORMED_NS, count.queue] = count.now_ns
    occupy(system, int(np.int64(system.batches[count.started].size)))


@piece
def occupy(system: System, places: int) -> None:
    """The server at hand begins the next batch, which is charged for so many places.

    Its members are known; their number is its size.
    """
    count, clock, tiers = system.count, system.clock, system.tiers
    servers, server, record = system.servers, count.server, system.batches[count.started]
    queues, queue, profile = system.queues, count.queue, servers[PROFILE, count.server]
    size, longest = int(np.int64(record.size)), int(np.int64(record.longest))
    k = servers[BATCHES, server]
    idle_ns = count.now_ns - servers[IDLE_SINCE_NS, server]
    extra = idling_ns(clock.idle_extra_ns, clock.idle_half_ns, idle_ns)
    clock.on_gpu[servers[GPU, server]] += 1
    slowed = clock.slowdown[clock.on_gpu[servers[GPU, server]]]
    drawn = 0
    usual = 0.0
    for model in range(tiers.shape[0]):
        if tiers[model] > 0:
            table = clock.service_ns[profile, model]
            expected = expected_ns(table, clock.length_edges, places, longest)
            sizes = clock.class_of_size[profile]
            factor = noise_factor(clock.draws, clock.quantiles, sizes, model, server, k, places)
            usual = max(usual, expected)
            drawn = max(drawn, drawn_ns((expected + extra) * slowed, factor))
    finish_ns = count.now_ns + drawn
    record.server = server
    record.failed = 0
    record.start_ns = count.now_ns
    record.finish_ns = finish_ns
    servers[BUSY_SINCE_NS, server] = count.now_ns
    servers[FINISH_NS, server] = finish_ns
    servers[EXPECTED_NS, server] = count.now_ns + drawn_ns(usual, 1.0)
    servers[SIZE, server] = size
    servers[BATCHES, server] = k + 1
    count.next_finish_ns = min(count.next_finish_ns, finish_ns)
    count.started += 1
    queues[PRESENT, queue] -= size
    queues[IN_SERVICE, queue] += size
    queues[IDLE, queue] -= 1  # it was up, or it would not have been asked


@piece
def open_round(system: System) -> None:
    """Step 4 begins: no queue and no server has been asked."""
    system.count.ask_ns = NEVER
    system.count.queue = 0
    system.count.server = -1


@piece
def ask_next(system: System) -> bool:
    """Step 4: find the next idle server to ask for; whether there is one.

    Queue by queue, where anything happened or the policy asked for this instant.
    """
    count, queues = system.count, system.queues
    if count.fault != SOUND or count.now_ns >= system.limits.until_ns:
        return False
    while count.queue < queues.shape[1]:
        queue = count.queue
        if queues[TOUCHED, queue] != 0 or queues[ASK_NS, queue] <= count.now_ns:
            queues[TOUCHED, queue] = 1
            if count.server < 0:
                queues[ASK_NS, queue] = NEVER
            if queues[IDLE, queue] > 0 and queues[PRESENT, queue] > 0:
                count.server = next_idle(system, queue)
                if count.server >= 0:
                    return True
            queues[TOUCHED, queue] = 0
        count.ask_ns = min(count.ask_ns, queues[ASK_NS, queue])
        count.queue += 1
        count.server = -1
    return False


@piece
def next_idle(system: System, queue: int) -> int:
    """The idle server of a queue to ask for after the one at hand, longest idle first; or -1."""
    servers, queues, asked = system.servers, system.queues, system.count.server
    since_ns = servers[IDLE_SINCE_NS, asked] if asked >= 0 else -1
    best = -1
    best_ns = NEVER
    for server in range(queues[FIRST_SERVER, queue], queues[LAST_SERVER, queue]):
        idle_ns = servers[IDLE_SINCE_NS, server]
        asked_before = idle_ns < since_ns or (idle_ns == since_ns and server <= asked)
        free = servers[SIZE, server] == 0 and servers[UP, server] == 1
        if free and not asked_before and idle_ns < best_ns:
            best = server
            best_ns = idle_ns
    return best


@piece
def obey(system: System, answer: int) -> None:
    """Do what the policy answered; when a batch starts, a new round begins."""
    lanes, count, queues = system.lanes, system.count, system.queues
    largest = system.clock.service_ns.shape[2]
    each = lanes.shape[1] // queues.shape[1]
    low, high = count.queue * each, (count.queue + 1) * each
    take, waiting = lanes[TAKE, low:high], lanes[WAITING, low:high]
    count.fault = fault_of(answer, take, waiting, count.now_ns, largest)
    if count.fault != SOUND:
        return
    if answer == FIRE:
        start(system)
        count.server = -1
    else:
        queues[ASK_NS, count.queue] = min(queues[ASK_NS, count.queue], answer)
