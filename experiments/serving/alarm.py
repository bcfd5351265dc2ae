"""An instant at which an event loop wakes up, to some ten microseconds.

Loops round their own timers to a millisecond (epoll and libuv count in them), which is as long as a
batch may wait.  Linux has timers that are files (timerfd_create(2)); elsewhere the loop's own have
to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

from policies.contract import NEVER
from sim.timing import now_ns

CLOCK_MONOTONIC = 1
NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
ABSOLUTE = 1


class Times(ctypes.Structure):
    """``struct itimerspec``: how often again, and when first, each in s and ns."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "s", "ns"))


class Alarm:
    """Calls back at the instant that was set last."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self.loop, self.ring = loop, ring
        self.instant_ns = NEVER
        self._handle: asyncio.TimerHandle | None = None
        self._file = self._timer_file()
        if self._file >= 0:
            loop.add_reader(self._file, self._rung)

    def set(self, instant_ns: int) -> None:
        """Ring at an instant of the monotonic clock, at once where it is past; NEVER: do not."""
        if instant_ns == self.instant_ns:
            return
        self.instant_ns = instant_ns
        if self._file < 0:
            self._set_loop()
            return
        # all zero stops it, and an instant before the first nanosecond cannot be asked for
        seconds, rest = divmod(0 if instant_ns == NEVER else max(instant_ns, 1), 10**9)
        times = Times(0, 0, seconds, rest)
        self._libc.timerfd_settime(self._file, ABSOLUTE, ctypes.byref(times), None)

    def close(self) -> None:
        """Give the file back."""
        if self._handle is not None:
            self._handle.cancel()
        if self._file >= 0:
            self.loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _timer_file(self) -> int:
        if sys.platform != "linux":
            return -1
        self._libc = ctypes.CDLL(None)
        return int(self._libc.timerfd_create(CLOCK_MONOTONIC, NONBLOCK_CLOEXEC))

    def _set_loop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        if self.instant_ns != NEVER:
            left_s = max(0, self.instant_ns - now_ns()) / 1e9
            self._handle = self.loop.call_later(left_s, self._rung)

    def _rung(self) -> None:
        if self._file >= 0:
            try:
                os.read(self._file, 8)
            except BlockingIOError:  # it was set anew in between
                return
        self.instant_ns = NEVER
        self.ring()


__all__ = ["Alarm"]
