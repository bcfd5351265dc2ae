"""The conformance suite: what every rule of continuous batching has to keep, a user's own too.

``check_rule(MyRule(...))`` binds a rule to an engine, asks it hundreds of times in random histories
of a batch, and raises :class:`policies.contract.PolicyError` with the number of the rule that it
breaks.  Rules 1 to 8 are those of :mod:`policies.iteration.contract`; these are about the optional
parts and the drivers:

9.  ``lane_of`` gives a lane from 0 to ``lanes() - 1``.
10. ``bind`` comes back with a rule of the same class and, from then on, the same: bound again it
    has equal fields, of the types that they had before.
11. The plan adds up: free blocks, tokens, sequences and lanes are what follows from its entries.
12. Compiled by numba, ``plan`` and ``lane_of`` answer and plan as in plain Python.
13. Left alone, with no more arrivals, it serves everyone.  (A rule that keeps the rest of a batch
    on purpose says so with ``may_leave_tail=True``.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.compiled_twin import CompiledTwin
from policies.contract import FIRE, NEVER, Tier, lane_count

from .contract import JOINED, Engine, Rule, View
from .plan_check import check_plan, demand
from .random_batch import RandomBatch
from .times import StepTimes

ENGINE = Engine(sequences=12, blocks=48, block_tokens=8, longest=160)
"""Its memory holds two of the longest requests and a bit, or many short ones."""

TIMES = StepTimes(4e6, 3e4, 2e5, 150.0, 9.0)
TIERS = (Tier("interactive"), Tier("batch"), Tier("rest"))

WRITTEN = ("waiting", "front", "tokens", "leaves", "joins", "join_tokens", "plan", "memory")
"""What a rule may change, through the contract's functions."""


def check_rule(
    rule: Rule,
    *,
    seed: int = 0,
    questions: int = 600,
    engine: Engine = ENGINE,
    times: StepTimes = TIMES,
    tiers: tuple[Tier, ...] = TIERS,
    may_leave_tail: bool = False,
    compiled: bool = True,
) -> None:
    """Hold a rule against the contract.

    Args:
        rule: bound or not; it is bound to engines like the one given, with less and more memory,
            that swap or do not.
        seed: of the random histories; the same seed asks the same questions.
        questions: at least how many to ask.
        engine: what it is bound to.
        times: of iterations, for rules that look at them.
        tiers: of the requests.
        may_leave_tail: whether the rule may leave requests unserved forever (rule 13).
        compiled: whether to compile it (rule 12), which takes seconds.

    Raises:
        PolicyError: the rule breaks the contract; the sentence names how.
        ValueError: the rule's parameters do not fit the engine.
    """
    rng = np.random.default_rng(seed)
    _check_bind(rule, times, engine, tiers)
    twin = CompiledTwin() if compiled else None
    asked = 0
    while asked < questions:
        own_engine = _variant(engine, rng)
        bound = _bind(rule, times, own_engine, tiers)
        _check_lanes(bound, own_engine, tiers, twin)
        batch = RandomBatch(bound, own_engine, tiers, rng)
        asked += _live(batch, twin, may_leave_tail)


def _variant(engine: Engine, rng: np.random.Generator) -> Engine:
    blocks = engine.blocks if engine.blocks < NEVER else 4 * engine.longest
    few = -(-min(engine.longest, blocks * engine.block_tokens) // engine.block_tokens)
    return engine._replace(
        blocks=int(rng.choice([few, min(blocks, 2 * few), blocks, NEVER])),
        swaps=bool(rng.random() < 0.4),
    )


def _bind(rule: Rule, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> Any:
    own = getattr(rule, "bind", None)
    return rule if own is None else own(times, engine, tiers)


# rules 8, 9 and 10


def _kind(value: object) -> str:
    """What a field is; empty where it is nothing that a rule may hold (rule 8)."""
    if isinstance(value, np.ndarray):
        good = value.dtype.name in ("int64", "float64")
        return f"{value.dtype} array of {value.ndim} dimensions" if good else ""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        kinds = [_kind(each) for each in value]
        return f"{type(value).__name__} of {', '.join(kinds)}" if all(kinds) else ""
    if isinstance(value, int | np.integer):
        return "whole number"
    return "float" if isinstance(value, float | np.floating) else ""


def _check_fields(rule: Any) -> None:
    demand(hasattr(rule, "_fields"), 8, "is not a NamedTuple", rule)
    for name, value in zip(rule._fields, rule, strict=True):
        sentence = f"has a field `{name}` that is no number or int64 or float64 array"
        demand(bool(_kind(value)), 8, sentence, rule)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    return np.array_equal(one, other)


def _check_bind(rule: Any, times: StepTimes, engine: Engine, tiers: tuple[Tier, ...]) -> None:
    _check_fields(rule)
    once = _bind(rule, times, engine, tiers)
    demand(type(once) is type(rule), 10, "changed its class in `bind`", rule)
    _check_fields(once)
    twice = _bind(once, times, engine, tiers)
    demand(_same(once, twice), 10, "changed when it was bound again", rule)
    for name, old, new in zip(rule._fields, rule, once, strict=True):
        same = _kind(old) == _kind(new)
        demand(same, 10, f"changed the type of its field `{name}` in `bind`", rule)


def _check_lanes(
    rule: Any, engine: Engine, tiers: tuple[Tier, ...], twin: CompiledTwin | None
) -> None:
    lanes = lane_count(rule)
    demand(lanes >= 1, 9, f"has {lanes} lanes", rule)
    own = getattr(rule, "lane_of", None)
    if own is None:
        return
    for prompt in {1, 2, 31, 32, 33, engine.longest // 2, engine.longest}:
        for tier in range(len(tiers)):
            lane = own(prompt, tier)
            inside = isinstance(lane, int | np.integer) and bool(0 <= lane < lanes)
            sentence = f"put a prompt of {prompt} of tier {tier} in lane {lane} of {lanes}"
            demand(inside, 9, sentence, rule)
            if twin is not None:
                other = twin.ask("lane_of", rule, np.int32(prompt), np.int8(tier))
                sentence = f"put a prompt of {prompt} in lane {lane} in Python, {other} compiled"
                demand(other == lane, 12, sentence, rule)


# one question


def _copy(view: View, **other: Any) -> View:
    """The same view in arrays of its own."""
    fresh = {
        name: value.copy()
        for name, value in zip(view._fields, view, strict=True)
        if isinstance(value, np.ndarray)
    }
    return view._replace(**(fresh | other))


def _other_future(view: View) -> View:
    """The same view with other values in requests that have not arrived."""
    other = _copy(view)
    other.arrival_ns[view.arrived :] = view.now_ns + 1
    other.prompt[view.arrived :] = 1 + other.prompt[view.arrived :] % 7
    other.tier[view.arrived :] = 0
    return other


def _narrow(view: View) -> View:
    """The view with the column types of the compiled kernel."""
    columns = ("prompt", "generated", "computed", "held")
    narrow = {name: getattr(view, name).astype(np.int32) for name in columns}
    return _copy(view, tier=view.tier.astype(np.int8), **narrow)


def _ask(batch: RandomBatch, twin: CompiledTwin | None) -> tuple[int, View]:
    """One question, with rules 1 to 7, 11 and 12; the answer, and the view with the plan."""
    rule: Any = batch.rule
    clean = batch.view()
    view, again, other = _copy(clean), _copy(clean), _other_future(clean)
    fields = [(name, value, np.copy(value)) for name, value in _arrays(rule)]
    answer = rule.plan(view)
    for name in view._fields:
        same = name in WRITTEN or np.array_equal(getattr(view, name), getattr(clean, name))
        demand(same, 2, f"wrote `{name}`", rule)
    for name, value, copy in fields:
        demand(np.array_equal(value, copy), 2, f"wrote its own field `{name}`", rule)
    whole = isinstance(answer, int | np.integer) and not isinstance(answer, bool)
    demand(whole, 3, f"answered {answer!r}, which is no whole number of ns", rule)

    repeated = rule.plan(again)
    sentence = f"answered {answer}, then {repeated} to the same view"
    demand(_agree(answer, view, repeated, again), 4, sentence, rule)
    foreseen = rule.plan(other)
    sentence = "looked at requests that have not arrived"
    demand(_agree(answer, view, foreseen, other), 1, sentence, rule)
    if twin is not None:
        small = _narrow(clean)
        compiled = twin.ask("plan", rule, small)
        sentence = f"answered {answer} in Python and {compiled} compiled, or planned otherwise"
        demand(_agree(answer, view, compiled, small), 12, sentence, rule)
    _check_answer(batch, clean, view, int(answer))
    batch.memory = view.memory
    return int(answer), view


def _arrays(thing: Any) -> list[tuple[str, Any]]:
    """Names and arrays of a rule's fields, and of the fields of these."""
    found = []
    for name, value in zip(thing._fields, thing, strict=True):
        if isinstance(value, np.ndarray):
            found.append((name, value))
        elif hasattr(value, "_fields"):
            found += _arrays(value)
    return found


def _agree(answer: int, view: View, other_answer: int, other: View) -> bool:
    """Whether two answers agree, with what was planned and learned."""
    return answer == other_answer and all(
        np.array_equal(getattr(view, name), getattr(other, name)) for name in WRITTEN
    )


def _check_answer(batch: RandomBatch, clean: View, view: View, answer: int) -> None:
    rule = batch.rule
    if answer != FIRE:
        untouched = all(
            np.array_equal(getattr(view, name), getattr(clean, name)) for name in WRITTEN[:-1]
        )
        demand(untouched, 3, "planned an iteration and did not answer with iterate()", rule)
        sentence = f"wants to be asked at {answer}, and now is {view.now_ns}"
        demand(answer > view.now_ns, 7, sentence, rule)
        return
    check_plan(batch, clean, view)


# a history


def _live(batch: RandomBatch, twin: CompiledTwin | None, may_leave_tail: bool) -> int:
    """Let a history happen until everyone is served (rule 13); how many questions were asked."""
    asked, last = 0, -1
    work = int((batch.prompt + batch.output).sum())
    while batch.arrived < batch.requests or not batch.over:
        if batch.over:
            batch.move(batch.some_time())
            continue
        answer, view = _ask(batch, twin)
        asked += 1
        next_ns = batch.some_time()
        if answer == FIRE:
            batch.carry_out(view, view.joins[: view.plan[JOINED]].tolist())
        elif batch.arrived == batch.requests and answer == NEVER:
            tail = len(batch.batch) + batch.waiting
            demand(may_leave_tail, 13, f"left {tail} requests waiting forever", batch.rule)
            return asked
        elif answer < NEVER and (batch.arrived == batch.requests or batch.rng.random() < 0.5):
            next_ns = answer
        batch.move(next_ns)
        if batch.served > last:
            last, since = batch.served, asked
        sentence = f"served nobody in {asked - since} questions, and {batch.waiting} wait"
        demand(asked - since <= work, 13, sentence, batch.rule)
    return asked


__all__ = ["ENGINE", "TIERS", "TIMES", "check_rule"]
