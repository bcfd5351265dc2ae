"""What rules that know tiers ask of stacks: a window for each tier, priority levels, or one queue.

1. With one tier such a rule serves in order of arrival, and is a window like any other.
2. *Levels* are one queue whose batches take the most urgent tier first and are filled up with the
   next ones: ``priority_fill`` is that exactly, the others nearly.
3. *One queue* is what is left where a stack has neither: everybody in order of arrival.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from policies.planning import planned_ns

from .plan import Plan, Window, buckets, single, window
from .setting import Setting

DOES: dict[str, str] = {
    "priority": "priority serves the most urgent tier first, in batches of one tier",
    "priority_fill": "priority_fill serves the most urgent tier first and fills up with the others",
    "headroom": "headroom lets offline batches run only as long as they block nobody for too long",
    "weighted_fair": "weighted_fair gives each tier its share of the servers' time",
    "ageing": "ageing serves the tier whose oldest request has become most urgent",
    "edf": "edf serves requests by their deadlines, whatever their tier",
}
"""Rules that know tiers, and what each does with them: one clause."""

LOSES: dict[str, str] = {
    "priority": "a batch is filled up with less urgent tiers, so that urgent requests run in "
    "larger batches",
    "headroom": "no size and no server is kept for interactive requests, and offline requests fill "
    "up every batch",
    "weighted_fair": "the shares are lost, and a less urgent tier may wait forever",
    "ageing": "urgency does not grow with the wait, and a less urgent tier may wait forever",
    "edf": "requests of a less urgent tier are late whenever a more urgent one keeps coming",
}
"""What each loses as priority levels."""


class TierWindow(NamedTuple):
    """When a batch of one tier starts."""

    name: str
    window: Window


def knows_tiers(setting: Setting) -> bool:
    """Whether a policy treats the tiers of a run differently."""
    return setting.kind in DOES and len(setting.tiers) > 1


def boundaries_of(setting: Setting) -> tuple[int, ...]:
    """Lengths between the buckets of a rule that knows tiers."""
    return tuple(setting.policy.boundaries.tolist())  # type: ignore[attr-defined]


def one_tier(_policy: Any, setting: Setting) -> Plan | None:
    """The plan of a rule that knows tiers where there is one (rule 1); None where there are more.

    ``priority_fill`` without buckets is no exception: it has levels, which few stacks have.
    """
    if knows_tiers(setting):
        return None
    (only,) = tier_windows(setting)
    return _bucketed(setting, only.window)


def tier_windows(setting: Setting) -> tuple[TierWindow, ...]:
    """The window of each tier if it had servers of its own."""
    windows = _windows(setting.policy, setting)
    return tuple(TierWindow(tier.name, w) for tier, w in zip(setting.tiers, windows, strict=True))


def _windows(policy: Any, setting: Setting) -> list[Window]:
    count = len(setting.tiers)
    if setting.kind in ("priority_fill", "edf"):
        return [window(policy.max_batch_size, policy.max_wait_ns)] * count
    sizes = policy.max_batch_size.tolist()
    if setting.kind == "headroom":
        return [window(_blocking(policy, setting, n, size)) for n, size in enumerate(sizes)]
    return [
        window(size, wait) for size, wait in zip(sizes, policy.max_wait_ns.tolist(), strict=True)
    ]


def _blocking(policy: Any, setting: Setting, tier: int, size: int) -> int:
    """The size of a tier's batches with ``headroom``: an offline one keeps its limit of time."""
    if tier in policy.interactive.tolist() or policy.reserved < 1.0:
        return size
    return _largest_within(policy, setting, policy.max_block_ns, size)


def _largest_within(policy: Any, setting: Setting, limit_ns: int, most: int) -> int:
    """The largest batch of the longest requests that arrive within a time; at least 1."""
    longest, costs = setting.longest, setting.costs
    if costs is not None:
        longest = min(longest, int(costs.length[-1]))
    sizes = range(1, most + 1)
    times = [planned_ns(policy.service_ns, policy.length_edges, n, longest) for n in sizes]
    return max((n for n, ns in zip(sizes, times, strict=True) if ns <= limit_ns), default=1)


def levels_plan(setting: Setting) -> Plan:
    """A rule that knows tiers as priority levels (rule 2); notes where it is another."""
    found, sizes = _level_window(setting.policy, setting)
    if setting.kind == "priority" and all(w.window == Window(1) for w in tier_windows(setting)):
        return single(Window(1))  # one by one there is nothing to fill up
    plan = _bucketed(setting, found)
    if setting.kind == "priority_fill":
        return plan
    return plan._replace(notes=(f"it becomes priority levels{sizes}: {LOSES[setting.kind]}",))


def _level_window(policy: Any, setting: Setting) -> tuple[Window, str]:
    """One window for all levels, and how its size came about."""
    if setting.kind == "headroom":
        limit_ns = max(policy.max_block_ns, policy.max_fill_ns)
        most = int(policy.max_batch_size.max())
        size = _largest_within(policy, setting, limit_ns, most)
        return window(size), (
            f" with batches of at most {size}, which take no more than the longest that may block"
        )
    first, *rest = tier_windows(setting)
    if all(each.window == first.window for each in rest):
        return first.window, ""
    return first.window, f" with the size and wait of {first.name} for all tiers"


def one_queue(setting: Setting) -> tuple[Window, str]:
    """The one window of a stack without levels (rule 3), and what it loses."""
    found, sizes = _level_window(setting.policy, setting)
    ranges = " and lengths" if boundaries_of(setting) else ""
    loses = f"all tiers{ranges} are served in order of arrival{sizes}"
    backlogs = [tier.name for tier in setting.tiers if tier.backlog]
    if backlogs:
        loses += f", so that everybody waits behind the backlog of {backlogs[0]} without an end"
    return found, loses


def _bucketed(setting: Setting, found: Window) -> Plan:
    """A window for each length bucket of the rule."""
    edges = boundaries_of(setting)
    return buckets(edges, [found] * (len(edges) + 1)) if edges else single(found)


def shares_of(setting: Setting) -> tuple[float, ...]:
    """The share of the servers that each tier gets where it has some of its own; they add up to 1.

    ``headroom`` reserves one and ``weighted_fair`` gives them.  Otherwise tiers share as their work
    does; beside a backlog they get twice what they need, since at half load a request waits for
    about as long as it is served.  Where the run does not say, all get the same.
    """
    policy: Any = setting.policy
    count = len(setting.tiers)
    if setting.kind == "weighted_fair":
        return _normal(policy.weights.tolist())
    if setting.kind == "headroom" and policy.reserved < 1.0:
        interactive = policy.interactive.tolist()
        offline = count - len(interactive)
        if offline:
            own, rest = policy.reserved / len(interactive), (1.0 - policy.reserved) / offline
            return _normal([own if n in interactive else rest for n in range(count)])
    return _normal(_work(setting))


LEAST_SHARE = 0.05
"""A tier without work of its own still gets so much of the servers."""

SPACE = 2.0
"""What tiers get beside a backlog, over what they need."""

MOST_OF_OTHERS = 0.9
"""Of the servers, for all tiers beside a backlog."""


def _normal(parts: list[float]) -> tuple[float, ...]:
    floor = LEAST_SHARE * sum(parts)
    held = np.maximum(np.array(parts, dtype=np.float64), floor)
    return tuple((held / held.sum()).tolist())


def _work(setting: Setting) -> list[float]:
    """Servers that each tier keeps busy in full batches; a backlog has what the others leave."""
    traffic, even = setting.traffic, [1.0] * len(setting.tiers)
    if not traffic:
        return even
    sizes = [each.window.max_batch_size for each in tier_windows(setting)]
    need = [_busy(each.rate_per_s, each.costs, n) for each, n in zip(traffic, sizes, strict=True)]
    known = [value for each, value in zip(traffic, need, strict=True) if not each.backlog]
    if any(value is None for value in known):
        return even
    backlogs = sum(each.backlog for each in traffic)
    if not backlogs:
        return [value or 0.0 for value in need]
    busy = [
        0.0 if each.backlog else value or 0.0 for each, value in zip(traffic, need, strict=True)
    ]
    most = MOST_OF_OTHERS * setting.servers
    wide = min(SPACE, most / max(sum(busy), 1e-12))
    left = (setting.servers - wide * sum(busy)) / backlogs
    return [left if each.backlog else wide * n for each, n in zip(traffic, busy, strict=True)]


def _busy(rate_per_s: float | None, costs: Any, size: int) -> float | None:
    if rate_per_s is None or costs is None:
        return None
    mean = float(costs.length @ costs.probability)
    time_ns = float(np.interp(mean, costs.length_edges, costs.service_ns[size - 1]))
    return rate_per_s * time_ns / size / 1e9
