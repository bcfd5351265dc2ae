"""Short prompts first, without forgetting the long ones."""

from __future__ import annotations

from typing import NamedTuple

from policies.contract import NEVER, IntArray
from policies.parameters import NO_VALUES, require, whole_array, within

from .contract import LEFT, NOBODY, Engine, Tier, View, iterate
from .limits import blocks_of_share, check_budget
from .moves import go_on, let_in
from .space import WATERMARK, Budget, Choice, Sequences, TokenSpace
from .times import StepTimes

LARGEST = 2**20
"""Of the default boundaries: the powers of two up to it."""

AGEING = Choice("ageing_tokens_per_s", (0.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0))
"""From never minding how long somebody waits to nearly first come, first served."""


class ShortestPromptFirst(NamedTuple):
    """Like ``vllm_like``, but of those who wait the shortest prompt comes in first.

    Prompts wait in lanes between ``boundaries``; a lane counts as its lower boundary less
    ``ageing_tokens_per_s`` for each second that its oldest has waited, and the lowest goes.  At 0
    long prompts may wait forever; the larger it is, the closer the rule is to first come, first
    served.
    """

    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    max_num_batched_tokens: int = 2048
    ageing_tokens_per_s: float = 200.0
    watermark: float = 0.0
    """Share of the blocks that stays free when somebody is admitted."""
    boundaries: IntArray = NO_VALUES
    """int64 (lanes - 1,), increasing, in tokens; by default powers of two from 32."""
    watermark_blocks: int = 0
    """Comes from ``watermark``."""

    def bind(
        self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]
    ) -> ShortestPromptFirst:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences) or engine.sequences
        check_budget(self.max_num_batched_tokens, most, engine, whole=False)
        ageing = float(self.ageing_tokens_per_s)
        require(0.0 <= ageing < float("inf"), "0 <= ageing_tokens_per_s", ageing=ageing)
        given = whole_array("boundaries", self.boundaries)
        if given.size == 0:
            end = min(engine.longest, LARGEST)
            given = whole_array("boundaries", [2**k for k in range(5, 21) if 2**k < end])
        steps = given[1:] > given[:-1]
        rule = "boundaries increase from 1 or more"
        require(bool(steps.all()) and given.min(initial=1) >= 1, rule, boundaries=given.tolist())
        return self._replace(
            max_num_seqs=most,
            ageing_tokens_per_s=ageing,
            boundaries=given,
            watermark_blocks=blocks_of_share("watermark", self.watermark, engine),
        )

    def lanes(self) -> int:
        """One more than there are boundaries."""
        return len(self.boundaries) + 1

    def lane_of(self, prompt: int, tier: int) -> int:
        """The lane of an arrival: prompts as long as a boundary are in the lane below it."""
        lane = 0
        while lane < self.boundaries.shape[0] and prompt > self.boundaries[lane]:
            lane += 1
        return lane

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(), Budget(), AGEING, WATERMARK)

    def plan(self, view: View) -> int:
        """Those who run, then the shortest of those who wait."""
        budget = self.max_num_batched_tokens
        go_on(view, budget, NEVER, False)
        if view.plan[LEFT] > 0:
            return iterate()
        while True:
            best, rank = NOBODY, 0.0
            for lane in range(view.front.shape[0]):
                request = view.front[lane]
                if request == NOBODY:
                    continue
                waited_s = (view.now_ns - view.arrival_ns[request]) / 1e9
                length = float(self.boundaries[lane - 1]) if lane > 0 else 0.0
                own = length - self.ageing_tokens_per_s * waited_s
                if best == NOBODY or own < rank:
                    best, rank = lane, own
            if best == NOBODY:
                return iterate()
            if not let_in(
                view, best, self.max_num_seqs, budget, NEVER, False, self.watermark_blocks
            ):
                return iterate()
