"""What the exact solutions share: stationary distributions, quantiles, Erlang's recursion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policies.contract import FloatArray

from .errors import is_positive, require


def require_positive(**values: float) -> None:
    """Refuse parameters that are not finite or not above 0.

    Raises:
        WorkloadError: with the name of the first.
    """
    for name, value in values.items():
        require(is_positive(value), f"{name} > 0", **{name: value})


def require_stable(load: float) -> None:
    """Refuse a queue without end that cannot serve what arrives.

    Raises:
        WorkloadError: the load is 1 or more.
    """
    require(load < 1.0, "load < 1, or the queue has no equilibrium", load=load)


def stationary(moves: FloatArray) -> FloatArray:
    """Stationary distribution of a Markov chain.

    Args:
        moves: float64 (states, states), transition probabilities.  What is missing from a row, the
            moves beyond a truncated state space, goes to the last state.

    Returns:
        float64 (states,).
    """
    balance = moves.T - np.eye(len(moves))
    balance[-1] = 1.0  # the equation of the last state follows from the others
    wanted = np.zeros(len(moves))
    wanted[-1] = 1.0
    share = np.maximum(np.linalg.solve(balance, wanted), 0.0)  # rounding leaves -1e-16 in the tail
    return np.asarray(share / share.sum())


def poisson_table(mean: FloatArray, counts: int) -> FloatArray:
    """Poisson probabilities of 0 to ``counts - 1`` for many means, float64 (means, counts)."""
    from scipy.special import gammaln, xlogy

    n = np.arange(counts)
    return np.asarray(np.exp(xlogy(n, mean[:, None]) - mean[:, None] - gammaln(n + 1.0)))


def quantile(cdf: Callable[[float], float], share: float, scale: float) -> float:
    """Time at which a continuous distribution function reaches a share.

    Args:
        cdf: of a time that is not negative.
        share: between the function's value at 0 and 1.
        scale: any time of the right order of magnitude.
    """
    from scipy.optimize import brentq

    require(0.0 < share < 1.0, "0 < share < 1", share=share)
    high = scale
    while cdf(high) < share:
        high *= 2.0
    return float(brentq(lambda time: cdf(time) - share, 0.0, high, xtol=1e-12 * high))


def erlang_b(offered: float, servers: int) -> float:
    """Erlang's B: the share lost by servers without a queue, whatever the law of service.

    ``1 / B(c) = 1 + c / (a B(c - 1))``  (Erlang 1917; Kleinrock, Queueing Systems 1, 1975, section
    3.6; insensitive to the law: Sevastyanov 1957).

    Args:
        offered: arrival rate times mean service time.
        servers: how many.
    """
    require(offered > 0.0, "offered > 0", offered=offered)
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = 1.0 / (1.0 + server / (offered * blocked))
    return blocked
