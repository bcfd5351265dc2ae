"""A table of service times from what a service was seen to do, and what lies beyond it.

1. The time of a batch is ``base + per request x size + per length x size x longest``, none below
   zero, fitted to the batches with the least absolute relative error: a few slow batches do not
   move it.
2. Sizes that ran often are then set to their own median, and so are ranges of lengths: GPUs are
   not linear.  A size that never ran takes the correction of its neighbours.
3. Slow stretches and cold starts are left out: the largest batches may have run in them alone.
4. A larger batch never takes less time.
5. Beyond the largest size that is known, times go on with the slope of the upper half of the known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from policies.contract import FloatArray, IntArray
from sim.service import Service

from .pace import usual_ns
from .seen import Seen
from .stretches import stretches_of

FITTED = 6_000
"""Batches that the formula is fitted to, spread over the run: more change nothing but time."""
PASSES = 3
"""Fits, each without the slow stretches that the one before showed."""
OFTEN = 8
"""Batches of which a median is taken for its own correction."""
EDGES = 6
"""Lengths between which times are interpolated."""
BEYOND = 4
"""Sizes are extended to so many times the largest known one."""
LARGEST = 512
"""...but to no more than this."""


def fitted_service(seen: Seen) -> Service:
    """The service of a run, without noise, up to the largest batch that was seen."""
    took = seen.took_ns.astype(np.float64)
    calm = np.ones(len(took), dtype=bool)
    for _ in range(PASSES):
        formula = _formula(seen.batch_size[calm], seen.batch_longest[calm], took[calm])
        slowdown = took / _line(formula, seen.batch_size, seen.batch_longest)
        found = stretches_of(seen, slowdown)
        calm = ~(found.cold | found.slow)
    size, longest = seen.batch_size, seen.batch_longest
    sizes = np.arange(1, int(size.max()) + 1)
    by_size = _corrections(size[calm], slowdown[calm], sizes)
    edges = _edges(longest)
    left = slowdown / by_size[size - 1]
    nearest = np.abs(longest[:, np.newaxis] - edges).argmin(axis=1)
    by_length = _corrections(nearest[calm] + 1, left[calm], np.arange(1, len(edges) + 1))
    table = _line(formula, sizes[:, np.newaxis], edges[np.newaxis, :])
    table = np.maximum.accumulate(table * by_size[:, np.newaxis] * by_length, axis=0)
    times = np.maximum(np.rint(table), 1).astype(np.int64)
    return Service(times[np.newaxis], edges, seen.servers)


def spread(seen: Seen, service: Service) -> float:
    """Median of how far batches are from what the table says, as a share of it."""
    return float(np.median(np.abs(seen.took_ns / usual_ns(seen, service) - 1.0)))


def _formula(size: IntArray, longest: IntArray, took: FloatArray) -> FloatArray:
    """Base, per request and per length in ns (rule 1), by reweighted least squares."""
    some = np.unique(np.linspace(0, len(size) - 1, FITTED).astype(np.int64))
    size, longest, took = size[some], longest[some], took[some]
    columns = np.stack([np.ones(len(size)), size, size * longest], axis=1)
    if longest.min() == longest.max():
        columns[:, 2] = 0.0
    columns = columns / took[:, np.newaxis]
    weight, found = np.ones(len(size)), np.zeros(3)
    for _ in range(10):
        found, _rest = nnls(columns * weight[:, np.newaxis], weight)
        weight = 1.0 / np.sqrt(np.maximum(np.abs(columns @ found - 1.0), 0.01))
    return np.asarray(found)


def _line(formula: FloatArray, size: IntArray, longest: IntArray) -> FloatArray:
    base, per_request, per_length = formula
    return np.asarray(np.maximum(base + per_request * size + per_length * size * longest, 1.0))


def _corrections(group: IntArray, ratio: FloatArray, groups: IntArray) -> FloatArray:
    """float64 (groups,): median ratio of the groups seen often, interpolated for the others."""
    counts = np.bincount(group, minlength=int(groups[-1]) + 1)[groups]
    often = groups[counts >= OFTEN]
    if not len(often):
        return np.ones(len(groups))
    medians = np.array([np.median(ratio[group == each]) for each in often])
    return np.asarray(np.interp(groups, often, medians))


def _edges(longest: IntArray) -> IntArray:
    """Lengths of the table: from the shortest to the longest batch seen."""
    return np.unique(np.rint(np.geomspace(longest.min(), longest.max(), EDGES)).astype(np.int64))


def extended(service: Service) -> Service:
    """Times beyond the largest known batch (rule 5), of every profile."""
    known = service.largest_batch
    most = max(known, min(BEYOND * known, LARGEST))
    group = service.cluster
    if group is not None and group.service_ns.size:
        group = replace(group, service_ns=_beyond(group.service_ns, most))
    return replace(service, service_ns=_beyond(service.service_ns, most), cluster=group)


def _beyond(table: IntArray, most: int) -> IntArray:
    """Tables int64 (..., sizes, edges) with more sizes."""
    known = table.shape[-2]
    low = max(1, known // 2)
    last = table[..., -1:, :].astype(np.float64)
    per_request = last if low == known else (last - table[..., low - 1 : low, :]) / (known - low)
    more = np.arange(1, most - known + 1)[:, np.newaxis]
    beyond = np.rint(last + np.maximum(per_request, 0.0) * more).astype(np.int64)
    return np.concatenate([table, beyond], axis=-2)
