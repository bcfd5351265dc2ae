"""Answers of HTTP, as plain values."""

from __future__ import annotations

import json
from typing import NamedTuple

JSON = b"application/json"


class Reply(NamedTuple):
    """An answer of HTTP."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal(status: int, sentence: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A sentence, as the Open Inference Protocol has it."""
    return Reply(status, json.dumps({"error": sentence}).encode(), JSON, headers)


def not_allowed(methods: str) -> Reply:
    """Another method is."""
    return refusal(405, f"this path takes {methods}", (b"allow", methods.encode()))


__all__ = ["JSON", "Reply", "not_allowed", "refusal"]
