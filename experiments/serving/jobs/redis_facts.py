"""What is known of a Redis: its address, how safe it keeps what it is given, what it says."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def doubts(config: Mapping[str, str]) -> list[str]:
    """How jobs may be lost by the way Redis is set up, one sentence each.

    Before Redis answers, it has written what changed to its append-only file, with two exceptions.
    Under ``appendfsync everysec`` it puts that off for up to two seconds while its disk is slow
    (``flushAppendOnlyFile`` in ``src/aof.c`` of Redis), so that a kill loses it; and only
    ``always`` waits until it is on the disk, which matters when the machine fails.
    """
    if not config:
        sentence = (
            "Redis does not say how it keeps jobs: they survive its end with appendonly yes and "
            "appendfsync always"
        )
        return [sentence]
    said = []
    if config.get("appendonly") != "yes":
        said.append(
            "Redis keeps jobs in memory only (appendonly no), so that they are lost when it ends: "
            "set appendonly yes"
        )
    elif config.get("appendfsync") != "always":
        said.append(
            f"Redis may lose jobs of the last seconds (appendfsync {config.get('appendfsync')}) "
            "where it or its machine dies: set appendfsync always"
        )
    policy = config.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        said.append(
            f"Redis may throw jobs away where it is full (maxmemory-policy {policy}): set "
            "maxmemory-policy noeviction"
        )
    return said


def shown(url: str) -> str:
    """An address without its secrets."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    host = parts.hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port or 6379}/{parts.path.strip('/') or 0}"


def first_line(error: BaseException) -> str:
    """Of what an error says."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def ms(seconds: float) -> int:
    """Milliseconds, as Redis counts."""
    return round(seconds * 1000)


def text(value: bytes | str) -> str:
    """A name as Redis says it."""
    return value if isinstance(value, str) else value.decode()


__all__ = ["doubts", "first_line", "ms", "shown", "text"]
