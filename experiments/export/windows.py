"""Each kind of policy as a window of size and wait: exactly where it is one, else the nearest.

A kind that is no window has one row in :data:`NEAREST`: what it does that a window cannot, and the
window that can be stated instead, with what that one loses.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

from policies.balanced_cap import SAFETY, SPARE
from policies.contract import NEVER
from policies.planning import planned_ns

from .phrases import phrase, runs
from .plan import Plan, Window, buckets, single, window
from .setting import Setting
from .stack_timers import OF_STACKS
from .tier_windows import DOES, knows_tiers, one_queue, one_tier

__all__ = ["EXACT", "NEAREST", "exact_plan", "nearest_plan", "reason_of", "runs"]

NS_PER_S = 1e9


def exact_plan(setting: Setting) -> Plan | None:
    """The plan that means exactly the policy; None where there is none."""
    rule = EXACT.get(setting.kind)
    return None if rule is None else rule(setting.policy, setting)


def nearest_plan(setting: Setting) -> Plan:
    """The nearest window of a policy that is none; its notes say what it loses."""
    if knows_tiers(setting):
        found, loses = one_queue(setting)
        return single(found, f"it becomes {phrase(found)}: {loses}")
    row = NEAREST.get(setting.kind)
    if row is None:
        largest = getattr(setting.policy, "max_batch_size", 0)
        size = largest if isinstance(largest, int) and largest > 0 else setting.largest_batch
        return single(
            window(size), f"it becomes greedy with at most {size}: the rest of it is lost"
        )
    found, loses = row.window(setting.policy, setting)
    return single(found, f"it becomes {phrase(found)}: {loses}")


def reason_of(setting: Setting) -> str:
    """Why a policy is no window, in one clause."""
    if knows_tiers(setting):
        return f"{DOES[setting.kind]}, which one queue cannot do"
    row = NEAREST.get(setting.kind)
    does = f"{setting.kind} decides by more than size and wait" if row is None else row.does
    return f"{does}, which no window of size and wait can say"


def _static(policy: Any, _setting: Setting) -> Plan:
    return single(window(policy.batch_size, NEVER))


def _greedy(policy: Any, _setting: Setting) -> Plan:
    return single(window(policy.max_batch_size))


def _size_or_timeout(policy: Any, _setting: Setting) -> Plan:
    timer = "pick" if policy.from_idle else "oldest"
    return single(
        window(policy.max_batch_size, policy.max_wait_ns, policy.min_batch_size, timer)  # type: ignore[arg-type]
    )


def _preferred_sizes(policy: Any, _setting: Setting) -> Plan:
    sizes = policy.preferred_batch_size.tolist()
    return single(window(policy.max_batch_size, policy.max_wait_ns, preferred=sizes))


def _length_bucketed(policy: Any, _setting: Setting) -> Plan:
    sizes, waits = policy.max_batch_size.tolist(), policy.max_wait_ns.tolist()
    return buckets(policy.boundaries.tolist(), list(map(window, sizes, waits)))


def _one_server(policy: Any, setting: Setting) -> Plan | None:
    """``balanced_cap`` on one server is greedy."""
    return single(window(policy.max_batch_size)) if setting.servers == 1 else None


def _shallow(policy: Any, _setting: Setting) -> Plan | None:
    """``queue_depth_wait`` has one depth to wait at where at most two make a batch."""
    if policy.max_batch_size > 2 and policy.max_wait_ns > 0:
        return None
    return single(window(policy.max_batch_size, policy.max_wait_ns))


def _one_lane(policy: Any, _setting: Setting) -> Plan | None:
    """A rule that sorts by lanes of length serves in order of arrival where it has one."""
    if policy.length_lanes > 1:
        return None
    return single(window(policy.max_batch_size, policy.max_wait_ns))


def _ample_budget(policy: Any, setting: Setting) -> Plan | None:
    """A budget for the largest batch of the longest requests never binds."""
    if policy.max_tokens < policy.max_batch_size * setting.longest:
        return None
    return single(window(policy.max_batch_size, policy.max_wait_ns))


def _threshold(policy: Any, _setting: Setting) -> Plan | None:
    """A table that waits for so many and then serves all, up to a largest batch, is a window."""
    take = policy.take.tolist()
    enough, largest = next(n for n, size in enumerate(take) if size > 0), max(take)
    plain = [0 if n < enough else min(n, largest) for n in range(len(take))]
    if take != plain or enough > largest:
        return None
    return single(window(largest, NEVER, enough))


def _one_length(policy: Any, setting: Setting) -> Plan | None:
    """``snap`` has fixed sizes to stop at where all batches of a size cost the same."""
    edges, costs = policy.length_edges, setting.costs
    if len(edges) == 1 or (costs is not None and costs.length[-1] <= edges[0]):
        return single(_stops(policy, int(edges[0])))
    if costs is not None and len(costs.length) == 1:
        return single(_stops(policy, int(costs.length[0])))
    return None


EXACT: dict[str, Callable[[Any, Setting], Plan | None]] = {
    "static": _static,
    "greedy": _greedy,
    "size_or_timeout": _size_or_timeout,
    "preferred_sizes": _preferred_sizes,
    "length_bucketed": _length_bucketed,
    **OF_STACKS,
    "balanced_cap": _one_server,
    "queue_depth_wait": _shallow,
    "nearest_lengths": _one_lane,
    "token_budget": _ample_budget,
    "optimal": _threshold,
    "snap": _one_length,
    "shortest_first": _one_lane,
    **dict.fromkeys(DOES, one_tier),
}
"""By kind: the plan of a bound policy, or None where its numbers make it no window."""


class Approximation(NamedTuple):
    """A kind that is no window."""

    does: str
    """What it does, one clause."""
    window: Callable[[Any, Setting], tuple[Window, str]]
    """The nearest window, and what that one loses."""


def _efficient_sizes(policy: Any, setting: Setting) -> tuple[Window, str]:
    return _stops(policy, setting.longest), (
        f"these are the efficient sizes at {setting.longest} {setting.length_unit}, whatever the "
        "lengths of those that wait"
    )


def _stops(policy: Any, length: int) -> Window:
    """What ``snap`` takes where all batches cost as if they were so long.

    It takes the largest size that waits of those that no smaller one beats, which are preferred
    sizes that wait for nothing.
    """
    stops, best_ns = [1], planned_ns(policy.service_ns, policy.length_edges, 1, length)
    for size in range(2, policy.max_batch_size + 1):
        size_ns = planned_ns(policy.service_ns, policy.length_edges, size, length)
        if size * best_ns >= stops[-1] * size_ns:
            stops.append(size)
            best_ns = size_ns
    return window(stops[-1], 0, preferred=stops)


def _whoever_is_there(policy: Any, _setting: Setting) -> tuple[Window, str]:
    """Requests of sequences as if they belonged to none."""
    loses = "requests of a sequence go to any server and may overtake, which no state survives"
    return window(policy.max_batch_size, policy.max_wait_ns), loses


def _fixed_cap(policy: Any, setting: Setting) -> tuple[Window, str]:
    rate_per_s = setting.evidence.rate_per_s
    if rate_per_s is None:
        return window(policy.max_batch_size), "the cap that shares the queue is lost"
    size = 1
    while size < policy.max_batch_size:
        size_ns = planned_ns(policy.service_ns, policy.length_edges, size, setting.longest)
        if rate_per_s * size_ns <= setting.servers * size * NS_PER_S:
            break
        size += 1
    cap = min(policy.max_batch_size, ceil(SAFETY * size + SPARE))
    return window(cap), (
        f"the cap fits {rate_per_s:.6g} requests per second, and no longer follows the rate or a "
        "long queue"
    )


def _without_learning(policy: Any, _setting: Setting) -> tuple[Window, str]:
    found = window(policy.max_batch_size, getattr(policy, "max_wait_ns", 0))
    return found, "the limit no longer backs off when batches are too slow"


def _latest_start(policy: Any, setting: Setting) -> tuple[Window, str]:
    longest_ns = planned_ns(
        policy.service_ns, policy.length_edges, policy.max_batch_size, setting.longest
    )
    left_ns = int(policy.tier_slo_ns.min()) - longest_ns - policy.margin_ns
    if left_ns <= 0:
        return window(policy.max_batch_size), (
            "the tightest objective leaves nothing beside the largest batch of the longest "
            "requests, so that it no longer waits"
        )
    return window(policy.max_batch_size, left_ns), (
        "the wait is what the tightest objective leaves beside the largest batch of the longest "
        "requests, whatever waits"
    )


def _no_waiting(policy: Any, _setting: Setting) -> tuple[Window, str]:
    return window(policy.max_batch_size), "it no longer waits when the arrivals say that it pays"


def _no_learning(policy: Any, _setting: Setting) -> tuple[Window, str]:
    return window(policy.max_batch_size), "it waits for nobody, and drops nobody"


def _one_wait(policy: Any, _setting: Setting) -> tuple[Window, str]:
    found = window(policy.max_batch_size, policy.max_wait_ns)
    return found, "the wait is the same for every depth of the queue, so that it waits longer"


def _in_order(policy: Any, _setting: Setting) -> tuple[Window, str]:
    found = window(policy.max_batch_size, policy.max_wait_ns)
    return found, "batches are filled in order of arrival, so that they are padded more"


def _shortest_last(policy: Any, _setting: Setting) -> tuple[Window, str]:
    found = window(policy.max_batch_size, policy.max_wait_ns)
    return found, "requests are served in order of arrival, so that short ones wait behind long"


def _safe_size(policy: Any, setting: Setting) -> tuple[Window, str]:
    size = min(policy.max_batch_size, max(1, policy.max_tokens // setting.longest))
    return window(size, getattr(policy, "max_wait_ns", 0)), (
        f"{size} of the longest requests fit the budget, so that batches of shorter ones stay "
        "smaller than they could be"
    )


def _last_entry(policy: Any, _setting: Setting) -> tuple[Window, str]:
    return window(int(policy.take[-1])), "the other sizes of the table, and its waiting, are lost"


NEAREST: dict[str, Approximation] = {
    "snap": Approximation(
        "snap takes the size with the best throughput for the lengths of those that wait",
        _efficient_sizes,
    ),
    **dict.fromkeys(
        ("sequence_direct", "sequence_oldest"),
        Approximation("it keeps each sequence on one slot of one server", _whoever_is_there),
    ),
    "balanced_cap": Approximation(
        "balanced_cap shares the queue between the servers by the rate that it sees", _fixed_cap
    ),
    "aimd": Approximation(
        "aimd learns its largest batch from the times of batches", _without_learning
    ),
    "deadline_aware": Approximation(
        "deadline_aware plans each start from the objectives and lengths of those that wait",
        _latest_start,
    ),
    "rate_aware": Approximation("rate_aware waits or not by the rate that it sees", _no_waiting),
    "queue_depth_wait": Approximation(
        "queue_depth_wait waits less the more requests wait", _one_wait
    ),
    "nearest_lengths": Approximation(
        "nearest_lengths picks the requests that are nearest in length to the oldest", _in_order
    ),
    "shortest_first": Approximation(
        "shortest_first serves the shortest requests first, and those that have waited too long",
        _shortest_last,
    ),
    "optimal": Approximation(
        "optimal looks up the size of each batch in a table by the length of the queue",
        _last_entry,
    ),
    "token_budget": Approximation(
        "token_budget fills a batch by size times longest length", _safe_size
    ),
    "cork": Approximation(
        "cork learns its wait from the last batches, and drops what cannot be in time", _no_learning
    ),
    "token_budget_ahead": Approximation(
        "token_budget_ahead fills a batch by its tokens, and the next one while it runs", _safe_size
    ),
}
