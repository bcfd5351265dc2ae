"""Whether the machine let a window be measured.

The load generator knows when it should have sent, and the model when it should have ended, and both
only sleep until then: where either is late by milliseconds, the machine did something else, and the
figures of the window are not of the stack.  Such a window is measured again, and does not count
where another of its kind does.

A model that is really run takes a time of its own: late is what it takes beyond half as long again
as its profile says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.export.setting import Costs

from .calibrate import nominal_ns
from .rig import Window

STALL_MS = 5.0
"""A process that sleeps is on time to 0.1 ms on a machine with nothing else to do before it."""
REAL_MOST = 1.5
"""So many times what its profile says may a model that is really run take."""
FAILED_MOST = 0.01
"""Share of requests that may fail, where the policy lets none expire."""


@dataclass(frozen=True)
class Condition:
    """How late sleepers woke up in a window."""

    sent_late_ms: float
    """The latest request."""
    model_late_ms: float
    """The latest end of a batch."""

    @property
    def stalled(self) -> bool:
        """Whether the machine did something else meanwhile."""
        return max(self.sent_late_ms, self.model_late_ms) > STALL_MS

    @property
    def worst_ms(self) -> float:
        """The later of both."""
        return max(self.sent_late_ms, self.model_late_ms)


def condition_of(window: Window, costs: Costs, *, real: bool = False) -> Condition:
    """How late sleepers woke up.

    Args:
        window: as it was served.
        costs: of the model.
        real: whether the model was really run.
    """
    sent = window.sent_ns >= 0
    late_ns = (window.sent_ns - window.planned_ns)[sent]
    most = REAL_MOST if real else 1.0
    over_ns = window.end_ns - window.begin_ns - most * nominal_ns(window, costs)
    return Condition(
        float(np.max(late_ns, initial=0)) / 1e6, float(np.max(over_ns, initial=0)) / 1e6
    )
