"""Wait for one more request only if its saving pays for the delay of those that wait."""

from __future__ import annotations

from typing import NamedTuple

from .contract import NO_EDGES, NO_TABLE, IntArray, Tier, View, fire, wait_until
from .parameters import largest_or, within
from .planning import GAP_SLOTS, longest_of_first, mean_gap_ns, planned_ns
from .space import Size, Space, Whole


class RateAware(NamedTuple):
    """Wait for one more request while the mean gap between arrivals says that it pays.

    With ``n`` requests waiting, the next one expected after a gap ``g``, ``S(k)`` the profile's
    time for ``k``, and ``R`` the time until a server is idle again if we fire now (the first to
    finish of this batch and the others that run; 0 if another server is idle), compare the sum of
    latencies of these ``n + 1`` requests:

    - fire now: ``n S(n)`` for those at hand; the next one waits ``R - g`` and takes ``S(1)``;
    - wait for it: all start at ``g``, so ``n (g + S(n+1)) + S(n+1)``.

    Waiting pays while ``g < (R + S(1) - S(n+1) - n (S(n+1) - S(n))) / (n + 1)``, and only while
    ``g < R`` (a later arrival finds an idle server anyway).  For ``S(k) = a + b k`` on one server
    that is ``g < (a - n b) / (n + 1)``: the start-up saved against the delay of everyone.

    The gap is learned from the arrivals (see ``planning.mean_gap_ns``); the gap that is running
    counts as soon as it is longer than the mean, so that the rule never waits past the end of the
    arrivals.  It is a look-ahead of one step: who comes after the next request is left out.
    """

    max_batch_size: int = 0
    window: int = 200
    """Gaps that the moving average spans: 200 know a steady Poisson rate to about 7 %."""
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
    ) -> RateAware:
        """Check the parameters and take the profile."""
        within("window", self.window, 1)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            service_ns=service_ns.copy(),
            length_edges=length_edges.copy(),
        )

    def decide(self, view: View) -> int:
        """Fire unless the gap is below break-even; then wait until it is not."""
        gap_ns = mean_gap_ns(view, self.window)
        waiting = view.waiting[0]
        if waiting >= self.max_batch_size:
            return fire(view, 0, self.max_batch_size)
        longest = longest_of_first(view, 0, waiting)
        alone_ns = planned_ns(self.service_ns, self.length_edges, 1, longest)
        batch_ns = planned_ns(self.service_ns, self.length_edges, waiting, longest)
        grown_ns = planned_ns(self.service_ns, self.length_edges, waiting + 1, longest)
        return_ns = batch_ns
        if view.idle_servers > 1:
            return_ns = 0
        for server in range(view.servers):
            if view.busy_since_ns[server] >= 0:
                return_ns = min(return_ns, view.expected_finish_ns[server] - view.now_ns)
        saved_ns = return_ns + alone_ns - grown_ns - waiting * (grown_ns - batch_ns)
        break_even_ns = min(return_ns, saved_ns // (waiting + 1))
        last_ns = view.arrival_ns[view.arrived - 1]
        if gap_ns < break_even_ns and view.now_ns < last_ns + break_even_ns:
            return wait_until(last_ns + break_even_ns)
        return fire(view, 0, waiting)
