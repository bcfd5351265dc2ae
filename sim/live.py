"""The live driver: any policy in front of anything that serves batches.

It owns no clock.  What is outside the station (who arrives, what serves, what time it is) is a
``World``: :mod:`sim.virtual` has one whose time is simulated, in which this driver equals the SimPy
model request for request, and :mod:`sim.wall` one of processes and real time.  One turn:

1. wait for a completion, an arrival, or the instant that the policy or a deadline asked for;
2. settle, let clients react, admit, dispatch: the order of :mod:`sim.station`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from policies.contract import NEVER, Policy

from .errors import require
from .service import Service
from .service_times import Batch
from .station import Station
from .trace import Trace
from .workload import Workload


class World(Protocol):
    """What is outside the station."""

    @property
    def ended(self) -> bool:
        """Whether nobody will arrive any more unless something is answered first."""
        ...

    def wait(self, until_ns: int) -> tuple[int, Sequence[tuple[int, int]]]:
        """Wait for something to happen, until an instant at the latest.

        Returns:
            The instant of this turn, and what is done by then: (finish instant, server).
        """
        ...

    def arrivals(self) -> Sequence[int]:
        """When those arrived who did since the last turn, in the order of their ids."""
        ...

    def start(self, batch: Batch) -> None:
        """Let a server begin."""
        ...

    def answer(self, requests: Sequence[int], now_ns: int) -> None:
        """Tell clients that their requests are served, refused, given up or shed."""
        ...


def run(policy: Policy, workload: Workload, service: Service, world: World) -> Trace:
    """Drive a policy until nothing can happen any more.

    Args:
        policy: any policy; it is bound to the service first.
        workload: who is to arrive; the world says when they do.
        service: what is known of the servers, which gives ``expected_finish_ns`` and the limits.
        world: the requests, the servers and the clock.

    Raises:
        ValueError: a parameter of the policy is out of range, or there are CPU stages.
        PolicyError: the policy broke the contract.
    """
    require(service.stages is None, "no CPU stages in a live run", stages=service.stages)
    failing = bool(service.grouping.outages_ns.size)
    require(not failing, "no outages in a live run", outages=service.grouping.outages_ns.shape)
    station = Station(policy, workload, service)
    while True:
        until_ns = min(station.next_ns, station.expiry_ns)
        if until_ns == NEVER and world.ended and not station.busy:
            return station.trace()
        now_ns, done = world.wait(until_ns)
        world.answer(station.settle(now_ns, done), now_ns)
        world.answer(station.admit(now_ns, world.arrivals()), now_ns)
        for batch in station.dispatch(now_ns):
            world.start(batch)
        world.answer(station.shed, now_ns)
