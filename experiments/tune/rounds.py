"""Which trials are run together: a round, asked whole before any of it is told.

1. Contestants that have not been spread over their space come first.  Then all of them search until
   half of the budget is used, and after that the better half of them; with several objectives, all.
   Each gives a batch.
2. A round that was partly told when its process ended is finished before the next is asked; of one
   that was not told at all the same is asked again.  So the same seed finds the same settings
   however often a search is cut off.
3. Where several machines ask at once, a place belongs to the first, and what is beyond the budget
   is given back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .store import ROUND, Job, Left, Shelf

BATCH = 8
"""Trials of one contestant that are asked together."""


@dataclass
class Rounds:
    """The rounds of a search."""

    shelves: Sequence[Shelf]
    budget: int
    """Trials in all."""
    better_half: Callable[[Sequence[int]], list[int]]
    """Which of some contestants look good."""
    left: list[dict[int, Left]] = field(init=False, default_factory=list)
    """By contestant and place: what was asked, and not told."""

    @property
    def shared(self) -> bool:
        """Whether other machines may ask too."""
        return any(shelf.database.shared for shelf in self.shelves)

    def retire(self) -> None:
        """End the trials that nobody runs any more."""
        self.left = [shelf.retire() for shelf in self.shelves]

    def next(self) -> list[Job]:
        """The next round; empty where the budget is used up, as far as one can see."""
        told = self._told()
        jobs = self._finish(told) or self._begin(told + 1)
        return self._own(jobs) if self.shared else jobs

    def anybody_runs(self) -> bool:
        """Whether a trial is running, here or elsewhere."""
        return any(shelf.running() for shelf in self.shelves)

    def _told(self) -> int:
        """The last round of which something was told; 0 where nothing was."""
        rounds = [t.user_attrs[ROUND] for shelf in self.shelves for t in shelf.finished()]
        return max(rounds, default=0)

    def _room(self) -> int:
        """Trials that the budget still allows."""
        return self.budget - sum(len(shelf.taken()) for shelf in self.shelves)

    def _finish(self, told: int) -> list[Job]:
        """What is left of rounds that were partly told."""
        places = [
            (order, place)
            for order, left in enumerate(self.left)
            for place in sorted(left)
            if left[place].round <= told
        ]
        return [self._ask(order, place, told) for order, place in places[: max(0, self._room())]]

    def _begin(self, number: int) -> list[Job]:
        """A batch of everybody whose turn it is."""
        taken = [set(shelf.taken()) for shelf in self.shelves]
        room, jobs = self._room(), []
        spread = [
            len(done) >= shelf.sampler.start
            for done, shelf in zip(taken, self.shelves, strict=True)
        ]
        for order in self._turn(spread):
            shelf = self.shelves[order]
            whole = not spread[order] or shelf.sampler.exhaustive
            end = shelf.sampler.start if whole else math.inf
            goal = min((len(taken[order]) // BATCH + 1) * BATCH, end)
            while room > 0 and len(taken[order]) < goal:
                place = next(k for k in range(len(taken[order]) + 1) if k not in taken[order])
                jobs.append(self._ask(order, place, number))
                room -= 1
                taken[order] |= set(shelf.taken()) if self.shared else {place}
        return jobs

    def _turn(self, spread: Sequence[bool]) -> list[int]:
        """Who gives a batch."""
        if not all(spread):
            return [order for order, done in enumerate(spread) if not done]
        searching = [k for k, shelf in enumerate(self.shelves) if not shelf.sampler.exhaustive]
        return searching if 2 * self._room() > self.budget else self.better_half(searching)

    def _ask(self, order: int, place: int, number: int) -> Job:
        known = self.left[order].pop(place, None)
        return self.shelves[order].ask(place, number, known.params if known else None)

    def _own(self, jobs: list[Job]) -> list[Job]:
        """The jobs that are this machine's; the others are given back."""
        first = [set(shelf.taken().values()) for shelf in self.shelves]
        allowed = set(sorted(set().union(*first))[: self.budget])
        for job in jobs:
            if job.trial not in allowed:
                job.shelf.give_back([job.trial])
        return [job for job in jobs if job.trial in allowed]
