"""Policies that are the timers of stacks, as windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policies.contract import NEVER

from .plan import Clock, Plan, single, window
from .setting import Setting


def _timer_from_pick(policy: Any, _setting: Setting) -> Plan:
    size, wait_ns = policy.max_batch_size, policy.max_wait_ns
    clock = Clock(policy.clock_ns, policy.poll_ns)
    if clock.tick_ns > wait_ns:  # nothing is left of the wait once a second one is taken
        return single(window(min(size, 2)))
    return single(window(size, wait_ns, timer="pick", clock=clock))


def _collection_window(policy: Any, _setting: Setting) -> Plan:
    return single(window(policy.max_batch_size, policy.max_wait_ns, timer="window"))


def _sealed_batches(policy: Any, _setting: Setting) -> Plan:
    most = 0 if policy.max_ongoing_requests == NEVER else policy.max_ongoing_requests
    found = window(policy.max_batch_size, policy.max_wait_ns, timer="sealed", most_ongoing=most)
    return single(found)


OF_STACKS: dict[str, Callable[[Any, Setting], Plan | None]] = {
    "timer_from_pick": _timer_from_pick,
    "collection_window": _collection_window,
    "sealed_batches": _sealed_batches,
}
"""By kind, all of them exact."""
