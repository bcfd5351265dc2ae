"""A view made by hand, for tests of what a rule does in one situation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .contract import NEVER, NOBODY, View


class Waiting(NamedTuple):
    """A request that waits."""

    arrival_ns: int
    length: int = 1
    tier: int = 0
    lane: int = 0


class Running(NamedTuple):
    """A batch that another server runs."""

    busy_since_ns: int
    size: int
    expected_finish_ns: int


def example_view(
    now_ns: int,
    waiting: Sequence[Waiting],
    *,
    lanes: int = 1,
    gone_ns: Sequence[int] = (),
    running: Sequence[Running] = (),
    idle_servers: int = 1,
    idle_since_ns: int = 0,
    finished: tuple[int, int, int] = (0, 0, 0),
    memory_slots: int = 0,
) -> View:
    """What a rule sees when it is asked about an idle server.

    Args:
        now_ns: the instant of the question.
        waiting: requests that wait, in any order.
        lanes: number of lanes.
        gone_ns: arrivals of requests that no longer wait.
        running: what the other servers run; the one at hand is number 0.
        idle_servers: servers that are idle, the one at hand included.
        idle_since_ns: since when the one at hand is idle.
        finished: batches completed, and size and service time of the last one.
        memory_slots: cells of memory, all 0.
    """
    arrived = sorted([*waiting, *(Waiting(arrival_ns, lane=NOBODY) for arrival_ns in gone_ns)])
    queues = [[i for i, one in enumerate(arrived) if one.lane == lane] for lane in range(lanes)]
    following = np.full(len(arrived), NOBODY)
    for queue in queues:
        following[queue[:-1]] = queue[1:]
    none = [Running(-1, 0, -1)] * idle_servers
    return View(
        now_ns=now_ns,
        waiting=np.array([len(queue) for queue in queues]),
        oldest_ns=np.array([arrived[queue[0]].arrival_ns if queue else NEVER for queue in queues]),
        head=np.array([queue[0] if queue else NOBODY for queue in queues]),
        tail=np.array([queue[-1] if queue else NOBODY for queue in queues]),
        arrival_ns=np.array([one.arrival_ns for one in arrived]),
        length=np.array([one.length for one in arrived]),
        tier=np.array([one.tier for one in arrived]),
        deadline_ns=np.full(len(arrived), NEVER),
        next=following,
        server=0,
        servers=idle_servers + len(running),
        idle_servers=idle_servers,
        idle_since_ns=idle_since_ns,
        busy_since_ns=np.array([one.busy_since_ns for one in [*none, *running]]),
        size=np.array([one.size for one in [*none, *running]]),
        expected_finish_ns=np.array([one.expected_finish_ns for one in [*none, *running]]),
        arrived=len(arrived),
        finished=finished[0],
        finished_size=finished[1],
        finished_service_ns=finished[2],
        memory=np.zeros(memory_slots),
        take=np.zeros(lanes, dtype=np.int64),
    )
