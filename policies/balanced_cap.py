"""Share the queue between several servers instead of giving all of it to the first."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from .contract import NO_EDGES, NO_TABLE, IntArray, Tier, View, fire
from .parameters import largest_or, within
from .planning import GAP_SLOTS, longest_of_first, mean_gap_ns, planned_ns
from .space import Size, Space, Whole

SAFETY, SPARE = 1.3, 2.0
"""``cap = ceil(1.3 k + 2)``: found by simulation over 2 to 8 servers and loads of 0.3 to 0.9."""


class BalancedCap(NamedTuple):
    """Never wait; cap the batch near the size at which all servers are equally loaded.

    With several servers, greedy lets the first idle one take the whole queue and leaves crumbs to
    the others.  Here ``cap = ceil(1.3 k + 2)``, where ``k`` is the smallest size with
    ``rate * S(k) <= servers * k``: at that size the servers just keep up with the arrivals.
    ``S`` is the profile's time at the longest length that may be in the batch; the rate is learned
    from the arrivals (see ``planning.mean_gap_ns``).

    The cap is never below an equal share of the queue, ``waiting / servers``.  So a rate that was
    underestimated cannot make the queue grow without end: a long queue is served as greedy would,
    and the rule is stable wherever greedy is.  With one server it is greedy.
    """

    max_batch_size: int = 0
    window: int = 1000
    """Gaps that the moving average spans: 1000 know a steady Poisson rate to about 3 %."""
    service_ns: IntArray = NO_TABLE
    length_edges: IntArray = NO_EDGES

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Whole("window", 10, 2000))

    @property
    def memory_slots(self) -> int:
        """The mean gap and the arrivals that it has seen."""
        return GAP_SLOTS

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> BalancedCap:
        """Check the parameters and take the profile."""
        within("window", self.window, 1)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            service_ns=service_ns.copy(),
            length_edges=length_edges.copy(),
        )

    def decide(self, view: View) -> int:
        """Fire up to the cap, an equal share of the queue, or all with one server."""
        most = min(view.waiting[0], self.max_batch_size)
        if view.servers == 1:
            return fire(view, 0, most)
        gap_ns = mean_gap_ns(view, self.window)
        longest = longest_of_first(view, 0, most)
        balance = 1
        while balance < self.max_batch_size:
            time_ns = planned_ns(self.service_ns, self.length_edges, balance, longest)
            if time_ns <= view.servers * balance * gap_ns:
                break
            balance += 1
        cap = ceil(SAFETY * balance + SPARE)
        share = (view.waiting[0] + view.servers - 1) // view.servers
        return fire(view, 0, min(most, max(cap, share)))
