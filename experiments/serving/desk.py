"""Who waits for which answer: between a station and whatever owns the clock, without I/O.

One :meth:`Desk.turn` is one instant, in the order of :mod:`sim.station`.  Whoever owns the clock
says what is done and who came; it is told what to start and whom to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple, Protocol

from policies.contract import IntArray, Policy, Tier
from sim.endless import Comer, EndlessStation
from sim.service import Service
from sim.service_times import Batch
from sim.tensors import Group, Tensor
from sim.trace import EXPIRED
from sim.worker import Answer

from .open_inference import Served

SERVERS_FAULT = 500
"""Statuses of HTTP from here on."""


class Refusal(Enum):
    """Why a request was not served."""

    full = "rejected"
    expired = "expired"
    shed = "shed"
    """The policy let it go."""
    failed = "failed"
    """Its batch failed."""
    gone = "gone"
    """Whoever asked has left."""


class Failed(NamedTuple):
    """What whoever asked is told of a model that gave nothing."""

    sentence: str
    status: int = 500
    """Of HTTP: 400 where the model says that the request is at fault."""


Outcome = Served | Refusal | Failed
"""What becomes of a request; watches are never shown a :class:`Failed`."""
Tell = Callable[[Outcome], None]


class Guest(NamedTuple):
    """A request, and how to answer it."""

    comer: Comer
    tell: Tell
    group: Group | None = None
    """Its tensors, and the names of the outputs that it wants; None where none are computed."""


class Watch(Protocol):
    """What wants to know of everything that happens; called in the event loop, so it is quick."""

    def arrived(self, comer: Comer) -> None:
        """A request came."""
        ...

    def answered(self, comer: Comer, outcome: Served | Refusal, now_ns: int) -> None:
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
        self._waiting: dict[int, Guest] = {}
        self._gone: set[Tell] = set()

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
        comers: Sequence[Guest],
        answers: Mapping[int, Answer] | None = None,
    ) -> list[Batch]:
        """Work through an instant.

        Args:
            now_ns: the instant.
            done: (finish instant, server).
            comers: who came since the last turn.
            answers: what the servers that are done say of their batches.

        Returns:
            The batches that start.

        Raises:
            PolicyError: the policy broke the contract.
        """
        station = self.station
        for finish_ns, server in done:
            answer = None if answers is None else answers.get(server)
            self._finish(server, finish_ns, now_ns, answer)
        self._refuse(station.settle(now_ns, done), now_ns)
        for request, guest in enumerate(comers, station.arrived):
            self._waiting[request] = guest
            for watch in self.watches:
                watch.arrived(guest.comer)
        self._refuse(station.take_in(now_ns, [guest.comer for guest in comers]), now_ns)
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

    def leave(self, tells: Container[Tell], now_ns: int) -> None:
        """Let those go at the next turn who wait and want no answer any more."""
        for request, guest in self._waiting.items():
            if guest.tell in tells and self.station.let_go(request, now_ns):
                self._gone.add(guest.tell)

    def lengths(self, batch: Batch) -> list[int]:
        """Of the requests of a batch that runs."""
        return [self._waiting[member].comer.length for member in batch.members]

    def hand_over(self, batch: Batch) -> list[Group]:
        """The data of the requests of a batch that starts; they are not kept here any more."""
        groups: list[Group] = []
        if self._waiting[batch.members[0]].group is None:
            return groups  # all have data, or none
        for member in batch.members:
            guest = self._waiting[member]
            if guest.group is not None:
                groups.append(guest.group)
                self._waiting[member] = guest._replace(group=None)
        return groups

    def _finish(self, server: int, finish_ns: int, now_ns: int, answer: Answer | None) -> None:
        batch = self.station.running[server]
        assert batch is not None, f"server {server} finished a batch that it never got"
        service_ns, size = finish_ns - batch.start_ns, len(batch.members)
        padded_to = max(batch.longest, int(self.station.service.length_edges[0]))
        lengths = self.lengths(batch)
        said = _said(answer, size)
        for member, (outputs, failed) in zip(batch.members, said, strict=True):
            guest = self._waiting.pop(member)
            waited_ns = batch.start_ns - guest.comer.arrival_ns
            outcome = Served(size, padded_to, server, waited_ns, service_ns, outputs)
            at_fault = failed is not None and failed.status >= SERVERS_FAULT
            self._answer(guest, Refusal.failed if at_fault else outcome, now_ns, failed)
        if answer is not None and answer.failure:
            return  # it is no measure of anything
        for watch in self.watches:
            watch.finished(batch, lengths, service_ns, now_ns)

    def _refuse(self, requests: Sequence[int], now_ns: int, why: Refusal | None = None) -> None:
        """Answer those that leave without having been served; the served are answered before."""
        for request in requests:
            if request in self._waiting:
                guest = self._waiting.pop(request)
                expired = self.station.status[request] == EXPIRED
                refusal = why or (Refusal.expired if expired else Refusal.full)
                if guest.tell in self._gone:
                    self._gone.discard(guest.tell)
                    refusal = Refusal.gone
                self._answer(guest, refusal, now_ns)

    def _answer(
        self, guest: Guest, outcome: Served | Refusal, now_ns: int, failed: Failed | None = None
    ) -> None:
        for watch in self.watches:
            watch.answered(guest.comer, outcome, now_ns)
        guest.tell(failed or outcome)


def _said(
    answer: Answer | None, size: int
) -> Iterator[tuple[Sequence[Tensor] | None, Failed | None]]:
    """What a server says of each request of a batch: outputs, if it computes any, or a failure."""
    if answer is not None and answer.failure:
        yield from [(None, Failed(answer.failure))] * size
    elif answer is None or not answer.outputs:
        yield from [(None, None)] * size
    else:
        for outputs, failed in answer.outputs:
            yield outputs, None if failed is None else Failed(failed[1], failed[0])


__all__ = ["Desk", "Failed", "Guest", "Outcome", "Refusal", "Tell", "Watch"]
