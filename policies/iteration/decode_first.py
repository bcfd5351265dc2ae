"""Decoding first: prompts are read in small pieces beside it."""

from __future__ import annotations

from typing import NamedTuple

from policies.parameters import within

from .contract import GIVEN, Engine, Tier, View, decodes, iterate, remaining
from .limits import blocks_of_share
from .moves import decode_all, give_or_preempt, let_all_in
from .space import WATERMARK, Budget, Sequences, TokenSpace
from .times import StepTimes


class DecodeFirst(NamedTuple):
    """Give every sequence that decodes its token, and read ``chunk_tokens`` of prompts beside them.

    Stall-free batching (Agrawal et al. 2024, "Sarathi-Serve", OSDI): no prompt holds up those who
    decode for longer than a chunk takes, and the price is a later first token.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    chunk_tokens: int = 512
    """Tokens of prompts in an iteration."""
    watermark: float = 0.0
    """Share of the blocks that stays free when somebody is admitted."""
    watermark_blocks: int = 0
    """Comes from ``watermark``."""

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> DecodeFirst:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences)
        within("chunk_tokens", self.chunk_tokens, 1)
        return self._replace(
            max_num_seqs=most or engine.sequences,
            watermark_blocks=blocks_of_share("watermark", self.watermark, engine),
        )

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(), Budget("chunk_tokens"), WATERMARK)

    def plan(self, view: View) -> int:
        """Who decodes, then prompts that are begun, then those who wait."""
        decode_all(view, False)
        budget = view.plan[GIVEN] + self.chunk_tokens
        for position in range(view.running):
            request = view.order[position]
            if view.leaves[position] == 1 or decodes(view, request):
                continue
            tokens = min(remaining(view, request), budget - view.plan[GIVEN])
            if tokens > 0:
                give_or_preempt(view, position, tokens, False)
        let_all_in(
            view,
            self.max_num_seqs,
            budget,
            self.chunk_tokens,
            False,
            self.watermark_blocks,
            False,
        )
        return iterate()
