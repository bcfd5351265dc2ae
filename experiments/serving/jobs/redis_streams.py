"""A queue in Redis, which outlives every server and may be shared by several.

1. A job is accepted once Redis has answered; what Redis has then is as safe as it keeps it: see
   :func:`~.redis_facts.doubts`.
2. A server has a name of its own, which no other ever had.  It gives a sign of life of the jobs
   that it has with every question; whoever is silent for the time of a lease has lost them.
3. Steps are scripts (:mod:`.scripts`) that may be said twice, so that each is tried once more at
   once: connections break unseen when Redis starts anew.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from experiments.sentences import ScenarioError

from . import scripts
from .contract import (
    AwayError,
    Back,
    Counts,
    Ended,
    FullError,
    Handful,
    Job,
    State,
    Status,
    Taken,
    Taking,
)
from .redis_facts import doubts, first_line, ms, shown, text

OLDEST = 7
"""The first version with scripts that may run while Redis is full."""
LEASE_S = 30.0
ANSWER_S = 5.0
"""Redis answers in less, or is away."""
FORGOTTEN_S = 24 * 3600
"""Servers that had nothing for so long are no longer listed."""


class RedisQueue:
    """A :class:`~.contract.JobQueue`."""

    def __init__(
        self, url: str, model: str, capacity: int, keep_s: float, lease_s: float = LEASE_S
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``, with a database.
            model: jobs of another one are another queue.
            capacity: jobs that may be unfinished.
            keep_s: how long results are kept.
            lease_s: a server that is silent for so long has lost its jobs.

        Raises:
            ValueError: the address is none.
        """
        self.capacity, self.keep_ms, self.lease_ms = capacity, ms(keep_s), ms(lease_s)
        self.about = f"Redis at {shown(url)}"
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._place = f"batchwright:{{{model}}}:"
        self._stream = f"{self._place}jobs"
        self._asked = 0
        self._redis = Redis.from_url(
            url, retry=Retry(NoBackoff(), 1), socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S, health_check_interval=0,
        )  # fmt: skip
        self._scripts = {
            text: self._redis.register_script(text)
            for text in (scripts.SUBMIT, scripts.TAKE, scripts.END, scripts.GIVE_BACK,
                         scripts.CANCEL, scripts.AGAIN, scripts.COUNT, scripts.TIDY)
        }  # fmt: skip

    async def open(self) -> Sequence[str]:
        """Make the group of servers, and look how safe Redis keeps what it is given.

        Raises:
            ScenarioError: Redis is too old, or does not let us in.
            AwayError: it is not there yet.
        """
        try:
            about = cast("dict[str, Any]", await self._answer(self._redis.info("server")))
            version = str(about["redis_version"])
            if int(version.partition(".")[0]) < OLDEST:
                raise ScenarioError(
                    f"{self.about} is version {version}, but jobs need {OLDEST}.0 or newer"
                )
            await self._set_up()
        except (AuthenticationError, NoPermissionError) as error:
            raise ScenarioError(f"{self.about} does not let us in: {error}") from None
        await self._run(scripts.TIDY, ms(FORGOTTEN_S))
        try:
            found = await self._answer(
                self._redis.config_get("appendonly", "appendfsync", "maxmemory-policy")
            )
        except (ResponseError, NoPermissionError):
            found = {}
        return doubts({text(key): text(value) for key, value in found.items()})

    async def close(self) -> None:
        """Leave; the jobs stay."""
        with suppress(AwayError):
            await self._run(scripts.TIDY, ms(FORGOTTEN_S))
        await self._redis.aclose()

    async def submit(self, jobs: Sequence[Job], beside: int = 0) -> list[Taking]:
        """See the contract."""
        words: list[Any] = [self.capacity, beside]
        for job in jobs:
            header = "" if job.header_bytes is None else job.header_bytes
            words += [job.identity, job.digest, job.body, header]
        try:
            said = await self._run(scripts.SUBMIT, *words)
        except OutOfMemoryError:
            raise FullError(f"{self.about} has no memory left") from None
        if said and said[0] == b"full":
            raise FullError(f"{said[1]} jobs are unfinished, of {self.capacity}")
        return [Taking(text(each)) for each in said]

    async def look(self, identities: Sequence[str]) -> list[Status]:
        """How it is with some."""
        asking = self._redis.pipeline(transaction=False)
        for identity in identities:
            asking.hmget(self._job(identity), ["state", "content", "run1", "run2"])
        rows = cast("list[list[bytes | None]]", await self._answer(asking.execute()))
        return [status(identity, *row) for identity, row in zip(identities, rows, strict=True)]

    async def cancel(self, identity: str) -> State:
        """Cancel a job that is queued, or forget one that is over; gives the state it had."""
        return State(text(await self._run(scripts.CANCEL, identity, self.keep_ms)))

    async def again(self, identity: str) -> State:
        """Queue a dead job once more, as if it had never run; gives the state it had."""
        return State(text(await self._run(scripts.AGAIN, identity)))

    async def buried(self, most: int) -> list[Status]:
        """Those that are dead, the last ones first."""
        found = await self._answer(self._redis.zrevrange(f"{self._place}dead", 0, most - 1))
        return await self.look([text(identity) for identity in found])

    async def take(self, most: int, mine: Sequence[Taken], *, apart: bool) -> Handful:
        """Jobs for a server, and a sign of life of those that it has."""
        self._asked += 1
        run = f"{self.name}:{self._asked}"
        held, alone, buried, jobs = await self._run(
            scripts.TAKE, self.name, most, self.lease_ms, int(apart), run,
            *(taken.place for taken in mine),
        )  # fmt: skip
        taken = [
            Taken(Job(text(identity), body, int(header) if header else None), text(place), run, nth)
            for place, identity, body, header, nth in jobs
        ]
        return Handful(taken, apart=bool(alone), held=bool(held), buried=buried)

    async def end(self, ended: Sequence[Ended]) -> list[bool]:
        """Keep results; says of each whether it is the first one of its job."""
        words: list[Any] = [self.keep_ms]
        for taken, state, content in ended:
            words += [taken.place, taken.job.identity, state.value, content]
        return [bool(first) for first in await self._run(scripts.END, *words)]

    async def give_back(self, jobs: Sequence[Back]) -> None:
        """Let others take them."""
        words: list[Any] = [self.name, self.lease_ms]
        for taken, ran, reason, later_s in jobs:
            run = "" if ran else taken.run
            words += [taken.place, taken.job.identity, run, reason, ms(later_s)]
        await self._run(scripts.GIVE_BACK, *words)

    async def counts(self) -> Counts:
        """How it is with all."""
        waiting, running, dead, oldest_ms = await self._run(scripts.COUNT)
        return Counts(waiting, running, dead, oldest_ms / 1e3)

    async def _set_up(self) -> None:
        try:
            await self._answer(
                self._redis.xgroup_create(self._stream, scripts.GROUP, id="0", mkstream=True)
            )
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _run(self, script: str, *words: Any) -> Any:
        """One step; where Redis has forgotten the group of servers, it is made anew."""
        keys = [self._stream, self._place]
        try:
            try:
                return await self._answer(self._scripts[script](keys=keys, args=words))
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await self._set_up()
                return await self._answer(self._scripts[script](keys=keys, args=words))
        except OutOfMemoryError:
            raise
        except (ResponseError, AuthenticationError) as error:
            raise AwayError(f"{self.about} refuses: {first_line(error)}") from None

    async def _answer(self, asked: Awaitable[Any] | Any) -> Any:
        """What Redis says.

        Raises:
            AwayError: nothing.
            ResponseError: it refuses.
        """
        try:
            return await asked
        except (ResponseError, AuthenticationError):
            raise
        except (RedisError, OSError) as error:
            raise AwayError(f"{self.about} is away: {first_line(error)}") from None

    def _job(self, identity: str) -> str:
        return f"{self._place}job:{identity}"


def status(
    identity: str,
    state: bytes | None,
    content: bytes | None,
    run1: bytes | None,
    run2: bytes | None,
) -> Status:
    """What a hash says of a job."""
    if state is None:
        return Status(identity, State.unknown)
    runs = (run1 is not None) + (run2 is not None)
    return Status(identity, State(text(state)), runs, content or b"")


__all__ = ["LEASE_S", "RedisQueue"]
