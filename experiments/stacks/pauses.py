"""Pauses of a server: batches that ended long after their model should have.

A process in Python stands still while it collects its garbage.  BentoML's tracing keeps objects of
every request, so that a full collection of its server takes a tenth of a second and more, every few
hundred requests: the model sleeps in a thread of that process, and cannot end before.  Bursts and
streams of a calibration are too short to meet many of them, but the log of all batches before a
window tells how many there were, and how long the last ones took.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.export.setting import Costs
from policies.contract import IntArray

from .calibrate import cost_ns
from .learned import NOTHING, Past

PAUSE_NS = 5_000_000
"""What is shorter is a late sleeper."""
LAST = 4
"""So many tell how long they are: they grow with what the server keeps."""


class Pauses(NamedTuple):
    """How often a server pauses, and how long."""

    per_request: float = 0.0
    """Share of the requests that one begins with."""
    lasted_ns: IntArray = NOTHING
    """int64 (any,): how long the last ones kept batches from ending."""

    def draw(self, size: int, rng: np.random.Generator) -> int:
        """How much later a batch of a size ends, in ns."""
        if not len(self.lasted_ns) or rng.random() >= 1 - (1 - self.per_request) ** size:
            return 0
        return int(rng.choice(self.lasted_ns))


def pauses_of(past: Past, costs: Costs) -> Pauses:
    """What batches before an instant say of a server's pauses."""
    asked_ns = [
        cost_ns(costs, size, longest)
        for size, longest in zip(past.size.tolist(), past.longest.tolist(), strict=True)
    ]
    late_ns = past.end_ns - past.begin_ns - np.array(asked_ns, dtype=np.int64)
    found = late_ns[late_ns > PAUSE_NS]
    if not len(found):
        return Pauses()
    return Pauses(len(found) / int(past.size.sum()), found[-LAST:])
