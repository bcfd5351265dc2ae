"""The compiled driver of continuous batching: the SimPy model's twin, iteration for iteration.

The loop is compiled with a rule's own ``plan`` inlined.  It releases the GIL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from numba.core.errors import NumbaError
from numba.extending import overload

from policies.contract import FIRE, NEVER, PolicyError
from policies.iteration.contract import Rule, View, shared
from sim.cache import cache_folder, code_digest, compile_kept

from .pieces import UNCOUNTED, sources_digest
from .serving import Serving
from .state import (
    CROWDED,
    EMPTY,
    GREEDY,
    LANE,
    LATE,
    MEMORY,
    QUEUE,
    SOUND,
    State,
    empty_state,
    trace_of,
    with_room,
)
from .steps import complete, join_lane, look, next_arrival_ns, refuse, start
from .trace import TokenTrace
from .workload import TokenWorkload

FAULTS = {
    LATE: "wants to be asked at {answer} ns, at {now} ns (rule 7)",
    LANE: "has no lane {answer}: it has {lanes}, from 0",
    EMPTY: "planned an iteration without tokens (rule 6)",
    CROWDED: "planned more sequences than the engine holds (rule 6)",
    GREEDY: "gave request {answer} fewer tokens than 0 or more than remain (rule 6)",
    MEMORY: "gave tokens that memory has no room for (rule 6)",
    QUEUE: "admitted request {answer}, which is not the first of a lane (rule 6)",
}
"""What a rule did wrong, in words."""


def run(rule: Rule, workload: TokenWorkload, serving: Serving) -> TokenTrace:
    """Simulate a rule until no event remains.

    Args:
        rule: any rule that compiles; it is bound to the engine first.
        workload: who arrives when, and how long prompts and outputs are.
        serving: the engine, and how long its iterations take.

    Raises:
        ValueError: a parameter of the rule is out of range.
        PolicyError: the rule broke the contract, or does not compile.
    """
    bound = serving.bound(rule, workload.tiers)
    state = empty_state(bound, workload, serving)
    loop = compiled(type(bound))
    try:
        while loop(bound, state):
            state = with_room(state)
    except NumbaError as error:
        raise PolicyError(not_compiled(bound, error)) from error
    fault = int(state.count["fault"])
    if fault != SOUND:
        told = FAULTS[fault].format(
            answer=int(state.count["answer"]),
            now=int(state.count["now_ns"]),
            lanes=len(state.waiting),
        )
        raise PolicyError(f"policy {type(bound).__name__} {told}")
    return trace_of(state, workload)


def not_compiled(rule: Rule, error: Exception) -> str:
    """One sentence for a rule that numba refuses."""
    told = [" ".join(line.split()) for line in str(error).splitlines()]
    where = next((line for line in told if line.startswith("File ")), "its methods")
    return (
        f"policy {type(rule).__name__} does not compile: numba refuses {where.rstrip(':')}; keep "
        "to numbers, comparisons and loops over the view, make no arrays (rule 8), or run it with "
        "the SimPy engine"
    )


def plan_of(rule: Any, view: View) -> int:
    """Ask the rule; compiled, this is the class's own ``plan``."""
    return int(rule.plan(view))


def lane_of(rule: Any, prompt: int, tier: int) -> int:
    """Lane of an arrival; compiled, this is the class's own ``lane_of`` if it has one."""
    return int(rule.lane_of(prompt, tier))


@overload(plan_of, strict=False, jit_options=UNCOUNTED)
def _plan_of(rule: Any, *_: Any) -> Any:
    return rule.instance_class.plan


@overload(lane_of, strict=False, jit_options=UNCOUNTED)
def _lane_of(rule: Any, *_: Any) -> Any:
    return getattr(rule.instance_class, "lane_of", only_lane)


def only_lane(rule: Any, prompt: int, tier: int) -> int:
    """Where rules without ``lane_of`` put everyone."""
    return 0


@shared
def take_arrivals(rule: Any, state: State) -> None:
    """Put those who have arrived into their lanes, or refuse them."""
    count = state.count
    while count.fault == SOUND and next_arrival_ns(state) <= count.now_ns:
        request = count.arrived
        count.arrived += 1
        if state.refused[request]:
            refuse(state, request)
            continue
        lane = int(lane_of(rule, state.prompt[request], state.tier[request]))
        if lane < 0 or lane >= state.waiting.shape[0]:
            count.answer, count.fault = lane, LANE
            return
        state.lane[request] = lane
        join_lane(state, request, lane)


def simulate(rule: Any, state: State) -> bool:
    """Run until no event remains or a rule is at fault; True where room for iterations ran out."""
    count = state.count
    while True:
        take_arrivals(rule, state)
        if count.fault != SOUND:
            return False
        upcoming_ns = next_arrival_ns(state)
        if count.running == 0 and count.waiting == 0:
            if upcoming_ns == NEVER:
                return False
            count.now_ns = upcoming_ns
            continue
        if count.steps == state.steps.shape[0]:
            return True
        answer = plan_of(rule, look(state))
        if answer == FIRE:
            start(state)
            if count.fault != SOUND:
                return False
            complete(state)
            continue
        if answer <= count.now_ns:
            count.answer, count.fault = answer, LATE
            return False
        instant_ns = min(answer, upcoming_ns)
        if instant_ns == NEVER:
            return False
        count.now_ns = instant_ns


Loop = Callable[[Any, State], bool]


@cache
def compiled(rule_class: type) -> Loop:
    """The loop of a rule's class; it compiles, or is read from disk, at its first call."""
    methods = [getattr(rule_class, name, None) for name in ("plan", "lane_of")]
    parts = [sources_digest(), rule_class.__module__, rule_class.__qualname__]
    parts += [code_digest(own) for own in methods if own is not None]
    name = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{rule_class.__name__}-{name}"
    return compile_kept(simulate, folder, no_cfunc_wrapper=True, **UNCOUNTED)
