"""What a path answers: an ASGI application around a driver.

1. Refusals are one sentence in ``{"error": ...}``, as the Open Inference Protocol has them: 400 the
   request is wrong, 401 no token, 404 and 405 no such path, 408 its body did not come, 413 it is
   too large, 429 the queue is full, 500 its batch failed, 503 the server ends or is broken or the
   policy sheds, 504 it waited too long.
2. A full queue is answered at once, with the time that the queue takes to be served as
   ``Retry-After``.
3. Health says nothing that is secret and needs no token; everything else does, where there is one.
4. Bodies are bounded in size and in the time they may take.
5. ``PUT /policy`` takes a policy as a scenario's table, in JSON, maybe with what it was chosen for
   (:mod:`.outlook`); it is asked from the next batch on, and no request is lost.
6. ``GET /recorded`` is told piece by piece, while others are served.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from .bodies import Receive, Scope, read_body, whole
from .desk import Failed, Outcome, Refusal
from .drift import Drift
from .driver import Driver, DriverError, whole_seconds
from .leavers import Leavers
from .meters import CONTENT_TYPE, Meters
from .offer import Offer
from .open_inference import VERSION, Inference, RequestError, described, read, written
from .put_policy import POLICY_BYTES, put, shown
from .recording import Recording
from .recording_text import recorded
from .replies import Reply, Send, not_allowed, refusal

if TYPE_CHECKING:
    from .jobs.paths import JobPaths

POLICY, RECORDED = "/policy", "/recorded"
TIER_HEADER = b"x-batchwright-tier"
BINARY_HEADER = b"inference-header-content-length"
BYTES = b"application/octet-stream"


class Front:
    """The application; see the module's docstring."""

    def __init__(
        self,
        offer: Offer,
        driver: Driver,
        meters: Meters,
        token: str | None = None,
        recording: Recording | None = None,
        drift: Drift | None = None,
    ) -> None:
        self.offer, self.driver, self.meters = offer, driver, meters
        self.recording, self.drift = recording, drift
        self.taker = offer.taker()
        self._leavers = Leavers(driver)
        self.ready = True
        """Whether new requests should be sent here."""
        self.closed = False
        """Whether requests that come are refused."""
        self.active = 0
        """Inferences that are read, wait, run or are answered."""
        self.jobs: JobPaths | None = None
        """What answers where jobs are, if there are any."""
        self._token = None if token is None else b"Bearer " + token.encode()
        self._open = {"/v2/health/live": self._live, "/v2/health/ready": self._is_ready}
        own = f"/v2/models/{offer.name}"
        self._read = {
            "/v2": self._server,
            own: self._model,
            f"{own}/versions/{VERSION}": self._model,
            f"{own}/ready": self._is_ready,
            f"{own}/versions/{VERSION}/ready": self._is_ready,
            "/metrics": self._metrics,
            POLICY: self._policy,
        }
        self._infer: dict[str, str | None] = {}
        for name in (None, *(tier.name for tier in offer.tiers)):
            before = "" if name is None else f"/tiers/{name}"
            for path in (f"{own}/infer", f"{own}/versions/{VERSION}/infer"):
                self._infer[before + path] = name
        for tier in offer.tiers:
            before = f"/tiers/{tier.name}"
            self._open |= {before + path: answer for path, answer in self._open.items()
                           if path.startswith("/v2")}  # fmt: skip
            self._read |= {before + path: answer for path, answer in self._read.items()
                           if path.startswith("/v2")}  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            reply = await self._answer(scope, receive)
        except RequestError as error:
            reply = refusal(error.status, str(error))
        if reply.status >= 400 and reply.status not in (429, 500, 503, 504):
            self.meters.refused(reply.status)
        await reply.sent(send, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        if path in self._open:
            return self._open[path]() if method in ("GET", "HEAD") else not_allowed("GET, HEAD")
        if not self._may(scope["headers"]):
            return refusal(
                401, "give the server's token as Authorization: Bearer TOKEN",
                (b"www-authenticate", b"Bearer"),
            )  # fmt: skip
        if path in self._infer:
            if method != "POST":
                return not_allowed("POST")
            self.active += 1
            try:
                return await self._inference(scope, receive, self._infer[path])
            finally:
                self.active -= 1
        if path == POLICY and method == "PUT":
            return await self._put_policy(receive)
        if self.jobs is not None and path.startswith(self.jobs.place):
            return await self.jobs.answer(scope, receive)
        return self._told_of(path, method, scope)

    def _told_of(self, path: str, method: str, scope: Scope) -> Reply:
        """What is only read."""
        records = path == RECORDED and self.recording is not None
        if not (records or path in self._read):
            return refusal(
                404,
                f"there is nothing at {path[:80]}; the model is at /v2/models/{self.offer.name}",
            )
        if method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD, PUT" if path == POLICY else "GET, HEAD")
        if records and self.recording is not None:
            return recorded(self.recording, self.offer.tiers, scope)
        return self._read[path]()

    async def _inference(self, scope: Scope, receive: Receive, route: str | None) -> Reply:
        """One request, from its body to its answer."""
        if self.closed:
            return self._unavailable("the server ends")
        header = tier_header = None
        size = 0
        for name, value in scope["headers"]:
            if name == TIER_HEADER:
                tier_header = value.decode("latin-1")
            elif name == BINARY_HEADER:
                header = whole(name, value)
            elif name == b"content-length":
                size = whole(name, value)
        body = await read_body(receive, size, self.offer.body_bytes)
        asked = self.read(body, header)
        tier = self.offer.tier(route, tier_header, asked.tier)
        try:
            timeout_ns = self.offer.timeout_ns(tier, asked)
            return self.told(*await self.ask(asked, tier, timeout_ns, receive))
        except DriverError as error:
            self.meters.failed(tier)
            return self._unavailable(str(error))

    def read(self, body: bytes, header_bytes: int | None = None) -> Inference:
        """The request in a body, as :meth:`ask` takes it.

        Raises:
            RequestError: it is none, or none that the model takes.
        """
        return read(body, self.offer.unit, header_bytes, self.taker)

    async def ask(
        self, asked: Inference, tier: int, timeout_ns: int, receive: Receive | None = None
    ) -> tuple[Inference, int, Outcome]:
        """Let a request arrive, and wait for what becomes of it; gives what :meth:`told` takes.

        Args:
            asked: it.
            tier: its place.
            timeout_ns: how long it waits.
            receive: of its client, who may leave meanwhile.

        Raises:
            RequestError: it is too long.
            DriverError: the driver has ended.
        """
        length = self.offer.length(asked)
        group = (asked.tensors, asked.wishes.names) if asked.tensors else None
        future = self.driver.submit(length, tier, timeout_ns, group)
        asked = asked._replace(length=length, tensors=())
        if receive is not None:
            self._leavers.wait(future, receive)
        try:
            return asked, tier, await future
        except asyncio.CancelledError:
            self.driver.leave(future)
            raise
        finally:
            self._leavers.answered(future)

    def told(self, asked: Inference, tier: int, outcome: Outcome) -> Reply:
        """The answer to a request of which something became."""
        name = self.offer.tiers[tier].name
        if outcome is Refusal.full:
            seconds = whole_seconds(self.driver.retry_s)
            return refusal(
                429, f"the queue is full; it takes {self.driver.retry_s:.3g} s to be served",
                (b"retry-after", str(seconds).encode()),
            )  # fmt: skip
        if outcome is Refusal.shed:
            return self._unavailable("the policy let the request go, as there are too many")
        if isinstance(outcome, Refusal):
            return refusal(504, "the request waited as long as it may, and was given up")
        if isinstance(outcome, Failed):
            return refusal(outcome.status, outcome.sentence)
        body, said = written(self.offer.name, name, asked, outcome)
        if said is None:
            return Reply(200, body)
        return Reply(200, body, BYTES, ((BINARY_HEADER, str(said).encode()),))

    def _may(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        if self._token is None:
            return True
        given = next((value for name, value in headers if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._token)

    def _live(self) -> Reply:
        return Reply(200, b'{"live":true}')

    def _is_ready(self) -> Reply:
        if self.ready and self.driver.failure is None:
            away = self.jobs is not None and self.jobs.feeder.away
            return Reply(200, b'{"ready":true,"jobs":false}' if away else b'{"ready":true}')
        return self._unavailable(str(self.driver.failure or "the server ends"))

    def _unavailable(self, sentence: str) -> Reply:
        return refusal(503, sentence, (b"retry-after", b"1"))

    def _server(self) -> Reply:
        content = {
            "name": "batchwright",
            "version": version("batchwright"),
            "extensions": ["binary_tensor_data"],
        }
        return Reply(200, json.dumps(content).encode())

    def _model(self) -> Reply:
        content = described(self.offer.name, self.offer.platform, self.offer.unit, self.taker)
        return Reply(200, json.dumps(content).encode())

    def _policy(self) -> Reply:
        return Reply(200, shown(self.driver, self.drift))

    async def _put_policy(self, receive: Receive) -> Reply:
        try:
            put(await read_body(receive, 0, POLICY_BYTES), self.driver, self.drift)
        except DriverError as error:
            return self._unavailable(str(error))
        return self._policy()

    def _metrics(self) -> Reply:
        return Reply(200, self.meters.page(), CONTENT_TYPE.encode())


__all__ = ["BINARY_HEADER", "TIER_HEADER", "Front", "Receive", "Scope", "read_body", "whole"]
