r"""What interactive traffic leaves of the servers, and the most that a backlog can get of it.

Let :math:`S(b, \ell)` be the time of a batch of b whose longest request has length :math:`\ell`,
and let

.. math:: w(\ell) = \min_{b,\ \ell' \ge \ell} S(b, \ell') / b

be the least time of a server that a request of length :math:`\ell` costs in any batch: its share
of the most efficient batch that it fits into.  With N servers, tiers i that arrive at
:math:`\lambda_i` requests per second, and a backlog with lengths L, no rule serves more than

.. math:: \text{bound} = \frac{N - \sum_i \lambda_i\, E[w_i]}{E[w(L)]}

requests of the backlog per second.  In a window of time T of a run that is

.. math:: \text{spare} = N T - \sum_{\text{others finished}} w, \qquad
          \text{share of bound} = \sum_{\text{backlog finished}} w \;/\; \text{spare}.

Why no rule exceeds it: share the time of every batch out evenly among its b members.  Each member
gets :math:`S(b, \ell') / b` with :math:`\ell'` at least its own length, and that is at least its
:math:`w`, whoever else is in the batch: an interactive request that rides in an offline batch, or
the other way round, is no exception, since w is the least over *all* batches that a request fits
into.  Where tiers have models of their own a mixed batch takes the slowest, which is only more.
Batches on a server do not overlap, so the w of all that finishes adds up to at most N T (and a
batch a server that began before the window).  What arrives has to be served: its w is taken off,
and the rest is the backlog's.

It is a bound for every order of service: a rule that takes the short requests of a backlog first
finishes more of them, but not more w.  Noise has mean 1 or more, so the bound holds in the mean; a
lucky stretch may lie above it by its luck.  It is a linear relaxation: it lets every request be in
its own best batch, which nobody who has to answer in time can do.

Sources: Neuts, Annals of Mathematical Statistics 38, 1967 (a queue served in batches is stable
below size over time); Boyd and Vandenberghe, Convex Optimization, 2004, section 4.3 (linear
relaxation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .service import Service
from .stability import useful_ns


def bound_per_s(
    servers: int, rates_per_s: Sequence[float], works_ns: Sequence[float], backlog: int
) -> float:
    """The most requests of a backlog that can be served per second; 0 where nothing is left.

    Args:
        servers: how many there are.
        rates_per_s: of each tier's arrivals; 0 for a backlog.
        works_ns: mean of w of each tier.
        backlog: the place of the tier.
    """
    needed = sum(rate * work for rate, work in zip(rates_per_s, works_ns, strict=True)) / 1e9
    return max(0.0, servers - needed) / works_ns[backlog] * 1e9


def least_work_ns(
    service: Service, length: NDArray[np.int32], tier: NDArray[np.int8]
) -> FloatArray:
    """The least time of a server that each request costs in any batch, float64 (N,): w.

    Between two edges of the table the least over sizes is concave in the length, so that the least
    over longer requests is here or at a longer edge.  Where servers have different profiles, the
    least of all profiles counts.

    Args:
        service: the profile.
        length: int32 (N,).
        tier: int8 (N,).
    """
    tables = service.tables_ns
    return np.asarray(np.min([_least(service, table, length, tier) for table in tables], axis=0))


def _least(
    service: Service, table: IntArray, length: NDArray[np.int32], tier: NDArray[np.int8]
) -> FloatArray:
    """W on a server with one profile, int64 (models, largest batch, edges)."""
    work = useful_ns(replace(service, service_ns=table, cluster=None), length, tier)
    sizes = np.arange(1, table.shape[1] + 1)[None, :, None]
    share = (table / sizes).min(axis=1)
    longer = np.minimum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    edge = np.minimum(np.searchsorted(service.length_edges, length), longer.shape[1] - 1)
    model = np.minimum(tier, len(longer) - 1) if len(tier) else 0
    return np.asarray(np.minimum(work, longer[model, edge]))
