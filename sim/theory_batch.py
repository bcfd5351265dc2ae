"""Batch service on one server, solved exactly for any rule that looks at the queue length alone.

The state is the queue at the end of a service.  A rule is a table: ``take[n]`` requests of ``n``
that wait are served at once, 0 waits for one more; the last entry holds for longer queues, too.
With ``pi`` the stationary distribution of the chain, renewal-reward gives every mean: of the
cycle, of the batch, and of the integral of the number in the system, hence by Little's law of the
latency.  Sources: Bailey, J. Royal Statistical Society B 16, 1954 (the chain); Neuts, Annals of
Mathematical Statistics 38, 1967 (a minimum size); Ross, Stochastic Processes, 1996, section 3.6.

Service times are float64 (largest batch,), ``service[k - 1]`` for a batch of k.  Units as in
:mod:`sim.theory`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.contract import FloatArray, IntArray

from .errors import require
from .theory_chain import require_positive, require_stable, stationary
from .theory_noise import CONSTANT, Constant, Gamma, ServiceNoise


@dataclass(frozen=True)
class BatchQueue:
    """What :func:`solve_batches` finds, all of it exact."""

    rate: float
    mean_latency: float
    """Of the requests that are not rejected."""
    mean_number: float
    """In the system, over time."""
    mean_batch: float
    mean_batch_of_request: float
    """Mean size of the batch that a request is in: large batches hold more requests."""
    utilisation: float
    """Share of the time in which the server is busy."""
    batch_rate: float
    """Batches per unit of time."""
    p_empty: float
    """Probability that a batch leaves nobody behind at its end."""
    p_loss: float
    """Share of the requests that are rejected."""
    left: FloatArray
    """float64 (states,): probabilities of the queue at the end of a batch."""


def solve_batches(
    rate: float,
    service: ArrayLike,
    take: Sequence[int] | IntArray | None = None,
    *,
    cv: float = 0.0,
    noise: ServiceNoise = CONSTANT,
    room: int | None = None,
) -> BatchQueue:
    """Solve Poisson arrivals, one server, and a rule that is a table.

    Args:
        rate: of the arrivals.
        service: mean time of batches of 1, 2, ...
        take: how many of ``n`` that wait to serve, by ``n``; by default all that fit (greedy).
        cv: coefficient of variation of the service time, a gamma variable; 1 is exponential.
        noise: any other law of the factor on the service time; give this or ``cv``.
        room: arrivals that find so many waiting are rejected; only with constant times.

    Raises:
        WorkloadError: the rule cannot serve what arrives, or the table contradicts the service.
    """
    time = service_times(service)
    table = _checked(greedy_table(len(time)) if take is None else np.asarray(take), len(time))
    require_positive(rate=rate)
    require(cv == 0.0 or noise == CONSTANT, "cv or noise, not both", cv=cv, noise=noise)
    noise = noise if cv == 0.0 else Gamma(cv)
    constant = isinstance(noise, Constant)
    require(room is None or constant, "cv = 0 where room is given", cv=cv, room=room)
    mean, second = time * noise.mean(len(time)), time**2 * noise.square(len(time))
    states = _states(rate, mean, second, table) if room is None else room + 1
    begin = _begins(table, states)
    size = table[np.minimum(begin, len(table) - 1)]
    busy, rest = mean[size - 1], begin - size
    moves = np.zeros((states, states))
    arrivals = noise.arrivals(rate, time, states)
    for n in range(states):
        moves[n, rest[n] :] = arrivals[size[n] - 1, : states - rest[n]]
    left = stationary(moves)

    queue = np.arange(states)
    cycle = float(left @ ((begin - queue) / rate + busy))
    waited = (begin * (begin - 1) - queue * (queue - 1)) / 2.0 / rate
    if room is None:
        served = begin * busy + rate * second[size - 1] / 2.0
    else:
        served = size * busy + _bounded(rate, busy, rest, room)
    number = float(left @ (waited + served)) / cycle
    accepted = float(left @ size) / cycle
    return BatchQueue(
        rate=rate,
        mean_latency=number / accepted,
        mean_number=number,
        mean_batch=float(left @ size),
        mean_batch_of_request=float(left @ size**2 / (left @ size)),
        utilisation=float(left @ busy) / cycle,
        batch_rate=1.0 / cycle,
        p_empty=float(left[0]),
        p_loss=0.0 if room is None else 1.0 - accepted / rate,
        left=left,
    )


@dataclass(frozen=True)
class BatchServers:
    """What :func:`solve_servers` finds, all of it exact."""

    mean_latency: float
    mean_batch: float
    utilisation: float
    p_wait: float
    """Probability that all servers are busy on arrival."""


def solve_servers(rate: float, service_rate: float, largest: int, servers: int) -> BatchServers:
    """Solve greedy batches on several servers, for exponential times that no size changes.

    The number of busy servers and, while all are busy, of those that wait are a Markov chain in
    continuous time: M/M^[1,largest]/servers.
    """
    require_positive(rate=rate, service_rate=service_rate, largest=largest, servers=servers)
    load = rate / (servers * service_rate * largest)
    require_stable(load)
    states = servers + 5 * largest + math.ceil(25.0 * largest / (1.0 - load))
    fastest = rate + servers * service_rate
    moves = np.diag(np.full(states - 1, rate / fastest), 1)
    for state in range(1, states):
        taken = 1 if state <= servers else min(state - servers, largest)
        moves[state, state - taken] += min(state, servers) * service_rate / fastest
    moves[np.arange(states), np.arange(states)] += 1.0 - moves.sum(axis=1)
    share = stationary(moves)
    busy = float(share @ np.minimum(np.arange(states), servers))
    waiting = float(share @ np.maximum(np.arange(states) - servers, 0))
    return BatchServers(
        mean_latency=waiting / rate + 1.0 / service_rate,
        mean_batch=rate / (service_rate * busy),
        utilisation=busy / servers,
        p_wait=float(share[servers:].sum()),
    )


def service_times(service: ArrayLike) -> FloatArray:
    """Service times as float64 (largest batch,), all positive."""
    time = np.asarray(service, dtype=np.float64)
    good = time.ndim == 1 and time.size > 0 and bool((np.isfinite(time) & (time > 0)).all())
    require(good, "service is a list of times above 0", service=service)
    return time


def linear_service(base: float, per_request: float, largest: int) -> FloatArray:
    """``base + per_request k`` for batches of 1 to ``largest``, float64 (largest,)."""
    return base + per_request * np.arange(1, largest + 1, dtype=np.float64)


def greedy_table(largest: int, smallest: int = 1) -> IntArray:
    """Serve all that fit as soon as ``smallest`` wait; ``smallest = largest`` is a static batch."""
    size = np.arange(largest + 1)
    return np.where(size < smallest, 0, size)


def snap_table(service: ArrayLike) -> IntArray:
    """Serve the size that is possible with the most requests per unit of time, the larger on ties.

    The table of :class:`policies.snap.Snap`.
    """
    time = service_times(service)
    size = np.arange(1, len(time) + 1)
    pace = size / time
    pace = np.round(pace / pace.max(), 12)
    best = np.maximum.accumulate(np.where(pace >= np.maximum.accumulate(pace), size, 0))
    return np.append(0, best)


def largest_rate(service: ArrayLike, servers: int = 1) -> float:
    """The rate that no rule can exceed: the best ``k / S(k)``, on all servers.

    Greedy rules with a largest batch of c saturate at ``c / S(c)``, which is less where a smaller
    batch is more efficient.
    """
    time = service_times(service)
    return servers * float((np.arange(1, len(time) + 1) / time).max())


def balance_size(rate: float, service: ArrayLike, servers: int = 1) -> int:
    """Smallest batch size at which the servers keep up: ``lambda S(k) <= servers k``.

    For ``S(k) = a + b k`` it is ``lambda a / (servers - lambda b)``, rounded up.
    """
    time = service_times(service)
    enough = rate * time <= servers * np.arange(1, len(time) + 1)
    require(bool(enough.any()), "rate <= largest_rate(service, servers)", rate=rate)
    return int(np.argmax(enough)) + 1


def light_traffic_latency(rate: float, alone: float) -> float:
    """Mean latency of greedy batches at a low rate: ``S(1) + lambda S(1)^2 / 2 + O(lambda^2)``.

    The first term serves an arrival alone, the second lets it find one in service.
    """
    return alone + rate * alone * alone / 2.0


def mean_latency_of_batch(rate: float, base: float, per_request: float, mean_batch: float) -> float:
    """Mean latency of greedy batches without a cap, as a function of the mean batch size.

    An identity for ``S(k) = base + per_request k``: both follow from the first two moments of the
    batch.  It falls with the mean batch.  Source: Inoue, arXiv 1912.06322, section 3.

    Args:
        rate: of the arrivals.
        base: time of a batch that does not depend on its size.
        per_request: time that each request adds.
        mean_batch: mean size of the batches, measured or exact.
    """
    share, idle = rate * per_request, rate * base
    require_stable(share)
    factor = (1.0 + 2.0 * share * idle + idle * idle / mean_batch) / (1.0 - share * share)
    own = per_request + share * per_request / 2.0
    return own * factor + base + share * base + idle * base / (2.0 * mean_batch)


def inoue_bound(rate: float, base: float, per_request: float) -> float:
    """Upper bound on the mean latency of greedy batches without a cap, in closed form.

    The identity of :func:`mean_latency_of_batch` at the two lower bounds of the mean batch, 1 and
    ``lambda base / (1 - lambda per_request)``.  Source: Inoue, arXiv 1912.06322, theorem 2.
    """
    share = rate * per_request
    require_stable(share)
    smallest = max(1.0, rate * base / (1.0 - share))
    return mean_latency_of_batch(rate, base, per_request, smallest)


def _checked(take: NDArray[np.generic], largest: int) -> IntArray:
    """A table as int64 (n,) whose entries can be served."""
    table = take.astype(np.int64)
    counts = np.arange(len(table))
    good = bool((table >= 0).all() and (table <= np.minimum(counts, largest)).all())
    rule = f"0 <= take[n] <= min(n, {largest}), and the last entry serves"
    require(len(table) > 1 and good and table[-1] > 0, rule, take=table.tolist())
    return table


def _states(rate: float, mean: FloatArray, second: FloatArray, table: IntArray) -> int:
    """Queue lengths to keep: beyond them less than 1e-15 of the probability is left."""
    last = int(table[-1])
    load = rate * float(mean[last - 1]) / last
    require_stable(load)
    width = 1.0 + last * float(second[last - 1] / mean[last - 1] ** 2 - 1.0)
    return len(table) + 5 * len(mean) + math.ceil(25.0 * width / (1.0 - load))


def _begins(table: IntArray, states: int) -> IntArray:
    """Queue at which the next batch begins, from each queue at the end of the last."""
    begin = np.arange(states)
    for n in range(min(len(table), states) - 1, -1, -1):
        if table[n] == 0:
            require(n + 1 < states, "some table entry within the room serves", take=table.tolist())
            begin[n] = begin[n + 1]
    return begin


def _bounded(rate: float, busy: FloatArray, rest: IntArray, room: int) -> FloatArray:
    """Integral of ``min(room, rest + arrivals)`` over a constant service, float64 (states,)."""
    from scipy.stats import poisson

    result = rest * busy
    for more in range(1, room + 1):
        late = poisson.sf(more - 1, rate * busy) * busy
        late -= poisson.sf(more, rate * busy) * more / rate
        result += np.where(rest + more <= room, late, 0.0)
    return np.asarray(result)
