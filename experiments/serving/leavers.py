"""Clients that leave before they are answered: their places are for others.

A client is watched from the second look on, so that those who are answered at once, as most are,
cost next to nothing.
"""

from __future__ import annotations

import asyncio

from .bodies import Receive
from .desk import Outcome
from .driver import Driver

LOOK_S = 0.1
"""From one look to the next."""


class Leavers:
    """Who waits for an answer, and how its client would be heard of."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._waiting: dict[asyncio.Future[Outcome], Receive] = {}
        self._seen: list[asyncio.Future[Outcome]] = []
        self._looks = False

    def wait(self, future: asyncio.Future[Outcome], receive: Receive) -> None:
        """Somebody waits."""
        self._waiting[future] = receive
        if not self._looks:
            self._looks = True
            self.driver.loop.call_later(LOOK_S, self._look)

    def answered(self, future: asyncio.Future[Outcome]) -> None:
        """And waits no more."""
        self._waiting.pop(future, None)

    def _look(self) -> None:
        for future in self._seen:
            receive = self._waiting.pop(future, None)
            if receive is not None:
                self._watch(future, receive)
        self._seen = list(self._waiting)
        self._looks = bool(self._seen)
        if self._looks:
            self.driver.loop.call_later(LOOK_S, self._look)

    def _watch(self, future: asyncio.Future[Outcome], receive: Receive) -> None:
        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.driver.leave(future)

        watching = asyncio.ensure_future(until_gone())
        future.add_done_callback(lambda _: watching.cancel())


__all__ = ["Leavers"]
