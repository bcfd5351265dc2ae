"""Queues that lose requests, or whose clients wait for the answer: stable at any arrival rate.

Units as in :mod:`sim.theory`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.contract import FloatArray

from .theory_chain import erlang_b, require_positive, stationary


@dataclass(frozen=True)
class MM1K:
    """M/M/1/K: at most ``capacity`` requests in the system, the one in service included.

    The number in the system is a truncated geometric variable.  Source: Kleinrock, Queueing Systems
    1, 1975, section 3.6.
    """

    rate: float
    service_rate: float
    capacity: int

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_rate=self.service_rate, capacity=self.capacity)

    @cached_property
    def number(self) -> FloatArray:
        """Probabilities of the number in the system, float64 (capacity + 1,)."""
        weight = np.cumprod([1.0] + [self.rate / self.service_rate] * self.capacity)
        return np.asarray(weight / weight.sum())

    @property
    def p_loss(self) -> float:
        """Share of the requests that are rejected."""
        return float(self.number[-1])

    @property
    def utilisation(self) -> float:
        """Share of the time in which the server is busy."""
        return 1.0 - float(self.number[0])

    @property
    def mean_number(self) -> float:
        """Mean number in the system."""
        return float(self.number @ np.arange(self.capacity + 1))

    @property
    def mean_latency(self) -> float:
        """Of those that are not rejected."""
        return self.mean_number / (self.rate * (1.0 - self.p_loss))


@dataclass(frozen=True)
class MD1K:
    """M/D/1/K: as :class:`MM1K`, with constant service.

    The chain at the ends of service gives ``pi_0 .. pi_(K-1)``; then ``p_n = pi_n / (pi_0 + rho)``
    below K.  Source: Cooper, Introduction to Queueing Theory, 1981, section 5.10.
    """

    rate: float
    service_time: float
    capacity: int

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_time=self.service_time, capacity=self.capacity)

    @cached_property
    def number(self) -> FloatArray:
        """Probabilities of the number in the system, float64 (capacity + 1,)."""
        from scipy.stats import poisson

        load = self.rate * self.service_time
        moves = np.zeros((self.capacity, self.capacity))
        for n in range(self.capacity):
            left = max(n - 1, 0)
            moves[n, left:] = poisson.pmf(np.arange(self.capacity - left), load)
        after = stationary(moves)
        below = after / (after[0] + load)
        return np.append(below, 1.0 - below.sum())

    @property
    def p_loss(self) -> float:
        """Share of the requests that are rejected."""
        return float(self.number[-1])

    @property
    def utilisation(self) -> float:
        """Share of the time in which the server is busy."""
        return 1.0 - float(self.number[0])

    @property
    def mean_number(self) -> float:
        """Mean number in the system."""
        return float(self.number @ np.arange(self.capacity + 1))

    @property
    def mean_latency(self) -> float:
        """Of those that are not rejected."""
        return self.mean_number / (self.rate * (1.0 - self.p_loss))


@dataclass(frozen=True)
class MMcM:
    """M/M/c+M (Erlang A): who waits gives up after an exponential time.

    A birth-death process with death rate ``min(n, c) mu + max(n - c, 0) theta``.  Source: Palm
    1946; Garnett, Mandelbaum and Reiman, Manufacturing & Service Operations Management 4, 2002.
    """

    rate: float
    service_rate: float
    patience_rate: float
    """One over the mean patience."""
    servers: int = 1

    def __post_init__(self) -> None:
        require_positive(
            rate=self.rate,
            service_rate=self.service_rate,
            patience_rate=self.patience_rate,
            servers=self.servers,
        )

    @cached_property
    def number(self) -> FloatArray:
        """Probabilities of the number in the system, float64 (states,)."""
        states = self.servers + 200 + math.ceil(10.0 * self.rate / self.patience_rate)
        n = np.arange(1, states)
        waiting = np.maximum(n - self.servers, 0)
        leave = np.minimum(n, self.servers) * self.service_rate + waiting * self.patience_rate
        steps = np.append(0.0, np.cumsum(np.log(self.rate / leave)))
        weight = np.exp(steps - steps.max())
        return np.asarray(weight / weight.sum())

    @property
    def mean_waiting(self) -> float:
        """Mean number that waits."""
        return float(self.number @ np.maximum(np.arange(len(self.number)) - self.servers, 0))

    @property
    def p_abandon(self) -> float:
        """Share of the requests that give up."""
        return self.patience_rate * self.mean_waiting / self.rate

    @property
    def mean_wait(self) -> float:
        """Mean time in the queue of all requests, those that give up included."""
        return self.mean_waiting / self.rate

    @property
    def p_empty(self) -> float:
        """Probability of an empty system."""
        return float(self.number[0])

    @property
    def utilisation(self) -> float:
        """Share of the servers' time in which they are busy."""
        return self.rate * (1.0 - self.p_abandon) / self.service_rate / self.servers


@dataclass(frozen=True)
class MM1D:
    """M/M/1+D: everybody who has waited ``patience`` gives up.

    The work that an arrival finds has an atom ``P0`` at 0 and the density
    ``lambda P0 exp((lambda - mu) t)`` up to the patience, ``lambda P0 exp(lambda tau - mu t)``
    above.  Source: Baccelli and Hebuterne, Performance 81, 1981.
    """

    rate: float
    service_rate: float
    patience: float

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_rate=self.service_rate, patience=self.patience)

    @property
    def p_empty(self) -> float:
        """Probability of an empty system."""
        growth = self.rate - self.service_rate
        below = self.patience if growth == 0.0 else math.expm1(growth * self.patience) / growth
        above = math.exp(growth * self.patience) / self.service_rate
        return 1.0 / (1.0 + self.rate * (below + above))

    @property
    def p_abandon(self) -> float:
        """Share of the requests that give up."""
        growth = (self.rate - self.service_rate) * self.patience
        return self.rate * self.p_empty * math.exp(growth) / self.service_rate

    @property
    def utilisation(self) -> float:
        """Share of the time in which the server is busy."""
        return 1.0 - self.p_empty

    @property
    def mean_wait(self) -> float:
        """Mean time in the queue of all requests, those that give up included."""
        growth, tau = self.rate - self.service_rate, self.patience
        if growth == 0.0:
            served = tau * tau / 2.0
        else:
            served = (tau * math.exp(growth * tau) - math.expm1(growth * tau) / growth) / growth
        return self.rate * self.p_empty * served + tau * self.p_abandon


@dataclass(frozen=True)
class ClosedMM1:
    """M/M/1//N: clients that think for an exponential time, then wait for the answer.

    The server is idle as often as an Erlang loss system of N servers is full, with offered load
    ``think_time * mu``: the number that thinks is a Poisson variable cut off at N.  Source:
    Kleinrock, Queueing Systems 1, 1975, section 3.8 (the machine repairman).
    """

    clients: int
    think_time: float
    service_rate: float

    def __post_init__(self) -> None:
        require_positive(
            clients=self.clients, think_time=self.think_time, service_rate=self.service_rate
        )

    @property
    def utilisation(self) -> float:
        """Share of the time in which the server is busy."""
        return 1.0 - erlang_b(self.think_time * self.service_rate, self.clients)

    @property
    def throughput(self) -> float:
        """Answers per unit of time."""
        return self.utilisation * self.service_rate

    @property
    def mean_latency(self) -> float:
        """By Little's law on the whole cycle: ``N / throughput - think_time``."""
        return self.clients / self.throughput - self.think_time

    @property
    def mean_number(self) -> float:
        """Mean number that waits for an answer."""
        return self.throughput * self.mean_latency


__all__ = ["MD1K", "MM1D", "MM1K", "ClosedMM1", "MMcM", "erlang_b"]
