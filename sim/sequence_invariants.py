"""What must hold of sequences in every trace under a sticky rule, whichever driver made it.

20. Requests of a sequence are served in order: one starts when the one before has ended.
21. A sequence is served by one server.  A slot has one sequence at a time, and no server holds more
    than it has slots.
22. A request is ready when it has arrived and the one before it is answered, and it is in no batch
    before.
23. Slots are given in the order in which sequences begin.
24. A request is rejected exactly if it comes after its sequence was timed out.

The numbers come after those of :mod:`sim.invariants`, :mod:`sim.conformance` and
:mod:`sim.stage_invariants`.  Lanes (10) are in the order in which requests are ready.
"""

from __future__ import annotations

import numpy as np

from .invariants import demand
from .sequences import SequenceTimes
from .trace import REJECTED, SERVED, Trace


def check(trace: Trace) -> None:
    """Assert invariants 20 to 24; those of a rule that is not sticky hold by themselves."""
    times = trace.sequences
    if times is None or times.slots == 0:
        return
    _check_order(trace, times)
    _check_slots(times)
    _check_rejected(trace, times)


def _check_order(trace: Trace, times: SequenceTimes) -> None:
    """Invariants 20, 22 and the first half of 21."""
    served = np.flatnonzero(trace.status == SERVED)
    order = served[np.argsort(times.sequence[served], kind="stable")]
    one, after = order[:-1], order[1:]
    same = times.sequence[one] == times.sequence[after]
    one, after = one[same], after[same]
    shown = {"start_ns": trace.start_ns[after], "before_until_ns": trace.finish_ns[one]}
    demand(20, trace.start_ns[after] >= trace.finish_ns[one], "one after another", shown, ids=after)
    own = times.server[times.sequence[served]]
    shown = {"server": trace.server[served], "of_sequence": own}
    demand(21, trace.server[served] == own, "server is that of the sequence", shown, ids=served)
    ready, formed = times.ready_ns[served], trace.formed_ns[served]
    shown = {"arrival_ns": trace.arrival_ns[served], "ready_ns": ready, "formed_ns": formed}
    holds = (trace.arrival_ns[served] <= ready) & (ready <= formed)
    demand(22, holds, "arrival <= ready <= formed", shown, ids=served)
    shown = {"ready_ns": times.ready_ns[after], "before_until_ns": trace.finish_ns[one]}
    rule = "nobody is ready before the one before is answered"
    demand(22, times.ready_ns[after] >= trace.finish_ns[one], rule, shown, ids=after)


def _check_slots(times: SequenceTimes) -> None:
    """The second half of invariant 21, and 23."""
    had = np.flatnonzero(times.seated_ns >= 0)
    seated, slot = times.seated_ns[had], times.slot[had]
    inside = (slot >= 0) & (slot < times.slots)
    demand(21, inside, f"0 <= slot < {times.slots}", {"slot": slot}, "sequence", had)
    first_come = np.diff(seated, prepend=0) >= 0
    rule = "who begins first gets a slot first"
    demand(23, first_come, rule, {"seated_ns": seated}, "sequence", had)
    without = np.flatnonzero(times.seated_ns < 0)
    behind = len(without) == 0 or bool((had < without.min(initial=len(times.slot))).all())
    demand(23, np.array([behind]), rule, {"without": np.array([len(without)])}, "sequence")
    order = np.lexsort((had, slot, times.server[had]))
    place = had[order]
    one, after = place[:-1], place[1:]
    same = (times.server[one] == times.server[after]) & (times.slot[one] == times.slot[after])
    one, after = one[same], after[same]
    freed = times.freed_ns[one]
    shown = {"seated_ns": times.seated_ns[after], "held_until_ns": freed}
    free = (freed >= 0) & (times.seated_ns[after] >= freed)
    demand(21, free, "a slot has one sequence at a time", shown, "sequence", after)


def _check_rejected(trace: Trace, times: SequenceTimes) -> None:
    """Invariant 24."""
    rejected = trace.status == REJECTED
    timed_out = times.timed_out[times.sequence] != 0
    rule = "only those of sequences that were timed out are rejected"
    demand(24, ~rejected | timed_out, rule, {"status": trace.status, "timed_out": timed_out})
    first = np.full(len(times.slot), len(trace))
    np.minimum.at(first, times.sequence[rejected], np.flatnonzero(rejected))
    late = np.arange(len(trace)) >= first[times.sequence]
    rule = "whoever comes after one that was rejected is rejected"
    demand(24, rejected == late, rule, {"status": trace.status})
