"""What continuous batching does in theory: an exact chain, limits of the rate, bounds for any rule.

1. Times are in any unit, rates per that unit; ``step`` is float64 (largest batch,), ``step[n - 1]``
   the time of an iteration of ``n`` sequences.
2. Prompts cost as much as a token: an iteration takes in whoever waits, and each in it has one
   more token at its end.
3. Outputs are geometric in the chain, and anything in the limits.

Sources: Yu et al., "Orca", OSDI 2022 (iteration-level scheduling); Li, Dai and Peng,
arXiv:2504.07347, 2025 (rules that work on all they hold reach the largest rate, those that wait for
whole requests do not).  The chain is that of bulk service with feedback, solved by renewal-reward
as in :mod:`sim.theory_batch`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from policies.contract import FloatArray
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes, step_ns
from sim.errors import require
from sim.pmf import LengthPmf
from sim.theory_chain import poisson_table, require_positive, require_stable, stationary

from .serving import Serving
from .workload import TokenWorkload


@dataclass(frozen=True)
class IterationQueue:
    """What :func:`solve_iterations` finds, all of it exact."""

    rate: float
    mean_latency: float
    """From arrival to the last token."""
    mean_number: float
    """In the system, over time."""
    mean_active: float
    """Sequences of an iteration, mean over iterations."""
    utilisation: float
    """Share of the time in which an iteration runs."""
    token_rate: float
    """Tokens generated per unit of time."""


def solve_iterations(
    rate: float, step: ArrayLike, mean_tokens: float, states: int | None = None
) -> IterationQueue:
    """Solve Poisson arrivals that join at the next iteration, and outputs of geometric length.

    With ``m`` in the system before an iteration, ``k = min(m, largest batch)`` take part, each
    ends with probability ``p = 1 / mean_tokens``, and afterwards there are
    ``m - Bin(k, p) + Poisson(rate step(k))``.

    Args:
        rate: of the arrivals.
        step: time of an iteration of 1, 2, ... sequences.
        mean_tokens: of an output, at least 1.
        states: numbers in the system that are told apart; by default enough.

    Raises:
        WorkloadError: the rate cannot be served.
    """
    time = np.asarray(step, dtype=np.float64)
    require_positive(rate=rate, shortest_iteration=float(time.min()))
    require(mean_tokens >= 1.0, "mean_tokens >= 1", mean_tokens=mean_tokens)
    most = len(time)
    load = rate / continuous_rate(time, mean_tokens)
    require_stable(load)
    states = states or int(most + 60 + min(3000.0, 28.0 * np.sqrt(most) / (1.0 - load)))
    ends = binomial_table(most, 1.0 / mean_tokens)
    come = poisson_table(rate * time, states)
    moves = np.zeros((states, states))
    begin = np.maximum(np.arange(states), 1)
    taken = np.minimum(begin, most)
    for m in range(states):
        k = taken[m]
        spread = np.convolve(ends[k, k::-1], come[k - 1])  # by how many are left of the k, and come
        lowest = begin[m] - k
        room = states - lowest
        moves[m, lowest:] = spread[:room]
    share = stationary(moves)
    number = np.arange(states)
    cycle = float(share @ ((begin - number) / rate + time[taken - 1]))
    inside = begin * time[taken - 1] + rate * time[taken - 1] ** 2 / 2.0
    mean_number = float(share @ inside) / cycle
    return IterationQueue(
        rate=rate,
        mean_latency=mean_number / rate,
        mean_number=mean_number,
        mean_active=float(share @ taken),
        utilisation=float(share @ time[taken - 1]) / cycle,
        token_rate=float(share @ taken) / cycle,
    )


def binomial_table(most: int, share: float) -> FloatArray:
    """Probabilities of 0 to ``k`` of ``k``, float64 (most + 1, most + 1)."""
    table = np.zeros((most + 1, most + 1))
    table[0, 0] = 1.0
    for k in range(1, most + 1):
        table[k] = (1.0 - share) * table[k - 1]
        table[k, 1:] += share * table[k - 1, :-1]
    return table


# the largest rates


def continuous_rate(step: ArrayLike, mean_tokens: float) -> float:
    """Requests per unit of time while the batch is always full: n / (E[tokens] s(n))."""
    time = np.asarray(step, dtype=np.float64)
    return len(time) / (mean_tokens * float(time[-1]))


def request_level_rate(step: ArrayLike, tokens: LengthPmf, *, padded: bool) -> float:
    """Requests per unit of time of full batches of whole requests.

    Padded, a batch of B takes ``E[max of B outputs]`` iterations of B.  Otherwise those that are
    done drop out, and iteration ``t`` has as many as have more than ``t - 1`` tokens:
    ``Bin(B, P(tokens > t - 1))``.  Exact for any distribution of outputs.
    """
    time = np.asarray(step, dtype=np.float64)
    size = len(time)
    if padded:
        return size / (longest_of(tokens, size) * float(time[-1]))
    zero = np.append(0.0, time)
    above, lasts = _above(tokens)
    whole = np.array([_binomial(size, share) @ zero for share in above])
    return size / float(whole @ lasts)


def longest_of(tokens: LengthPmf, count: int) -> float:
    """Mean of the longest of ``count`` independent outputs, exact from their probabilities."""
    above, lasts = _above(tokens)
    return float((1.0 - (1.0 - above) ** count) @ lasts)


def _above(tokens: LengthPmf) -> tuple[FloatArray, FloatArray]:
    """Shares of outputs that still go on, and for how many iterations that is so."""
    reached = 1.0 - np.append(0.0, np.cumsum(tokens.probability)[:-1])
    return np.clip(reached, 0.0, 1.0), np.diff(tokens.length, prepend=0).astype(np.float64)


def _binomial(count: int, share: float) -> FloatArray:
    """Probabilities of 0 to ``count``."""
    from scipy.stats import binom

    return np.asarray(binom.pmf(np.arange(count + 1), count, share))


# memory


def sequences_in_memory(engine: Engine, prompt: LengthPmf, output: LengthPmf) -> float:
    """The most sequences that the memory can hold, in the mean over many iterations.

    A request holds blocks for ``prompt + j - 1`` tokens while its ``j``-th is computed, over its
    iterations ``E[sum of its blocks] / E[its iterations]`` in the mean.  No rule that reads prompts
    in one piece and gives all in the batch their next token can have more of them than the memory
    divided by that (Little's law, with iterations for time); lengths are independent.
    """
    blocks, count = 0.0, 0.0
    above, lasts = _above(output)
    ends = np.cumsum(lasts).astype(np.int64)
    goes_on = np.repeat(above, lasts.astype(np.int64))
    iterations = np.arange(int(ends[-1]))
    for length, share in zip(prompt.length.tolist(), prompt.probability.tolist(), strict=True):
        held = -(-(length + iterations) // engine.block_tokens)
        blocks += share * float(held @ goes_on)
        count += share * float(goes_on.sum())
    return float(min(engine.sequences, engine.blocks * count / blocks))


# any rule


def least_latency_ns(workload: TokenWorkload, serving: Serving) -> FloatArray:
    """What no rule can be faster than, float64 (N,): each request alone, without noise.

    Where an iteration has a fixed part, and more work never makes it shorter, a request takes at
    least the reading of its prompt and an iteration for each further token.  Iterations are whole
    nanoseconds, so each may be half of one shorter.
    """
    times = serving.times
    longest = int(workload.output.max(initial=1))
    found = np.empty(len(workload))
    for prompt in np.unique(workload.prompt).tolist():
        mine = workload.prompt == prompt
        spent = np.cumsum([_alone_ns(times, prompt, k) for k in range(longest)])
        found[mine] = spent[workload.output[mine] - 1]
    return found


def _alone_ns(times: StepTimes, prompt: int, generated: int) -> float:
    if generated == 0:
        return step_ns(times, float(prompt), 0.0, 0.0, 0.5 * prompt * (prompt + 1)) - 0.5
    return step_ns(times, 0.0, 1.0, float(prompt + generated - 1), 0.0) - 0.5
