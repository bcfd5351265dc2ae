"""The best possible rule for batches on one server: a semi-Markov decision process, solved exactly.

Arrivals are Poisson, and all requests cost the same.  Decisions fall where the server is free: the
state is the queue ``n``, the action the size ``k`` of the batch to serve, 0 to wait for the next
arrival.  The cost is the number in the system over time (by Little's law the mean latency) and, if
it is wanted, a price of busy time.  Ages carry no information under Poisson arrivals and a cost
that is linear in time, so no rule without preemption has a lower mean: timers are no better.  It
says nothing about percentiles, deadlines, other arrivals or several servers.

1. Policy iteration: a rule is evaluated by one linear system, and improved in every state
   (Howard, Dynamic Programming and Markov Processes, 1960; for unequal times Puterman, Markov
   Decision Processes, 1994, section 11.4).  It ends after finitely many rules, here below 20.
2. Relative values grow as a quadratic function of the queue.  That function is known, and it is
   subtracted first: what is left is constant for long queues.  So the queue is cut without a bias:
   beyond the last state what is left is what it is in the last state.  (Xu et al., arXiv
   2301.12865, cut with an abstract cost of the tail.)
3. The optimum mostly serves all that wait from some length on, a control limit (Deb and Serfozo,
   Advances in Applied Probability 5, 1973), but nothing here assumes it: on staircases it is not.

Service times are float64 (largest batch,), ``service[k - 1]`` for a batch of k, in any unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from policies.contract import FloatArray, IntArray

from .errors import require
from .theory_batch import service_times, snap_table
from .theory_chain import require_positive, require_stable
from .theory_noise import CONSTANT, ServiceNoise

MOST_ITERATIONS = 200
"""Never seen to need more than 20; a guard against rounding that goes round in circles."""

MOST_STATES = 6000
"""Of one dense linear system; more would take a minute."""

NEGLIGIBLE = 1e-11
"""Share of the cost that the cut of the queue may be wrong by."""

SAME = 1e-11
"""Relative: a change of a rule has to gain more than rounding does."""


@dataclass(frozen=True)
class Optimum:
    """What :func:`solve_optimum` finds; times in the unit of the service."""

    rate: float
    mean_latency: float
    utilisation: float
    """Share of the time in which the server is busy."""
    mean_batch: float
    cost: float
    """``mean_latency + busy_weight * utilisation``: the least that any rule has."""
    take: IntArray
    """int64 (n,): how many of ``n`` that wait to serve; 0 waits, the last entry holds beyond."""
    iterations: int
    states: int


def solve_optimum(
    rate: float,
    service: ArrayLike,
    *,
    busy_weight: float = 0.0,
    noise: ServiceNoise = CONSTANT,
) -> Optimum:
    """Find the rule with the least ``mean latency + busy_weight * utilisation``.

    Args:
        rate: of the arrivals.
        service: time of batches of 1, 2, ..., without noise.
        busy_weight: price of a server that is always busy, in the unit of the service.
        noise: law of the factor on the service time, independent from batch to batch.

    Raises:
        WorkloadError: no rule can serve what arrives, or a parameter is out of range.
    """
    require_positive(rate=rate)
    good = math.isfinite(busy_weight) and busy_weight >= 0.0
    require(good, "busy_weight >= 0", busy_weight=busy_weight)
    plain = service_times(service)
    largest = len(plain)
    mean = plain * noise.mean(largest)
    load = rate * float((mean / np.arange(1, largest + 1)).min())
    require_stable(load)
    states = 2 * largest + 40
    while states <= MOST_STATES:
        process = _process(rate, plain, busy_weight, noise, states)
        rule = _best_rule(process)
        if _wrong_by(process, rule) < NEGLIGIBLE:
            return _summary(process, rule)
        states = 3 * states // 2
    wanted = f"a load, a largest batch and a noise that {MOST_STATES} states are enough for"
    require(False, wanted, load=load, largest_batch=largest)
    raise AssertionError("require raises")


class _Process(NamedTuple):
    """Actions 0 to the largest batch; 0 waits for one arrival, as if it served nobody."""

    rate: float
    busy_weight: float
    time: FloatArray
    """float64 (actions,): mean time until the next decision."""
    area: FloatArray
    """float64 (actions,): mean of rate x square of that time / 2, what arrivals of it add."""
    arrivals: FloatArray
    """float64 (actions, states): probabilities of the arrivals until the next decision."""
    last: int
    """The action for queues without end: the largest ``k / S(k)``."""
    pace: FloatArray
    """float64 (actions,): the time, less what the fluid part of the values accounts for."""
    fixed: FloatArray
    slope: FloatArray
    """float64 (actions,): the cost is ``fixed + slope n``, less the quadratic part."""

    @property
    def states(self) -> int:
        return int(self.arrivals.shape[1])


def _process(
    rate: float, plain: FloatArray, busy_weight: float, noise: ServiceNoise, states: int
) -> _Process:
    """Costs and times with the quadratic part of the values taken off.

    With ``d = k - rate S(k)``, the mean decrease of the queue, and h(n) the relative value,
    ``h(n) = a n^2 + (b - g s) n + e(n)``, where g is the average cost, ``a = S / 2d``,
    ``s = S / d`` and b makes both sides of the optimality equation equal for the last action.
    Then e solves the same equation with the costs and times given here.
    """
    largest = len(plain)
    mean = plain * noise.mean(largest)
    second = plain**2 * noise.square(largest)
    size = np.arange(largest + 1, dtype=np.float64)
    time = np.append(1.0 / rate, mean)
    arrived = np.append(1.0, rate * mean)
    spread = np.append(0.0, rate * mean + rate**2 * (second - mean**2))
    area = np.append(0.0, rate * second / 2.0)
    price = np.append(0.0, rate * busy_weight * mean)
    one = np.zeros((1, states))
    one[0, 1] = 1.0  # waiting ends with exactly one arrival
    down = size - arrived
    last = _last_action(time, down, area + price, spread)
    a = time[last] / (2.0 * down[last])
    b = (area + price + a * (spread + down**2))[last] / down[last]
    return _Process(
        rate=rate,
        busy_weight=busy_weight,
        time=time,
        area=area,
        arrivals=np.vstack([one, noise.arrivals(rate, plain, states)]),
        last=last,
        pace=time - time[last] / down[last] * down,
        fixed=area + price + a * (spread + down**2) - b * down,
        slope=time - 2.0 * a * down,
    )


def _last_action(time: FloatArray, down: FloatArray, cost: FloatArray, spread: FloatArray) -> int:
    """The action of the largest drain; among equals the one that costs least on the way."""
    drain = down[1:] / time[1:]
    best = np.flatnonzero(drain >= drain.max() * (1.0 - 1e-12)) + 1
    a = time[best] / (2.0 * down[best])
    linear = (cost[best] + a * (spread[best] + down[best] ** 2)) / down[best]
    return int(best[int(linear.argmin())])


class _Rule(NamedTuple):
    take: IntArray
    """int64 (states,)."""
    value: FloatArray
    """float64 (states,): relative values less their quadratic part; 0 in the last state."""
    often: FloatArray
    """float64 (states,): how often each state is met at decisions, in proportion."""
    gain: float
    """Average cost: of the number in the system, and of busy time."""
    iterations: int


def _best_rule(process: _Process) -> _Rule:
    """Policy iteration.

    The first rule serves the most efficient size that is possible: stable whenever any rule is.
    """
    table = snap_table(process.time[1:])
    take = np.asarray(table[np.minimum(np.arange(process.states), len(table) - 1)])
    for iteration in range(1, MOST_ITERATIONS + 1):
        value, gain = _evaluate(process, take)
        better = _improve(process, take, value, gain)
        if np.array_equal(better, take):
            return _Rule(take, value, _how_often(process, take), gain, iteration)
        take = better
    raise AssertionError(f"policy iteration went round in circles at rate {process.rate}")


def _evaluate(process: _Process, take: IntArray) -> tuple[FloatArray, float]:
    """Relative values float64 (states,), 0 in the last state, and the average cost."""
    from scipy.linalg import solve

    cost = process.fixed[take] + process.slope[take] * np.arange(len(take))
    found = solve(_system(process, take), cost)
    return np.append(found[1:], 0.0), float(found[0])


def _system(process: _Process, take: IntArray) -> FloatArray:
    """The equations of the average cost and of the values, save that of the last state, which is 0.

    The average cost comes first: as the last unknown, Gaussian elimination would amplify rounding
    a little in each row, by 1e16 in all (Wilkinson, J. ACM 8, 1961, has the classic example).
    """
    states = len(take)
    padded = np.hstack([np.zeros((len(process.time), states)), process.arrivals])
    begin = take * padded.shape[1] + states - (np.arange(states) - take)
    system = np.empty((states, states))
    system[:, 0] = process.pace[take]
    system[:, 1:] = -padded.ravel()[begin[:, None] + np.arange(states - 1)]
    system[np.arange(states - 1), np.arange(1, states)] += 1.0
    return system


def _improve(process: _Process, take: IntArray, value: FloatArray, gain: float) -> IntArray:
    """The best action in every state; the old one unless another is better by more than rounding.

    Values beyond the last state are 0, as in the last state.
    """
    states, actions = len(take), len(process.time)
    queue = np.arange(states)
    ahead = np.append(value, np.zeros(states - 1))
    after = process.arrivals @ np.lib.stride_tricks.sliding_window_view(ahead, states)
    rest = queue - np.arange(actions)[:, None]
    total = np.take_along_axis(after, np.maximum(rest, 0), axis=1)
    total += (process.fixed - gain * process.pace)[:, None] + process.slope[:, None] * queue
    total[rest < 0] = np.inf
    total[0, -1] = np.inf  # a server that waits for ever serves nobody
    best = total.argmin(axis=0)
    scale = max(float(np.abs(value).max()), gain * float(process.time.max()))
    keep = total[take, queue] <= total[best, queue] + SAME * scale
    return np.where(keep, take, best)


def _how_often(process: _Process, take: IntArray) -> FloatArray:
    """How often each state is met at decisions, in proportion: it solves the transposed system.

    The scale is that ``how often @ pace`` is 1.  For long queues the pace is 0, so that means which
    are taken with what the fluid accounts for subtracted do not feel the cut of the queue.
    """
    from scipy.linalg import solve

    wanted = np.zeros(len(take))
    wanted[0] = 1.0
    return np.asarray(solve(_system(process, take), wanted, transposed=True))


def _wrong_by(process: _Process, rule: _Rule) -> float:
    """Bound on the relative error of the cut: how far from constant the last values are.

    Beyond the last state they are taken for what the last one is; what the longest tenth of the
    queues differs from it, weighted by how often they are met, is more than that can be wrong.
    """
    longest = slice(-(process.states // 10), None)
    differs = float(np.abs(rule.often[longest]) @ np.abs(rule.value[longest]))
    return differs / rule.gain


def _summary(process: _Process, rule: _Rule) -> Optimum:
    """The means, by renewal and reward."""
    waits, last = rule.take == 0, process.last
    down = rule.take - np.where(waits, 1.0, process.rate * process.time[rule.take])
    drain = last - process.rate * process.time[last]
    idle = float(rule.often[waits].sum()) / process.rate
    batches = float(rule.often @ (np.where(waits, 0.0, 1.0) - down / drain))
    cost = rule.gain / process.rate
    return Optimum(
        rate=process.rate,
        mean_latency=cost - process.busy_weight * (1.0 - idle),
        utilisation=1.0 - idle,
        mean_batch=process.rate / batches,
        cost=cost,
        take=_trimmed(rule.take, last),
        iterations=rule.iterations,
        states=process.states,
    )


def _trimmed(take: IntArray, last: int) -> IntArray:
    """The table up to where one action holds for all longer queues."""
    whole = np.append(take, last)
    differs = np.flatnonzero(whole != last)
    return np.asarray(whole[: int(differs[-1]) + 2], dtype=np.int64)
