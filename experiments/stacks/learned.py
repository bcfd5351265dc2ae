"""What a policy that learns knows when a window begins: its memory after the batches before it.

BentoML's dispatcher waits as long as its last fifty batches have waited, as of some instant in the
last 5 s (:mod:`policies.cork`).  A window that is simulated from an empty memory begins with the
training of a server that has just started, which the real one has had long before.  So the memory
is that of the server: the policy observes the batches that it had made until then, by the server's
own log.  What was learned in a window itself is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray, Policy, memory_slots
from policies.cork import WAITED, Cork
from policies.example_view import example_view
from sim.model import Model
from sim.service import Service
from sim.service_times import ServiceTimes
from sim.station import Station
from sim.trace import Trace
from sim.workload import Workload

from .model_files import Logged

NOTHING: IntArray = np.zeros(0, dtype=np.int64)


class Past(NamedTuple):
    """M batches that a server had made before an instant, which is 0; in order of their ends."""

    first_sent_ns: IntArray = NOTHING
    """int64 (M,): when the first of their requests was sent."""
    begin_ns: IntArray = NOTHING
    """int64 (M,)."""
    end_ns: IntArray = NOTHING
    """int64 (M,)."""
    size: IntArray = NOTHING
    """int64 (M,)."""

    @classmethod
    def of(cls, batches: Sequence[Logged], sent_ns: IntArray, now_ns: int) -> Past:
        """Of a server's log, up to an instant.

        Args:
            batches: all that were logged.
            sent_ns: int64 (any,), when requests were sent, by identity.
            now_ns: the instant.
        """
        done = sorted((each for each in batches if each.end_ns < now_ns), key=lambda b: b.end_ns)
        columns = [
            (
                int(sent_ns[list(each.identities)].min()) - now_ns,
                each.begin_ns - now_ns,
                each.end_ns - now_ns,
                len(each.identities),
            )
            for each in done
        ]
        return cls(*np.array(columns, dtype=np.int64).reshape(-1, 4).T)


class Shift(NamedTuple):
    """What lies between the log of a server and what its policy saw."""

    start_ns: int
    """The instant 0 of the past, on the clock of the simulation."""
    enter_ns: int
    """How long requests took to come in."""
    turnaround_ns: int
    """How long a server was still busy after the end of a batch."""


def learns(policy: Policy) -> bool:
    """Whether what a policy does follows from batches long ago."""
    return isinstance(policy, Cork)


def run_after(
    past: Past, shift: Shift, policy: Policy, workload: Workload, service: Service,
    times: ServiceTimes,
) -> Trace:  # fmt: skip
    """Simulate requests that come to a server with a past.

    Args:
        past: of the server.
        shift: from the past to what the policy saw.
        policy: one that learns, not yet bound.
        workload: the requests.
        service: of the server.
        times: of its batches.
    """
    station = Station(policy, workload, service)
    for queue in station.queues:
        queue.memory[:] = remembered(past, shift, queue.policy)
        queue.finished = (len(past.size), 0, 0)
    found = Model(station, times)
    found.env.run()
    return station.trace()


def remembered(past: Past, shift: Shift, policy: Policy) -> FloatArray:
    """float64 (memory_slots,): the memory of a policy that has observed batches.

    Args:
        past: the batches.
        shift: from the past to what the policy saw.
        policy: bound, one that learns.
    """
    memory = np.zeros(memory_slots(policy))
    begun_ns = past.begin_ns - past.first_sent_ns - shift.enter_ns
    took_ns = past.end_ns - past.begin_ns + shift.turnaround_ns
    seen_ns = past.end_ns + shift.turnaround_ns + shift.start_ns
    empty = example_view(0, ())._replace(memory=memory)
    for place, size in enumerate(past.size.tolist()):
        memory[WAITED] = max(0, begun_ns[place]) / 1e9
        view = empty._replace(
            now_ns=int(seen_ns[place]),
            finished=place + 1,
            finished_size=size,
            finished_service_ns=int(took_ns[place]),
        )
        policy.observe(view)  # type: ignore[attr-defined]
    return memory
