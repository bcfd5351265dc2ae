"""Whether life is still as it was predicted: arrivals, lengths and service times, window by window.

1. A prediction is a run of the simulator, cut into windows.  Live windows are weighed by the same
   code; what is expected is the mean of the predicted ones, give or take three standard deviations
   and at least ``TOLERANCE``: smaller changes are no reason to tune again.
2. ``arrivals`` are requests per second; ``lengths`` the largest distance between the distribution
   of lengths and the predicted one (Kolmogorov's, 0 to 1); ``service`` what batches took over what
   the profile says.
3. Two windows in a row outside, on the same side, raise the alarm; two inside clear it.  A shift is
   seen within three windows, the one in which it comes included.  A chance of 0.3 % a window makes
   one false alarm in some 400 days and signal.
4. Windows without arrivals count, once somebody has come; those with too few requests or batches
   say nothing about lengths or service, and those with jobs nothing about arrivals or lengths.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from policies.contract import FloatArray, IntArray
from sim.endless import Comer
from sim.service_times import Batch

from .desk import Outcome

WINDOW_NS = 90 * 10**9
"""Three of them are below five minutes."""
WIDTH, TOLERANCE = 3.0, 0.2
IN_A_ROW = 2
FEWEST = 30
"""Requests for a distribution of lengths, or batches for a mean."""
SIGNALS = ("arrivals", "lengths", "service")


class Interval(NamedTuple):
    """What is expected of a value."""

    low: float
    usual: float
    high: float


@dataclass(frozen=True)
class Expected:
    """A prediction of windows."""

    arrivals: Interval
    """Per second."""
    service: Interval
    """Over the profile's times."""
    bins: IntArray
    """int64 (K,), increasing: upper ends of bins of lengths."""
    below: FloatArray
    """float64 (K,): share of requests that are at most so long."""
    distance: float
    """What a distance times the root of the number of requests may reach."""

    def lengths(self, requests: int) -> Interval:
        """Of the distance, in a window with so many requests."""
        return Interval(0.0, 0.0, max(TOLERANCE / 2, self.distance / math.sqrt(requests)))


@dataclass
class Window:
    """What happened in one window."""

    bins: Sequence[int]
    counts: list[int] = field(default_factory=list)
    batches: int = 0
    took_ns: int = 0
    expected_ns: int = 0
    jobs: bool = False
    """Whether jobs were handed over, which come when there is time for them."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bins) + 1)

    @property
    def requests(self) -> int:
        """How many came."""
        return sum(self.counts)

    def came(self, length: int) -> None:
        """A request."""
        self.counts[bisect_left(self.bins, length)] += 1

    def ran(self, took_ns: int, expected_ns: int) -> None:
        """A batch."""
        self.batches += 1
        self.took_ns += took_ns
        self.expected_ns += expected_ns

    def distance(self, below: FloatArray) -> float:
        """Of its lengths from others, whose shares up to each bin are given."""
        own = np.cumsum(self.counts)[:-1] / self.requests
        return float(np.abs(own - below).max())


class Drift:
    """A :class:`~.desk.Watch` that compares."""

    def __init__(self, expected: Expected, window_ns: int = WINDOW_NS) -> None:
        self.window_ns = window_ns
        self.ends_ns: int | None = None
        """Of the window at hand; None: nobody has come yet."""
        self.renew(expected)

    def renew(self, expected: Expected) -> None:
        """Compare with another prediction from now on; what was seen and said is forgotten."""
        self.expected = expected
        self._bins = expected.bins.tolist()
        self.window = Window(self._bins)
        self.ends_ns = None
        self.values: dict[str, float] = dict.fromkeys(SIGNALS, math.nan)
        """Of the last window that said something."""
        self.intervals = {
            "arrivals": expected.arrivals,
            "lengths": expected.lengths(FEWEST),
            "service": expected.service,
        }
        self.alarms: dict[str, bool] = dict.fromkeys(SIGNALS, False)
        self._runs: dict[str, tuple[int, int]] = dict.fromkeys(SIGNALS, (0, 0))

    def arrived(self, comer: Comer) -> None:
        """A request came."""
        if self.ends_ns is None:
            self.ends_ns = comer.arrival_ns + self.window_ns
        self.tick(comer.arrival_ns)
        self.window.came(comer.length)

    def answered(self, comer: Comer, outcome: Outcome, now_ns: int) -> None:
        """Nothing to learn."""

    def finished(self, batch: Batch, lengths: Sequence[int], service_ns: int, now_ns: int) -> None:
        """A batch is done."""
        self.tick(now_ns)
        self.window.ran(service_ns, batch.expected_ns)

    def tick(self, now_ns: int) -> None:
        """Weigh the windows that are over."""
        while self.ends_ns is not None and self.ends_ns <= now_ns:
            self._weigh(self.window)
            self.window = Window(self._bins)
            self.ends_ns += self.window_ns

    def _weigh(self, window: Window) -> None:
        if not window.jobs:
            self._say("arrivals", window.requests * 1e9 / self.window_ns)
        if window.requests >= FEWEST and not window.jobs:
            self.intervals["lengths"] = self.expected.lengths(window.requests)
            self._say("lengths", window.distance(self.expected.below))
        if window.batches >= FEWEST:
            self._say("service", window.took_ns / window.expected_ns)

    def _say(self, signal: str, value: float) -> None:
        interval = self.intervals[signal]
        side = (value > interval.high) - (value < interval.low)
        before, row = self._runs[signal]
        row = row + 1 if side == before else 1
        self._runs[signal] = side, row
        self.values[signal] = value
        if row >= IN_A_ROW:
            self.alarms[signal] = side != 0


__all__ = ["SIGNALS", "WINDOW_NS", "Drift", "Expected", "Interval", "Window"]
