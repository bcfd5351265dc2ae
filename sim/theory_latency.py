"""The exact distribution of latency under greedy batches on one server.

A request that arrives with ``v`` of the running service left, as number ``p`` of the queue, waits
for ``q = (p - 1) // cap`` full batches after it.  Then it goes with those behind it that have come
by then, in a batch of ``min(cap, p - q cap + Poisson(lambda (v + q S(cap))))``.  The density of
(v, p) follows from the queue at the end of the service before, which
:func:`sim.theory_batch.solve_batches` gives.  Units as in :mod:`sim.theory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.contract import FloatArray

from .theory_batch import BatchQueue, service_times, solve_batches
from .theory_chain import poisson_table, quantile

NODES = 12
"""Gauss-Legendre points between two breaks; 24 give the same ten digits."""


@dataclass(frozen=True, eq=False)
class GreedyLatency:
    """Latency under greedy batches, constant times, Poisson arrivals and one server."""

    rate: float
    service: FloatArray
    """float64 (largest batch,): time of a batch of 1, 2, ..."""

    @cached_property
    def queue(self) -> BatchQueue:
        """The means."""
        return solve_batches(self.rate, service_times(self.service))

    def quantile(self, share: float) -> float:
        """Latency that a share of the requests does not exceed."""
        return quantile(self.cdf, share, self.queue.mean_latency)

    def cdf(self, time: float) -> float:
        """Probability of a latency of at most ``time``."""
        cap, times = len(self.service), service_times(self.service)
        rest, weight = self._nodes(time)
        density = self._density(rest)
        before = self.queue.left[0] if times[0] <= time else 0.0
        total = 0.0
        for full in range(-(-density.shape[1] // cap)):
            start = rest + full * times[-1]
            if (start + times.min() > time).all():
                break
            own = density[:, full * cap : (full + 1) * cap]
            within = self._fits(own.shape[1], self.rate * start, time - start)
            total += float(weight @ (own * within).sum(axis=1))
        return float((before + total) / self._per_cycle)

    @property
    def _per_cycle(self) -> float:
        """Requests that arrive from the end of a service to the end of the next."""
        return self.rate / self.queue.batch_rate

    def _nodes(self, time: float) -> tuple[FloatArray, FloatArray]:
        """Points and weights over the rest of a service, exact between all kinks and jumps."""
        times = service_times(self.service)
        waits = np.arange(len(self.queue.left) // len(times) + 1) * times[-1]
        jumps = time - (times[:, None] + waits).ravel()
        inside = jumps[(jumps > 0.0) & (jumps < times.max())]
        breaks = np.unique(np.concatenate([[0.0], times, inside]))
        breaks = breaks[np.append(True, np.diff(breaks) > 1e-12 * breaks[-1])]
        points, weights = np.polynomial.legendre.leggauss(NODES)
        half = np.diff(breaks)[:, None] / 2.0
        return (
            (breaks[:-1, None] + half * (1.0 + points)).ravel(),
            (half * weights).ravel(),
        )

    def _density(self, rest: FloatArray) -> FloatArray:
        """Mean arrivals per cycle by rest of the service and place, float64 (points, places)."""
        times, left = service_times(self.service), self.queue.left
        cap, most = len(times), int(np.searchsorted(np.cumsum(left), 1.0 - 1e-14)) + 1
        places = most + 2 * cap + int(10.0 + 2.0 * self.rate * times.max())
        result = np.zeros((len(rest), places))
        for size in range(1, cap + 1):
            at = np.flatnonzero(rest < times[size - 1])
            counts = poisson_table(self.rate * (times[size - 1] - rest[at]), places)
            behind = left[size : max(most, size + 1) if size == cap else size + 1].copy()
            behind[0] += left[0] if size == 1 else 0.0
            result[at] += counts @ _shifted(behind, places) if size == cap else counts * behind
        return self.rate * result

    def _fits(self, places: int, mean: FloatArray, spare: FloatArray) -> FloatArray:
        """Probability that a batch, joined by a Poisson number, takes at most ``spare``.

        Args:
            places: of 1 up to so many in the batch.
            mean: float64 (points,), of those who join behind.
            spare: float64 (points,).

        Returns:
            float64 (points, places).
        """
        times = service_times(self.service)
        cap = len(times)
        good = times <= spare[:, None]
        joined = poisson_table(mean, cap)
        full = 1.0 - np.cumsum(joined, axis=1) + joined
        result = good[:, -1:] * full[:, ::-1]
        for others in range(cap - 1):
            result[:, : cap - 1 - others] += joined[:, others, None] * good[:, others : cap - 1]
        return result[:, :places]


def _shifted(weights: FloatArray, places: int) -> FloatArray:
    """Matrix that adds an independent variable of these weights, float64 (places, places)."""
    shift = np.zeros((places, places))
    for step, weight in enumerate(weights[:places]):
        shift[np.arange(places - step), np.arange(step, places)] = weight
    return shift
