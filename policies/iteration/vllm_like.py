"""The scheduler of vLLM: one budget of tokens, those who run first, prompts in chunks."""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import NEVER
from policies.parameters import within

from .contract import Engine, Tier, View, iterate
from .limits import blocks_of_share, check_budget
from .moves import go_on, is_alone, let_all_in
from .space import WATERMARK, Budget, Choice, Sequences, Switch, TokenSpace
from .times import StepTimes

SPACE: TokenSpace = (
    Sequences(),
    Budget(cuts="chunked_prefill"),
    Switch("chunked_prefill", usual=True),
    Choice("long_prefill_token_threshold", (0, 256, 512, 1024, 2048, 4096), usual=0),
    WATERMARK,
    Switch("by_priority", usual=False, tiers=True),
)
"""What may be tuned."""


class VllmLike(NamedTuple):
    """Share out ``max_num_batched_tokens`` an iteration: first those who run, then those who wait.

    As vLLM's V1 scheduler does (``vllm/v1/core/sched/scheduler.py``, 0.33): those who run come in
    order of admission, each with as many tokens as it has left and the budget allows; then whoever
    waits, first come, first served, while fewer than ``max_num_seqs`` run and the whole prompt fits
    into memory.  With ``chunked_prefill`` a prompt is cut to what is left of the budget, without
    it a prompt that does not fit stops the queue.  Where memory lacks the newest is put back, and
    that iteration admits nobody.  With ``by_priority`` tiers go first come, first served within
    themselves, the most urgent first, and the least urgent is put back.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    max_num_batched_tokens: int = 2048
    chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    """The most tokens of one prompt in one iteration, as long as somebody else is there; 0: no
    limit but the budget."""
    watermark: float = 0.0
    """Share of the blocks that stays free when somebody is admitted."""
    by_priority: bool = False
    watermark_blocks: int = 0
    """Comes from ``watermark``."""
    tiers: int = 1
    """Comes from the workload."""

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> VllmLike:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences) or engine.sequences
        check_budget(self.max_num_batched_tokens, most, engine, whole=not self.chunked_prefill)
        within("long_prefill_token_threshold", self.long_prefill_token_threshold, 0)
        return self._replace(
            max_num_seqs=most,
            watermark_blocks=blocks_of_share("watermark", self.watermark, engine, unused=1),
            tiers=len(tiers),
        )

    def lanes(self) -> int:
        """One, or one for each tier."""
        return self.tiers if self.by_priority else 1

    def lane_of(self, prompt: int, tier: int) -> int:
        """The lane of an arrival."""
        return tier if self.by_priority else 0

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return SPACE

    def plan(self, view: View) -> int:
        """Those who run, then those who wait."""
        chunk = self.long_prefill_token_threshold
        if chunk == 0 or is_alone(view):
            chunk = NEVER
        budget = self.max_num_batched_tokens
        go_on(view, budget, chunk, self.by_priority)
        let_all_in(
            view,
            self.max_num_seqs,
            budget,
            chunk,
            not self.chunked_prefill,
            self.watermark_blocks,
            self.by_priority,
        )
        return iterate()
