"""What must hold in every trace, whichever driver made it.  ``Trace.check`` asserts it.

1. Each column has its dtype and length; arrivals do not decrease; tiers are those of the trace.
2. Every request is counted exactly once: it has one status, and the served ones, no others, are
   each in one batch.
3. ``arrival <= start < finish`` for every served request.
4. A request that was not served never started: it has no start, no batch and no server.  A rejected
   one has no lane; an expired one gave up after it arrived, a lost one went with its replica; the
   others have no finish.
5. The size of a batch is the number of its members, at least 1 and never above the limit; a batch
   whose replica failed has no members, and says how many they were.
6. The longest length of a batch is that of its longest member.
7. Members start and finish with their batch, on its server; it was formed when they had arrived,
   and not after its start.
8. A batch has the lane of its members, or -1 where they come from several.
9. Batches are in order of start, and a server runs one at a time.
10. A lane is FIFO: nobody in it is put in a batch before one who arrived earlier and still waits.
11. Little's law, exactly: the sum of the times in the system is the integral of the number in it.

Given the workload and the service, :mod:`sim.conformance` goes on with 12 to 15.  Everything is
vectorised; 10 million requests need about 1 GiB beside the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER

from .trace import (
    BATCH_COLUMNS,
    EXPIRED,
    LOST,
    REJECTED,
    REQUEST_COLUMNS,
    SERVED,
    UNFINISHED,
    Trace,
)

BoolArray = NDArray[np.bool_]


def demand(
    number: int,
    holds: BoolArray,
    rule: str,
    shown: Mapping[str, NDArray[Any]],
    row: str = "request",
    ids: NDArray[Any] | None = None,
) -> None:
    """Assert that an invariant holds in every row, or name its number and the first that breaks it.

    Args:
        number: of the invariant.
        holds: bool (rows,).
        rule: what must hold, in words.
        shown: columns (rows,) whose values the message gives.
        row: what a row is, a request or a batch.
        ids: int (rows,) its index in the trace; by default the row itself.
    """
    if holds.all():
        return
    first = int(np.argmin(holds))
    where = first if ids is None else ids[first]
    got = ", ".join(f"{name}={column[first]}" for name, column in shown.items())
    raise AssertionError(f"invariant {number}, {row} {where}: {rule} must hold, but got ({got})")


def failed_batches(trace: Trace) -> BoolArray:
    """Batches that ended with their replica, bool (M,); nobody was served by them."""
    if trace.changes is None:
        return np.zeros(len(trace.batch_size), dtype=np.bool_)
    return trace.changes.failed


def check(trace: Trace, largest_batch: int = NEVER) -> None:
    """Assert invariants 1 to 11; see :meth:`sim.trace.Trace.check`."""
    _check_columns(trace)
    _check_status(trace)
    _check_members(trace, largest_batch)
    _check_copies(trace)
    _check_servers(trace)
    _check_lanes(trace)
    _check_little(trace)


def _check_columns(trace: Trace) -> None:
    """Invariant 1."""
    tables = (("", REQUEST_COLUMNS, len(trace)), ("batch_", BATCH_COLUMNS, len(trace.batch_size)))
    for prefix, dtypes, rows in tables:
        for name, dtype in dtypes.items():
            column = getattr(trace, prefix + name)
            if column.dtype != dtype or column.shape != (rows,):
                raise AssertionError(
                    f"invariant 1, column {prefix}{name}: {np.dtype(dtype)} ({rows},) must hold, "
                    f"but got {column.dtype} {column.shape}"
                )
    arrival, tier = trace.arrival_ns, trace.tier
    before = np.concatenate((np.zeros(min(len(trace), 1), np.int64), arrival[:-1]))
    rule = "arrivals start at 0 or later and do not decrease"
    demand(1, arrival >= before, rule, {"arrival_ns": arrival, "before_ns": before})
    known = (tier >= 0) & (tier < len(trace.tiers))
    demand(1, known, f"0 <= tier < {len(trace.tiers)}", {"tier": tier})


def _check_status(trace: Trace) -> None:
    """Invariants 2 to 4."""
    status, batch, lane = trace.status, trace.batch, trace.lane
    one = (status >= SERVED) & (status <= LOST)
    demand(2, one, "status is served, rejected, expired, unfinished or lost", {"status": status})
    served, expired, lost = status == SERVED, status == EXPIRED, status == LOST
    inside = (batch >= 0) & (batch < len(trace.batch_size))
    demand(2, ~served | inside, "a served request is in a batch", {"batch": batch})

    times = {name: getattr(trace, name) for name in ("arrival_ns", "start_ns", "finish_ns")}
    arrival, start, finish = times.values()
    ordered = (arrival <= start) & (start < finish)
    demand(3, ~served | ordered, "arrival <= start < finish", times)

    nowhere = (batch == -1) & (trace.server == -1) & (start == -1)
    rule = "start, batch and server are -1 where nothing was served"
    shown = {"status": status, "start_ns": start, "batch": batch, "server": trace.server}
    demand(4, served | nowhere, rule, shown)
    rule = "arrival <= expiry" if trace.sheds else "arrival < expiry"
    demand(4, ~expired | (finish + trace.sheds > arrival), rule, times)
    demand(4, ~lost | (finish >= arrival), "arrival <= loss", times)
    left = served | expired | lost
    demand(4, left | (finish == -1), "finish is -1 for who never left", times)
    outside = status == REJECTED
    demand(
        4,
        (lane >= 0) ^ outside,
        "all but the rejected have a lane",
        {"status": status, "lane": lane},
    )
    demand(4, lane >= -1, "lane is -1 where there is none", {"lane": lane})


def _check_members(trace: Trace, largest_batch: int) -> None:
    """Invariants 5 and 6."""
    served = np.flatnonzero(trace.status == SERVED)
    batch, size, failed = trace.batch[served], trace.batch_size, failed_batches(trace)
    members = np.bincount(batch, minlength=len(size))
    demand(
        5,
        np.where(failed, members == 0, members == size),
        "size is the number of members",
        {"size": size, "members": members},
        "batch",
    )
    limited = (size >= 1) & (size <= largest_batch)
    demand(5, limited, f"1 <= size <= {largest_batch}", {"size": size}, "batch")
    longest = np.full(len(size), -1, dtype=np.int32)
    np.maximum.at(longest, batch, trace.length[served])
    shown = {"longest": trace.batch_longest, "longest_member": longest}
    rule = "longest is the length of the longest member"
    demand(6, failed | (longest == trace.batch_longest), rule, shown, "batch")


def _check_copies(trace: Trace) -> None:
    """Invariants 7 and 8."""
    served = np.flatnonzero(trace.status == SERVED)
    batch = trace.batch[served]
    for name in ("start_ns", "finish_ns", "server"):
        own, other = getattr(trace, name)[served], getattr(trace, f"batch_{name}")[batch]
        rule = f"{name} is that of its batch"
        demand(7, own == other, rule, {"own": own, "of_batch": other}, ids=served)
    formed, start, arrival = trace.batch_formed_ns, trace.batch_start_ns, trace.arrival_ns[served]
    times = {"formed_ns": formed, "start_ns": start}
    demand(7, (formed >= 0) & (formed <= start), "0 <= formed <= start", times, "batch")
    times = {"arrival_ns": arrival, "formed_ns": formed[batch]}
    demand(7, arrival <= formed[batch], "arrival <= formed", times, ids=served)
    lane = trace.lane[served]
    lowest = np.full(len(trace.batch_size), 2**15 - 1, dtype=np.int16)
    highest = np.full(len(trace.batch_size), -1, dtype=np.int16)
    np.minimum.at(lowest, batch, lane)
    np.maximum.at(highest, batch, lane)
    expected = np.where(lowest == highest, lowest, np.int16(-1))
    rule = "lane is that of the members, -1 where they differ"
    shown = {"lane": trace.batch_lane, "lowest": lowest, "highest": highest}
    demand(8, failed_batches(trace) | (trace.batch_lane == expected), rule, shown, "batch")


def _check_servers(trace: Trace) -> None:
    """Invariant 9."""
    start, finish, server = trace.batch_start_ns, trace.batch_finish_ns, trace.batch_server
    known = (server >= 0) & (server < trace.servers)
    demand(9, known, f"0 <= server < {trace.servers}", {"server": server}, "batch")
    ids = np.arange(1, len(start))
    shown = {"start_ns": start[1:], "before_ns": start[:-1]}
    demand(9, start[1:] >= start[:-1], "batches are in order of start", shown, "batch", ids)
    order = np.argsort(server, kind="stable")
    one, after = order[:-1], order[1:]
    shown = {"start_ns": start[after], "busy_until_ns": finish[one]}
    free = (server[one] != server[after]) | (finish[one] <= start[after])
    demand(9, free, "a server runs one batch at a time", shown, "batch", after)


def _check_lanes(trace: Trace) -> None:
    """Invariant 10, lane by lane: who starts has overtaken no earlier request of the lane.

    Who was in a batch that failed starts late, behind those who came later; and where slots hold
    sequences whoever's turn has come goes before those who came earlier.
    """
    sticky = trace.sequences is not None and trace.sequences.slots > 0
    if failed_batches(trace).any() or sticky:
        return
    order = np.argsort(trace.lane, kind="stable")
    lanes = int(trace.lane.max(initial=-1)) + 1
    bounds = np.searchsorted(trace.lane[order], np.arange(lanes + 1))
    for lane in range(lanes):
        ids = order[bounds[lane] : bounds[lane + 1]]
        status, batch = trace.status[ids], trace.batch[ids]
        served = status == SERVED
        last = np.maximum.accumulate(batch)
        rule = "a lane is FIFO"
        demand(10, ~served | (batch >= last), rule, {"batch": batch, "earlier": last}, ids=ids)
        if served.all():
            continue
        stays = np.where(status == EXPIRED, trace.finish_ns[ids], np.int64(-1))
        stays[status == UNFINISHED] = NEVER
        stays = np.maximum.accumulate(stays)
        formed = np.append(trace.batch_formed_ns, -1)[batch]
        shown = {"formed_ns": formed, "earlier_waits_until_ns": stays}
        demand(10, ~served | (formed >= stays), f"{rule} for those who wait on", shown, ids=ids)


def _check_little(trace: Trace) -> None:
    """Invariant 11: both sides as integers modulo 2**64 ns (584 request-years), so none is lost.

    Times in the system come from the requests; the number in the system comes from the arrivals,
    the table of batches and the expiries.  Who never leaves stays until the last event.
    """
    inside = trace.status != REJECTED
    given_up = np.sort(trace.finish_ns[(trace.status == EXPIRED) | (trace.status == LOST)])
    arrival = trace.arrival_ns[inside]
    instants = np.concatenate((arrival, trace.batch_finish_ns, given_up))
    leaving = np.where(failed_batches(trace), 0, trace.batch_size)
    if len(arrival) == 0:
        return
    end = instants.max()
    leave = np.where(trace.status[inside] == UNFINISHED, end, trace.finish_ns[inside])
    times_in_system = np.subtract(leave, arrival, out=leave).view(np.uint64).sum()

    steps = np.concatenate(
        (np.ones(len(arrival), np.int32), -leaving, np.full(len(given_up), -1, np.int32))
    )
    order = np.argsort(instants, kind="stable")
    instants, number = instants[order], np.cumsum(steps[order], dtype=np.int64)
    del order, steps
    spent = np.diff(instants)
    demand(
        11, (spent == 0) | (number[:-1] >= 0), "nobody leaves twice", {"number": number}, "event"
    )
    integral = np.multiply(number[:-1], spent, out=spent).view(np.uint64).sum()
    if integral != times_in_system:
        raise AssertionError(
            "invariant 11: the sum of times in the system is the integral of the number in it "
            f"must hold, but got ({times_in_system=}, {integral=})"
        )
