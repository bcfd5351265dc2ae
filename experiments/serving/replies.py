"""Answers of HTTP, as plain values."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"


class Reply(NamedTuple):
    """An answer of HTTP."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    parts: AsyncIterator[bytes] | None = None
    """Of a body that is made while it is sent, in place of ``body``."""

    async def sent(self, send: Send, *, head: bool) -> None:
        """Give it to ASGI; of a HEAD the body is left out."""
        headers = [(b"content-type", self.content_type), *self.headers]
        if self.parts is None:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.parts is not None and not head:
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def refusal(status: int, sentence: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A sentence, as the Open Inference Protocol has it."""
    return Reply(status, json.dumps({"error": sentence}).encode(), JSON, headers)


def not_allowed(methods: str) -> Reply:
    """Another method is."""
    return refusal(405, f"this path takes {methods}", (b"allow", methods.encode()))


__all__ = ["JSON", "Reply", "Send", "not_allowed", "refusal"]
