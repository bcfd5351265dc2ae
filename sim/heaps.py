"""Binary heaps of ids ordered by (instant, id), for compiled code.

``heap`` holds ids in its first ``size`` cells; ``instant_ns[id]`` is the key.  An id keeps its
instant while it is in the heap.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from policies.contract import IntArray, shared

Ids = NDArray[Any]


@shared
def precedes(instant_ns: IntArray, one: int, other: int) -> bool:
    """Whether id ``one`` comes before id ``other``."""
    if instant_ns[one] != instant_ns[other]:
        return bool(instant_ns[one] < instant_ns[other])
    return one < other


@shared
def push(heap: Ids, size: int, instant_ns: IntArray, identity: int) -> int:
    """Add an id; returns the new size."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not precedes(instant_ns, identity, heap[parent]):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = identity
    return size + 1


@shared
def drop_first(heap: Ids, size: int, instant_ns: IntArray) -> int:
    """Remove ``heap[0]``; returns the new size."""
    size -= 1
    moved = heap[size]
    place = 0
    child = 1
    while child < size:
        if child + 1 < size and precedes(instant_ns, heap[child + 1], heap[child]):
            child += 1
        if not precedes(instant_ns, heap[child], moved):
            break
        heap[place] = heap[child]
        place = child
        child = 2 * place + 1
    heap[place] = moved
    return size
