"""Just enough of HTTP/1.1 to send a request on an open connection and to know its answer's end.

Answers end by their ``Content-Length``, by their last chunk, or have no body (RFC 9112, section 6).
One request is on its way on a connection at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

HEAD_END = b"\r\n\r\n"


class AnswerError(ValueError):
    """What came back is no answer of HTTP/1.1."""


class Answer:
    """An answer that comes in by and by."""

    __slots__ = ("_buffer", "_left", "keeps", "status")

    def __init__(self) -> None:
        self.status = 0
        """0 as long as the head is not there."""
        self.keeps = True
        """Whether the server keeps the connection open."""
        self._buffer = bytearray()
        self._left = -1
        """Bytes of the body that are missing; -1 in chunks."""

    def feed(self, data: bytes) -> bool:
        """Take in what came; True once the answer is whole.

        Raises:
            AnswerError: it is none.
        """
        self._buffer += data
        if not self.status:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return False
            self._head(bytes(self._buffer[:end]))
            del self._buffer[: end + len(HEAD_END)]
        if self._left < 0:
            return self._chunks()
        return len(self._buffer) >= self._left

    @property
    def content(self) -> bytes:
        """The body, once it is whole."""
        if self._left >= 0:
            return bytes(self._buffer[: self._left])
        parts: list[bytes] = []
        place = 0
        while True:
            end = self._buffer.find(b"\r\n", place)
            size = int(self._buffer[place:end].partition(b";")[0], 16)
            if size == 0:
                return b"".join(parts)
            parts.append(bytes(self._buffer[end + 2 : end + 2 + size]))
            place = end + 2 + size + 2

    def _head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise AnswerError(f"no answer of HTTP/1.1: {first[:60].decode(errors='replace')}")
        self.status = int(rest[:3])
        fields = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        self.keeps = fields.get(b"connection") != b"close" and version != b"HTTP/1.0"
        if b"chunked" not in fields.get(b"transfer-encoding", b""):
            self._left = int(fields.get(b"content-length", b"0"))

    def _chunks(self) -> bool:
        place = 0
        while True:
            end = self._buffer.find(b"\r\n", place)
            if end < 0:
                return False
            size = int(self._buffer[place:end].partition(b";")[0], 16)
            if size == 0:
                return self._buffer.find(b"\r\n", end + 2) >= 0
            place = end + 2 + size + 2


def request_bytes(
    host: str,
    path: str,
    body: bytes,
    content_type: str = "application/json",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    follows: int = 0,
) -> bytes:
    """A request as it goes over the wire, on a connection that stays open.

    Args:
        host: with its port.
        path: as it stands in the first line.
        body: all of it, or its beginning.
        content_type: of the body.
        method: of HTTP.
        headers: further ones.
        follows: bytes of the body that are sent after these.
    """
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body) + follows}\r\n{more}\r\n"
    )
    return head.encode("ascii") + body
