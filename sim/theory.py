"""Queues that serve requests one at a time and have an exact answer: what simulation must find.

1. Rates are per unit of time and times in that unit, whatever the unit is.
2. Latency is from arrival to the end of service, wait from arrival to its start.
3. Arrivals that a queue without end cannot serve are refused when the queue is built.
4. Every class names its source.  All of them are tested against published digits and against the
   simulated system.

Arrivals that are not Poisson are in :mod:`sim.theory_arrivals`, queues that lose requests in
:mod:`sim.theory_loss`, batches in :mod:`sim.theory_batch`, latency under greedy batches in
:mod:`sim.theory_latency`, and timers in :mod:`sim.theory_timeout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.contract import FloatArray

from .errors import require
from .theory_chain import erlang_b, quantile, require_positive, require_stable, stationary


@dataclass(frozen=True)
class MMc:
    """M/M/c: Poisson arrivals, exponential service, ``servers`` servers on one queue.

    Erlang's C formula, from his B by ``C = B / (1 - rho (1 - B))``; the wait is 0 with probability
    ``1 - C``, else exponential of rate ``c mu - lambda``.  Source: Kleinrock, Queueing Systems 1,
    1975, section 3.5.  One server is M/M/1, whose latency is exponential.
    """

    rate: float
    service_rate: float
    servers: int = 1

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_rate=self.service_rate, servers=self.servers)
        require_stable(self.utilisation)

    @property
    def utilisation(self) -> float:
        """Share of the servers' time in which they are busy."""
        return self.rate / self.service_rate / self.servers

    @property
    def p_wait(self) -> float:
        """Probability that all servers are busy on arrival: Erlang C."""
        blocked = erlang_b(self.rate / self.service_rate, self.servers)
        return blocked / (1.0 - self.utilisation * (1.0 - blocked))

    @property
    def mean_wait(self) -> float:
        """Mean wait of all requests."""
        return self.p_wait / self._spare

    @property
    def mean_latency(self) -> float:
        """Mean wait and mean service."""
        return self.mean_wait + 1.0 / self.service_rate

    @property
    def mean_number(self) -> float:
        """Mean number in the system."""
        return self.rate * self.mean_latency

    @property
    def _spare(self) -> float:
        return self.servers * self.service_rate - self.rate

    def wait_above(self, time: float) -> float:
        """Probability of a wait longer than ``time``."""
        return self.p_wait * math.exp(-self._spare * time)

    def wait_quantile(self, share: float) -> float:
        """Wait that a share of the requests does not exceed."""
        return max(0.0, math.log(self.p_wait / (1.0 - share)) / self._spare)

    def latency_above(self, time: float) -> float:
        """Probability of a latency longer than ``time``: a wait, and a service of its own."""
        mu, gap = self.service_rate, self._spare - self.service_rate
        later = time if gap == 0.0 else -math.expm1(-gap * time) / gap
        return math.exp(-mu * time) * (1.0 + self.p_wait * mu * later)

    def latency_quantile(self, share: float) -> float:
        """Latency that a share of the requests does not exceed."""
        return quantile(lambda time: 1.0 - self.latency_above(time), share, self.mean_latency)


@dataclass(frozen=True)
class MDc:
    """M/D/c: Poisson arrivals, constant service, ``servers`` servers on one queue.

    The numbers in the system at instants one service time apart are a Markov chain,
    ``n' = max(n - c, 0) + Poisson(lambda D)``  (Crommelin, P.O. Electrical Engineers' Journal 25,
    1932).  The distribution of the wait follows by a finite sum of positive terms, stable at any
    time (Franx, Operations Research Letters 29, 2001).
    """

    rate: float
    service_time: float
    servers: int = 1

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_time=self.service_time, servers=self.servers)
        require_stable(self.utilisation)

    @cached_property
    def number(self) -> FloatArray:
        """Probabilities of the number in the system, float64 (states,)."""
        from scipy.stats import poisson

        offered = self.rate * self.service_time
        states = int(20 * self.servers + 25 / (1.0 - offered / self.servers))
        counts = np.arange(states)
        moves = np.zeros((states, states))
        for n in range(states):
            left = max(n - self.servers, 0)
            moves[n, left:] = poisson.pmf(counts[: states - left], offered)
        return stationary(moves)

    @property
    def utilisation(self) -> float:
        """Share of the servers' time in which they are busy."""
        return self.rate * self.service_time / self.servers

    @property
    def p_wait(self) -> float:
        """Probability that all servers are busy on arrival."""
        return float(self.number[self.servers :].sum())

    @property
    def mean_number(self) -> float:
        """Mean number in the system."""
        return float(self.number @ np.arange(len(self.number)))

    @property
    def mean_latency(self) -> float:
        """By Little's law."""
        return self.mean_number / self.rate

    @property
    def mean_wait(self) -> float:
        """Latency without the service."""
        return self.mean_latency - self.service_time

    def wait_cdf(self, time: float) -> float:
        """Probability of a wait of at most ``time``."""
        from scipy.stats import poisson

        if time < 0.0:
            return 0.0
        cycles = math.floor(time / self.service_time) + 1
        ahead = np.arange(cycles * self.servers)
        arrived = poisson.pmf(ahead, self.rate * (cycles * self.service_time - time))
        at_most = np.minimum(self.servers + len(ahead) - 1 - ahead, len(self.number) - 1)
        return float(arrived @ np.cumsum(self.number)[at_most])

    def wait_quantile(self, share: float) -> float:
        """Wait that a share of the requests does not exceed."""
        if share <= 1.0 - self.p_wait:
            return 0.0
        return quantile(self.wait_cdf, share, self.service_time)


@dataclass(frozen=True)
class MG1:
    """M/G/1: Poisson arrivals and any service time, known by its moments.

    ``W = lambda E[S^2] / (2 (1 - rho))``  (Pollaczek 1930, Khinchine 1932), and
    ``E[W^2] = 2 W^2 + lambda E[S^3] / (3 (1 - rho))``  (Takacs 1962; Kleinrock, Queueing Systems 1,
    1975, section 5.7).
    """

    rate: float
    mean: float
    second_moment: float
    third_moment: float = math.nan

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, mean=self.mean)
        require_stable(self.utilisation)
        require(
            self.second_moment >= self.mean**2,
            "second_moment >= mean ** 2",
            second_moment=self.second_moment,
        )

    @classmethod
    def lognormal(cls, rate: float, mean: float, cv: float) -> MG1:
        """Lognormal service of a given coefficient of variation."""
        spread = 1.0 + cv * cv
        return cls(rate, mean, mean**2 * spread, mean**3 * spread**3)

    @classmethod
    def gamma(cls, rate: float, mean: float, cv: float) -> MG1:
        """Gamma service of a given coefficient of variation: 0 is constant, 1 exponential."""
        scv = cv * cv
        second = mean**2 * (1.0 + scv)
        return cls(rate, mean, second, second * mean * (1.0 + 2.0 * scv))

    @property
    def utilisation(self) -> float:
        """Share of the time in which the server is busy, and probability of a wait."""
        return self.rate * self.mean

    @property
    def mean_wait(self) -> float:
        """The formula of Pollaczek and Khinchine."""
        return self.rate * self.second_moment / (2.0 * (1.0 - self.utilisation))

    @property
    def sd_wait(self) -> float:
        """Standard deviation of the wait; NaN where the third moment is not given."""
        rest = self.rate * self.third_moment / (3.0 * (1.0 - self.utilisation))
        return math.sqrt(self.mean_wait**2 + rest)

    @property
    def mean_latency(self) -> float:
        """Mean wait and mean service."""
        return self.mean_wait + self.mean

    @property
    def mean_number(self) -> float:
        """Mean number in the system."""
        return self.rate * self.mean_latency


def priority_waits(
    rates: Sequence[float], means: Sequence[float], second_moments: Sequence[float]
) -> FloatArray:
    """Mean wait of each class under non-preemptive priority, the first class first.

    ``W_i = W_0 / ((1 - s_(i-1)) (1 - s_i))`` with ``W_0 = sum lambda_j E[S_j^2] / 2`` and ``s_i``
    the load of the classes up to i  (Cobham, Operations Research 2, 1954).

    Args:
        rates: (classes,) of the Poisson arrivals.
        means: (classes,) of the service times.
        second_moments: (classes,) of the service times.

    Returns:
        float64 (classes,).
    """
    rate = np.asarray(rates, dtype=np.float64)
    load = np.cumsum(rate * np.asarray(means))
    require_stable(float(load[-1]))
    residual = float(rate @ np.asarray(second_moments)) / 2.0
    waits: FloatArray = residual / ((1.0 - np.append(0.0, load[:-1])) * (1.0 - load))
    return waits


def ageing_waits(
    rates: Sequence[float],
    means: Sequence[float],
    second_moments: Sequence[float],
    urgency: Sequence[float],
) -> FloatArray:
    """Mean wait of each class where priority is the wait so far times the class's urgency.

    With classes in order of urgency ``b``, the lowest first, and ``W_0`` as in
    :func:`priority_waits`:
    ``W_p = (W_0 / (1 - rho) - sum_(i<p) rho_i W_i (1 - b_i / b_p)) /
    (1 - sum_(i>p) rho_i (1 - b_p / b_i))``
    (Kleinrock, Naval Research Logistics Quarterly 11, 1964).

    Args:
        rates: (classes,) of the Poisson arrivals.
        means: (classes,) of the service times.
        second_moments: (classes,) of the service times.
        urgency: (classes,), above 0.

    Returns:
        float64 (classes,).
    """
    rate, grows = np.asarray(rates, dtype=np.float64), np.asarray(urgency, dtype=np.float64)
    load = rate * np.asarray(means)
    require_stable(float(load.sum()))
    everybody = float(rate @ np.asarray(second_moments)) / 2.0 / (1.0 - float(load.sum()))
    waits: FloatArray = np.zeros(len(rate))
    for own in np.argsort(grows):
        slower, faster = grows < grows[own], grows > grows[own]
        overtaken = load[slower] * waits[slower] * (1.0 - grows[slower] / grows[own])
        overtakes = load[faster] * (1.0 - grows[own] / grows[faster])
        waits[own] = (everybody - overtaken.sum()) / (1.0 - overtakes.sum())
    return waits
