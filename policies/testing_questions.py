"""Questions to a policy in a random history, each held against the contract.

The rules are numbered as in :mod:`policies.testing`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled_twin import CompiledTwin, narrow
from .contract import FIRE, NEVER, SHED, IntArray, Policy, PolicyError, View, seals, sheds
from .random_queue import RandomQueue

VIEWS_PER_HISTORY = 100


def demand(holds: bool, rule: int, sentence: str, policy: Policy) -> None:
    """Raise ``PolicyError`` with the number of the rule, unless it holds."""
    if not holds:
        raise PolicyError(f"rule {rule}: {type(policy).__name__} {sentence}: {policy!r}")


def _arrays(*things: Any) -> list[tuple[str, Any, Any]]:
    """Names, arrays and copies of everything that a question must not change."""
    return [
        (name, value, np.copy(value))
        for thing in things
        for name, value in zip(thing._fields, thing, strict=True)
        if name not in ("take", "memory")
    ]


def _call(policy: Any, name: str, view: View, rule: int) -> Any:
    """Call a method in plain Python, and see that it writes nothing that is not its own."""
    kept = _arrays(view, policy)
    answer = getattr(policy, name)(view)
    for field, value, copy in kept:
        demand(np.array_equal(value, copy), rule, f"wrote `{field}` in `{name}`", policy)
    return answer


def _unasked(view: View) -> View:
    """The same view as before it was asked; the memory stays as it is."""
    return view._replace(memory=view.memory.copy(), take=np.zeros_like(view.take))


def _other_future(view: View) -> View:
    """The same view with other values in requests that have not arrived."""
    other = _unasked(view)._replace(arrival_ns=view.arrival_ns.copy(), length=view.length.copy())
    other.arrival_ns[view.arrived :] = view.now_ns + 1
    other.length[view.arrived :] = 1 + other.length[view.arrived :] % 7
    return other


def _ask(queue: RandomQueue, server: int, twin: CompiledTwin | None) -> tuple[int, IntArray]:
    """One question to ``decide``, with rules 1 to 7 and 12; the answer and what it takes."""
    policy, view = queue.policy, queue.view(server)
    other = _other_future(view)
    small = narrow(view)
    answer = _call(policy, "decide", view, 2)
    _check_answer(policy, queue.bound.service_ns.shape[0], view, answer)

    again = _unasked(view)
    repeated = policy.decide(again)
    sentence = f"answered {answer}, then {repeated} to the same view"
    demand(_same(answer, view, repeated, again), 4, sentence, policy)
    foreseen = policy.decide(other)
    sentence = "looked at requests that have not arrived"
    demand(_same(answer, view, foreseen, other), 1, sentence, policy)
    if twin is not None:
        compiled = twin.ask("decide", policy, small)
        sentence = f"answered {answer} in Python and {compiled} compiled"
        demand(_same(answer, view, compiled, small), 12, sentence, policy)
    queue.memory = view.memory
    return int(answer), view.take


def _same(answer: int, view: View, other_answer: int, other: View) -> bool:
    """Whether two answers agree, with what they took and what they learned."""
    return (
        answer == other_answer
        and np.array_equal(view.take, other.take)
        and np.array_equal(view.memory, other.memory)
    )


def _check_answer(policy: Policy, largest: int, view: View, answer: Any) -> None:
    """Rules 3, 5, 6 and 7."""
    whole = isinstance(answer, int | np.integer) and not isinstance(answer, bool)
    demand(whole, 3, f"answered {answer!r}, which is no whole number of ns", policy)
    size = int(view.take.sum())
    if answer not in (FIRE, SHED):
        demand(not view.take.any(), 3, "filled `view.take` and did not fire", policy)
        sentence = f"wants to be asked at {answer}, and now is {view.now_ns}"
        demand(answer > view.now_ns, 7, sentence, policy)
        return
    demand(size > 0, 6, "fired a batch of nothing, or shed nobody", policy)
    demand(answer == FIRE or sheds(policy), 6, "shed requests and does not say `sheds`", policy)
    ahead = view.server >= 0 or view.sealed < seals(policy)
    demand(ahead or answer == SHED, 5, "fired while every server was busy", policy)
    for lane, (count, waiting) in enumerate(zip(view.take, view.waiting, strict=True)):
        sentence = f"took {count} from lane {lane}, where {waiting} wait"
        demand(0 <= count <= waiting, 6, sentence, policy)
    fits = size <= largest or answer == SHED
    demand(fits, 6, f"fired {size}, and the profile ends at {largest}", policy)


def _observe(queue: RandomQueue, server: int, twin: CompiledTwin | None) -> None:
    """A batch has finished: rules 11 and 12 for a policy that learns from it."""
    view = queue.finish(server)
    if not hasattr(queue.policy, "observe"):
        return
    small = narrow(view)
    _call(queue.policy, "observe", view, 11)
    demand(not view.take.any(), 11, "wrote `take` in `observe`", queue.policy)
    if twin is not None:
        twin.ask("observe", queue.policy, small)
        same = np.array_equal(small.memory, view.memory)
        demand(same, 12, "learned otherwise in Python than compiled", queue.policy)
    queue.memory = view.memory


def _dispatch(queue: RandomQueue, twin: CompiledTwin | None) -> tuple[int, int]:
    """Ask until the policy waits or no server is idle: how often, and when to ask again.

    What is sealed starts first; then as many batches are sealed as may be.
    """
    asked, again_ns = 0, NEVER
    for server in queue.rng.permutation(queue.idle()).tolist():
        if queue.sealed:
            queue.start(server, queue.sealed.pop(0))
        while queue.waiting and queue.size[server] == 0:
            answer, take = _ask(queue, server, twin)
            asked += 1
            if answer == SHED:
                queue.remove(take)
                continue
            if answer == FIRE:
                queue.start(server, queue.form(take))
            else:
                again_ns = min(again_ns, answer)
            break
    while queue.waiting and queue.asks_ahead:
        answer, take = _ask(queue, -1, twin)
        asked += 1
        if answer not in (FIRE, SHED):
            return asked, min(again_ns, answer)
        if answer == FIRE:
            queue.sealed.append(queue.form(take))
        else:
            queue.remove(take)
    return asked, again_ns


def live(queue: RandomQueue, twin: CompiledTwin | None) -> int:
    """Let a history happen; how many questions were asked."""
    asked, again_ns = 0, NEVER
    while asked < VIEWS_PER_HISTORY and queue.arrived < queue.requests:
        before_ns = queue.now_ns
        at_timer = again_ns < NEVER and queue.rng.random() < 0.3
        queue.move(again_ns if at_timer else None)
        for server in range(queue.bound.servers):
            busy = queue.busy_since_ns[server] >= 0
            late = queue.now_ns >= queue.expected_finish_ns[server]
            if busy and queue.rng.random() < (0.9 if late else 0.1):
                _observe(queue, server, twin)
        if not at_timer:
            queue.admit(before_ns)
        more, again_ns = _dispatch(queue, twin)
        asked += more
    return asked


def empty(queue: RandomQueue, twin: CompiledTwin | None, may_leave_tail: bool) -> None:
    """Rule 13: no more arrivals; batches end as planned, and timers run out."""
    while queue.waiting:
        _, again_ns = _dispatch(queue, twin)
        busy = [s for s in range(queue.bound.servers) if queue.busy_since_ns[s] >= 0]
        ends_ns = [max(queue.now_ns + 1, int(queue.expected_finish_ns[s])) for s in busy]
        next_ns = min([again_ns, *ends_ns])
        if next_ns == NEVER:
            sentence = f"left {queue.waiting} requests waiting forever"
            demand(may_leave_tail or queue.waiting == 0, 13, sentence, queue.policy)
            return
        queue.move(next_ns)
        for server, end_ns in zip(busy, ends_ns, strict=True):
            if end_ns <= next_ns:
                _observe(queue, server, twin)
