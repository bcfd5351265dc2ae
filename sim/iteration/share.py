"""What sequences have computed in an iteration, and what that costs."""

from __future__ import annotations

from typing import NamedTuple

from policies.iteration.contract import PADDED_CONTEXT, PADDED_SEQUENCES, PADDED_TOKENS


class Share(NamedTuple):
    """What one sequence has computed in an iteration."""

    request: int
    tokens: int
    before: int
    """Tokens that were in memory already."""
    decodes: bool


class Iteration(NamedTuple):
    """An iteration that runs: who takes part, and what it costs."""

    number: int
    """Iterations before it."""
    shares: tuple[Share, ...]
    prefill: int
    sequences: int
    context: int
    pairs: float
    swapped: int
    """Blocks that are copied from the host or to it."""


def iteration_of(
    number: int, shares: tuple[Share, ...], plan: list[int], swapped: int
) -> Iteration:
    """The work of an iteration, with the padding that was planned."""
    prefill = [share for share in shares if not share.decodes]
    decoding = [share for share in shares if share.decodes]
    return Iteration(
        number=number,
        shares=shares,
        prefill=sum(share.tokens for share in prefill) + plan[PADDED_TOKENS],
        sequences=len(decoding) + plan[PADDED_SEQUENCES],
        context=sum(share.before for share in decoding) + plan[PADDED_CONTEXT],
        pairs=sum(share.tokens * (share.before + 0.5 * (share.tokens + 1)) for share in prefill),
        swapped=swapped,
    )
