"""Hands jobs over to the driver, no more than keep the servers fed, and keeps what becomes of them.

1. The policy decides: a job is a request of its tier like any other.  It comes first only where the
   policy lets it, and who waits for an answer finds no backlog before him, as that is in the queue.
2. No more jobs are here than one batch that runs on each server and one that waits, or one for each
   lane of the policy; and none is handed over while so many requests wait already, whoever they
   are, or while they fill half of the server's own queue.
3. A job never gives up.  Where the policy refuses one, it is tried again later, and no run counts.
4. Where the queue is away, results are kept until it is back; it is asked ever more rarely, but at
   least every two seconds.
5. Who is to run apart does, unless nothing is answered for ``APART_S``: a policy may wait for more
   requests than one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from experiments.sentences import ScenarioError
from experiments.serving.driver import DriverError
from experiments.serving.open_inference import RequestError
from experiments.serving.web import Front
from experiments.validation.preparing import cap_of
from policies.contract import NEVER, lane_count

from .contract import LATER_S, AwayError, Back, Counts, Ended, Handful, JobQueue, State, Taken

POLL_S = 0.2
"""How often an empty queue is asked."""
COUNT_S = 2.0
"""How often it is asked how many there are."""
BACKOFF_S = (0.05, 2.0)
"""From the first question in vain on, twice as long each time."""
APART_S = 5.0
LAST_WORD_S = 2.0
"""When it ends: to keep results and to give back what is left."""
REFUSED = (429, 503, 504)
"""Full, shed, expired: not the job's own fault."""


class Tally(Protocol):
    """Whoever counts."""

    def ended(self, state: State) -> None:
        """A job is over."""
        ...

    def tried_again(self, why: str) -> None:
        """A job was given back, or is run for the second time."""
        ...


class Feeder:
    """See the module's docstring; :meth:`run` is its life."""

    def __init__(
        self,
        queue: JobQueue,
        front: Front,
        tier: int,
        tally: Tally,
        on_hand_over: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin with nothing.

        Args:
            queue: where jobs are; open, or not there yet.
            front: where they are served.
            tier: of jobs.
            tally: is told of what happens.
            on_hand_over: called whenever jobs are handed over.
            say: told, in a sentence, that the queue went away or came back.
        """
        self.queue, self.front, self.tier, self.tally = queue, front, tier, tally
        self.on_hand_over, self.say = on_hand_over, say
        self.away: str = ""
        """Why the queue cannot be reached; empty while it can."""
        self.counts = Counts()
        self.draining = self.stopped = False
        """Takes no jobs any more; and has ended."""
        self._mine: dict[str, Taken] = {}
        """By place: handed over, and neither ended nor given back."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Ended] = []
        self._back: list[Back] = []
        self._alone = self._opened = False
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._answered_s = self._counted_s = -1e9
        self._held_since_s: float | None = None

    @property
    def active(self) -> int:
        """Jobs that wait or run here."""
        return len(self._tasks)

    def wake(self) -> None:
        """Somebody came, or something is done."""
        self._woken.set()

    async def open(self) -> None:
        """Reach the queue, or say that it is away.

        Raises:
            ScenarioError: it will never be there.
        """
        try:
            for sentence in await self.queue.open():
                self.say(f"warning: {sentence}")
            self._opened = True
        except AwayError as error:
            self._lost(str(error))

    async def run(self) -> None:
        """Feed until it is stopped."""
        pause_s = BACKOFF_S[0]
        while not self.stopped:
            try:
                await self._step()
            except AwayError as error:
                self._lost(str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, BACKOFF_S[1])
                continue
            pause_s = BACKOFF_S[0]
            await self._wait()

    async def _step(self) -> None:
        """Say what is done, and take what there is.

        Raises:
            AwayError: the queue is away.
        """
        if not self._opened:
            try:
                await self.open()
            except ScenarioError as error:
                raise AwayError(str(error)) from None
            if not self._opened:
                raise AwayError(self.away)
        if self.away:
            await self._keep()  # before there is more of it
        kept, taken = await asyncio.gather(self._keep(), self._take(), return_exceptions=True)
        if not isinstance(taken, BaseException):
            self._hand_over(taken)
        for failure in (kept, taken):
            if isinstance(failure, BaseException):
                raise failure
        now_s = self._loop.time()
        if now_s - self._counted_s >= COUNT_S:
            self.counts = await self.queue.counts()
            self._counted_s = now_s
        if self.away:
            self.say(f"{self.queue.about} is back")
        self.away = ""

    async def finish(self) -> None:
        """Keep the results that are there, and give back everything else."""
        self.stopped = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        over = {each.taken.place for each in self._ended} | {
            each.taken.place for each in self._back
        }
        self._back += [
            Back(taken, ran=True, reason="its server ended before it was done")
            for place, taken in self._mine.items()
            if place not in over
        ]
        with suppress(AwayError, TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                await self._keep()
                await self.queue.take(0, (), apart=False)  # what came when nobody listened any more

    def room(self) -> int:
        """How many more jobs are of use here."""
        driver = self.front.driver
        station = driver.desk.station
        largest = cap_of((queue.policy for queue in station.queues), station.service.largest_batch)
        servers = station.service.servers
        lanes = sum(lane_count(queue.policy) for queue in station.queues)
        lanes_of_jobs = -(-lanes // len(self.front.offer.tiers))
        waits = min(largest * max(servers, lanes_of_jobs), max(1, station.service.capacity // 2))
        return min(waits + largest * servers - self.active, waits - station.waiting)

    async def _take(self) -> Handful:
        none = self.draining or self.front.driver.failure is not None
        alone = self._alone and self._patient()
        most = 0 if none or alone else max(0, self.room())
        return await self.queue.take(most, tuple(self._mine.values()), apart=self._patient())

    def _patient(self) -> bool:
        """Whether who has to run apart still may."""
        since_s = self._held_since_s
        return since_s is None or self._loop.time() - max(since_s, self._answered_s) < APART_S

    def _hand_over(self, handful: Handful) -> None:
        """Start what was taken."""
        self._alone = handful.apart or (self._alone and bool(self._mine) and not handful.taken)
        if not (handful.held or self._alone):
            self._held_since_s = None
        elif self._held_since_s is None:
            self._held_since_s = self._loop.time()
        for taken in handful.taken:
            self._mine[taken.place] = taken
            task = self._loop.create_task(self._serve(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if taken.attempt > 1:
                self.tally.tried_again("server")
        for _ in range(handful.buried):
            self.tally.ended(State.dead)
        if handful.taken:
            self.on_hand_over()
        if handful.held and not self._tasks:
            self.wake()

    async def _serve(self, taken: Taken) -> None:
        """One job, from its hand-over to what became of it."""
        try:
            asked = self.front.read(taken.job.body, taken.job.header_bytes)
            asked = asked._replace(wishes=asked.wishes.in_json())  # a result is kept as JSON
            reply = self.front.told(*await self.front.ask(asked, self.tier, NEVER))
        except RequestError as error:
            self._end(Ended(taken, State.failed, str(error).encode()))
        except DriverError as error:
            self._back.append(Back(taken, ran=True, reason=str(error)))
        else:
            if reply.status == 200:
                self._end(Ended(taken, State.done, reply.body))
            elif reply.status in REFUSED:
                self.tally.tried_again("refused")
                self._back.append(Back(taken, ran=False, later_s=LATER_S))
            else:
                self._end(Ended(taken, State.failed, json.loads(reply.body)["error"].encode()))
        self.wake()

    def _end(self, ended: Ended) -> None:
        self._answered_s = self._loop.time()
        self._ended.append(ended)

    async def _keep(self) -> None:
        """Tell the queue what became of jobs."""
        ended, back = tuple(self._ended), tuple(self._back)
        if ended:
            said = await self.queue.end(ended)
            self._forget(self._ended, [each.taken for each in ended])
            for each, first in zip(ended, said, strict=True):
                if first:
                    self.tally.ended(each.state)
        if back:
            await self.queue.give_back(back)
            self._forget(self._back, [each.taken for each in back])

    def _forget(self, told: list[Any], jobs: Sequence[Taken]) -> None:
        """The first ones of a list are told."""
        del told[: len(jobs)]
        for taken in jobs:
            self._mine.pop(taken.place, None)

    async def _wait(self) -> None:
        """Until somebody wakes it, or it is time to ask again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()
        self._woken.clear()

    def _lost(self, why: str) -> None:
        if not self.away:
            self.say(f"{why}; jobs wait until it is back, other requests do not")
        self.away = why


__all__ = ["Feeder"]
