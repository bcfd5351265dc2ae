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

from .compiled_twin import CompiledTwin
from .contract import (
    IntArray,
    Policy,
    Tier,
    bind,
    lane_count,
)
from .example_view import Running, Waiting, example_view
from .random_queue import Bound, RandomQueue
from .testing_questions import demand, empty, live

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
        asked += live(queue, twin)
        empty(queue, twin, may_leave_tail)


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


__all__ = ["EDGES", "TABLE", "TIERS", "Running", "Waiting", "check_policy", "example_view"]
