"""Urgent sequences keep their pace; the others have what that leaves."""

from __future__ import annotations

from typing import NamedTuple

from policies.parameters import require, within

from .contract import (
    LEFT,
    NOBODY,
    Engine,
    Tier,
    View,
    decodes,
    give,
    given_tokens,
    iterate,
    remaining,
    shared,
)
from .limits import blocks_of_share, check_budget
from .moves import give_or_preempt, let_in, most_urgent_lane
from .space import WATERMARK, Budget, Sequences, StepBudget, TokenSpace
from .times import StepTimes, step_ns


class SlaTiers(NamedTuple):
    """Serve tiers in their order, in iterations so short that the urgent ones keep their pace.

    Sequences of tier 0 are given tokens first.  The others, and all prompts, take part only as long
    as the iteration is expected to take at most ``step_budget_ns``: with 50 ms an urgent sequence
    has its next token within about 50 ms, whatever else is served.  Where memory lacks the least
    urgent is put back.
    """

    step_budget_ns: int
    max_num_seqs: int = 0
    """0 stands for the engine's largest batch."""
    max_num_batched_tokens: int = 2048
    watermark: float = 0.0
    """Share of the blocks that stays free when somebody is admitted."""
    watermark_blocks: int = 0
    """Comes from ``watermark``."""
    tiers: int = 1
    """Comes from the workload."""
    times: StepTimes = StepTimes()
    """Comes from the engine."""

    def bind(self, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> SlaTiers:
        """Check the parameters against the engine."""
        most = within("max_num_seqs", self.max_num_seqs, 0, engine.sequences) or engine.sequences
        check_budget(self.max_num_batched_tokens, most, engine, whole=False)
        within("step_budget_ns", self.step_budget_ns, 1)
        floor = step_ns(times, 1.0, 0.0, 0.0, 1.0)
        require(
            self.step_budget_ns >= floor,
            f"step_budget_ns >= {floor:.0f}, the shortest iteration",
            step_budget_ns=self.step_budget_ns,
        )
        return self._replace(
            max_num_seqs=most,
            watermark_blocks=blocks_of_share("watermark", self.watermark, engine),
            tiers=len(tiers),
            times=times,
        )

    def lanes(self) -> int:
        """One for each tier."""
        return self.tiers

    def lane_of(self, prompt: int, tier: int) -> int:
        """The lane of an arrival."""
        return tier

    @staticmethod
    def space() -> TokenSpace:
        """What may be tuned."""
        return (Sequences(), Budget(), StepBudget(), WATERMARK)

    def plan(self, view: View) -> int:
        """Tier by tier: those who decode, prompts that are begun; then those who wait."""
        work = NOTHING
        for tier in range(self.tiers):
            work = decode_tier(self, view, tier, work)
            work = read_tier(self, view, tier, work)
        take_in(self, view, work)
        if given_tokens(view) == 0:
            anyone(view)
        return iterate()


class Work(NamedTuple):
    """What the iteration at hand has to do so far."""

    prefill: int
    sequences: int
    context: int
    pairs: float


NOTHING = Work(0, 0, 0, 0.0)


@shared
def expected(rule: SlaTiers, work: Work) -> float:
    """How long that takes, in ns."""
    return step_ns(
        rule.times, float(work.prefill), float(work.sequences), float(work.context), work.pairs
    )


@shared
def with_one_more(view: View, request: int, work: Work) -> Work:
    """The same with a sequence that decodes."""
    context = work.context + view.computed[request]
    return Work(work.prefill, work.sequences + 1, context, work.pairs)


@shared
def with_prompt(view: View, request: int, tokens: int, work: Work) -> Work:
    """The same with tokens of a prompt."""
    pairs = work.pairs + tokens * (view.computed[request] + 0.5 * (tokens + 1))
    return Work(work.prefill + tokens, work.sequences, work.context, pairs)


@shared
def decode_tier(rule: SlaTiers, view: View, tier: int, work: Work) -> Work:
    """Give a token to those of a tier who decode, less urgent ones within the budget."""
    for position in range(view.running):
        request = view.order[position]
        if view.tier[request] != tier or view.leaves[position] == 1:
            continue
        if not decodes(view, request):
            continue
        more = with_one_more(view, request, work)
        spare = tier == 0 or work.sequences == 0 or expected(rule, more) <= rule.step_budget_ns
        if spare and give_or_preempt(view, position, 1, True):
            work = more
    return work


@shared
def read_tier(rule: SlaTiers, view: View, tier: int, work: Work) -> Work:
    """Read on in the prompts of a tier that are begun."""
    for position in range(view.running):
        request = view.order[position]
        if view.tier[request] != tier or view.leaves[position] == 1 or decodes(view, request):
            continue
        tokens = piece(rule, view, request, work)
        if tokens > 0 and give(view, position, tokens):
            work = with_prompt(view, request, tokens, work)
    return work


@shared
def take_in(rule: SlaTiers, view: View, work: Work) -> None:
    """Admit the most urgent of those who wait, with as much of their prompts as the budget has."""
    while view.plan[LEFT] == 0:
        lane = most_urgent_lane(view)
        if lane == NOBODY:
            return
        request = view.front[lane]
        tokens = piece(rule, view, request, work)
        budget = given_tokens(view) + tokens
        if tokens == 0 or not let_in(
            view, lane, rule.max_num_seqs, budget, tokens, False, rule.watermark_blocks
        ):
            return
        work = with_prompt(view, request, tokens, work)


@shared
def piece(rule: SlaTiers, view: View, request: int, work: Work) -> int:
    """The most tokens of a prompt that keep the iteration within its budget.

    At least one where nobody else has any: something has to go on.
    """
    low = 0
    high = min(remaining(view, request), rule.max_num_batched_tokens - given_tokens(view))
    while low < high:
        middle = (low + high + 1) // 2
        if expected(rule, with_prompt(view, request, middle, work)) <= rule.step_budget_ns:
            low = middle
        else:
            high = middle - 1
    if low == 0 and given_tokens(view) == 0:
        return 1
    return low


@shared
def anyone(view: View) -> None:
    """Give one token to whoever can have it: memory is full of prompts that are begun."""
    for position in range(view.running):
        if view.leaves[position] == 0 and give_or_preempt(view, position, 1, True):
            return
