"""Pauses of a server are told from its log, and drawn as often as they were there."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.export.setting import Costs
from experiments.stacks.calibrate import Overheads
from experiments.stacks.contract import Ruling
from experiments.stacks.learned import Past
from experiments.stacks.pauses import Pauses, pauses_of
from experiments.stacks.predict import simulated
from sim.workload import Workload

MS = 1_000_000
COSTS = Costs(
    np.array([[20, 40], [30, 60]]) * MS, np.array([10, 20]), np.array([10]), np.array([1.0])
)


def past(*batches):
    """Of batches given by size, longest length and how long they took."""
    size, longest, took_ms = np.array(batches).T
    begin_ns = np.arange(len(size)) * 1_000 * MS
    return Past(begin_ns, begin_ns, begin_ns + took_ms * MS, size, longest)


def test_only_batches_that_took_longer_than_their_model_tell_of_pauses():
    found = pauses_of(past((1, 10, 20), (2, 20, 61), (2, 10, 60), (1, 20, 40)), COSTS)
    assert found.per_request == pytest.approx(1 / 6)
    assert found.lasted_ns.tolist() == [30 * MS]
    assert pauses_of(past((1, 10, 21), (2, 20, 60)), COSTS) == Pauses()
    assert pauses_of(Past(), COSTS) == Pauses()


def test_the_last_ones_tell_how_long_they_are():
    found = pauses_of(past(*((1, 10, 20 + more) for more in (50, 60, 70, 80, 90))), COSTS)
    assert found.lasted_ns.tolist() == [60 * MS, 70 * MS, 80 * MS, 90 * MS]
    assert found.per_request == 1


def test_they_are_drawn_as_often_as_requests_meet_them():
    rng = np.random.default_rng(0)
    pauses = Pauses(0.01, np.array([100 * MS, 200 * MS]))
    drawn = np.array([pauses.draw(8, rng) for _ in range(20_000)])
    assert set(drawn.tolist()) == {0, 100 * MS, 200 * MS}
    assert (drawn > 0).mean() == pytest.approx(1 - 0.99**8, abs=0.006)  # 3 standard errors
    assert Pauses().draw(8, rng) == 0


def test_a_window_meets_them_where_the_policy_learns_and_nowhere_else():
    nothing = np.zeros(1, dtype=np.int64)
    overheads = Overheads(nothing, nothing, 0.0, nothing, {1: nothing})
    workload = Workload(np.full(20, 10, dtype=np.int32), np.arange(20) * 1_000 * MS)
    seen = past(*((1, 10, 320) for _ in range(30)))
    seen = seen._replace(begin_ns=seen.begin_ns - 10**12, end_ns=seen.end_ns - 10**12)

    def stayed_ms(kind, past):
        ruling, rng = Ruling({"kind": kind, "max_batch_size": 1}, 1), np.random.default_rng(0)
        return simulated(ruling, COSTS, overheads, workload, rng, past=past).in_server_ns.min() / MS

    assert stayed_ms("cork", seen) >= 320
    assert stayed_ms("cork", None) < 320
    assert stayed_ms("greedy", seen) == 20
