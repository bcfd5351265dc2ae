"""Arrivals in sequences: what begins, how many requests each has, and when they come.

1. The process beneath says when sequences begin; their first request comes then.
2. The others follow on schedule, whether or not the one before was answered: a speaker does not
   wait.  Gaps are equal, or gamma with a coefficient of variation.
3. Every request is late by a uniform jitter; the order within a sequence stays.
4. A run that ends cuts sequences off: each then ends with its last request in the run.
5. Sizes, gaps, jitter and who never says that it ends come from streams of their own, so that a
   longer draw begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray

from .arrivals import LATEST_NS, Arrivals, Instants, draw_arrivals
from .errors import WorkloadError, is_positive, require
from .pmf import LengthPmf
from .sequences import Sequences, ended

FIRST_DRAW = 256
"""Sequences that are drawn at first; more are drawn until the run is full."""


@dataclass(frozen=True)
class InSequences:
    """An arrival process of sequences as one of requests."""

    starts: Arrivals
    """When sequences begin."""
    sizes: LengthPmf
    """How many requests each has."""
    gap_ns: int
    """Mean time from one request of a sequence to the next."""
    gap_cv_inside: float = 0.0
    """Coefficient of variation of those times; 0: all are equal."""
    jitter_ns: int = 0
    """A request is up to so much later."""
    without_end: float = 0.0
    """Share of the sequences whose last request does not say so."""

    def __post_init__(self) -> None:
        require(self.gap_ns >= 0, "gap >= 0", gap_ns=self.gap_ns)
        require(self.jitter_ns >= 0, "jitter >= 0", jitter_ns=self.jitter_ns)
        cv = self.gap_cv_inside
        require(cv == 0 or is_positive(cv), "gap_cv >= 0", gap_cv=cv)
        require(0 <= self.without_end <= 1, "0 <= without_end <= 1", without_end=self.without_end)

    @property
    def mean_size(self) -> float:
        """Requests of a sequence."""
        return self.sizes.mean

    @property
    def rate_per_s(self) -> float:
        """Requests per second."""
        return self.starts.rate_per_s * self.mean_size

    @property
    def mean_open(self) -> float:
        """Sequences that are open at a time: from the first request to the last."""
        return self.starts.rate_per_s * (self.mean_size - 1.0) * self.gap_ns / 1e9

    @property
    def gap_cv(self) -> None:
        """Not known: requests of many sequences mix."""

    def at_rate(self, rate_per_s: float) -> Self:
        """As many requests per second by more or fewer sequences."""
        return replace(self, starts=self.starts.at_rate(rate_per_s / self.mean_size))

    def instants_ns(self, rng: np.random.Generator) -> Iterator[Instants]:
        """When requests come, whichever sequence they are of."""
        seeds = rng.bit_generator.seed_seq.spawn(5)  # type: ignore[attr-defined]
        known, count = 0, FIRST_DRAW
        while True:
            arrival_ns, _, whole = self._drawn(seeds, count)
            yield arrival_ns[known:whole]
            known, count = whole, 2 * count

    def draw(
        self,
        rng: np.random.Generator,
        requests: int | None = None,
        duration_ns: int | None = None,
    ) -> tuple[IntArray, Sequences]:
        """When requests come, int64 (N,), and which sequence each is of.

        Args:
            rng: a stream of its own.
            requests: at most so many.
            duration_ns: only those at or before this instant.

        Raises:
            WorkloadError: neither limit is given, or time would overflow.
        """
        if requests is None and duration_ns is None:
            raise WorkloadError("give requests or a duration: sequences have no end")
        seeds, count = rng.bit_generator.seed_seq.spawn(5), FIRST_DRAW  # type: ignore[attr-defined]
        while True:
            arrival_ns, sequences, whole = self._drawn(seeds, count)
            wanted = whole if requests is None else min(whole, requests)
            if duration_ns is not None:
                wanted = min(wanted, int(np.searchsorted(arrival_ns, duration_ns, side="right")))
            if wanted < whole or whole == len(arrival_ns) or wanted == requests:
                return arrival_ns[:wanted], ended(sequences, wanted)
            count *= 2

    def _drawn(self, seeds: Any, count: int) -> tuple[IntArray, Sequences, int]:
        """The requests of the first so many sequences, in order, and how many come before others.

        Those of a recorded process that has ended all do.
        """
        own = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        start_ns = draw_arrivals(self.starts, own[0], count)
        sizes = self.sizes.draw(own[1], len(start_ns)).astype(np.int64)
        of = np.repeat(np.arange(len(sizes)), sizes)
        firsts = np.cumsum(sizes) - sizes
        place = np.arange(len(of)) - firsts[of]
        since_ns = self._since_ns(own[2], place, firsts[of])
        late_ns = own[3].random(len(of)) * self.jitter_ns
        arrival_ns = np.minimum(start_ns[of] + np.rint(since_ns + late_ns), LATEST_NS)
        arrival_ns = arrival_ns.astype(np.int64)
        arrival_ns = arrival_ns[np.lexsort((arrival_ns, of))]  # nobody overtakes in a sequence
        says = np.zeros(len(of), dtype=np.int8)
        says[(firsts + sizes - 1)[own[4].random(len(sizes)) >= self.without_end]] = 1
        order = np.lexsort((place, of, arrival_ns))
        arrival_ns, of, says = arrival_ns[order], of[order], says[order]
        whole = len(of)
        if len(start_ns) == count:
            whole = int(np.searchsorted(arrival_ns, start_ns[-1], side="left"))
        return arrival_ns, Sequences(in_order_of_firsts(of), says), whole

    def _since_ns(self, rng: np.random.Generator, place: IntArray, first: IntArray) -> FloatArray:
        """From the beginning of a sequence to each request, before jitter."""
        if self.gap_cv_inside == 0.0:
            return np.asarray(place * float(self.gap_ns), dtype=np.float64)
        shape = 1.0 / self.gap_cv_inside**2
        gaps = rng.standard_gamma(shape, len(place)) * (self.gap_ns / shape)
        since = np.where(place > 0, gaps, 0.0).cumsum()
        return np.asarray(since - since[first], dtype=np.float64)


def in_order_of_firsts(of: IntArray) -> NDArray[np.int32]:
    """The same sequences, numbered in the order of their first requests, int32 (N,)."""
    _, first, inverse = np.unique(of, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse]
