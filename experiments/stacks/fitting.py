"""The way in and out under ordinary traffic: fitted to a stream of requests before any window.

A machine that just woke up is slower, and a lone request knows nothing of a loop that looks at its
queue now and then.  So after the bursts a stream of the scenario's own arrivals is sent, at
:data:`LOAD`, and simulated with what the bursts have said.  By how much its requests stayed longer
in the server than simulated, in the median, the way in is longer.  One number is fitted, to one
figure of a stream that no prediction is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

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


class Stream(NamedTuple):
    """Requests of ordinary traffic, and how they were served."""

    workload: Workload
    window: Window


def fitted(
    overheads: Overheads, ruling: Ruling, costs: Costs, streams: Sequence[Stream]
) -> Overheads:
    """Overheads whose way in fits streams, and whose way out is that of the streams.

    Args:
        overheads: of bursts.
        ruling: the policy that is the stack.
        costs: of the model.
        streams: the traffic.
    """
    stayed_ns = np.concatenate([_stayed(each.window) for each in streams])
    if len(stayed_ns) < LEAST:
        return overheads
    found = overheads
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        seen = [
            simulated(
                ruling, costs, found, each.workload, rng, sent_of(each), each.window.before
            ).in_server_ns
            for each in streams
        ]
        found = _later(found, _usual(stayed_ns) - _usual(np.concatenate(seen)))
    left = leave_by_size([each.window for each in streams], LEAST)
    return replace(found, leave_ns={**found.leave_ns, **left})


def sent_of(stream: Stream) -> IntArray:
    """int64 (N,): when its requests were sent, on the clock of its workload."""
    sent_ns = np.where(stream.window.sent_ns < 0, stream.window.planned_ns, stream.window.sent_ns)
    found: IntArray = sent_ns + int(stream.workload.arrival_ns[0])
    return found


def _stayed(window: Window) -> IntArray:
    """int64 (R,): from sending to the end of the model."""
    found: IntArray = (window.end_ns[window.batch] - window.sent_ns)[window.good]
    return found


def _usual(stayed_ns: IntArray) -> float:
    """The median: a stall of the machine moves the mean of a short stream by milliseconds."""
    return float(np.median(stayed_ns))


def _later(overheads: Overheads, shift_ns: float) -> Overheads:
    """The same with another way in; nobody comes in before being sent."""
    enter_ns = np.maximum(0, overheads.enter_ns + round(shift_ns))
    return replace(overheads, enter_ns=enter_ns)
