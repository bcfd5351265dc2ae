"""What a batching policy sees, what it may answer, and the words that both use.

A policy is a :class:`typing.NamedTuple` of tuned numbers with one pure method, ``decide``.  The
SimPy model, the compiled kernel and the live server all call that same method.

Rules of the contract (tests and drivers refer to these numbers):

1. ``decide`` reads nothing but its own fields and the view: no clock, no random number, no I/O.
2. ``decide`` writes nothing but ``view.take`` (through :func:`fire` and :func:`fire_lanes`) and
   ``view.memory``.
3. It returns what :func:`fire`, :func:`fire_lanes`, :func:`shed`, :func:`wait_until` or
   :func:`wait` return, and nothing else.
4. Asked twice on an unchanged view it answers the same, and the second call changes nothing.
5. It is asked only when a server is idle and at least one request waits.  A rule that ``seals`` is
   also asked while every server is busy: what it fires then is sealed, waits FIFO for a server and
   never grows.  So is a rule that ``sheds``, which may not fire then unless it seals.
6. A fired batch takes requests from the heads of lanes only: at least one, never more than wait
   there, and never more than the profile's largest batch.  Those that are shed are taken from
   there too, by a rule that says that it ``sheds``; they leave unserved and count as expired, at
   that instant.
7. An instant given to ``wait_until`` lies in the future.  An earlier event (an arrival, a
   completion, an expiry) asks again anyway.
8. Everything in a policy is a number, a bool or an int64 or float64 array, and ``decide`` makes
   no arrays of its own: so it compiles to a few nanoseconds.

A policy class may also define (each is optional):

``memory_slots``
    property or class attribute: how many float64 cells of ``view.memory`` it uses; they are zero
    at the start of a run.
``lanes(self) -> int`` and ``lane_of(self, length, tier) -> int``
    its lanes, and the lane of an arrival.  Without them there is one lane.
``observe(self, view) -> None``
    called once for each completed batch, before the arrivals of that instant; writes
    ``view.memory`` only.  The server at hand is the one that finished.
``bind(self, service_ns, length_edges, tiers, servers) -> policy``
    checks the parameters (``ValueError`` with the rule and the value) and takes what the rule may
    know of the profile; called once before a run.
``within_memory(self, length, most) -> policy``
    only of a rule whose batches follow the lengths of those in them: the same rule, so that every
    batch fits.  ``most`` is the largest batch that fits at each longest ``length`` that arrives
    (both int64 (V,), ``length`` increasing); called before ``bind``.
``seals``
    property or class attribute: how many sealed batches may wait for a server; 0 without it, NEVER
    for any number.  (A class without the name is compiled without sealed batches.)
``sheds``
    property or class attribute: True where it may let requests go unserved.
``slots``, ``places``, ``max_idle_ns``
    of a rule that keeps each sequence on one slot of one server (:mod:`policies.sticky`).
``space() -> tuple of dimensions``
    static: which of its numbers a tuner may choose, and from what (:mod:`policies.space`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def shared(function: Function) -> Function:
    """Let compiled rules call a small function; called from Python it stays plain Python.

    This is numba's ``register_jitable``.  Policies and the live server also run where numba is
    missing.
    """
    try:
        from numba.extending import register_jitable
    except ImportError:
        return function
    return register_jitable(function)


IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Integers = NDArray[np.signedinteger[Any]]
"""int64 in the SimPy driver; a narrower type where the compiled driver saves memory."""

NEVER = 2**63 - 1
"""An instant that does not come (int64): no deadline, no SLO, nothing to wait for."""

FIRE = -1
"""What a rule returns after it has filled ``view.take``."""

SHED = -2
"""What a rule returns after it has filled ``view.take`` with those to let go unserved."""

NOBODY = -1
"""The request id that ends a lane's linked list."""

NO_TABLE: IntArray = np.zeros((0, 0), dtype=np.int64)
"""Default of a rule's ``service_ns`` field until ``bind`` fills it."""

NO_EDGES: IntArray = np.zeros(0, dtype=np.int64)
"""Default of a rule's ``length_edges`` field until ``bind`` fills it."""


class View(NamedTuple):
    """The queue and the servers at one instant: numbers and arrays only.

    Times are in ns; ids index the request arrays.
    """

    now_ns: int
    """The instant of this question."""

    waiting: IntArray
    """(lanes,) requests that wait in each lane."""
    oldest_ns: IntArray
    """(lanes,) arrival of the head of each lane; NEVER where the lane is empty."""
    head: IntArray
    """(lanes,) id of the first request of each lane; NOBODY where the lane is empty."""
    tail: IntArray
    """(lanes,) id of the last request of each lane; NOBODY where the lane is empty."""

    arrival_ns: IntArray
    """(requests,) arrival instants; only those that have arrived may be read."""
    length: Integers
    """(requests,) lengths in the profile's unit."""
    tier: Integers
    """(requests,) tiers; 0 is the most urgent."""
    deadline_ns: IntArray
    """(requests,) instant at which a request that still waits gives up; NEVER without a time-out.
    """
    next: Integers
    """(requests,) id of the next request of the same lane; NOBODY at the tail."""

    server: int
    """The idle server that would run the batch; -1 where every server is busy (rules that seal)."""
    servers: int
    idle_servers: int
    idle_since_ns: int
    """When the server at hand became idle; 0 if it has never been busy, -1 where there is none."""
    busy_since_ns: IntArray
    """(servers,) start of the running batch; -1 while idle."""
    size: IntArray
    """(servers,) size of the running batch; 0 while idle."""
    expected_finish_ns: IntArray
    """(servers,) start plus the profile's time without noise; -1 while idle."""

    arrived: int
    """Requests that arrived up to now, refused ones included."""

    finished: int
    """Batches completed up to now."""
    finished_size: int
    """Size of the batch that completed last; 0 before the first."""
    finished_service_ns: int
    """Service time of the batch that completed last; 0 before the first."""

    memory: FloatArray
    """(memory_slots,) the rule's own state."""
    take: IntArray
    """(lanes,) how many to take from the head of each lane; all zero before each question."""

    formed_ns: int = 0
    """When the rule fired last; 0 before the first batch."""
    sealed: int = 0
    """Batches that are formed and wait for a server."""
    sealed_requests: int = 0
    """Requests in them, which wait in no lane any more."""


class Tier(NamedTuple):
    """A class of requests with one service-level objective."""

    name: str
    slo_ns: int = NEVER
    """Latency target; NEVER without an SLO."""
    percentile: float = 99.0
    """The percentile of latency that has to meet the target."""
    backlog: bool = False
    """Whether its requests are there from the start, more than can be served: it has no latency."""


class Policy(Protocol):
    """What every policy has.  The optional parts are listed in the module's docstring."""

    def decide(self, view: View, /) -> int:
        """Fire a batch on the idle server at hand, or say when to be asked again."""
        ...


class PolicyError(ValueError):
    """A policy broke the contract: its fault, not the scenario's."""


@shared
def fire(view: View, lane: int, count: int) -> int:
    """Fire the first ``count`` requests of one lane."""
    view.take[lane] = count
    return FIRE


@shared
def fire_lanes(view: View, counts: IntArray) -> int:
    """Fire ``counts[lane]`` requests from the head of each lane as one batch.

    Args:
        view: the view that was given to ``decide``.
        counts: int64 (lanes,).
    """
    for lane in range(view.take.shape[0]):
        view.take[lane] = counts[lane]
    return FIRE


@shared
def shed(view: View, lane: int, count: int) -> int:
    """Let the first ``count`` requests of one lane go unserved."""
    view.take[lane] = count
    return SHED


@shared
def wait_until(instant_ns: int) -> int:
    """Fire nothing; ask again at ``instant_ns`` at the latest."""
    return instant_ns


@shared
def wait() -> int:
    """Fire nothing; ask again at the next event."""
    return NEVER


@shared
def later(instant_ns: int, delay_ns: int) -> int:
    """``instant_ns + delay_ns``, or NEVER where that would overflow."""
    if delay_ns >= NEVER - instant_ns:
        return NEVER
    return instant_ns + delay_ns


@shared
def oldest_lane(view: View) -> int:
    """Lane whose head arrived first (the lower lane on a tie); at least one lane is not empty."""
    best = 0
    for lane in range(1, view.oldest_ns.shape[0]):
        if view.oldest_ns[lane] < view.oldest_ns[best]:
            best = lane
    return best


@shared
def expected_ns(service_ns: IntArray, length_edges: IntArray, size: int, longest: int) -> float:
    """Service time of a batch without noise: linear in length between the edges.

    Args:
        service_ns: int64 (largest batch, edges), row ``k - 1`` is batch size ``k``.
        length_edges: int64 (edges,), increasing; one edge means that length does not matter.
        size: batch size, 1 to ``service_ns.shape[0]``.
        longest: longest length in the batch.  Below the first edge it is padded up to it; above the
            last edge the last column holds (drivers admit nothing longer).
    """
    last = length_edges.shape[0] - 1
    if longest <= length_edges[0]:
        return float(service_ns[size - 1, 0])
    if longest >= length_edges[last]:
        return float(service_ns[size - 1, last])
    right = 1
    while length_edges[right] < longest:
        right += 1
    below = length_edges[right - 1]
    share = (longest - below) / (length_edges[right] - below)
    low = service_ns[size - 1, right - 1]
    return float(low + share * (service_ns[size - 1, right] - low))


def lane_count(policy: Policy) -> int:
    """Number of lanes of a policy; 1 where it defines none."""
    lanes = getattr(policy, "lanes", None)
    return 1 if lanes is None else int(lanes())


def memory_slots(policy: Policy) -> int:
    """Number of float64 cells that a policy remembers; 0 where it defines none."""
    return int(getattr(policy, "memory_slots", 0))


def seals(policy: Policy) -> int:
    """How many sealed batches of a policy may wait for a server; 0 where it defines none."""
    return int(getattr(policy, "seals", 0))


def sheds(policy: Policy) -> bool:
    """Whether a policy may let requests go unserved; False where it does not say so."""
    return bool(getattr(policy, "sheds", False))


def bind(
    policy: Policy,
    service_ns: IntArray,
    length_edges: IntArray,
    tiers: tuple[Tier, ...] = (Tier("all"),),
    servers: int = 1,
) -> Policy:
    """Give a policy what it may know of the profile.

    Args:
        policy: any policy; without a ``bind`` of its own it comes back as it is.
        service_ns: int64 (largest batch, edges), medians of the profile.
        length_edges: int64 (edges,).
        tiers: the tiers of the workload, most urgent first.
        servers: how many servers share the queue.

    Raises:
        ValueError: a parameter of the policy is out of range; the message gives rule and value.
    """
    own = getattr(policy, "bind", None)
    if own is None:
        return policy
    bound: Policy = own(service_ns, length_edges, tiers, servers)
    return bound
