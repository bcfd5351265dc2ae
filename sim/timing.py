"""Real time at the microsecond: the clock that all processes of a live run share.

Linux rounds the end of a sleep up by 50 us, the *timer slack*, unless a thread asks for less
(prctl(2), ``PR_SET_TIMERSLACK``).  A virtual machine adds about as much again, so the last stretch
before an instant may be spun.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_TIMERSLACK = 29
SPIN_NS = 60_000
"""What a sleep may be late by on a quiet machine; spun instead."""

now_ns = time.monotonic_ns
"""One origin for all processes of a machine."""


def fine_timers() -> None:
    """Let the sleeps of this thread end when they should, where the system can be asked to."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def sleep_until(instant_ns: int, spin_ns: int = SPIN_NS) -> None:
    """Sleep, then spin for the last ``spin_ns``; returns at once where the instant is past."""
    left_ns = instant_ns - now_ns()
    if left_ns > spin_ns:
        time.sleep((left_ns - spin_ns) / 1e9)
    while now_ns() < instant_ns:
        pass


def cores() -> list[int]:
    """The cores that this process may use; as many as there are, where the system cannot say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(chosen: Sequence[int]) -> bool:
    """Keep this process to some cores; False where the system cannot."""
    if not chosen or not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, chosen)
    return True


def urgent(*, wanted: bool = True) -> bool:
    """Run before all ordinary processes, or no longer; False where the system does not allow it.

    For what sleeps most of the time and must wake up in time.  Children do not inherit it.
    """
    if not hasattr(os, "sched_setscheduler"):
        return False
    kind = os.SCHED_RR | os.SCHED_RESET_ON_FORK if wanted else os.SCHED_OTHER
    try:
        os.sched_setscheduler(0, kind, os.sched_param(1 if wanted else 0))
    except OSError:
        return False
    return True


def shared_out(count: int) -> tuple[list[int], list[list[int]]]:
    """Cores for the scheduler and its load generator, and for each of ``count`` servers.

    With at least two cores the servers never share one with the scheduler; from four on the load
    generator has its own, too.  With more servers than cores they take turns on theirs.
    """
    known = cores()
    if len(known) < 2:
        return known, [known] * count
    own = min(2, len(known) // 2)
    rest = known[own:]
    each = max(1, len(rest) // count)
    return known[:own], [
        [rest[(place * each + i) % len(rest)] for i in range(each)] for place in range(count)
    ]


def deaf() -> None:
    """Leave Ctrl-C to the process that started this one, which will end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
