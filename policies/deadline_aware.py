"""Wait only as long as the requests at the head can still meet their objective."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NEVER, NO_EDGES, NO_TABLE, IntArray, Tier, View, fire, later, wait_until
from .parameters import NO_VALUES, largest_or, slo_per_tier_ns, within
from .planning import planned_ns
from .space import Size, Space, Time


class DeadlineAware(NamedTuple):
    """Wait for a full batch, but leave in time for every request in it to meet its SLO.

    The batch at the head has to start at the earliest ``arrival + SLO`` in it, less the profile's
    time for one request more (who may join at the last moment), less ``margin_ns`` for noise.
    When that instant has passed, what waits is served at once.

    ``slo_ns`` holds for all requests; 0 stands for the SLOs of the tiers, where a tier without one
    is held to the loosest of the others.
    """

    slo_ns: int = 0
    max_batch_size: int = 0
    margin_ns: int = 0
    tier_slo_ns: IntArray = NO_VALUES
    """int64 (tiers,), from ``bind``."""
    service_ns: IntArray = NO_TABLE
    length_edges: IntArray = NO_EDGES

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (Size("max_batch_size"), Time("margin_ms", zero=True, log=False))

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> DeadlineAware:
        """Check the parameters, take the profile, and the SLOs from the tiers."""
        within("margin_ns", self.margin_ns, 0)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            tier_slo_ns=slo_per_tier_ns(self.slo_ns, tiers),
            service_ns=service_ns.copy(),
            length_edges=length_edges.copy(),
        )

    def decide(self, view: View) -> int:
        """Fire a full batch, or what waits at the latest start."""
        waiting = view.waiting[0]
        if waiting >= self.max_batch_size:
            return fire(view, 0, self.max_batch_size)
        due_ns = NEVER
        longest = 0
        request = view.head[0]
        for _ in range(waiting):
            slo_ns = self.tier_slo_ns[view.tier[request]]
            due_ns = min(due_ns, later(view.arrival_ns[request], slo_ns))
            longest = max(longest, int(view.length[request]))
            request = view.next[request]
        grown_ns = planned_ns(self.service_ns, self.length_edges, waiting + 1, longest)
        start_ns = due_ns - grown_ns - self.margin_ns
        if view.now_ns >= start_ns:
            return fire(view, 0, waiting)
        return wait_until(start_ns)
