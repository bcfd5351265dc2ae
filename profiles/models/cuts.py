"""Which piece of a pool of random input each request of a batch is; nothing is imported here."""

from __future__ import annotations

STRIDE = 7919
"""Prime, so that the items of a batch begin at different places of the pool."""


def cut(index: int, width: int, pool: int) -> slice:
    """Where the ``index``-th request of a batch lies in a pool of this many places."""
    start = index * STRIDE % (pool - width + 1)
    return slice(start, start + width)
