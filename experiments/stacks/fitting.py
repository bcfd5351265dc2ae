"""The way in and out under ordinary traffic: fitted to a stream of requests before any window.

A machine that just woke up is slower, and a lone request knows nothing of a loop that looks at its
queue now and then.  So after the bursts a stream of the scenario's own arrivals is sent, at
:data:`LOAD`, and simulated with what the bursts have said.  By how much its requests stayed longer
in the server than simulated, in the mean, the way in is longer.  One number is fitted, to one
figure of a stream that no prediction is held against.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.export.setting import Costs
from policies.contract import IntArray
from sim.workload import Workload

from .calibrate import LEAST, Overheads, leave_by_size
from .contract import Ruling
from .predict import simulated
from .rig import Window

LOAD = 0.5
"""Of the stream, where the scenario's arrivals have a load."""
STEPS = 3
"""The way in changes which requests share a batch, so that one correction is not enough."""
TAIL = 0.9
"""Share of the requests whose mean is fitted: the slowest are of the machine's making."""


def fitted(
    overheads: Overheads, ruling: Ruling, costs: Costs, window: Window, workload: Workload
) -> Overheads:
    """Overheads whose way in fits a stream, and whose way out is that of the stream.

    Args:
        overheads: of bursts.
        ruling: the policy that is the stack.
        costs: of the model.
        window: the stream as it was served.
        workload: its requests.
    """
    good = window.good
    if good.sum() < LEAST:
        return overheads
    stayed_ns = (window.end_ns[window.batch] - window.sent_ns)[good]
    sent_ns = window.sent_ns + int(workload.arrival_ns[0])
    found = overheads
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        seen = simulated(ruling, costs, found, workload, rng, sent_ns).in_server_ns
        found = _later(found, _usual(stayed_ns) - _usual(seen))
    return replace(found, leave_ns={**found.leave_ns, **leave_by_size(window, LEAST)})


def _usual(stayed_ns: IntArray) -> float:
    """The mean without the slowest."""
    return float(np.sort(stayed_ns)[: max(1, int(TAIL * len(stayed_ns)))].mean())


def _later(overheads: Overheads, shift_ns: float) -> Overheads:
    """The same with another way in; nobody comes in before being sent."""
    enter_ns = np.maximum(0, overheads.enter_ns + round(shift_ns))
    return replace(overheads, enter_ns=enter_ns)
