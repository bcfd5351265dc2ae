"""Serve what a table says: the best possible rule, once the table is solved for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .contract import IntArray, Tier, View, fire, wait
from .parameters import NO_VALUES, require, whole_array, within


class Optimal(NamedTuple):
    """Serve as many as a table says for the length of the queue, or wait for one more.

    ``take[n]`` of ``n`` that wait are served at once, 0 waits; the last entry holds for longer
    queues.  Any rule that looks at the number of requests alone is such a table.  The best one for
    Poisson arrivals on one server is found by ``sim.theory_smdp.solve_optimum``; a scenario that
    gives no ``take`` gets that one for its own rate and service times.  Where the table waits it
    sets no timer: when arrivals end, the rest of a batch is left waiting, as ``static`` leaves it.
    """

    take: IntArray = NO_VALUES
    busy_weight_ns: int = 0
    """Price of a server that is always busy, against mean latency; only solving reads it."""

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Optimal:
        """Check the table against the largest batch."""
        table = whole_array("take", self.take)
        require(len(table) >= 2, "take has an entry for 0 waiting, for 1, ...", take=table.tolist())
        largest = service_ns.shape[0]
        most = np.minimum(np.arange(len(table)), largest)
        wrong = np.flatnonzero((table < 0) | (table > most))
        if len(wrong):
            n = int(wrong[0])
            rule = f"0 <= take[{n}] <= {most[n]}, at most those that wait and the largest batch"
            require(False, rule, **{f"take[{n}]": int(table[n])})
        require(bool(table[-1] > 0), "the last entry of take serves", last=int(table[-1]))
        return Optimal(table, within("busy_weight_ns", self.busy_weight_ns, 0))

    def decide(self, view: View) -> int:
        """Look up the length of the queue."""
        count = self.take[min(view.waiting[0], self.take.shape[0] - 1)]
        if count == 0:
            return wait()
        return fire(view, 0, count)
