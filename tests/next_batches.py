"""What a rule makes of each moment of a recording on real clocks: one batch ahead, never two.

A batch that starts a millisecond late is not the rule's fault, and moves all that come after it.
So a rule is asked anew for each batch, of what was there when the one before had gone: when would
the next start, and with how many?
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.rules import build_policy
from policies.contract import FIRE, NEVER, bind
from policies.testing import Waiting, example_view


class Next(NamedTuple):
    """A recorded batch beside the rule's own."""

    late_ns: int
    """How long after the instant of the rule it started."""
    size: int
    sizes: tuple[int, int]
    """How many the rule would take, and how many were there when the batch started."""

    def within(self, late_ns: int) -> bool:
        """Whether the batch is the rule's: in time, of those who were there then."""
        low, high = self.sizes
        return 0 <= self.late_ns <= late_ns and low <= self.size <= high


def compared(case: dict, table: dict) -> list[Next]:
    """Every batch of a recording, one server or several, beside the next one of a rule."""
    service_ns = np.array(case["service_ns"]).reshape(-1, 1)
    servers = case["at_a_time"]
    policy = bind(build_policy(table), service_ns, np.array([1]), servers=servers)
    most = table.get("max_batch_size", case["max_batch_size"])
    free_ns = [0] * servers
    found = []
    for (start_ns, size, first), took_ns in zip(case["batches"], case["took_ns"], strict=True):
        idle_ns = min(free_ns)
        coming = case["arrival_ns"][first : first + 3 * case["max_batch_size"]]
        instant_ns, wanted = _asked(policy, coming, idle_ns)
        there = sum(arrival_ns <= start_ns for arrival_ns in coming)
        sizes = wanted, min(there, most)
        found.append(Next(int(start_ns - instant_ns), size, sizes))
        free_ns[free_ns.index(idle_ns)] = start_ns + took_ns
    return found


def _asked(policy, coming: list[int], idle_ns: int) -> tuple[int, int]:
    """When a rule fires, and how many, from the instant that a server is idle on."""
    now_ns = max(coming[0], idle_ns)
    while True:
        waiting = [Waiting(arrival_ns) for arrival_ns in coming if arrival_ns <= now_ns]
        view = example_view(now_ns, waiting, idle_since_ns=idle_ns)
        answer = policy.decide(view)
        if answer == FIRE:
            return now_ns, int(view.take.sum())
        later = [arrival_ns for arrival_ns in coming if arrival_ns > now_ns]
        now_ns = min(answer, later[0] if later else NEVER)


def share_within(case: dict, table: dict, late_ns: int) -> float:
    """Share of the batches that are the rule's."""
    found = compared(case, table)
    return sum(each.within(late_ns) for each in found) / len(found)
