"""Exponential service under arrivals that are not Poisson: paced, bursty, or of a jumping rate.

Units as in :mod:`sim.theory`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import require
from .theory_chain import require_positive, require_stable


@dataclass(frozen=True)
class GIM1:
    """GI/M/1: independent gaps of any law, exponential service, one server.

    Arrivals find n in the system with probability ``(1 - sigma) sigma^n``, where ``sigma`` solves
    ``sigma = A(mu (1 - sigma))`` with the Laplace transform A of the gaps; the latency is
    exponential of rate ``mu (1 - sigma)``.  Source: Kleinrock, Queueing Systems 1, 1975, section
    6.4.  ``paced``, ``gamma`` and ``hyperexponential`` are those of :mod:`sim.arrivals`.
    """

    rate: float
    service_rate: float
    transform: Callable[[float], float]
    """Laplace transform of the gaps, whose mean is ``1 / rate``."""

    def __post_init__(self) -> None:
        require_positive(rate=self.rate, service_rate=self.service_rate)
        require_stable(self.rate / self.service_rate)

    @classmethod
    def paced(cls, rate: float, service_rate: float) -> GIM1:
        """D/M/1: equal gaps."""
        return cls(rate, service_rate, lambda s: math.exp(-s / rate))

    @classmethod
    def gamma(cls, rate: float, service_rate: float, cv: float) -> GIM1:
        """Gamma gaps of a given coefficient of variation; 1/2 is Erlang-4."""
        scv = cv * cv
        return cls(rate, service_rate, lambda s: (1.0 + s * scv / rate) ** (-1.0 / scv))

    @classmethod
    def hyperexponential(cls, rate: float, service_rate: float, cv: float) -> GIM1:
        """Two phases with balanced means and a coefficient of variation above 1."""
        scv = cv * cv
        p = (1.0 + math.sqrt((scv - 1.0) / (scv + 1.0))) / 2.0
        phases = ((p, 2.0 * p * rate), (1.0 - p, 2.0 * (1.0 - p) * rate))
        return cls(rate, service_rate, lambda s: sum(q * each / (each + s) for q, each in phases))

    @cached_property
    def sigma(self) -> float:
        """Probability that an arrival has to wait."""
        from scipy.optimize import brentq

        def excess(sigma: float) -> float:
            return self.transform(self.service_rate * (1.0 - sigma)) - sigma

        spare = 0.5
        while excess(1.0 - spare) >= 0.0:  # 1 is a root, too; the one below it is wanted
            spare /= 2.0
        return float(brentq(excess, 0.0, 1.0 - spare, xtol=1e-15))

    @property
    def mean_latency(self) -> float:
        """Mean of the exponential latency."""
        return 1.0 / (self.service_rate * (1.0 - self.sigma))

    @property
    def mean_wait(self) -> float:
        """Latency without the service."""
        return self.mean_latency - 1.0 / self.service_rate

    @property
    def mean_number(self) -> float:
        """Mean number in the system over time."""
        return self.rate * self.mean_latency

    def latency_quantile(self, share: float) -> float:
        """Latency that a share of the requests does not exceed."""
        return -math.log1p(-share) * self.mean_latency


@dataclass(frozen=True)
class MMPPM1:
    """MMPP/M/1: a Poisson rate that jumps in a cycle of states, as :class:`sim.modulated.Mmpp`.

    A quasi-birth-death process: the rate matrix solves ``R = -(A0 + R^2 A2) A1^-1``, and the mean
    number is ``pi0 R (I - R)^-2 1``.  Source: Neuts, Matrix-Geometric Solutions in Stochastic
    Models, 1981, chapter 3.
    """

    rates: Sequence[float]
    """Arrival rate in each state."""
    switch: Sequence[float]
    """Rate of leaving each state for the next one, the last for the first."""
    service_rate: float

    def __post_init__(self) -> None:
        require(
            len(self.rates) == len(self.switch) >= 2,
            "rates and switch have the same length of at least 2",
            rates=self.rates,
            switch=self.switch,
        )
        require_positive(service_rate=self.service_rate)
        require_stable(self.rate / self.service_rate)

    @property
    def rate(self) -> float:
        """Mean arrival rate."""
        stay = 1.0 / np.asarray(self.switch, dtype=np.float64)
        return float(stay @ np.asarray(self.rates) / stay.sum())

    @cached_property
    def mean_number(self) -> float:
        """Mean number in the system."""
        leave, states = np.diag(np.asarray(self.switch, np.float64)), np.eye(len(self.rates))
        up, down = np.diag(np.asarray(self.rates, np.float64)), self.service_rate * states
        empty = np.roll(leave, 1, axis=1) - leave - up
        inverse = np.linalg.inv(empty - down)
        ratio, before = np.zeros_like(up), np.ones_like(up)
        while np.abs(ratio - before).max() > 1e-15:
            before, ratio = ratio, -(up + ratio @ ratio @ down) @ inverse
        rest = np.linalg.inv(states - ratio)
        balance = np.column_stack([empty + ratio @ down, rest.sum(axis=1)])
        wanted = np.append(np.zeros(len(states)), 1.0)
        none = np.linalg.lstsq(balance.T, wanted, rcond=None)[0]
        return float((none @ ratio @ rest @ rest).sum())

    @property
    def mean_latency(self) -> float:
        """By Little's law."""
        return self.mean_number / self.rate
