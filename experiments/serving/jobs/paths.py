"""What the paths of jobs answer: ``/v2/models/NAME/jobs`` and what is below.

1. 202 means that the queue has the job; before that nobody is told so.
2. A body is read as for an inference and refused at once where it is wrong.
3. A name that was given with ``Idempotency-Key`` is the name of the job: the same job under the
   same name is one job, another one under it is refused (409).
4. Many jobs are lines of JSON.  They are taken in pieces, between which others have their turn;
   where that breaks off, the same lines may be sent again under the same name.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from experiments.serving.open_inference import RequestError
from experiments.serving.replies import JSON, Reply, not_allowed, refusal
from experiments.serving.web import (
    BINARY_HEADER,
    TIER_HEADER,
    Front,
    Receive,
    Scope,
    read_body,
    whole,
)

from .contract import IDENTITY, AwayError, FullError, Job, JobQueue, State, Status, Taking
from .counting import JobCounts
from .feeding import Feeder

KEY_HEADER, TYPE_HEADER = b"idempotency-key", b"content-type"
LINES = (b"application/x-ndjson", b"application/jsonl", b"application/json-lines")
LINES_MOST, LINES_BYTES = 10_000, 2**26
PIECE = 100
"""Lines that are read, or jobs that are taken, in one go."""
LOOK_MOST = 1000
RETRY_S = b"10"


class JobPaths:
    """See the module's docstring."""

    def __init__(
        self, front: Front, queue: JobQueue, tier: int, feeder: Feeder, counts: JobCounts
    ) -> None:
        self.front, self.queue, self.feeder, self.counts = front, queue, feeder, counts
        self.offer = front.offer
        self.tier = self.offer.tiers[tier].name
        self.place = f"/v2/models/{self.offer.name}/jobs"
        self.closed = False
        """Whether jobs that come are refused."""

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """Answer a request whose path begins with :attr:`place`.

        Raises:
            RequestError: it is wrong.
        """
        below, name, verb = (*scope["path"].removeprefix(self.place).split("/", 2), "", "")[:3]
        if below:
            raise RequestError(f"there is nothing at {scope['path'][:80]}", 404)
        try:
            return await self._route(scope, receive, name, verb)
        except AwayError as error:
            return refusal(503, str(error), (b"retry-after", b"1"))
        except FullError as error:
            seconds = (b"retry-after", RETRY_S)
            return refusal(429, f"the queue of jobs is full: {error}", seconds)

    async def _route(self, scope: Scope, receive: Receive, name: str, verb: str) -> Reply:
        method = scope["method"]
        if name and not IDENTITY.fullmatch(name):
            raise RequestError(f"there is no job {name[:80]!r}", 404)
        if verb and verb != "again":
            raise RequestError(f"there is nothing at {scope['path'][:80]}", 404)
        if verb:
            return await self._again(name) if method == "POST" else not_allowed("POST")
        if name and method == "DELETE":
            return await self._cancel(name)
        if name:
            return await self._one(name) if method == "GET" else not_allowed("GET, DELETE")
        if method == "POST":
            return await self._submit(scope, receive)
        return await self._many(scope) if method == "GET" else not_allowed("GET, POST")

    async def _submit(self, scope: Scope, receive: Receive) -> Reply:
        if self.closed:
            return refusal(503, "the server ends", (b"retry-after", b"1"))
        headers = dict(scope["headers"])
        kind = headers.get(TYPE_HEADER, b"").partition(b";")[0].strip().lower()
        key = key_of(headers)
        self._check_tier(header_text(headers, TIER_HEADER))
        size = whole(b"content-length", headers.get(b"content-length", b"0"))
        if kind in LINES:
            return await self._submit_lines(await read_body(receive, size, LINES_BYTES), key)
        body = await read_body(receive, size, self.offer.body_bytes)
        binary = headers.get(BINARY_HEADER)
        job = Job(key, body, None if binary is None else whole(BINARY_HEADER, binary))
        self._check(job)
        (taking,) = await self._take([job], 0)
        if taking is Taking.other:
            return refusal(409, f"another job is called {key} already")
        return accepted({"id": key, "status_url": f"{self.place}/{key}"})

    async def _submit_lines(self, body: bytes, key: str) -> Reply:
        lines = [line for line in body.split(b"\n") if line.strip()]
        if not 1 <= len(lines) <= LINES_MOST:
            raise RequestError(
                f"the body has {len(lines)} lines, but must have 1 to {LINES_MOST}: a request each"
            )
        jobs = [Job(f"{key}-{place}", line) for place, line in enumerate(lines)]
        for place, job in enumerate(jobs):
            if len(job.body) > self.offer.body_bytes:
                raise RequestError(
                    f"line {place + 1} must have at most {self.offer.body_bytes} bytes", 413
                )
            try:
                self._check(job)
            except RequestError as error:
                raise RequestError(f"line {place + 1}: {error}", error.status) from None
            if place % PIECE == 0:
                await asyncio.sleep(0)
        for begin in range(0, len(jobs), PIECE):
            piece = jobs[begin : begin + PIECE]
            said = await self._take(piece, -begin or len(jobs) - len(piece))
            if Taking.other in said:
                job = piece[said.index(Taking.other)]
                return refusal(409, f"another job is called {job.identity} already")
        return accepted({
            "id": key, "jobs": len(jobs), "status_url": f"{self.place}?batch={key}",
        })  # fmt: skip

    async def _take(self, jobs: Sequence[Job], beside: int) -> list[Taking]:
        try:
            said = await self.queue.submit(jobs, beside)
        except FullError:
            self.counts.refused(len(jobs) + max(0, beside))
            raise
        self.counts.came(said.count(Taking.new))
        self.feeder.wake()
        return said

    def _check(self, job: Job) -> None:
        """Whether it could be served.

        Raises:
            RequestError: it could not.
        """
        asked = self.front.read(job.body, job.header_bytes)
        self.offer.length(asked)
        self._check_tier(asked.tier)

    def _check_tier(self, named: str | None) -> None:
        if named not in (None, self.tier):
            raise RequestError(f"jobs are of tier {self.tier}, but {named[:80]!r} was asked for")

    async def _one(self, name: str) -> Reply:
        (status,) = await self.queue.look([name])
        if status.state is State.unknown:
            return refusal(404, f"there is no job {name}, or it is forgotten")
        return Reply(200, described(status))

    async def _cancel(self, name: str) -> Reply:
        before = await self.queue.cancel(name)
        if before is State.unknown:
            return refusal(404, f"there is no job {name}, or it is forgotten")
        if before is State.running:
            return refusal(409, f"job {name} runs, and cannot be cancelled")
        if before is State.queued:
            self.counts.ended(State.cancelled)
        now = "cancelled" if before is State.queued else "forgotten"
        return Reply(200, json.dumps({"id": name, "state": now}).encode())

    async def _again(self, name: str) -> Reply:
        before = await self.queue.again(name)
        if before is State.unknown:
            return refusal(404, f"there is no job {name}, or it is forgotten")
        if before is not State.dead:
            return refusal(409, f"job {name} is {before}: only dead ones are run again")
        self.feeder.wake()
        return accepted({"id": name, "status_url": f"{self.place}/{name}"})

    async def _many(self, scope: Scope) -> Reply:
        """How it is with all, with those of a batch, or with the dead."""
        asked = {
            key: values[-1]
            for key, values in parse_qs(scope.get("query_string", b"").decode("latin-1")).items()
        }
        unknown = asked.keys() - {"batch", "first", "count", "state"}
        if unknown:
            raise RequestError(
                f"{min(unknown)[:40]} is unknown; give batch, first and count, or state=dead"
            )
        count = number(asked, "count", LOOK_MOST, LOOK_MOST)
        if asked.get("state", "dead") != "dead":
            raise RequestError(f"state = {asked['state'][:40]!r} must be dead")
        if "state" in asked:
            found = await self.queue.buried(count)
        elif "batch" in asked:
            batch, first = asked["batch"], number(asked, "first", 0, 10**9)
            if not IDENTITY.fullmatch(batch):
                raise RequestError(f"batch = {batch[:80]!r} must be the id of a batch")
            names = [f"{batch}-{place}" for place in range(first, first + count)]
            found = await self.queue.look(names)
        else:
            counts = await self.queue.counts()
            content = {**counts._asdict(), "capacity": self.queue.capacity}
            return Reply(200, json.dumps(content).encode())
        lines = b"".join(
            described(each) + b"\n" for each in found if each.state is not State.unknown
        )
        return Reply(200, lines, LINES[0])


def described(status: Status) -> bytes:
    """A job as JSON, on one line; the answer is that of the inference."""
    content: dict[str, Any] = {
        "id": status.identity, "state": status.state.value, "runs": status.runs,
    }  # fmt: skip
    if status.state in (State.failed, State.dead):
        content["error"] = status.content.decode(errors="replace")
    said = json.dumps(content).encode()
    return (
        said if status.state is not State.done else said[:-1] + b', "answer": %b}' % status.content
    )


def accepted(content: Mapping[str, Any]) -> Reply:
    """The queue has it."""
    where = (b"location", str(content["status_url"]).encode())
    return Reply(202, json.dumps(content).encode(), JSON, (where,))


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """The name of a job, or of a batch: what its client says, quoted or not, or a new one.

    Raises:
        RequestError: it is no name.
    """
    given = header_text(headers, KEY_HEADER)
    if given is None:
        return secrets.token_hex(12)
    name = given.strip().removeprefix('"').removesuffix('"')
    if not IDENTITY.fullmatch(name) or len(name) > 100:
        raise RequestError(
            f"idempotency-key = {given[:80]!r} must be 1 to 100 letters, digits, dots, colons, "
            "dashes and underscores"
        )
    return name


def header_text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A header, where there is one."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def number(asked: Mapping[str, str], key: str, usual: int, most: int) -> int:
    """A whole number of a query.

    Raises:
        RequestError: it is none.
    """
    said = asked.get(key, str(usual))
    if not (said.isascii() and said.isdigit() and len(said) < 12 and int(said) <= most):
        raise RequestError(f"{key} = {said[:40]!r} must be a whole number up to {most}")
    return int(said)


__all__ = ["JobPaths"]
