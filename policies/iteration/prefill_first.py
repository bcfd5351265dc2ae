"""Prompts first: whoever decodes waits while prompts are read."""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import NEVER
from policies.parameters import within

from .contract import JOINED, Engine, Tier, View, iterate
from .limits import blocks_of_share, check_budget
from .moves import go_on, let_all_in
from .space import WATERMARK, Budget, Sequences, TokenSpace
from .times import StepTimes


class PrefillFirst(NamedTuple):
    """Read the prompts that fit in an iteration of their own; decode when none does.

    The scheduler of early vLLM and of other engines that keep the two apart.  The first token comes
    early; those who decode stand still meanwhile.  Prompts are read in one piece, at most
    ``max_num_batched_tokens`` of them at once.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    max_num_batched_tokens: int = 2048
    watermark: float = 0.0
    """Share of the blocks that stays free when somebody is admitted."""
    watermark_blocks: int = 0
    """Comes from ``watermark``."""

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> PrefillFirst:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences) or engine.sequences
        check_budget(self.max_num_batched_tokens, most, engine, whole=True)
        return self._replace(
            max_num_seqs=most,
            watermark_blocks=blocks_of_share("watermark", self.watermark, engine),
        )

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(), Budget(whole=True), WATERMARK)

    def plan(self, view: View) -> int:
        """Prompts, or else those who decode."""
        let_all_in(
            view,
            self.max_num_seqs,
            self.max_num_batched_tokens,
            NEVER,
            True,
            self.watermark_blocks,
            False,
        )
        if view.plan[JOINED] == 0:
            go_on(view, NEVER, NEVER, False)
        return iterate()
