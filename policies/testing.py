"""The conformance suite: what every policy has to keep, a user's own too.

``check_policy(MyPolicy(...))`` binds a policy to a plausible profile, asks it thousands of times in
random histories of a queue, and raises :class:`policies.contract.PolicyError` with the number of
the rule that it breaks.  Rules 1 to 8 are those of :mod:`policies.contract`; these are about the
optional parts and the drivers:

9.  ``lane_of`` gives a lane from 0 to ``lanes() - 1``.
10. ``bind`` comes back with a policy of the same class and, from then on, the same: bound again it
    has equal fields, and its fields have the types that they had before.
11. ``observe`` writes ``view.memory`` only.
12. Compiled by numba, ``decide``, ``observe`` and ``lane_of`` answer as in plain Python.
13. Left alone, with no more arrivals, it serves everyone that waits.  (A rule that keeps the rest
    of a batch on purpose says so with ``may_leave_tail=True``.)

For tests of what a rule does in one situation, :func:`example_view` makes a view by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled_twin import CompiledTwin, narrow
from .contract import (
    FIRE,
    NEVER,
    SHED,
    IntArray,
    Policy,
    PolicyError,
    Tier,
    View,
    bind,
    lane_count,
    seals,
    sheds,
)
from .example_view import Running, Waiting, example_view
from .random_queue import Bound, RandomQueue

VIEWS_PER_HISTORY = 100

EDGES: IntArray = np.array([16, 64, 128, 512])

TABLE: IntArray = np.array(
    [
        [2_000_000 + 7_001 * size * (16 + edge) + 900_000 * -(-size // 8) for edge in EDGES]
        for size in range(1, 65)
    ]
)
"""A plausible profile: batches of 1 to 64, in steps of 8, that cost more the longer they are."""

TIERS = (Tier("interactive", slo_ns=40_000_000), Tier("batch", slo_ns=400_000_000), Tier("rest"))


def check_policy(
    policy: Policy,
    *,
    seed: int = 0,
    views: int = 1000,
    service_ns: IntArray = TABLE,
    length_edges: IntArray = EDGES,
    tiers: tuple[Tier, ...] = TIERS,
    may_leave_tail: bool = False,
    compiled: bool = True,
) -> None:
    """Hold a policy against the contract.

    Args:
        policy: bound or not; it is bound to the profile for 1 to 4 servers.
        seed: of the random histories; the same seed asks the same questions.
        views: at least how many questions to ask.
        service_ns: int64 (largest batch, edges), the profile to bind to.
        length_edges: int64 (edges,).
        tiers: the tiers to bind to.
        may_leave_tail: whether the policy may leave requests unserved forever (rule 13).
        compiled: whether to compile it (rule 12), which takes seconds.

    Raises:
        PolicyError: the policy breaks a rule; the sentence names it.
        ValueError: the policy's parameters do not fit the profile.
    """
    rng = np.random.default_rng(seed)
    _check_bind(policy, Bound(service_ns, length_edges, tiers, servers=2))
    twin = CompiledTwin() if compiled else None
    asked = 0
    while asked < views:
        bound = Bound(service_ns, length_edges, tiers, int(rng.integers(1, 5)))
        own = bind(policy, *_arguments(bound))
        _check_lanes(own, bound, rng, twin)
        queue = RandomQueue(own, bound, rng)
        asked += _live(queue, twin)
        _empty(queue, twin, may_leave_tail)


def demand(holds: bool, rule: int, sentence: str, policy: Policy) -> None:
    """Raise ``PolicyError`` with the number of the rule, unless it holds."""
    if not holds:
        raise PolicyError(f"rule {rule}: {type(policy).__name__} {sentence}: {policy!r}")


def _arguments(bound: Bound) -> tuple[IntArray, IntArray, tuple[Tier, ...], int]:
    return bound.service_ns.copy(), bound.length_edges.copy(), bound.tiers, bound.servers


def _field_type(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of {value.ndim} dimensions"
    return "whole number" if isinstance(value, int | np.integer) else "float"


def _check_fields(policy: Any) -> None:
    """Rule 8."""
    demand(hasattr(policy, "_fields"), 8, "is not a NamedTuple", policy)
    for name, value in zip(policy._fields, policy, strict=True):
        good = isinstance(value, int | float | np.integer | np.floating)
        if isinstance(value, np.ndarray):
            good = value.dtype.name in ("int64", "float64")
        demand(good, 8, f"has a field `{name}` that is no number or int64 or float64 array", policy)


def _same_fields(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _check_bind(policy: Policy, bound: Bound) -> None:
    """Rules 8 and 10."""
    _check_fields(policy)
    before: Any = policy
    once: Any = bind(policy, *_arguments(bound))
    _check_fields(once)
    demand(type(once) is type(policy), 10, "changed its class in `bind`", policy)
    twice = bind(once, *_arguments(bound))
    demand(_same_fields(once, twice), 10, "changed when it was bound again", policy)
    for name, old, new in zip(before._fields, before, once, strict=True):
        same = _field_type(old) == _field_type(new)
        demand(same, 10, f"changed the type of its field `{name}` in `bind`", policy)


def _check_lanes(
    policy: Policy, bound: Bound, rng: np.random.Generator, twin: CompiledTwin | None
) -> None:
    """Rules 9 and 12."""
    lanes = lane_count(policy)
    demand(lanes >= 1, 9, f"has {lanes} lanes", policy)
    lane_of = getattr(policy, "lane_of", None)
    if lane_of is None:
        return
    longest = int(bound.length_edges[-1])
    for length in [1, longest, 2 * longest, *rng.integers(1, longest, 50, endpoint=True).tolist()]:
        for tier in range(len(bound.tiers)):
            lane = lane_of(length, tier)
            inside = isinstance(lane, int | np.integer) and bool(0 <= lane < lanes)
            sentence = f"put length {length} of tier {tier} in lane {lane} of {lanes}"
            demand(inside, 9, sentence, policy)
            if twin is not None:
                compiled = twin.ask("lane_of", policy, np.int32(length), np.int8(tier))
                sentence = f"put length {length} in lane {lane} in Python and {compiled} compiled"
                demand(compiled == lane, 12, sentence, policy)


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


def _live(queue: RandomQueue, twin: CompiledTwin | None) -> int:
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


def _empty(queue: RandomQueue, twin: CompiledTwin | None, may_leave_tail: bool) -> None:
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


__all__ = ["EDGES", "TABLE", "TIERS", "Running", "Waiting", "check_policy", "example_view"]
