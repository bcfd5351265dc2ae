"""Timers of stacks as windows: what each becomes, and what stacks with another timer say."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from export_settings import EDGES, SERVICE_NS, refusal, setting

from experiments.export import STACKS
from experiments.export.plan import Clock, Window, plan_of, plan_table
from experiments.export.reading import module_of
from experiments.rules import build_policy
from policies.contract import bind
from sim import kernel
from sim.service import Service
from sim.workload import Workload

MS = 1_000_000


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("sealed_batches", {}, Window(8, 2 * MS, 8, "sealed")),
        ("sealed_batches", {"max_wait_ms": 0}, Window(1)),
        ("sealed_batches", {"max_batch_size": 1}, Window(1)),
        (
            "sealed_batches",
            {"max_ongoing_requests": 4},
            Window(8, 2 * MS, 8, "sealed", most_ongoing=4),
        ),
        (
            "sealed_batches",
            {"max_wait_ms": 0, "max_ongoing_requests": 4},
            Window(8, 0, 8, "sealed", most_ongoing=4),
        ),
        ("collection_window", {}, Window(8, 2 * MS, 8, "window")),
        ("collection_window", {"max_wait_ms": 0}, Window(8)),
        ("timer_from_pick", {}, Window(8, 2 * MS, 8, "pick")),
        ("timer_from_pick", {"clock_ms": 1}, Window(8, 2 * MS, 8, "pick", clock=Clock(MS))),
        ("timer_from_pick", {"poll_ms": 1}, Window(8, 2 * MS, 8, "pick", clock=Clock(0, MS))),
        ("timer_from_pick", {"max_wait_ms": 0}, Window(8)),
        ("timer_from_pick", {"max_wait_ms": 0, "clock_ms": 1}, Window(2)),
    ],
)
def test_timers_of_stacks_are_windows_and_come_back_as_the_rules_that_they_are(
    kind, keys, expected
):
    wanted = setting(kind, **{"max_batch_size": 8, "max_wait_ms": 2, **keys})
    plan = plan_of(wanted)
    assert plan.exact
    assert plan.only == expected
    table = dict(plan_table(plan))
    again = setting(table.pop("kind"), **table)
    assert plan_of(again) == plan


def test_a_batch_of_one_that_is_sealed_at_once_is_served_like_any():
    """The canonical form is held to the simulator: every instant is the same."""
    arrival_ns = np.cumsum(np.random.default_rng(1).exponential(2 * MS, 500)).astype(np.int64)
    workload = Workload(np.full(500, 32, dtype=np.int32), arrival_ns)
    service = Service(SERVICE_NS[np.newaxis], EDGES)
    for keys in ({"max_batch_size": 8, "max_wait_ms": 0}, {"max_batch_size": 1, "max_wait_ms": 2}):
        wanted = setting("sealed_batches", **keys)
        again = bind(build_policy(plan_table(plan_of(wanted))), SERVICE_NS, EDGES)
        one = kernel.run(wanted.policy, workload, service)
        other = kernel.run(again, workload, service)
        assert one.start_ns.tolist() == other.start_ns.tolist()


@pytest.mark.parametrize("kind", ["sealed_batches", "collection_window"])
def test_stacks_with_another_timer_refuse_and_say_what_they_would_do(kind):
    wanted = setting(kind, max_batch_size=8, max_wait_ms=5)
    for name in ("triton", "tensorflow-serving", "kserve", "torchserve"):
        module = module_of(STACKS[name])
        assert "busy" in refusal(module, wanted) or "begins" in refusal(module, wanted)
        found = module.export(wanted, nearest=True)
        assert not found.exact
        table = module.read(found.files).table
        assert (table["max_batch_size"], table["max_wait_ms"]) == (8, 5)
        assert table["kind"] in {"size_or_timeout", "timer_from_pick"}


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("torchserve", {"clock_ms": 1}, {"poll_ms": 1}),
        ("kserve", {"poll_ms": Decimal("0.1")}, {"clock_ms": 1}),
    ],
)
def test_a_clock_is_exact_where_it_is_the_stacks_and_told_where_it_is_not(name, own, other):
    module = module_of(STACKS[name])
    keys = {"max_batch_size": 8, "max_wait_ms": 5}
    assert module.export(setting("timer_from_pick", **keys, **own), nearest=False).exact
    wanted = setting("timer_from_pick", **keys, **other)
    assert "is another than that of the policy" in refusal(module, wanted)
    (said,) = module.export(wanted, nearest=True).differences
    assert said == "its wait ends up to a tick of that clock sooner or later"
