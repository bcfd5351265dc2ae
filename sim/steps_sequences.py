"""The compiled event loop, its sixth part: slots that hold sequences (:mod:`sim.sequences`).

Only sticky rules have it compiled.  Seat ``slot x servers + server`` is that slot of that server.
"""

from __future__ import annotations

import numpy as np

from policies.contract import FIRE, NEVER, NOBODY, later

from .answer import SOUND, fault_of
from .cache import compiled_piece as piece
from .heaps import drop_first, push
from .sequences import GONE, IN_LINE, SEATED, TIMED_OUT, UNKNOWN
from .steps import collect, occupy
from .steps_cluster import join_again
from .steps_queue import count_tier, join, lane_base
from .system import (
    ARRIVED,
    ASK_NS,
    CURRENT,
    FIRST,
    FIRST_WAITING,
    FORMED_NS,
    FREE,
    FREED_NS,
    LAST_WAITING,
    LATEST,
    LINE_HEAD,
    LINE_TAIL,
    NEXT_IN_LINE,
    OCCUPANT,
    PRESENT,
    QUEUE,
    SEAT,
    SEATED_NS,
    SENT,
    SIZE,
    STATE_OF,
    TAKE,
    TOUCHED,
    WAITING,
    WAS_IDLE,
    System,
)
from .trace import REJECTED


@piece
def is_seated(system: System) -> bool:
    """Whether the workload has sequences."""
    return bool(system.seating.seats.shape[1] > 0)


@piece
def servers_of(system: System) -> int:
    """How many servers have seats."""
    return int(system.servers.shape[1])


# the steps of an instant


@piece
def time_out(system: System) -> None:
    """Step 1: sequences that sent nothing for too long lose their slots; when the next one does."""
    seating, count = system.seating, system.count
    sequences, turns = seating.sequences, seating.turns
    while next_idle_ns(system) <= count.now_ns:
        sequence = seating.of[turns[SENT]]
        turns[SENT] += 1
        sequences[WAS_IDLE, sequence] = 1
        if sequences[STATE_OF, sequence] == SEATED:
            sequences[STATE_OF, sequence] = TIMED_OUT
            go_on(system, sequences[SEAT, sequence])


@piece
def next_idle_ns(system: System) -> int:
    """When the next sequence times out; requests that are not the last of theirs are passed."""
    seating, turns = system.seating, system.seating.turns
    while turns[SENT] < system.count.arrived:
        request = turns[SENT]
        if seating.sequences[LATEST, seating.of[request]] == request and seating.ends[request] == 0:
            return int(later(seating.arrival_ns[request], seating.max_idle_ns))
        turns[SENT] += 1
    return NEVER


@piece
def vacate(system: System) -> None:
    """Step 2: the server at hand has done its batch: whose turn it is next."""
    seating, server, servers = system.seating, system.count.server, servers_of(system)
    request = system.servers[FIRST, server]
    while request != NOBODY:
        after = system.links[request].mate
        seat = seating.sits[request]
        seating.seats[CURRENT, seat] = NOBODY
        if not seating.places:
            go_on(system, seat)
        request = after
    if seating.places:
        for seat in range(server, seating.seats.shape[1], servers):
            go_on(system, seat)


@piece
def arrive(system: System) -> None:
    """Step 3: let the arrival at hand in, or reject it."""
    seating, request = system.seating, system.count.request
    sequences, sequence = seating.sequences, seating.of[request]
    state = sequences[STATE_OF, sequence]
    if state in (TIMED_OUT, GONE):
        system.fates[request].status = REJECTED
        system.fates[request].lane = -1
        return
    if state == UNKNOWN:
        sequences[STATE_OF, sequence] = IN_LINE
        find_seat(system, sequence)
    sequences[LATEST, sequence] = request
    sequences[WAS_IDLE, sequence] = 0
    system.count.ongoing += 1
    if sequences[FIRST_WAITING, sequence] == NOBODY:
        sequences[FIRST_WAITING, sequence] = request
    else:
        system.next[sequences[LAST_WAITING, sequence]] = request
    sequences[LAST_WAITING, sequence] = request
    if sequences[STATE_OF, sequence] == SEATED:
        go_on(system, sequences[SEAT, sequence])


@piece
def plan_idle(system: System) -> None:
    """When to work through an instant next because a sequence times out."""
    system.count.change_ns = next_idle_ns(system)


@piece
def obey_seated(system: System, answer: int) -> None:
    """Do what the policy answered; a batch is charged for its places."""
    lanes, count, queues = system.lanes, system.count, system.queues
    low, high = lane_base(system, count.queue), lane_base(system, count.queue + 1)
    take, waiting = lanes[TAKE, low:high], lanes[WAITING, low:high]
    count.fault = fault_of(answer, take, waiting, count.now_ns, system.clock.service_ns.shape[2])
    if count.fault != SOUND:
        return
    if answer == FIRE:
        collect(system, count.started)
        queues[FORMED_NS, count.queue] = count.now_ns
        occupy(system, taken(system))
        count.server = -1
    else:
        queues[ASK_NS, count.queue] = min(queues[ASK_NS, count.queue], answer)


@piece
def taken(system: System) -> int:
    """How many places the batch at hand is charged for; it stands in the order of its requests."""
    seating, server, started = system.seating, system.count.server, system.count.started
    in_order(system, server)
    if not seating.places:
        return int(np.int64(system.batches[started].size))
    last = 0
    for seat in range(server, seating.seats.shape[1], servers_of(system)):
        request = seating.seats[CURRENT, seat]
        if request != NOBODY and np.int64(system.fates[request].batch) == started:
            last = seat // servers_of(system)
            if seating.ends[request] != 0:
                give_back(system, seat)
    return int(last + 1)


@piece
def in_order(system: System, server: int) -> None:
    """Turn the chain of a batch around: it was made from its first request to its last."""
    links, before = system.links, NOBODY
    request = system.servers[FIRST, server]
    while request != NOBODY:
        after = links[request].mate
        links[request].mate = before
        before = request
        request = after
    system.servers[FIRST, server] = before


# slots


@piece
def go_on(system: System, seat: int) -> None:
    """Let the next request of a seat be ready, or give the seat back."""
    seating = system.seating
    seats, sequences = seating.seats, seating.sequences
    while seats[CURRENT, seat] == NOBODY and seats[OCCUPANT, seat] != NOBODY:
        sequence = seats[OCCUPANT, seat]
        request = sequences[FIRST_WAITING, sequence]
        if request != NOBODY:
            sequences[FIRST_WAITING, sequence] = int(np.int64(system.next[request]))
            system.next[request] = NOBODY
            be_ready(system, request, seat)
        elif sequences[STATE_OF, sequence] == TIMED_OUT and may_let_go(system, seat):
            give_back(system, seat)
        else:
            return


@piece
def may_let_go(system: System, seat: int) -> bool:
    """Where batches have places, slots are looked at only between two of them."""
    if not system.seating.places:
        return True
    return bool(system.servers[SIZE, seat % servers_of(system)] == 0)


@piece
def be_ready(system: System, request: int, seat: int) -> None:
    """Put a request into the queue of its server."""
    seating, count, queues = system.seating, system.count, system.queues
    queue = system.servers[QUEUE, seat % servers_of(system)]
    seating.seats[CURRENT, seat] = request
    seating.sits[request] = seat
    seating.ready_ns[request] = count.now_ns
    queues[ARRIVED, queue] += 1
    if seating.places:
        at_hand = count.request
        count.request = request
        join_again(system, queue)
        count.request = at_hand
        return
    system.arrival_ns[request] = count.now_ns
    system.fates[request].lane += lane_base(system, queue)
    join(system, request)
    queues[PRESENT, queue] += 1
    queues[TOUCHED, queue] = 1
    count_tier(system, queue, request, 1)
    if seating.ends[request] != 0:
        give_back(system, seat)


@piece
def find_seat(system: System, sequence: int) -> None:
    """Let a sequence that begins take a free slot, or stand in line."""
    seating = system.seating
    turns, sequences = seating.turns, seating.sequences
    if turns[FREE] > 0:
        seat = seating.free[0]
        turns[FREE] = drop_first(seating.free, turns[FREE], seating.order)
        sit(system, sequence, seat)
        return
    sequences[NEXT_IN_LINE, sequence] = NOBODY
    if turns[LINE_HEAD] == NOBODY:
        turns[LINE_HEAD] = sequence
    else:
        sequences[NEXT_IN_LINE, turns[LINE_TAIL]] = sequence
    turns[LINE_TAIL] = sequence


@piece
def sit(system: System, sequence: int, seat: int) -> None:
    """A sequence gets a slot."""
    sequences = system.seating.sequences
    system.seating.seats[OCCUPANT, seat] = sequence
    sequences[SEAT, sequence] = seat
    sequences[SEATED_NS, sequence] = system.count.now_ns
    sequences[STATE_OF, sequence] = TIMED_OUT if sequences[WAS_IDLE, sequence] != 0 else SEATED


@piece
def give_back(system: System, seat: int) -> None:
    """A seat is free; the first in line takes it."""
    seating = system.seating
    turns, sequences = seating.turns, seating.sequences
    sequence = seating.seats[OCCUPANT, seat]
    sequences[STATE_OF, sequence] = GONE
    sequences[FREED_NS, sequence] = system.count.now_ns
    seating.seats[OCCUPANT, seat] = NOBODY
    first = turns[LINE_HEAD]
    if first == NOBODY:
        turns[FREE] = push(seating.free, turns[FREE], seating.order, seat)
        return
    turns[LINE_HEAD] = sequences[NEXT_IN_LINE, first]
    sit(system, first, seat)
