"""A model whose cost is known: it sleeps as long as a batch would take, and logs the batch.

Copied next to the files of a stack and imported by that stack's own model file, in whatever
environment the server has: standard library alone, Python 3.9 or later.  Rules:

1. ``costs.json`` beside it holds ``service_ns``, a row of times for each batch size, and ``edges``,
   the lengths of its columns.  Between two lengths the time is interpolated; below the first and
   above the last it is that of the first and the last.
2. A batch ends at a deadline that is set when it begins, so that a sleep that is late once is not
   late twice.
3. Every batch appends one line to ``batches-<process>.jsonl``: when it began and ended, in ns of
   ``CLOCK_MONOTONIC``, and the identities of its requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

PR_SET_TIMERSLACK = 29


class SlowModel:
    """Sleeps and logs; safe to share between threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read the costs beside this file, or in another folder."""
        self.folder = Path(folder or Path(__file__).parent)
        costs = json.loads((self.folder / "costs.json").read_text())
        self.service_ns: list[list[int]] = costs["service_ns"]
        self.edges: list[int] = costs["edges"]
        self._log: IO[str] | None = None
        self._process = -1
        self._lock = threading.Lock()

    def run(self, identities: Iterable[int], lengths: Iterable[int]) -> list[int]:
        """Run a batch, blocking; returns its identities."""
        begin_ns = time.monotonic_ns()
        members, deadline_ns = self._plan(identities, lengths, begin_ns)
        fine_timers()
        left_ns = deadline_ns - time.monotonic_ns()
        while left_ns > 0:
            time.sleep(left_ns / 1e9)
            left_ns = deadline_ns - time.monotonic_ns()
        self._note(begin_ns, members)
        return members

    async def run_async(self, identities: Iterable[int], lengths: Iterable[int]) -> list[int]:
        """Run a batch, awaiting; returns its identities."""
        begin_ns = time.monotonic_ns()
        members, deadline_ns = self._plan(identities, lengths, begin_ns)
        left_ns = deadline_ns - time.monotonic_ns()
        while left_ns > 0:
            await asyncio.sleep(left_ns / 1e9)
            left_ns = deadline_ns - time.monotonic_ns()
        self._note(begin_ns, members)
        return members

    def cost_ns(self, size: int, longest: int) -> int:
        """How long a batch takes; one larger than the table as long as its largest and the rest."""
        if size > len(self.service_ns):
            whole = self.cost_ns(len(self.service_ns), longest)
            return whole + self.cost_ns(size - len(self.service_ns), longest)
        row, edges = self.service_ns[size - 1], self.edges
        if longest <= edges[0]:
            return row[0]
        for place in range(1, len(edges)):
            if longest <= edges[place]:
                low, high = edges[place - 1], edges[place]
                share = (longest - low) / (high - low)
                return round(row[place - 1] + share * (row[place] - row[place - 1]))
        return row[-1]

    def close(self) -> None:
        """Close the log; another batch would open it again."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _plan(
        self, identities: Iterable[int], lengths: Iterable[int], begin_ns: int
    ) -> tuple[list[int], int]:
        members = [int(each) for each in identities]
        longest = max(int(each) for each in lengths)
        return members, begin_ns + self.cost_ns(len(members), longest)

    def _note(self, begin_ns: int, identities: list[int]) -> None:
        line = json.dumps({"t0": begin_ns, "t1": time.monotonic_ns(), "ids": identities})
        with self._lock:
            if (
                self._log is None or self._process != os.getpid()
            ):  # the first batch, also after a fork
                self._process = os.getpid()
                self._log = (self.folder / f"batches-{self._process}.jsonl").open("a", buffering=1)
            self._log.write(line + "\n")


def fine_timers() -> None:
    """Let the sleeps of this thread end when they should, where the system can be asked to."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
