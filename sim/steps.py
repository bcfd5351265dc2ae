"""One instant after another: the event loop that the compiled kernel runs.

How one instant is worked through (the tie rule, the same in every driver):

1. requests whose patience has ended up to now leave, in order of (deadline, id);
2. completions, in server order, each shown to ``observe``;
3. arrivals, in id order, those included that this instant's completions cause (closed loops);
4. the policy decides, again and again, until it waits, no server is idle or nobody waits.  The
   server that is idle longest is asked first, then the lowest index; when a batch starts the
   round begins anew; the earliest answer of a whole round of waiting is the next instant.

The loop does not know the policy: it says what it wants to know, and :mod:`sim.compiled` puts a
rule beside it.  So it is compiled once, for all rules.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import FIRE, NEVER, NOBODY, FloatArray, IntArray, View, expected_ns

from .answer import SOUND, fault_of
from .cache import compiled_piece as piece
from .heaps import drop_first, push
from .service import drawn_ns, noise_factor
from .trace import EXPIRED, REJECTED, SERVED, UNFINISHED

Records = NDArray[Any]
"""A structured array: one row per request or batch."""

FATE = np.dtype(
    [
        ("batch", np.int32),  # -1 while it has none
        ("lane", np.int16),  # -1 if it was rejected
        ("status", np.int8),
    ],
    align=True,
)
LINKS = np.dtype(
    [
        ("previous", np.int64),  # in its lane
        ("mate", np.int64),  # another request of its batch, closed loops only
        ("client", np.int64),  # who sent it, -1 in open workloads
    ],
    align=True,
)
BATCH = np.dtype(
    [
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("size", np.int32),
        ("longest", np.int32),
        ("lane", np.int16),  # -1 if it is mixed
        ("server", np.int16),
    ],
    align=True,
)
WAITING, OLDEST_NS, HEAD, TAIL, TAKE = range(5)
"""Rows of ``System.lanes``."""

IDLE_SINCE_NS, BUSY_SINCE_NS, FINISH_NS, EXPECTED_NS, SIZE, BATCHES, FIRST = range(7)
"""Rows of ``System.servers``: BATCHES counts those that it started, FIRST is a request of the
running batch (closed loops only); while idle SIZE is 0, FINISH_NS is NEVER, the others -1."""

COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "now_ns",
            "ask_ns",  # the earliest answer of this round
            "next_finish_ns",
            "server",  # that the question at hand is about
            "arrived",
            "waiting",
            "in_service",
            "idle",  # servers
            "started",  # batches
            "finished",  # batches
            "finished_size",
            "finished_service_ns",
            "deadlines",  # size of the heap of deadlines
            "thinking",  # size of the heap of clients
            "fault",
        )
    ]
)


class Clock(NamedTuple):
    """How long a batch takes: the arrays of :class:`sim.service.Service`."""

    service_ns: IntArray
    length_edges: IntArray
    draws: NDArray[np.float32]
    quantiles: FloatArray
    class_of_size: IntArray


class Limits(NamedTuple):
    """Who is let in."""

    capacity: int
    counts_in_system: bool
    longest_admitted: int


class Clients(NamedTuple):
    """A closed loop; no clients in an open one."""

    think_ns: IntArray  # (clients, cycles)
    wake_ns: IntArray  # (clients,) when a client that thinks sends its next request
    cycle: IntArray  # (clients,) how often it has thought
    heap: IntArray  # (clients,) those that think, by (wake_ns, client)


class System(NamedTuple):
    """Everything that a run changes or reads; N requests."""

    arrival_ns: IntArray  # (N,)
    length: NDArray[np.int32]  # (N,)
    tier: NDArray[np.int8]  # (N,)
    deadline_ns: IntArray  # (N,); in a closed loop, before it arrives, its patience
    next: NDArray[np.int32]  # (N,) the next request of the same lane
    fates: Records  # (N,) of FATE
    links: Records  # (N,) of LINKS where requests give up or loop, else (0,)
    patience: IntArray  # (N,) heap of those that may give up, or (0,)
    batches: Records  # (N,) of BATCH, the first ones are filled
    lanes: IntArray  # (5, lanes)
    servers: IntArray  # (7, servers)
    clock: Clock
    limits: Limits
    clients: Clients
    tiers: IntArray  # (models,) requests of each model in the batch at hand
    memory: FloatArray  # (memory_slots,)
    count: Any  # a record of COUNTERS


@piece
def look(system: System) -> View:
    """The view of the server at hand, now."""
    count, lanes, servers = system.count, system.lanes, system.servers
    return View(
        count.now_ns,
        lanes[WAITING],
        lanes[OLDEST_NS],
        lanes[HEAD],
        lanes[TAIL],
        system.arrival_ns,
        system.length,
        system.tier,
        system.deadline_ns,
        system.next,
        count.server,
        servers.shape[1],
        count.idle,
        servers[IDLE_SINCE_NS, count.server],
        servers[BUSY_SINCE_NS],
        servers[SIZE],
        servers[EXPECTED_NS],
        count.arrived,
        count.finished,
        count.finished_size,
        count.finished_service_ns,
        system.memory,
        lanes[TAKE],
    )


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
    lane = int(system.fates[request].lane)
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
    lane = int(system.fates[request].lane)
    after = int(system.next[request])
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
def advance(system: System) -> bool:
    """Go to the next instant; False when no event remains or the policy broke the contract."""
    count, clients, patience = system.count, system.clients, system.patience
    instant = min(count.ask_ns, count.next_finish_ns)
    if count.arrived < system.arrival_ns.shape[0]:
        if clients.wake_ns.shape[0] == 0:
            instant = min(instant, system.arrival_ns[count.arrived])
        elif count.thinking > 0:
            instant = min(instant, clients.wake_ns[clients.heap[0]])
    while count.deadlines > 0 and system.fates[patience[0]].status != UNFINISHED:
        count.deadlines = drop_first(patience, count.deadlines, system.deadline_ns)
    if count.deadlines > 0:
        instant = min(instant, system.deadline_ns[patience[0]])
    if instant == NEVER or count.fault != SOUND:
        return False
    count.now_ns = instant
    return True


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
def release(system: System, server: int) -> None:
    """A server becomes idle; in a closed loop its batch's clients begin to think."""
    servers, count = system.servers, system.count
    count.finished += 1
    count.finished_size = servers[SIZE, server]
    count.finished_service_ns = count.now_ns - servers[BUSY_SINCE_NS, server]
    count.in_service -= servers[SIZE, server]
    count.idle += 1
    servers[SIZE, server] = 0
    servers[FINISH_NS, server] = NEVER
    servers[BUSY_SINCE_NS, server] = -1
    servers[EXPECTED_NS, server] = -1
    servers[IDLE_SINCE_NS, server] = count.now_ns
    request = servers[FIRST, server]
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
            found = True
        else:
            count.next_finish_ns = min(count.next_finish_ns, servers[FINISH_NS, server])
    return found


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


@piece
def collect(system: System, batch: int) -> None:
    """Take the requests that the lanes' ``take`` names into a batch."""
    lanes, tiers, record = system.lanes, system.tiers, system.batches[batch]
    first = NOBODY
    size = longest = 0
    tiers[:] = 0
    for lane in range(lanes.shape[1]):
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
            if system.clients.wake_ns.shape[0] > 0:
                system.links[request].mate = first
                first = request
            request = int(system.next[request])
        lanes[WAITING, lane] -= count
        lanes[TAKE, lane] = 0
        set_head(system, lane, request)
    system.servers[FIRST, system.count.server] = first
    record.size = size
    record.longest = longest


@piece
def start(system: System) -> None:
    """Start the batch that the lanes' ``take`` names on the server at hand."""
    count, clock, tiers = system.count, system.clock, system.tiers
    servers, server, record = system.servers, count.server, system.batches[count.started]
    collect(system, count.started)
    size, longest = int(record.size), int(record.longest)
    k = servers[BATCHES, server]
    drawn = 0
    usual = 0.0
    for model in range(tiers.shape[0]):
        if tiers[model] > 0:
            expected = expected_ns(clock.service_ns[model], clock.length_edges, size, longest)
            factor = noise_factor(
                clock.draws, clock.quantiles, clock.class_of_size, model, server, k, size
            )
            usual = max(usual, expected)
            drawn = max(drawn, drawn_ns(expected, factor))
    finish_ns = count.now_ns + drawn
    record.server = server
    record.start_ns = count.now_ns
    record.finish_ns = finish_ns
    servers[BUSY_SINCE_NS, server] = count.now_ns
    servers[FINISH_NS, server] = finish_ns
    servers[EXPECTED_NS, server] = count.now_ns + drawn_ns(usual, 1.0)
    servers[SIZE, server] = size
    servers[BATCHES, server] = k + 1
    count.next_finish_ns = min(count.next_finish_ns, finish_ns)
    count.started += 1
    count.waiting -= size
    count.in_service += size
    count.idle -= 1


@piece
def open_round(system: System) -> None:
    """Step 4 begins: no server has been asked."""
    system.count.ask_ns = NEVER
    system.count.server = -1


@piece
def ask_next(system: System) -> bool:
    """Step 4: find the next idle server to ask for, longest idle first; whether there is one."""
    servers, count = system.servers, system.count
    if count.idle == 0 or count.waiting == 0 or count.fault != SOUND:
        return False
    asked = count.server
    since_ns = servers[IDLE_SINCE_NS, asked] if asked >= 0 else -1
    best = -1
    best_ns = NEVER
    for server in range(servers.shape[1]):
        idle_ns = servers[IDLE_SINCE_NS, server]
        asked_before = idle_ns < since_ns or (idle_ns == since_ns and server <= asked)
        if servers[SIZE, server] == 0 and not asked_before and idle_ns < best_ns:
            best = server
            best_ns = idle_ns
    count.server = best
    return best >= 0


@piece
def obey(system: System, answer: int) -> None:
    """Do what the policy answered; when a batch starts, a new round begins."""
    lanes, count = system.lanes, system.count
    largest = system.clock.service_ns.shape[1]
    count.fault = fault_of(answer, lanes[TAKE], lanes[WAITING], count.now_ns, largest)
    if count.fault != SOUND:
        return
    if answer == FIRE:
        start(system)
        open_round(system)
    else:
        count.ask_ns = min(count.ask_ns, answer)


@piece
def begin(system: System) -> None:
    """Before the first instant: the clients of a closed loop think."""
    for client in range(system.clients.wake_ns.shape[0]):
        think(system, client)


class Outcome(NamedTuple):
    """Columns of the requests that arrived, as :class:`sim.trace.Trace` has them."""

    lane: NDArray[np.int16]
    start_ns: IntArray
    finish_ns: IntArray
    batch: NDArray[np.int32]
    server: NDArray[np.int16]
    status: NDArray[np.int8]


@piece
def write_outcome(system: System, outcome: Outcome) -> None:
    """Fill the columns of requests from their fates and batches."""
    for request in range(outcome.batch.shape[0]):
        fate = system.fates[request]
        outcome.lane[request] = fate.lane
        outcome.batch[request] = fate.batch
        outcome.status[request] = fate.status
        outcome.server[request] = -1
        outcome.start_ns[request] = -1
        outcome.finish_ns[request] = -1
        if fate.status == SERVED:
            record = system.batches[fate.batch]
            outcome.server[request] = record.server
            outcome.start_ns[request] = record.start_ns
            outcome.finish_ns[request] = record.finish_ns
        elif fate.status == EXPIRED:
            outcome.finish_ns[request] = system.deadline_ns[request]
