"""What a model that generates must offer: one iteration over pieces of sequences.

Whoever measures, and the worker of a live run, know nothing else of a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Piece(NamedTuple):
    """What one sequence has computed in an iteration."""

    sequence: int
    tokens: int
    before: int
    """Tokens of it that are in memory already."""


class Work(NamedTuple):
    """What an iteration is made of, as :mod:`policies.iteration.times` counts it."""

    prefill: int
    """Tokens of prompts and chunks."""
    sequences: int
    """That decode."""
    context: int
    """Tokens in memory of those."""
    pairs: float
    """Of query and key, of the prefill tokens."""


class Measurable(Protocol):
    """What a measurement must know of a model, however its iterations are run."""

    name: str
    slots: int
    """Sequences that it holds at once."""
    longest: int
    """Tokens of the longest sequence."""

    def about(self) -> Mapping[str, Any]:
        """What runs, on what, and how; plain data."""
        ...


class StepRunner(Measurable, Protocol):
    """A model with memory for keys and values."""

    def open(self, sequence: int, prompt: int) -> None:
        """A sequence with a prompt of so many tokens begins; it holds nothing yet."""
        ...

    def step(self, pieces: Sequence[Piece], idle: Sequence[Piece] = ()) -> list[int]:
        """Run one iteration; the token that follows each piece, wanted or not.

        A piece that begins at 0 takes a slot; tokens that follow the last known token of a
        sequence are kept as its text.  ``idle`` pieces are computed beside them for nothing: the
        padding of batches that have any.

        Raises:
            ModelError: there is no such sequence, no free slot, or a gap in what was computed.
        """
        ...

    def drop(self, sequence: int, *, ended: bool) -> None:
        """Give its slot back; where it has ended, forget its text too."""
        ...

    def pretend(self, pieces: Sequence[Piece]) -> None:
        """Run one iteration whatever the slots hold: for its time, not for its tokens."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


def work_of(pieces: Sequence[Piece], decoding: Sequence[bool]) -> Work:
    """The four numbers of an iteration.

    Args:
        pieces: what is computed.
        decoding: of each piece, whether it is the step of a sequence that decodes.
    """
    prefill = [piece for piece, flag in zip(pieces, decoding, strict=True) if not flag]
    steps = [piece for piece, flag in zip(pieces, decoding, strict=True) if flag]
    return Work(
        sum(piece.tokens for piece in prefill),
        len(steps),
        sum(piece.before for piece in steps),
        sum(piece.tokens * (piece.before + 0.5 * (piece.tokens + 1)) for piece in prefill),
    )
