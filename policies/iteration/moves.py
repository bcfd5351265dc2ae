"""What rules of continuous batching share: who goes on, who is put back, who comes in."""

from __future__ import annotations

from .contract import (
    LEFT,
    NOBODY,
    View,
    admit,
    blocks_for,
    decodes,
    first_lane,
    free_blocks,
    give,
    given_tokens,
    places,
    preempt,
    remaining,
    shared,
)


@shared
def newest(view: View) -> int:
    """Position of the sequence that was admitted last and still takes part, or NOBODY."""
    position = view.running - 1
    while position >= 0 and gone(view, position):
        position -= 1
    return position


@shared
def gone(view: View, position: int) -> bool:
    """Whether a sequence has left by the plan at hand, or is done and only waits for others."""
    return view.leaves[position] == 1 or remaining(view, view.order[position]) == 0


@shared
def least_urgent(view: View) -> int:
    """Position of the least urgent sequence, the last to arrive on a tie, or NOBODY."""
    worst = NOBODY
    for position in range(view.running):
        if gone(view, position):
            continue
        request = view.order[position]
        if worst == NOBODY:
            worst = position
            continue
        other = view.order[worst]
        if view.tier[request] > view.tier[other] or (
            view.tier[request] == view.tier[other] and request > other
        ):
            worst = position
    return worst


@shared
def give_or_preempt(view: View, position: int, tokens: int, by_tier: bool) -> bool:
    """Give tokens, and put others back until memory suffices; False if it is the turn of this one.

    The newest is put back first, or the least urgent.
    """
    while not give(view, position, tokens):
        victim = least_urgent(view) if by_tier else newest(view)
        preempt(view, victim)
        if victim == position:
            return False
    return True


@shared
def go_on(view: View, budget: int, chunk: int, by_tier: bool) -> None:
    """Give those in the batch their next tokens, in order of admission, within a budget.

    Whoever is put back because it is the least urgent itself ends the round, as in vLLM: those
    behind it go on in the next iteration.  Where nobody had a token yet they go on at once: vLLM
    makes a step of no tokens there, which takes no time.

    Args:
        view: the view at hand.
        budget: tokens of the whole iteration.
        chunk: the most tokens of one sequence.
        by_tier: who is put back where memory lacks: the least urgent, or the newest.
    """
    for position in range(view.running):
        if view.leaves[position] == 1:
            continue
        left = budget - given_tokens(view)
        if left <= 0:
            return
        tokens = min(remaining(view, view.order[position]), chunk, left)
        if not give_or_preempt(view, position, tokens, by_tier) and given_tokens(view) > 0:
            return


@shared
def is_alone(view: View) -> bool:
    """Whether at most one sequence is there, running or waiting."""
    there = view.running
    for lane in range(view.waiting.shape[0]):
        there += view.waiting[lane]
    return bool(there <= 1)


@shared
def decode_all(view: View, by_tier: bool) -> None:
    """Give a token to each sequence that decodes."""
    for position in range(view.running):
        if view.leaves[position] == 0 and decodes(view, view.order[position]):
            give_or_preempt(view, position, 1, by_tier)


@shared
def fits(view: View, request: int, watermark: int) -> bool:
    """Whether all that remains of a sequence fits into memory and leaves a reserve.

    The reserve is not asked for where nobody else runs: nothing would ever start.
    """
    alone = view.running == view.plan[LEFT] and given_tokens(view) == 0
    reserve = 0 if alone else watermark
    return blocks_for(view, request, remaining(view, request)) + reserve <= free_blocks(view)


@shared
def let_in(
    view: View, lane: int, most: int, budget: int, chunk: int, whole: bool, watermark: int
) -> bool:
    """Admit the front of a lane if all limits allow it.

    Args:
        view: the view at hand.
        lane: who is next.
        most: sequences in the batch.
        budget: tokens of the whole iteration.
        chunk: the most tokens of one sequence.
        whole: its prompt has to fit into the budget in one piece.
        watermark: blocks that stay free.
    """
    left = budget - given_tokens(view)
    if left <= 0 or places(view) <= view.most - most:
        return False
    request = view.front[lane]
    tokens = min(remaining(view, request), chunk)
    if whole and tokens > left:
        return False
    if not fits(view, request, watermark):
        return False
    return admit(view, lane, min(tokens, left))


@shared
def let_all_in(
    view: View, most: int, budget: int, chunk: int, whole: bool, watermark: int, by_tier: bool
) -> None:
    """Admit in order of arrival, or of tiers and then arrival, until somebody does not fit.

    An iteration that puts a sequence back admits nobody.
    """
    if view.plan[LEFT] > 0:
        return
    while True:
        lane = most_urgent_lane(view) if by_tier else first_lane(view)
        if lane == NOBODY or not let_in(view, lane, most, budget, chunk, whole, watermark):
            return


@shared
def most_urgent_lane(view: View) -> int:
    """The lowest lane where somebody waits; NOBODY where nobody does."""
    for lane in range(view.front.shape[0]):
        if view.front[lane] != NOBODY:
            return lane
    return NOBODY
