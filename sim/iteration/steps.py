"""The pieces of the compiled loop: arrivals, the plan carried out, an iteration completed.

Written apart from the SimPy model's station, and compared with it iteration by iteration.
"""

from __future__ import annotations

from policies.contract import NEVER, NOBODY
from policies.iteration.contract import (
    FREE,
    JOINED,
    LEFT,
    PADDED_CONTEXT,
    PADDED_SEQUENCES,
    PADDED_TOKENS,
    View,
    shared,
)
from policies.iteration.times import step_ns
from sim.trace import REJECTED, SERVED

from .pieces import compiled_piece
from .state import CROWDED, EMPTY, FRONT, GREEDY, MEMORY, QUEUE, SOUND, TAIL, WAITING, State


@compiled_piece
def look(state: State) -> View:
    """A clean view of this instant."""
    count = state.count
    for lane in range(state.waiting.shape[0]):
        state.waiting[lane] = state.lanes[WAITING, lane]
        state.front[lane] = state.lanes[FRONT, lane]
    for position in range(count.running):
        state.tokens[position] = 0
        state.leaves[position] = 0
    for cell in range(state.plan.shape[0]):
        state.plan[cell] = 0
    state.plan[FREE] = count.free
    return View(
        count.now_ns,
        state.waiting,
        state.front,
        state.arrival_ns,
        state.prompt,
        state.tier,
        state.generated,
        state.computed,
        state.held,
        state.next,
        count.running,
        state.order,
        state.most,
        state.block_tokens,
        state.blocks,
        count.steps,
        count.arrived,
        state.tokens,
        state.leaves,
        state.joins,
        state.join_tokens,
        state.plan,
        state.memory,
    )


@compiled_piece
def next_arrival_ns(state: State) -> int:
    """When the next request comes."""
    arrived = state.count.arrived
    return state.arrival_ns[arrived] if arrived < state.arrival_ns.shape[0] else NEVER


@shared
def refuse(state: State, request: int) -> None:
    """A request that is too long for the engine."""
    state.status[request] = REJECTED


@compiled_piece
def join_lane(state: State, request: int, lane: int) -> None:
    """Put a request into a lane, in order of arrival."""
    lanes = state.lanes
    state.count.waiting += 1
    lanes[WAITING, lane] += 1
    last = lanes[TAIL, lane]
    if last == NOBODY or last < request:
        state.next[request] = NOBODY
        lanes[TAIL, lane] = request
        if last == NOBODY:
            lanes[FRONT, lane] = request
        else:
            state.next[last] = request
        return
    before, after = NOBODY, lanes[FRONT, lane]
    while after < request:
        before, after = after, state.next[after]
    state.next[request] = after
    if before == NOBODY:
        lanes[FRONT, lane] = request
    else:
        state.next[before] = request


@shared
def leave_lane(state: State, request: int) -> bool:
    """Take the first of a lane out; False where it is not the first."""
    lanes = state.lanes
    if request < 0 or request >= state.count.arrived:
        return False
    lane = state.lane[request]
    if lane < 0 or lanes[FRONT, lane] != request:
        return False
    state.count.waiting -= 1
    lanes[WAITING, lane] -= 1
    lanes[FRONT, lane] = state.next[request]
    if state.next[request] == NOBODY:
        lanes[TAIL, lane] = NOBODY
    return True


@shared
def put_back(state: State) -> int:
    """Take those who are preempted out of the batch; how many they are."""
    count, left, kept = state.count, 0, 0
    for position in range(count.running):
        request = state.order[position]
        if state.leaves[position] == 0:
            state.order[kept] = request
            state.tokens[kept] = state.tokens[position]
            kept += 1
            continue
        left += 1
        count.free += state.held[request]
        if state.swaps:
            count.swapped += state.held[request]
            state.away[request] = 1
        else:
            state.recomputed[request] += state.computed[request]
            state.computed[request] = 0
        state.held[request] = 0
        state.preempted[request] += 1
        join_lane(state, request, int(state.lane[request]))
    count.running = kept
    return left


@shared
def take_out(state: State) -> None:
    """Take those who are admitted out of their lanes, as the view showed them."""
    count, joined = state.count, state.plan[JOINED]
    if joined < 0 or joined > state.most:
        count.fault = CROWDED
        return
    for place in range(joined):
        request = state.joins[place]
        if not leave_lane(state, request):
            count.answer, count.fault = request, QUEUE
            return
        if state.admitted[request] < 0:
            state.admitted[request] = count.steps
        if state.away[request] == 1:
            state.away[request] = 0
            tokens = state.computed[request]
            count.swapped += (tokens + state.block_tokens - 1) // state.block_tokens


@shared
def let_in(state: State) -> None:
    """Take those who are admitted into the batch."""
    count, joined = state.count, state.plan[JOINED]
    if count.running + joined > state.most:
        count.fault = CROWDED
        return
    for place in range(joined):
        state.order[count.running] = state.joins[place]
        state.tokens[count.running] = state.join_tokens[place]
        count.running += 1


@shared
def exchange(state: State) -> None:
    """Carry out who leaves the batch and who joins it."""
    count, plan = state.count, state.plan
    count.swapped = 0
    if plan[JOINED] != 0:
        take_out(state)
    if plan[LEFT] != 0 and put_back(state) != plan[LEFT]:
        count.fault = CROWDED
    if count.fault == SOUND:
        let_in(state)


@compiled_piece
def start(state: State) -> None:
    """Carry out the plan: an iteration begins, and its end is known."""
    count, plan = state.count, state.plan
    exchange(state)
    if count.fault != SOUND:
        return
    prefill, sequences = plan[PADDED_TOKENS], plan[PADDED_SEQUENCES]
    context, pairs, computing = plan[PADDED_CONTEXT], 0.0, 0
    for position in range(count.running):
        tokens = state.tokens[position]
        if tokens == 0:
            continue
        request = state.order[position]
        before, generated = state.computed[request], state.generated[request]
        remain = state.prompt[request] + generated - before
        if tokens < 0 or tokens > remain:
            count.answer, count.fault = request, GREEDY
            return
        computing += 1
        room = state.held[request] * state.block_tokens
        if before + tokens > room:
            more = (before + tokens - room + state.block_tokens - 1) // state.block_tokens
            state.held[request] += more
            count.free -= more
        if generated > 0 and remain <= 1:
            sequences += 1
            context += before
        else:
            prefill += tokens
            pairs += tokens * (before + 0.5 * (tokens + 1))
    if count.free < 0:
        count.fault = MEMORY
    elif computing == 0:
        count.fault = EMPTY
    if count.fault != SOUND:
        return
    took = step_ns(state.times, float(prefill), float(sequences), float(context), pairs)
    took += state.swap_block_ns * count.swapped
    took *= state.noise[count.steps % state.noise.shape[0]]
    row = state.steps[count.steps]
    row.start_ns = count.now_ns
    row.finish_ns = count.now_ns + max(1, int(round(took)))  # noqa: RUF046 (compiled, a float)
    row.context, row.prefill, row.sequences = context, prefill, sequences
    row.blocks = state.blocks - count.free
    row.running, row.waiting = count.running, count.waiting
    row.joined, row.left = plan[JOINED], plan[LEFT]


@compiled_piece
def complete(state: State) -> None:
    """The iteration ends: tokens are there, and whoever is done leaves."""
    count = state.count
    step, kept = count.steps, 0
    count.now_ns = state.steps[step].finish_ns
    for position in range(count.running):
        request = state.order[position]
        tokens = state.tokens[position]
        if tokens > 0 and advanced(state, request, tokens, step):
            count.free += state.held[request]
            state.held[request] = 0
            if not state.together:
                state.status[request], state.finished[request] = SERVED, step
                continue
            state.computed[request] = state.prompt[request] + state.generated[request]
            count.done += 1
        state.order[kept] = request
        kept += 1
    count.running = kept
    count.steps += 1
    if state.together and count.done == kept:
        for position in range(kept):
            request = state.order[position]
            state.status[request], state.finished[request] = SERVED, step
        count.running, count.done = 0, 0


@shared
def advanced(state: State, request: int, tokens: int, step: int) -> bool:
    """Count what was computed of a sequence; whether its last token is there."""
    computed = state.computed[request] + tokens
    state.computed[request] = computed
    generated = state.generated[request]
    if computed < state.prompt[request] + generated:
        return False
    state.token_step[state.offset[request] + generated] = step
    state.generated[request] = generated + 1
    return bool(generated + 1 == state.output[request])
