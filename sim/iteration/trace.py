"""What happened in a run of iterations: columns per request, per token and per iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import IntArray, Tier
from sim.trace import REJECTED, SERVED, UNFINISHED

STEP = np.dtype(
    [
        ("start_ns", np.int64),
        ("finish_ns", np.int64),
        ("context", np.int64),  # tokens in memory of those who decode, padding included
        ("blocks", np.int64),  # of memory held while it runs
        ("prefill", np.int32),  # tokens of prompts and chunks, padding included
        ("sequences", np.int32),  # that decode, padding included
        ("running", np.int32),  # in the batch, computed in this iteration or not
        ("waiting", np.int32),  # after admission
        ("joined", np.int32),
        ("left", np.int32),  # preempted at its start
    ],
    align=True,
)
"""One row per iteration."""


@dataclass(frozen=True, eq=False)
class TokenTrace:
    """N requests in order of arrival, their tokens, and M iterations in order."""

    arrival_ns: IntArray
    """int64 (N,)"""
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]
    """int32 (N,): tokens that were wanted"""
    tier: NDArray[np.int8]
    lane: NDArray[np.int16]
    """int16 (N,); -1 where it was refused"""
    status: NDArray[np.int8]
    """int8 (N,): SERVED, REJECTED (too long for the engine) or UNFINISHED"""
    admitted: NDArray[np.int32]
    """int32 (N,): iteration in which it was first in the batch; -1 if never"""
    finished: NDArray[np.int32]
    """int32 (N,): iteration at whose end it was answered; -1 if never"""
    preempted: NDArray[np.int32]
    """int32 (N,): how often it was put back"""
    recomputed: IntArray
    """int64 (N,): tokens that it lost, and that had to be computed again"""
    offset: IntArray
    """int64 (N + 1,): where the tokens of each request begin"""
    token_step: NDArray[np.int32]
    """int32 (all tokens,): iteration at whose end each was there; -1 if never"""
    steps: NDArray[Any]
    """(M,) of :data:`STEP`"""
    blocks: int
    """blocks of memory in all"""
    tiers: tuple[Tier, ...]

    def __len__(self) -> int:
        return len(self.arrival_ns)

    @property
    def served(self) -> NDArray[np.bool_]:
        """Who was answered, bool (N,)."""
        found: NDArray[np.bool_] = self.status == SERVED
        return found

    def instant_ns(self, step: NDArray[np.integer[Any]]) -> IntArray:
        """End of iterations, int64; -1 where there is none."""
        ends = np.append(self.steps["finish_ns"], -1)
        found: IntArray = ends[step]
        return found

    def check(self, most: int | None = None) -> None:
        """Assert the numbered invariants.

        Raises:
            AssertionError: with the number of the invariant.
        """
        steps, n = self.steps, len(self)
        assert np.all(steps["finish_ns"] > steps["start_ns"]), "1: an iteration takes time"
        assert np.all(steps["start_ns"][1:] >= steps["finish_ns"][:-1]), "2: one at a time"
        assert np.all(np.isin(self.status, (SERVED, REJECTED, UNFINISHED))), "3: a fate for each"
        served = self.served
        wanted = np.diff(self.offset)
        assert np.array_equal(wanted, self.output), "4: a place for each token"
        there = self.token_step >= 0
        owner = np.repeat(np.arange(n), wanted)
        count = np.bincount(owner[there], minlength=n)
        assert np.array_equal(count[served], self.output[served]), "5: served means whole"
        assert np.all(count[self.status == REJECTED] == 0), "6: refused means nothing"
        together = (owner[1:] == owner[:-1]) & there[1:] & there[:-1]
        later = self.token_step[1:] > self.token_step[:-1]
        assert np.all(later[together]), "7: one token an iteration, in order"
        begun = self.admitted >= 0
        start_ns = steps["start_ns"][self.admitted[begun]]
        assert np.all(start_ns >= self.arrival_ns[begun]), "8: nobody starts before it arrives"
        last = self.token_step[self.offset[1:] - 1]
        assert np.all(self.finished[served] >= last[served]), "9: answered when all is there"
        assert np.all(steps["blocks"] <= self.blocks), "10: memory holds what it holds"
        assert steps["left"].sum() == self.preempted.sum(), "11: whoever is put back is counted"
        inside = int(steps["joined"].sum() - steps["left"].sum()) - int(served.sum())
        open_ = int((begun & (self.status == UNFINISHED)).sum())
        assert 0 <= inside <= open_, "12: whoever comes in goes out, or is still there"
        if most is not None:
            assert np.all(steps["running"] <= most), "13: no batch above the limit"
