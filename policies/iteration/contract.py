"""What a rule of continuous batching sees before each iteration, and what it may answer.

A model that generates runs *iterations*: in each, every sequence of the batch has some of its
tokens computed, and a sequence whose last known token was among them gets one more.  Who takes part
is decided anew each time (Yu et al. 2022, "Orca", OSDI).  A rule is a
:class:`typing.NamedTuple` of tuned numbers with one pure method, ``plan``; the SimPy model, the
compiled kernel and the live loop call that same method.

A sequence knows three numbers: ``prompt`` and ``generated`` tokens, and of these how many are
``computed``, whose keys and values are in memory.  ``prompt + generated - computed`` remain; an
iteration that computes the last of them generates a token.  So a prompt (in one piece or in
chunks), a decoding step (one remains) and the second reading of a sequence that lost its memory are
the same thing.  How many tokens a request will generate nobody knows beforehand: no rule sees it.

Rules of the contract (tests and drivers refer to these numbers):

1. ``plan`` reads nothing but its own fields and the view: no clock, no random number, no I/O.
2. ``plan`` changes nothing but through :func:`give`, :func:`admit`, :func:`preempt` and the two
   of padding, and ``view.memory``.
3. It returns what :func:`iterate`, :func:`wait_until` or :func:`wait` return, and nothing else.
4. Asked twice on an unchanged view it answers the same, and the second call changes nothing.
5. It is asked when no iteration runs and at least one sequence runs or waits.
6. An iteration computes at least one token; a sequence is given tokens at most once, and those
   who are admitted come from the heads of lanes, as the view shows them.
7. An instant given to ``wait_until`` lies in the future.  An arrival asks again anyway.
8. Everything in a rule is a number, a bool or an int64 or float64 array, and ``plan`` makes no
   arrays of its own.

A class may also define (each is optional): ``lanes(self)`` and ``lane_of(self, prompt, tier)``;
``memory_slots``; ``together``, whether those admitted at once leave at once, as in batches of whole
requests; ``bind(self, times, engine, tiers)``, which checks the parameters and takes what the rule
may know; ``space()``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from policies.contract import (
    FIRE,
    NEVER,
    NOBODY,
    FloatArray,
    IntArray,
    Integers,
    PolicyError,
    Tier,
    wait,
    wait_until,
)

from .inlined import shared

FREE, JOINED, LEFT, GIVEN, PADDED_TOKENS, PADDED_SEQUENCES, PADDED_CONTEXT = range(7)
"""Cells of ``View.plan``: free blocks, sequences admitted and preempted, tokens given so far, and
what an iteration computes for nothing.  They begin at the engine's free blocks and at 0."""

PLAN_CELLS = 7


class View(NamedTuple):
    """The queue, the sequences in the batch and the memory before an iteration.

    Times are in ns; ids index the request arrays; a *position* is a place in the batch.
    """

    now_ns: int
    """The instant of this question."""

    waiting: IntArray
    """(lanes,) sequences that wait in each lane, those admitted by the plan at hand left out."""
    front: IntArray
    """(lanes,) id of the first of them; NOBODY where the lane is empty."""

    arrival_ns: IntArray
    """(requests,) arrival instants; only those that have arrived may be read."""
    prompt: Integers
    """(requests,) tokens of the prompt."""
    tier: Integers
    """(requests,) tiers; 0 is the most urgent."""
    generated: Integers
    """(requests,) tokens generated so far."""
    computed: Integers
    """(requests,) tokens whose keys and values are in memory, or were swapped out of it."""
    held: Integers
    """(requests,) blocks of memory that each holds."""
    next: Integers
    """(requests,) id of the next of the same lane; NOBODY at the tail."""

    running: int
    """Sequences in the batch."""
    order: IntArray
    """(most,) their ids, in order of admission; the first ``running`` are meant."""
    most: int
    """Sequences that the engine can hold at once."""
    block_tokens: int
    """Tokens whose keys and values fit into one block."""
    blocks: int
    """Blocks of memory, free or not."""
    iterations: int
    """Iterations completed up to now."""
    arrived: int
    """Requests that arrived up to now, refused ones included."""

    tokens: IntArray
    """(most,) the plan: tokens to compute at each position; all 0 before each question."""
    leaves: IntArray
    """(most,) the plan: 1 at positions that are preempted."""
    joins: IntArray
    """(most,) the plan: ids of those who are admitted, in order."""
    join_tokens: IntArray
    """(most,) the plan: tokens to compute of each."""
    plan: IntArray
    """(7,) the plan: FREE, JOINED, LEFT, GIVEN and padding."""

    memory: FloatArray
    """(memory_slots,) the rule's own state."""


class Rule(Protocol):
    """What every rule has.  The optional parts are listed in the module's docstring."""

    def plan(self, view: View, /) -> int:
        """Fill the plan of the next iteration, or say when to be asked again."""
        ...


class Engine(NamedTuple):
    """What runs iterations: how many sequences it holds, and memory for keys and values."""

    sequences: int
    """The largest batch."""
    blocks: int = NEVER
    """Blocks of memory; NEVER where memory is no limit."""
    block_tokens: int = 16
    """Tokens of a block."""
    longest: int = NEVER
    """Longest sequence, prompt and output; longer requests are refused."""
    swaps: bool = False
    """Whether a preempted sequence is copied to the host's memory, and not computed again."""
    swap_block_ns: float = 0.0
    """Time to copy a block there, or back."""


@shared
def iterate() -> int:
    """Run the iteration that was planned."""
    return FIRE


@shared
def remaining(view: View, request: int) -> int:
    """Tokens of a sequence that are known and not yet computed; 0 of one that has finished."""
    left: int = view.prompt[request] + view.generated[request] - view.computed[request]
    return left


@shared
def decodes(view: View, request: int) -> bool:
    """Whether a sequence only waits for its next token."""
    return bool(view.generated[request] > 0) and remaining(view, request) <= 1


@shared
def blocks_for(view: View, request: int, tokens: int) -> int:
    """Blocks that a sequence lacks to have so many more tokens computed."""
    wanted = view.computed[request] + tokens
    if wanted <= view.held[request] * view.block_tokens:
        return 0
    lacks: int = (wanted + view.block_tokens - 1) // view.block_tokens - view.held[request]
    return lacks


@shared
def free_blocks(view: View) -> int:
    """Blocks that are still free beside what the plan takes."""
    free: int = view.plan[FREE]
    return free


@shared
def given_tokens(view: View) -> int:
    """Tokens that the plan computes so far."""
    given: int = view.plan[GIVEN]
    return given


@shared
def places(view: View) -> int:
    """Sequences that can still be admitted."""
    left: int = view.most - view.running + view.plan[LEFT] - view.plan[JOINED]
    return left


@shared
def give(view: View, position: int, tokens: int) -> bool:
    """Have tokens of a running sequence computed; False, and nothing, where memory lacks."""
    request = view.order[position]
    lacks = blocks_for(view, request, tokens)
    if lacks > view.plan[FREE]:
        return False
    view.plan[FREE] -= lacks
    view.plan[GIVEN] += tokens
    view.tokens[position] = tokens
    return True


@shared
def preempt(view: View, position: int) -> None:
    """Put a running sequence back into its lane, in order of arrival, and free its memory."""
    request, tokens = view.order[position], view.tokens[position]
    view.plan[FREE] += view.held[request] + blocks_for(view, request, tokens)
    view.plan[GIVEN] -= tokens
    view.plan[LEFT] += 1
    view.tokens[position] = 0
    view.leaves[position] = 1


@shared
def admit(view: View, lane: int, tokens: int) -> bool:
    """Let the first of a lane in and have tokens of it computed; False where it does not fit."""
    request = view.front[lane]
    lacks = blocks_for(view, request, tokens)
    if places(view) < 1 or lacks > view.plan[FREE]:
        return False
    joined = view.plan[JOINED]
    view.joins[joined], view.join_tokens[joined] = request, tokens
    view.plan[JOINED] = joined + 1
    view.plan[FREE] -= lacks
    view.plan[GIVEN] += tokens
    view.waiting[lane] -= 1
    view.front[lane] = view.next[request]
    return True


@shared
def pad_tokens(view: View, tokens: int) -> None:
    """Compute so many tokens for nothing: prompts that are filled up to the longest."""
    view.plan[PADDED_TOKENS] += tokens


@shared
def pad_sequences(view: View, sequences: int, context: int) -> None:
    """Decode so many sequences for nothing, over so many tokens of context in all."""
    view.plan[PADDED_SEQUENCES] += sequences
    view.plan[PADDED_CONTEXT] += context


@shared
def first_lane(view: View) -> int:
    """The lane whose front arrived first, the lower one on a tie; NOBODY where nobody waits."""
    best = NOBODY
    for lane in range(view.front.shape[0]):
        request = view.front[lane]
        if request != NOBODY and (best == NOBODY or request < view.front[best]):
            best = lane
    return best


__all__ = [
    "FREE",
    "GIVEN",
    "JOINED",
    "LEFT",
    "NEVER",
    "NOBODY",
    "PADDED_CONTEXT",
    "PADDED_SEQUENCES",
    "PADDED_TOKENS",
    "PLAN_CELLS",
    "Engine",
    "PolicyError",
    "Rule",
    "Tier",
    "View",
    "admit",
    "blocks_for",
    "decodes",
    "first_lane",
    "free_blocks",
    "give",
    "given_tokens",
    "iterate",
    "pad_sequences",
    "pad_tokens",
    "places",
    "preempt",
    "remaining",
    "shared",
    "wait",
    "wait_until",
]
