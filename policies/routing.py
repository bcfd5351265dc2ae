"""What a router sees, and what it may answer: which replica an arrival joins.

A router is a :class:`typing.NamedTuple` of numbers with one pure method, ``route(view, u)``.  The
SimPy model, the compiled kernel and the live server all call that same method.

1. ``route`` reads nothing but its own fields, the view and ``u``, a uniform number in [0, 1) that
   was drawn for the request before the run, so that every driver and every router sees the same
   luck.  It writes nothing.
2. It returns the index of a replica with ``view.available``; there always is one.
3. It is asked once for each arrival, refused ones included, and again where a replica failed and
   its requests have to go elsewhere.
4. It compiles: numbers, comparisons and loops over the view, no arrays of its own.

A router class may define ``bind(self, replicas)``, which checks its numbers (``ValueError``).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from .contract import IntArray, shared


class RouteView(NamedTuple):
    """The replicas at the instant of one arrival; arrays are int64 (replicas,)."""

    now_ns: int
    length: int
    """Of the request, in the profile's unit."""
    tier: int
    routed: int
    """Requests that were routed before this one."""
    available: IntArray
    """1 where a replica takes requests, else 0; all 1 where no replica does."""
    waiting: IntArray
    """Requests in the replica's queue."""
    in_service: IntArray
    """Requests in its batches."""
    servers: IntArray
    """How many batches it runs at a time."""


class Router(Protocol):
    """What every router has."""

    def route(self, view: RouteView, u: float, /) -> int:
        """The replica that the request joins."""
        ...


@shared
def ongoing(view: RouteView, replica: int) -> int:
    """Requests that a replica has, waiting and in service."""
    return int(view.waiting[replica] + view.in_service[replica])


@shared
def count_available(view: RouteView) -> int:
    """How many replicas take requests."""
    count = 0
    for replica in range(view.available.shape[0]):
        count += view.available[replica]
    return count


@shared
def nth_available(view: RouteView, place: int) -> int:
    """The ``place``-th replica, from 0, of those that take requests."""
    left = place
    for replica in range(view.available.shape[0]):
        if view.available[replica] == 1:
            if left == 0:
                return replica
            left -= 1
    return -1


@shared
def less_loaded(view: RouteView, one: int, other: int) -> bool:
    """Whether ``one`` has fewer ongoing requests for each of its servers than ``other``."""
    own = ongoing(view, one) * view.servers[other]
    return bool(own < ongoing(view, other) * view.servers[one])


@shared
def least_of(view: RouteView, first: int, last: int, u: float) -> int:
    """The least loaded available replica in a range; -1 where none is available.

    Ties go to the one that is met first from a place that ``u`` chooses, so that equal replicas
    share the work.
    """
    best = -1
    span = last - first
    start = int(u * span)
    for step in range(span):
        replica = first + (start + step) % span
        if view.available[replica] == 1 and (best < 0 or less_loaded(view, replica, best)):
            best = replica
    return best


def bind_router(router: Any, replicas: int) -> Any:
    """Check a router's numbers against how many replicas there are.

    Raises:
        ValueError: a parameter is out of range; the message gives rule and value.
    """
    own = getattr(router, "bind", None)
    return router if own is None else own(replicas)
