"""What the engine of a live run is told: who has how many tokens computed, as plain numbers."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from profiles.steps_runner import Piece, Work, work_of

from .live import Gone
from .station import Iteration

BEGIN, STEP, PRETEND = range(3)
"""Kinds: a run begins, an iteration of it, and one of no run that only takes its time."""


class Order(NamedTuple):
    """An iteration to run."""

    kind: int
    number: int
    pieces: tuple[Piece, ...]
    decoding: tuple[bool, ...]
    padding: Work = Work(0, 0, 0, 0.0)
    gone: tuple[Gone, ...] = ()

    @property
    def work(self) -> Work:
        """Its four numbers, padding included."""
        own, beside = work_of(self.pieces, self.decoding), self.padding
        return Work(
            own.prefill + beside.prefill,
            own.sequences + beside.sequences,
            own.context + beside.context,
            own.pairs,
        )

    def packed(self) -> bytes:
        """As it goes through the pipe."""
        numbers = [self.kind, self.number, *map(int, self.padding[:3]), len(self.gone)]
        for request, ended in self.gone:
            numbers += (request, int(ended))
        for piece, decodes in zip(self.pieces, self.decoding, strict=True):
            numbers += (*piece, int(decodes))
        return array("q", numbers).tobytes()

    @classmethod
    def unpacked(cls, numbers: Sequence[int]) -> Order:
        """Back from the pipe."""
        kind, number, prefill, sequences, context, gone = numbers[:6]
        first = 6 + 2 * gone
        left = tuple(Gone(numbers[at], bool(numbers[at + 1])) for at in range(6, first, 2))
        rows = [numbers[at : at + 4] for at in range(first, len(numbers), 4)]
        return cls(
            kind,
            number,
            tuple(Piece(*row[:3]) for row in rows),
            tuple(bool(row[3]) for row in rows),
            Work(prefill, sequences, context, 0.0),
            left,
        )


def order_of(iteration: Iteration, gone: Sequence[Gone], kind: int = STEP) -> Order:
    """What the worker is told of an iteration."""
    shares = iteration.shares
    pieces = tuple(Piece(share.request, share.tokens, share.before) for share in shares)
    decoding = tuple(share.decodes for share in shares)
    own = work_of(pieces, decoding)
    padding = Work(
        iteration.prefill - own.prefill,
        iteration.sequences - own.sequences,
        iteration.context - own.context,
        0.0,
    )
    return Order(kind, iteration.number, pieces, decoding, padding, tuple(gone))
