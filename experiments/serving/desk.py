"""Who waits for which answer: between a station and whatever owns the clock, without I/O.

One :meth:`Desk.turn` is one instant, in the order of :mod:`sim.station`.  Whoever owns the clock
says what is done and who came; it is told what to start and whom to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Protocol

from policies.contract import IntArray, Policy, Tier
from sim.endless import Comer, EndlessStation
from sim.service import Service
from sim.service_times import Batch
from sim.trace import EXPIRED

from .open_inference import Served


class Refusal(Enum):
    """Why a request was not served."""

    full = "rejected"
    expired = "expired"
    shed = "shed"
    """The policy let it go."""


Outcome = Served | Refusal
Tell = Callable[[Outcome], None]


class Watch(Protocol):
    """What wants to know of everything that happens; called in the event loop, so it is quick."""

    def arrived(self, comer: Comer) -> None:
        """A request came."""
        ...

    def answered(self, comer: Comer, outcome: Outcome, now_ns: int) -> None:
        """It is answered."""
        ...

    def finished(self, batch: Batch, lengths: Sequence[int], service_ns: int, now_ns: int) -> None:
        """A batch is done."""
        ...


class Desk:
    """See the module's docstring."""

    def __init__(
        self,
        policy: Policy,
        service: Service,
        tiers: tuple[Tier, ...],
        length_unit: str = "tokens",
        watches: Sequence[Watch] = (),
    ) -> None:
        """Open it, with nobody there.

        Raises:
            ValueError: a parameter of the policy is out of range.
        """
        self.station = EndlessStation(policy, service, tiers, length_unit)
        self.watches = tuple(watches)
        self._waiting: dict[int, tuple[Comer, Tell]] = {}

    @property
    def next_ns(self) -> int:
        """When the next turn is due, if nothing happens before."""
        return min(self.station.next_ns, self.station.expiry_ns)

    @property
    def present(self) -> int:
        """Requests that are not answered."""
        return len(self._waiting)

    def turn(
        self,
        now_ns: int,
        done: Sequence[tuple[int, int]],
        comers: Sequence[tuple[Comer, Tell]],
    ) -> list[Batch]:
        """Work through an instant.

        Args:
            now_ns: the instant.
            done: (finish instant, server).
            comers: who came since the last turn, and how to answer them.

        Returns:
            The batches that start.

        Raises:
            PolicyError: the policy broke the contract.
        """
        station = self.station
        for finish_ns, server in done:
            self._finish(server, finish_ns, now_ns)
        self._refuse(station.settle(now_ns, done), now_ns)
        for request, comer in enumerate(comers, station.arrived):
            self._waiting[request] = comer
            for watch in self.watches:
                watch.arrived(comer[0])
        self._refuse(station.take_in(now_ns, [comer for comer, _ in comers]), now_ns)
        batches = list(station.dispatch(now_ns))
        self._refuse(station.shed, now_ns, Refusal.shed)
        return batches

    def change(self, policy: Policy, service_ns: IntArray | None = None) -> None:
        """Another policy from the next turn on, and maybe other times; nobody is lost.

        Raises:
            ValueError: a parameter of the policy is out of range; all stays as it was.
        """
        before = self.station.service
        if service_ns is not None:
            self.station.service = replace(before, service_ns=service_ns)
        try:
            new_of = self.station.change(policy)
        except ValueError:
            self.station.service = before
            raise
        self._waiting = {new_of[request]: one for request, one in self._waiting.items()}

    def lengths(self, batch: Batch) -> list[int]:
        """Of the requests of a batch that runs."""
        return [self._waiting[member][0].length for member in batch.members]

    def _finish(self, server: int, finish_ns: int, now_ns: int) -> None:
        batch = self.station.running[server]
        assert batch is not None, f"server {server} finished a batch that it never got"
        service_ns, size = finish_ns - batch.start_ns, len(batch.members)
        padded_to = max(batch.longest, int(self.station.service.length_edges[0]))
        lengths = self.lengths(batch)
        for member in batch.members:
            comer, tell = self._waiting.pop(member)
            waited_ns = batch.start_ns - comer.arrival_ns
            outcome = Served(size, padded_to, server, waited_ns, service_ns)
            self._answer(comer, tell, outcome, now_ns)
        for watch in self.watches:
            watch.finished(batch, lengths, service_ns, now_ns)

    def _refuse(self, requests: Sequence[int], now_ns: int, why: Refusal | None = None) -> None:
        """Answer those that leave without having been served; the served are answered before."""
        for request in requests:
            if request in self._waiting:
                comer, tell = self._waiting.pop(request)
                gone = self.station.status[request] == EXPIRED
                refusal = why or (Refusal.expired if gone else Refusal.full)
                self._answer(comer, tell, refusal, now_ns)

    def _answer(self, comer: Comer, tell: Tell, outcome: Outcome, now_ns: int) -> None:
        for watch in self.watches:
            watch.answered(comer, outcome, now_ns)
        tell(outcome)


__all__ = ["Desk", "Outcome", "Refusal", "Tell", "Watch"]
