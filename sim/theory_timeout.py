"""A full batch or a timer, solved exactly: with a server always free, and on one server.

The timer runs from the arrival of the oldest request, also while the server is busy, as in
:class:`policies.size_or_timeout.SizeOrTimeout`.  Arrivals are Poisson, service times constant for
each size: float64 (largest batch,), ``service[k - 1]`` for a batch of k.  Units as in
:mod:`sim.theory`; derived from elementary properties of the Poisson process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from policies.contract import FloatArray

from .errors import require
from .theory_batch import service_times
from .theory_chain import poisson_table, quantile, require_positive, stationary

NODES = 64
"""Gauss-Legendre points: the integrands are smooth, and 128 give the same ten digits."""


@dataclass(frozen=True, eq=False)
class AmpleTimeout:
    """Batches of ``size``, or what has come ``wait`` after the first, and always a server free.

    Batches form independently.  After its first request a batch gains a Poisson number in ``wait``,
    cut off at ``size``.
    """

    rate: float
    size: int
    wait: float
    service: FloatArray
    """float64 (largest batch,)."""

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, size=self.size, wait=self.wait)
        known = len(service_times(self.service))
        require(self.size <= known, f"size <= {known}, the largest batch", size=self.size)

    @cached_property
    def batch(self) -> FloatArray:
        """Probabilities of a batch of 1 to ``size``, float64 (size,)."""
        share = poisson_table(np.array([self.rate * self.wait]), self.size)[0]
        share[-1] = 1.0 - share[:-1].sum()
        return np.asarray(share)

    @property
    def mean_batch(self) -> float:
        """Mean batch size."""
        return float(self.batch @ self._sizes)

    @property
    def p_full(self) -> float:
        """Share of the batches that are full."""
        return float(self.batch[-1])

    @property
    def mean_forming_time(self) -> float:
        """Mean time from the first request of a batch to its start."""
        return (self.mean_batch - 1.0) / self.rate

    @property
    def mean_wait(self) -> float:
        """Mean wait: the integral of the number that waits while a batch forms, per request."""
        longer = 1.0 - np.cumsum(self.batch)[:-1]
        return float(self._sizes[:-1] @ longer / self.rate / self.mean_batch)

    @property
    def p_whole_wait(self) -> float:
        """Share of the requests that wait exactly ``wait``: the first of every batch not full."""
        return (1.0 - self.p_full) / self.mean_batch

    @property
    def p_no_wait(self) -> float:
        """Share of the requests that do not wait: the last of every full batch."""
        return self.p_full / self.mean_batch

    @property
    def mean_latency(self) -> float:
        """Mean wait and mean service, which is longer for those in larger batches."""
        used = service_times(self.service)[: self.size]
        return self.mean_wait + float(self.batch @ (self._sizes * used)) / self.mean_batch

    def wait_above(self, time: float) -> float:
        """Probability of a wait longer than ``time``."""
        return 1.0 - self._joint(np.full(self.size, time))

    def latency_cdf(self, time: float) -> float:
        """Probability of a latency of at most ``time``."""
        return self._joint(time - service_times(self.service)[: self.size])

    def latency_quantile(self, share: float) -> float:
        """Latency that a share of the requests does not exceed."""
        return quantile(self.latency_cdf, share, self.mean_latency)

    @property
    def _sizes(self) -> FloatArray:
        return np.arange(1.0, self.size + 1.0)

    def _joint(self, limit: FloatArray) -> float:
        """Probability of a wait of at most ``limit[k - 1]`` in a batch of k.

        In a batch that is not full the first waits for the timer, the others uniformly less.  In a
        full one the i-th from the end waits for i gaps, and all ``size - 1`` fit before the timer.
        """
        from scipy.stats import gamma

        others = (self._sizes - 1.0) * np.clip(limit / self.wait, 0.0, 1.0)
        met = float(self.batch[:-1] @ (others + (limit >= self.wait))[:-1])
        top = min(float(limit[-1]), self.wait)
        if top < 0.0:
            return met / self.mean_batch
        met += self.p_full
        points, weights = np.polynomial.legendre.leggauss(NODES)
        at = top * (1.0 + points) / 2.0
        for gaps in range(1, self.size):
            density = gamma.pdf(at, gaps, scale=1.0 / self.rate)
            rest = self.size - 1 - gaps
            if rest > 0:
                density = density * gamma.cdf(self.wait - at, rest, scale=1.0 / self.rate)
            met += top / 2.0 * float(weights @ density)
        return met / self.mean_batch


@dataclass(frozen=True)
class TimeoutQueue:
    """What :func:`solve_timeout` finds, all of it exact."""

    mean_latency: float
    mean_number: float
    """In the system, over time."""
    mean_batch: float
    utilisation: float
    """Share of the time in which the server is busy."""
    p_full: float
    """Share of the batches that are full."""


def solve_timeout(rate: float, service: ArrayLike, size: int, wait: float) -> TimeoutQueue:
    """Solve a full batch or a timer on one server, for waits up to ``service[size - 1]``.

    Whoever is left behind by a full batch is overdue when it ends, so the queue at the start of a
    batch is a Markov chain.

    Args:
        rate: of the arrivals.
        service: time of batches of 1, 2, ...
        size: of a full batch.
        wait: that the oldest request waits at most.

    Raises:
        WorkloadError: the server cannot keep up, or the wait is too long for this solution.
    """
    time = service_times(service)
    require_positive(rate=rate)
    require(1 <= size <= len(time), f"1 <= size <= {len(time)}", size=size)
    require(0.0 <= wait <= time[size - 1], f"0 <= wait <= {time[size - 1]:g}", wait=wait)
    load = rate * time[size - 1] / size
    require(load < 1.0, "load < 1, or the queue has no equilibrium", load=load)
    cycles = _Cycles(rate, time, size, wait, int(6 * size + 25 / (1.0 - load)))
    start = stationary(cycles.moves)
    spent = float(start @ cycles.spent)
    number = float(start @ cycles.number)
    batch = np.minimum(np.arange(1, len(start) + 1), size)
    return TimeoutQueue(
        mean_latency=number / spent / rate,
        mean_number=number / spent,
        mean_batch=float(start @ batch),
        utilisation=float(start @ time[batch - 1]) / spent,
        p_full=float(start[size - 1 :].sum()),
    )


class _Cycles:
    """From the start of a batch to the start of the next, by the queue that starts it."""

    def __init__(self, rate: float, time: FloatArray, size: int, wait: float, states: int) -> None:
        self.rate, self.size, self.wait, self.states = rate, size, wait, states
        self.moves = np.zeros((states, states))
        """float64 (states, states): row ``n - 1`` for a queue of n."""
        self.spent = np.zeros(states)
        self.number = np.zeros(states)
        """Integral of the number in the system."""
        for queue in range(1, states + 1):
            busy = float(time[min(queue, size) - 1])
            self.spent[queue - 1], self.number[queue - 1] = busy, queue * busy
            if queue > size:
                self._overdue(queue - 1, queue - size, busy)
            else:
                self._quiet(queue - 1, busy)
                self._during(queue - 1, busy)

    def _overdue(self, row: int, left: int, busy: float) -> None:
        """Some are left behind: the next batch starts at once."""
        joined = poisson_table(np.array([self.rate * busy]), self.states - left + 1)[0]
        self.moves[row, left - 1 :] = joined
        self.number[row] += self.rate * busy**2 / 2.0

    def _quiet(self, row: int, busy: float) -> None:
        """Nobody arrives during the service: idle, then a batch forms from its first request."""
        quiet = np.exp(-self.rate * busy)
        self.spent[row] += quiet / self.rate
        self._form(row, quiet, 1, self.wait)

    def _during(self, row: int, busy: float) -> None:
        """The first arrival comes with ``age`` of the service left, integrated over ``age``."""
        points, weights = np.polynomial.legendre.leggauss(NODES)
        breaks = sorted({0.0, min(self.wait, busy), busy})
        for low, high in pairwise(breaks):
            half = (high - low) / 2.0
            ages = low + half * (1.0 + points)
            shares = half * weights * self.rate * np.exp(-self.rate * (busy - ages))
            self.number[row] += shares @ (ages + self.rate * ages**2 / 2.0)
            joined = poisson_table(self.rate * ages, self.states)
            if low >= self.wait:
                self.moves[row] += shares @ joined
                continue
            self.moves[row, self.size - 1 :] += shares @ joined[:, self.size - 1 :]
            for place in range(1, self.size):
                self._form(row, shares * joined[:, place - 1], place, self.wait - ages)

    def _form(
        self, row: int, share: FloatArray | float, queue: int, rest: FloatArray | float
    ) -> None:
        """With some probability an idle server faces ``queue`` and a timer that runs for ``rest``.

        Args:
            row: the queue at the start of the cycle, less 1.
            share: float64 (cases,), the probability of each case.
            queue: that waits.
            rest: float64 (cases,), time until the timer.
        """
        share, rest = np.atleast_1d(share), np.atleast_1d(rest)
        room = self.size - queue
        joined = poisson_table(self.rate * rest, room)
        self.moves[row, queue - 1 : self.size - 1] += share @ joined
        self.moves[row, self.size - 1] += share @ (1.0 - joined.sum(axis=1))
        lasts = (1.0 - np.cumsum(joined, axis=1)) / self.rate
        self.spent[row] += share @ lasts.sum(axis=1)
        self.number[row] += share @ (lasts @ np.arange(queue, self.size))
