"""Jobs beside a server: their queue, what feeds it, what is answered and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from experiments.serving.web import Front

from .contract import JobQueue
from .counting import JobCounts
from .feeding import LAST_WORD_S, Feeder
from .paths import JobPaths


class Office:
    """All of them, from :meth:`open` to :meth:`close`."""

    def __init__(
        self,
        queue: JobQueue,
        tier: int,
        front: Front,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin; there is a running loop.

        Args:
            queue: not open.
            tier: of jobs.
            front: gets their paths.
            say: told what people should know, in a sentence.
        """
        self.queue = queue
        counts = JobCounts(front.meters)

        def handed_over() -> None:
            if front.drift is not None:
                front.drift.window.jobs = True

        self.feeder = Feeder(queue, front, tier, counts, handed_over, say)
        self.paths = front.jobs = JobPaths(front, queue, tier, self.feeder, counts)
        counts.show(lambda: self.feeder.counts, queue.capacity, lambda: not self.feeder.away)
        self._feeding: asyncio.Task[None] | None = None

    @property
    def active(self) -> int:
        """Jobs that wait or run in this server."""
        return self.feeder.active

    async def open(self) -> None:
        """Reach the queue, where that can be, and begin to feed.

        Raises:
            ScenarioError: there will never be such a queue.
        """
        await self.feeder.open()
        self._feeding = asyncio.create_task(self.feeder.run())

    def stop(self) -> None:
        """Take no jobs any more, neither from clients nor from the queue."""
        self.paths.closed = self.feeder.draining = True

    async def close(self) -> None:
        """Keep what is done, and give the rest back."""
        self.stop()
        self.feeder.stopped = True
        self.feeder.wake()
        if self._feeding is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._feeding, LAST_WORD_S)
        await self.feeder.finish()
        await self.queue.close()


__all__ = ["Office"]
