"""One pass over the requests of a trace: what was finished in each section of time, by tier.

Requests are counted when they finish.  A batch that several tiers share counts for each in
proportion to its members, so that the tiers add up to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from policies.contract import FloatArray, IntArray

from .backlog import places_of
from .sections import Sections, overlap
from .service import Service
from .spare_capacity import least_work_ns
from .stability import useful_ns
from .trace import SERVED, Trace

CHUNK = 1 << 18
"""Requests at a time: temporaries stay in the cache, and 10 million requests need little memory."""


@dataclass
class Tally:
    """Sums over the requests that finish in each section; arrays are float64 (tiers, sections)."""

    shape: tuple[int, int]
    served: FloatArray = field(init=False)
    """Requests that finished."""
    good: FloatArray = field(init=False)
    """Those of them that met the SLO of their tier (all of them, where it has none)."""
    useful_ns: FloatArray = field(init=False)
    """Useful work of them, :func:`sim.stability.useful_ns`."""
    length: FloatArray = field(init=False)
    """Their lengths."""
    padded: FloatArray = field(init=False)
    """The lengths that they were padded to, with a share of the places that nobody had."""
    batches: FloatArray = field(init=False)
    """Batches that they took; a request in a batch of k takes 1 / k of it."""
    busy_ns: FloatArray = field(init=False)
    """Servers' time that their batches took within the section."""
    least_ns: FloatArray = field(init=False)
    """Least work of them in any batch, :func:`sim.spare_capacity.least_work_ns`; counted only where
    a tier is a backlog.
    """

    def __post_init__(self) -> None:
        for name in (
            "served", "good", "useful_ns", "length", "padded", "batches", "busy_ns", "least_ns",
        ):  # fmt: skip
            setattr(self, name, np.zeros(self.shape))


def tally(trace: Trace, service: Service, sections: Sections) -> Tally:
    """Count what finishes in each section of time."""
    tiers, count = len(trace.tiers), sections.count
    sums = Tally((tiers, count))
    slo_ns = np.array([tier.slo_ns for tier in trace.tiers], dtype=np.int64)
    padded_to = np.maximum(trace.batch_longest, service.length_edges[0]).astype(np.float64)
    # Nobody's places are everybody's padding; a batch of nobody of this trace has none to share.
    padded_to *= trace.batch_places / np.maximum(trace.batch_size, 1)
    for low in range(0, len(trace), CHUNK):
        _add(sums, trace, service, sections.edges_ns, slice(low, low + CHUNK), slo_ns, padded_to)
    _add_busy(sums, trace, sections.edges_ns)
    return sums


def _add(
    sums: Tally,
    trace: Trace,
    service: Service,
    edges_ns: IntArray,
    part: slice,
    slo_ns: IntArray,
    padded_to: FloatArray,
) -> None:
    """Add a slice of the requests."""
    tiers, count = sums.shape
    finish = trace.finish_ns[part]
    section = np.searchsorted(edges_ns, finish, side="left") - 1
    inside = np.flatnonzero((trace.status[part] == SERVED) & (section >= 0) & (section < count))
    if not len(inside):
        return
    tier, length = trace.tier[part][inside], trace.length[part][inside]
    batch = trace.batch[part][inside]
    key = section[inside] + tier * np.int64(count)
    good = finish[inside] - trace.arrival_ns[part][inside] <= slo_ns[tier]

    def add(to: FloatArray, weight: FloatArray | None) -> None:
        to += np.bincount(key, weight, tiers * count).reshape(tiers, count)

    add(sums.served, None)
    add(sums.good, good.astype(np.float64))
    add(sums.useful_ns, useful_ns(service, length, tier))
    if places_of(trace.tiers):
        add(sums.least_ns, least_work_ns(service, length, tier))
    add(sums.length, length.astype(np.float64))
    add(sums.padded, padded_to[batch])
    add(sums.batches, 1.0 / trace.batch_size[batch])


def _add_busy(sums: Tally, trace: Trace, edges_ns: IntArray) -> None:
    """Add the servers' time: exact to the edges of the sections, whenever the batches finish."""
    start, finish = trace.batch_start_ns, trace.batch_finish_ns
    tiers = sums.shape[0]
    if tiers == 1:
        sums.busy_ns[0] = overlap(start, finish, edges_ns)
        return
    for tier in range(tiers):
        own = trace.batch[(trace.tier == tier) & (trace.status == SERVED)]
        share = np.bincount(own, minlength=len(start)) / trace.batch_size
        sums.busy_ns[tier] = overlap(start, finish, edges_ns, share)


def attained(trace: Trace, sections: Sections, tiers: Sequence[int]) -> tuple[IntArray, IntArray]:
    """How many of the requests that arrived in each section met the SLO of their tier, of how many.

    Returns:
        int64 (sections,) twice.
    """
    met, asked = np.zeros((2, sections.count), dtype=np.int64)
    for s, (low, high) in enumerate(pairwise(sections.ids)):
        part = slice(low, high)
        spent = trace.finish_ns[part] - trace.arrival_ns[part]
        served = trace.status[part] == SERVED
        for tier in tiers:
            own = trace.tier[part] == tier
            asked[s] += np.count_nonzero(own)
            met[s] += np.count_nonzero(own & served & (spent <= trace.tiers[tier].slo_ns))
    return met, asked


def answered(trace: Trace, sections: Sections, tiers: Sequence[int]) -> tuple[IntArray, IntArray]:
    """How many of the requests that arrived in each section were served, of how many.

    Returns:
        int64 (sections,) twice.
    """
    served, asked = np.zeros((2, sections.count), dtype=np.int64)
    every = len(tiers) == len(trace.tiers)
    for s, (low, high) in enumerate(pairwise(sections.ids)):
        good = trace.status[low:high] == SERVED
        own = None if every else np.isin(trace.tier[low:high], tiers)
        asked[s] = high - low if own is None else np.count_nonzero(own)
        served[s] = np.count_nonzero(good if own is None else good & own)
    return served, asked
