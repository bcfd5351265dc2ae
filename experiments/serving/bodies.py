"""The body of a request of HTTP: bounded in size, and in the time that it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .inputs import RequestError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_S = 10.0
"""How long a body may take to come."""


async def read_body(receive: Receive, size: int, most: int) -> bytes:
    """The whole body of a request.

    Args:
        receive: gives its parts.
        size: what its header says, 0 where it says nothing.
        most: bytes.

    Raises:
        RequestError: it is too large, or does not come.
    """
    too_large = RequestError(f"the body must be at most {most} bytes", 413)
    if size > most:
        raise too_large
    parts, total, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise RequestError("the client left before its body was whole")
                parts.append(message.get("body", b""))
                total += len(parts[-1])
                if total > most:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestError(f"the body did not come within {BODY_S:.0f} s", 408) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def whole(name: bytes, value: bytes) -> int:
    """A header that is a whole number.

    Raises:
        RequestError: it is none.
    """
    if not (value.isdigit() and len(value) <= 12):
        given = value[:40].decode("latin-1")
        raise RequestError(f"{name.decode()} = {given!r} must be a whole number of bytes")
    return int(value)


__all__ = ["Receive", "Scope", "read_body", "whole"]
