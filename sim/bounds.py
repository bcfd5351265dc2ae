"""Lower bounds on latency that no batching rule can beat, for everything that no theory solves.

A request of class c (a length, or a tier and a length) in a batch of k is served for at least
``S(k, c)``: padding and larger models in the batch only add.  On average the servers have
``servers / rate`` for each request, and a request costs ``S / k`` of it.  Two bounds follow.

1. *No wait*: nobody waits, but the servers have to keep up.  Whatever the rule, the arrivals and
   the number of servers, sizes are chosen so that ``E[S / k] <= servers / rate``, and the mean
   latency is at least ``E[S]``.  For any price ``m >= 0`` of server time (weak duality)
   ``E[S] >= E_c[min_k S(k, c) (1 + m / k)] - m servers / rate``; the best price is taken.
2. *Fluid*: of the work that arrived after an instant s at most ``servers (t - s)`` is gone at t.
   With ``w = min_k S(k, c) / k`` the least work of a request, let X(t) be the w of all that wait,
   and of those in service the share of w that the expected rest of their batch is of its mean
   time.  X falls at a mean rate of at most ``servers``, since a batch holds no more w than its
   time, so E X(t) is at least the work in a tank with that drain, whatever the rule.  For Poisson
   arrivals the tank has the mean of Pollaczek and Khinchine,
   ``rate E[w^2] / 2 (servers - rate E[w])``.  A request in service counts for ``(1 + v) / 2`` of
   itself on average, where v is the squared coefficient of variation of a batch's time, so that
   ``E[w T] >= E X / rate + (1 - v) / 2 E[w S]`` if v is at most 1, and ``E[T] >= E[w T] / max w``.

Everybody has to be served: a rule that starves the long has a mean over the others.  Factors of
different batches are independent and no rule foresees them.  Where they are correlated, give the
law of the least factor: both proofs hold path by path for it.

Sources: Little, Operations Research 9, 1961; Kleinrock, Queueing Systems 2, 1976, section 2.7
(fluids); Boyd and Vandenberghe, Convex Optimization, 2004, section 5.2 (weak duality).
:func:`sim.theory_batch.largest_rate` bounds throughput.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from policies.contract import FloatArray

from .errors import require
from .theory_chain import require_positive
from .theory_noise import CONSTANT, ServiceNoise

STEPS = 50
"""Halvings: a price is valid however rough it is, so this is accuracy, not correctness."""

ROUGH = 1e-7
"""Relative width at which the search for a percentile ends, at its lower end."""


class Demand(NamedTuple):
    """What requests cost at least, without noise."""

    time: FloatArray
    """float64 (largest batch, classes): least time of a batch of k with such a request."""
    share: FloatArray
    """float64 (classes,): of the requests; adding up to 1."""


def demand_of(service: ArrayLike, share: ArrayLike = (1.0,)) -> Demand:
    """Demand of requests of different lengths.

    A table may say that a longer batch is faster; so the least over all longer lengths counts.

    Args:
        service: (largest batch,) for one length, or (largest batch, lengths) by increasing length.
        share: (lengths,), of the requests.
    """
    time, part = np.asarray(service, dtype=np.float64), np.asarray(share, dtype=np.float64)
    time = time[:, None] if time.ndim == 1 else time
    good = time.ndim == 2 and time.size > 0 and part.shape == (time.shape[1],)
    good = good and bool((np.isfinite(time) & (time > 0)).all() and (part >= 0).all())
    require(good, "service (sizes, lengths) above 0 and share (lengths,)", share=share)
    require(abs(part.sum() - 1.0) < 1e-9, "the shares add up to 1", share=float(part.sum()))
    return Demand(np.minimum.accumulate(time[:, ::-1], axis=1)[:, ::-1], part)


def joined(parts: Sequence[tuple[float, Demand]]) -> Demand:
    """Demand of several tiers together, each with its share; equal classes become one."""
    time = np.hstack([demand.time for _, demand in parts])
    share = np.concatenate([part * demand.share for part, demand in parts])
    classes, place = np.unique(time, axis=1, return_inverse=True)
    return Demand(classes, np.bincount(place.ravel(), weights=share) / share.sum())


def mean_load(rate: float, demand: Demand, servers: int, noise: ServiceNoise = CONSTANT) -> float:
    """The rate over the largest that is possible: at 1 and above no rule keeps up."""
    return rate * float(_work(_mean_time(demand, noise)) @ demand.share) / servers


def no_wait_bound(
    rate: float,
    demand: Demand,
    servers: int = 1,
    *,
    noise: ServiceNoise = CONSTANT,
    busy_weight: float = 0.0,
) -> float:
    """Least ``mean latency + busy_weight * utilisation`` if nobody waits and the servers keep up.

    Args:
        rate: of the arrivals; 0 where nothing says how many there are, as in a closed loop.
        demand: of the requests.
        servers: how many share the queue.
        noise: law of the factor on the service time.
        busy_weight: price of servers that are always busy, in the unit of the demand.

    Raises:
        WorkloadError: no rule keeps up.
    """
    _require_served(rate, demand, servers, noise)
    return _least_service(rate, demand, servers, noise, np.ones(len(demand.share)), busy_weight)


def fluid_bound(
    rate: float, demand: Demand, servers: int = 1, *, noise: ServiceNoise = CONSTANT
) -> float:
    """Least mean latency under Poisson arrivals by the work that is in the system; 0 if v > 1.

    For one length it is ``1 / 2 (servers max_k k/S(k) - rate)``, and half a service.

    Raises:
        WorkloadError: no rule keeps up.
    """
    require_positive(rate=rate)
    _require_served(rate, demand, servers, noise)
    work = _work(_mean_time(demand, noise))
    tank = float(work**2 @ demand.share) / 2.0 / (servers - rate * float(work @ demand.share))
    inside = _inside(demand, noise)
    if inside < 0.0:
        return 0.0
    own = _least_service(rate, demand, servers, noise, work, 0.0)
    return (tank + inside * own) / float(work.max())


def drawn_bound(
    arrival: FloatArray,
    classes: np.ndarray[tuple[int], np.dtype[np.int64]],
    demand: Demand,
    servers: int = 1,
    *,
    noise: ServiceNoise = CONSTANT,
) -> float:
    """Least mean latency of requests that have been drawn, by the fluid bound; 0 if v > 1.

    It holds for any arrivals: bursts, recorded traces, the first tenth left out.

    Args:
        arrival: float64 (requests,), not decreasing, in the unit of the demand.
        classes: int64 (requests,), of each request.
        demand: of the classes.
        servers: how many share the queue.
        noise: law of the factor on the service time.
    """
    inside = _inside(demand, noise)
    if inside < 0.0 or len(arrival) == 0:
        return 0.0
    mean = _mean_time(demand, noise)
    every = _work(mean)
    work = every[classes]
    drained = servers * np.diff(arrival, prepend=arrival[0])
    walk = np.cumsum(np.append(0.0, work[:-1]) - drained)
    level = walk - np.minimum.accumulate(walk) + work  # just after each arrival
    gap = np.append(np.diff(arrival), math.inf)
    lasts = np.minimum(gap, level / servers)
    area = float((level * lasts - servers * lasts**2 / 2.0).sum())
    own = inside * float(work @ mean.min(axis=0)[classes])
    return (area + own) / len(arrival) / float(every.max())


def percentile_bound(
    rate: float,
    demand: Demand,
    servers: int,
    portion: float,
    *,
    noise: ServiceNoise = CONSTANT,
) -> float:
    """Least time within which a portion of the requests can be served while the servers keep up.

    Those within x need batches that end within x; the others cost the least that is possible.  Let
    ``p(k, c)`` be the probability that a batch takes at most x.  No rule reaches the portion if
    ``E_c[min_k S/k - m p(k, c)] + m portion > servers / rate`` for some price m of success.

    Raises:
        WorkloadError: no rule keeps up, or a portion outside 0 to 1.
    """
    require(0.0 < portion < 1.0, "0 < portion < 1", portion=portion)
    _require_served(rate, demand, servers, noise)
    sizes = np.arange(1, len(demand.time) + 1)[:, None]
    cost = _mean_time(demand, noise) / sizes
    budget = servers / rate if rate > 0.0 else math.inf

    def possible(time: float) -> bool:
        chance = noise.below(time / demand.time * (1.0 + 1e-12))
        return _reaches(cost, chance, demand.share, portion, budget)

    high = float(demand.time.max())
    while not possible(high):
        high *= 2.0
    low = 0.0
    while high - low > ROUGH * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if possible(middle) else (middle, high)
    return low


def _reaches(
    cost: FloatArray, chance: FloatArray, share: FloatArray, portion: float, budget: float
) -> bool:
    """Whether no price shows that the portion cannot be reached within the budget."""
    if float(chance.max(axis=0) @ share) < portion * (1.0 - 1e-12):
        return False

    def dual(price: float) -> tuple[float, float]:
        total = cost - price * chance
        best = total.argmin(axis=0)[None]
        value = np.take_along_axis(total, best, axis=0)[0]
        reached = np.take_along_axis(chance, best, axis=0)[0]
        return float(value @ share) + price * portion, portion - float(reached @ share)

    return _highest(dual, float(cost.max()), enough=budget) <= budget * (1.0 + 1e-12)


def _least_service(
    rate: float,
    demand: Demand,
    servers: int,
    noise: ServiceNoise,
    weight: FloatArray,
    busy_weight: float,
) -> float:
    """Least ``E[weight S]``, with a price of busy time, so that the servers keep up."""
    time = _mean_time(demand, noise)
    each = time / np.arange(1, len(time) + 1)[:, None]
    if rate == 0.0:
        return float(weight * time.min(axis=0) @ demand.share)
    fixed = weight * time + busy_weight * rate / servers * each

    def dual(price: float) -> tuple[float, float]:
        total = fixed + price * each
        best = total.argmin(axis=0)[None]
        value = np.take_along_axis(total, best, axis=0)[0]
        spent = np.take_along_axis(each, best, axis=0)[0]
        return (
            float(value @ demand.share) - price * servers / rate,
            float(spent @ demand.share) - servers / rate,
        )

    return _highest(dual, float(weight.max()))


def _highest(
    dual: Callable[[float], tuple[float, float]], scale: float, enough: float = math.inf
) -> float:
    """Highest value of a concave function of a price, given with a slope; or one above enough."""
    value, slope = dual(0.0)
    low, high, best = 0.0, scale, value
    for _ in range(STEPS):
        if slope <= 0.0 or best > enough:
            break
        value, slope = dual(high)
        best = max(best, value)
        low, high = (high, 2.0 * high) if slope > 0.0 else (low, high)
    for _ in range(STEPS):
        if best > enough or high - low <= 1e-12 * high:
            break
        middle = (low + high) / 2.0
        value, slope = dual(middle)
        best = max(best, value)
        low, high = (middle, high) if slope > 0.0 else (low, middle)
    return best


def _mean_time(demand: Demand, noise: ServiceNoise) -> FloatArray:
    """Mean time, float64 (largest batch, classes)."""
    return np.asarray(demand.time * noise.mean(len(demand.time))[:, None])


def _work(mean: FloatArray) -> FloatArray:
    """Least server time of a request of each class, float64 (classes,)."""
    sizes = np.arange(1, len(mean) + 1)[:, None]
    return np.asarray((mean / sizes).min(axis=0))


def _inside(demand: Demand, noise: ServiceNoise) -> float:
    """Share of its service that a request in service is not counted for; negative if v > 1."""
    largest = len(demand.time)
    spread = noise.square(largest) / noise.mean(largest) ** 2
    return 1.0 - float(spread.max()) / 2.0


def _require_served(rate: float, demand: Demand, servers: int, noise: ServiceNoise) -> None:
    require(math.isfinite(rate) and rate >= 0.0, "rate >= 0", rate=rate)
    require_positive(servers=servers)
    load = mean_load(rate, demand, servers, noise)
    require(load < 1.0, "load < 1, or no rule keeps up", load=load)
