"""The state of a compiled run of iterations: columns of requests, tokens and iterations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import NOBODY, FloatArray, IntArray, lane_count, memory_slots
from policies.iteration.contract import PLAN_CELLS, Rule
from policies.iteration.times import StepTimes
from sim.trace import UNFINISHED

from .serving import Serving
from .trace import STEP, TokenTrace
from .workload import TokenWorkload

COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "now_ns",
            "arrived",
            "waiting",  # in all lanes
            "running",
            "steps",  # completed
            "free",  # blocks
            "done",  # sequences that wait for those they started with
            "swapped",  # blocks that the iteration at hand copies
            "answer",  # of the rule, where it is at fault
            "fault",
        )
    ]
)

SOUND, LATE, LANE, EMPTY, CROWDED, GREEDY, MEMORY, QUEUE = range(8)
"""What a rule can do wrong; see :data:`sim.iteration.kernel.FAULTS`."""

WAITING, FRONT, TAIL = range(3)
"""Rows of ``State.lanes``."""

FIRST_STEPS = 4096
"""Iterations that there is room for at first; the room doubles."""


class State(NamedTuple):
    """Everything that the kernel reads and writes."""

    count: Any
    arrival_ns: IntArray
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]
    tier: NDArray[np.int8]
    refused: NDArray[np.bool_]
    generated: NDArray[np.int32]
    computed: NDArray[np.int32]
    held: NDArray[np.int32]
    next: IntArray
    away: NDArray[np.int8]
    """1 of those that are swapped out."""
    lane: NDArray[np.int16]
    status: NDArray[np.int8]
    admitted: NDArray[np.int32]
    finished: NDArray[np.int32]
    preempted: NDArray[np.int32]
    recomputed: IntArray
    offset: IntArray
    token_step: NDArray[np.int32]
    steps: NDArray[Any]
    lanes: IntArray
    """(3, lanes)"""
    waiting: IntArray
    front: IntArray
    order: IntArray
    tokens: IntArray
    leaves: IntArray
    joins: IntArray
    join_tokens: IntArray
    plan: IntArray
    memory: FloatArray
    times: StepTimes
    noise: FloatArray
    most: int
    blocks: int
    block_tokens: int
    swaps: bool
    swap_block_ns: float
    together: bool


def empty_state(rule: Rule, workload: TokenWorkload, serving: Serving) -> State:
    """A run at its beginning; the rule is bound."""
    n, engine, most = len(workload), serving.engine, serving.engine.sequences
    lanes = lane_count(rule)  # type: ignore[arg-type]
    offset = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(workload.output, out=offset[1:])
    count = np.zeros(1, dtype=COUNTERS)
    count["free"] = engine.blocks
    lines = np.zeros((3, lanes), dtype=np.int64)
    lines[FRONT:] = NOBODY
    return State(
        count=count[0],
        arrival_ns=workload.arrival_ns,
        prompt=workload.prompt,
        output=workload.output,
        tier=workload.tier,
        refused=serving.too_long(workload),
        generated=np.zeros(n, dtype=np.int32),
        computed=np.zeros(n, dtype=np.int32),
        held=np.zeros(n, dtype=np.int32),
        next=np.full(n, NOBODY, dtype=np.int64),
        away=np.zeros(n, dtype=np.int8),
        lane=np.full(n, -1, dtype=np.int16),
        status=np.full(n, UNFINISHED, dtype=np.int8),
        admitted=np.full(n, -1, dtype=np.int32),
        finished=np.full(n, -1, dtype=np.int32),
        preempted=np.zeros(n, dtype=np.int32),
        recomputed=np.zeros(n, dtype=np.int64),
        offset=offset,
        token_step=np.full(int(offset[-1]), -1, dtype=np.int32),
        steps=np.zeros(FIRST_STEPS, dtype=STEP),
        lanes=lines,
        waiting=np.zeros(lanes, dtype=np.int64),
        front=np.zeros(lanes, dtype=np.int64),
        order=np.zeros(most, dtype=np.int64),
        tokens=np.zeros(most, dtype=np.int64),
        leaves=np.zeros(most, dtype=np.int64),
        joins=np.zeros(most, dtype=np.int64),
        join_tokens=np.zeros(most, dtype=np.int64),
        plan=np.zeros(PLAN_CELLS, dtype=np.int64),
        memory=np.zeros(memory_slots(rule)),  # type: ignore[arg-type]
        times=serving.times,
        noise=np.ascontiguousarray(serving.noise, dtype=np.float64),
        most=most,
        blocks=engine.blocks,
        block_tokens=engine.block_tokens,
        swaps=engine.swaps,
        swap_block_ns=float(engine.swap_block_ns),
        together=bool(getattr(rule, "together", False)),
    )


def with_room(state: State) -> State:
    """The same with twice the room for iterations."""
    steps = np.zeros(2 * len(state.steps), dtype=STEP)
    steps[: len(state.steps)] = state.steps
    return state._replace(steps=steps)


def trace_of(state: State, workload: TokenWorkload) -> TokenTrace:
    """The columns of a run that is over."""
    return TokenTrace(
        arrival_ns=workload.arrival_ns,
        prompt=workload.prompt,
        output=workload.output,
        tier=workload.tier,
        lane=state.lane,
        status=state.status,
        admitted=state.admitted,
        finished=state.finished,
        preempted=state.preempted,
        recomputed=state.recomputed,
        offset=state.offset,
        token_step=state.token_step,
        steps=state.steps[: int(state.count["steps"])].copy(),
        blocks=state.blocks,
        tiers=workload.tiers,
    )
