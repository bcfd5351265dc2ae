"""The batch sizes and lengths that have a CUDA graph: a batch is padded up to the next of both.

In mode ``graphs`` the service time is therefore a staircase: flat between these, with no slope to
interpolate.  No torch is imported here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from types import MappingProxyType

SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""From 8 on two steps a doubling: half of the padding of powers of two, twice the graphs."""
LENGTHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "tokens": (16, 32, 64, 96, 128, 192, 256, 384, 512),
        "audio_ms": (1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000),
    }
)
"""By unit of length; a model that takes longer ones gets twice the last, and so on."""


def edges(unit: str, longest: int) -> tuple[int, ...]:
    """The lengths that have a graph, of a model that takes up to ``longest``: its own last."""
    lengths = [*LENGTHS[unit]]
    while lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return (*(edge for edge in lengths if edge < longest), longest)


def bucket(size: int, length: int, lengths: Sequence[int]) -> tuple[int, int]:
    """The smallest batch size and length with a graph that hold a batch.

    Batch sizes above the largest of :data:`SIZES` go up in its multiples.  ``length`` must not be
    above the last of ``lengths``.
    """
    top = SIZES[-1]
    wide = SIZES[bisect_left(SIZES, size)] if size <= top else -(-size // top) * top
    return wide, lengths[bisect_left(lengths, length)]
