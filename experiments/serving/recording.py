"""What a server remembers of its requests: the last ones, each with how it was served.

1. A request is a row of 40 bytes in a ring: a million of them are 40 MB, and no more is ever held.
   Rows are written when a request is answered; who still waits is known, too.
2. Rows are read in the order of arrival.  From the moment on at which rows are lost, those that
   arrived before a lost one are left out as well: what is read has no holes.
3. Instants are Unix time.  They are those of the monotonic clock, from where the clocks of the
   world stood when the server began: gaps are true whoever sets a clock meanwhile.
4. It is written in the event loop.  It may be read in another thread, meanwhile: see
   :meth:`Recording.moment`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.endless import Comer
from sim.service_times import Batch
from sim.timing import now_ns

from .desk import Refusal
from .open_inference import Served

KEPT = 1_000_000
"""A quarter of an hour at 1,000 requests per second, and 40 MB."""
OUTCOMES = ("served", *(refusal.value for refusal in Refusal), "waiting")
SERVED, WAITING = 0, len(OUTCOMES) - 1
PLACE = {refusal: OUTCOMES.index(refusal.value) for refusal in Refusal}

ROW = np.dtype(
    [
        ("arrival_ns", np.int64), ("waited_ns", np.int64), ("service_ns", np.int64),
        ("length", np.int32), ("padded_to", np.int32), ("batch_size", np.int16),
        ("server", np.int16), ("tier", np.int8), ("outcome", np.int8),
    ],
    align=True,
)  # fmt: skip
"""Who was not served has no batch: 0, and server -1."""

Rows = NDArray[Any]
"""Of :data:`ROW`."""


class Moment(NamedTuple):
    """What is to be read: everything up to an instant of the event loop."""

    answered: int
    waiting: tuple[Comer, ...]


class Recording:
    """A :class:`~.desk.Watch` that remembers."""

    def __init__(self, kept: int = KEPT) -> None:
        """Begin with nothing.

        Args:
            kept: how many requests.
        """
        self.answered_so_far = 0
        self.origin_ns = 0
        """Unix time of the driver's instant 0."""
        self._rows: Rows = np.zeros(kept, dtype=ROW)
        self._arrival_ns = self._rows["arrival_ns"]
        self._lost_ns = -1
        self._waiting: dict[int, Comer] = {}

    def begin(self, driver_ns: int) -> None:
        """Say which instant of the monotonic clock is the driver's 0."""
        self.origin_ns = time.time_ns() - now_ns() + driver_ns

    def arrived(self, comer: Comer) -> None:
        """A request came."""
        self._waiting[id(comer)] = comer

    def answered(self, comer: Comer, outcome: Served | Refusal, now_ns: int) -> None:
        """It is answered."""
        self._waiting.pop(id(comer), None)
        place = self.answered_so_far % len(self._rows)
        if self.answered_so_far >= len(self._rows):
            self._lost_ns = max(self._lost_ns, int(self._arrival_ns[place]))
        arrival_ns, length, tier = comer[:3]
        if isinstance(outcome, Refusal):
            row = (arrival_ns, now_ns - arrival_ns, 0, length, 0, 0, -1, tier, PLACE[outcome])
        else:
            size, padded_to, server, waited_ns, service_ns = outcome[:5]
            row = (arrival_ns, waited_ns, service_ns, length, padded_to, size, server, tier, SERVED)
        self._rows[place] = row
        self.answered_so_far += 1

    def finished(self, batch: Batch, lengths: Sequence[int], service_ns: int, now_ns: int) -> None:
        """Each of its requests tells of it."""

    def moment(self) -> Moment:
        """Now, in the event loop."""
        return Moment(self.answered_so_far, tuple(self._waiting.values()))

    def rows(self, moment: Moment, since_ns: int = 0) -> Rows:
        """What was known at a moment, in the order of arrival; in any thread.

        Args:
            moment: of the event loop.
            since_ns: Unix time; who arrived before is left out.

        Returns:
            Rows of :data:`ROW` whose arrivals are Unix time.
        """
        kept = len(self._rows)
        found = self._rows[: min(moment.answered, kept)].copy()
        written, lost_ns = self.answered_so_far, self._lost_ns  # what came meanwhile is not asked
        oldest = max(0, written - kept)
        found = found[np.arange(oldest, max(oldest, moment.answered)) % kept]
        whole = np.concatenate([found, _rows_of(moment.waiting)])
        whole = whole[whole["arrival_ns"] > lost_ns]
        whole["arrival_ns"] += self.origin_ns
        whole = whole[whole["arrival_ns"] >= since_ns]
        return whole[np.argsort(whole["arrival_ns"], kind="stable")]


def _rows_of(waiting: Sequence[Comer]) -> Rows:
    return np.array(
        [(one[0], 0, 0, one[1], 0, 0, -1, one[2], WAITING) for one in waiting], dtype=ROW
    )


__all__ = ["KEPT", "OUTCOMES", "ROW", "SERVED", "WAITING", "Recording", "Rows"]
