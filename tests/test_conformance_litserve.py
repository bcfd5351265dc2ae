"""LitServe's ``collate_requests`` and ``collection_window`` form the same batches."""

import pytest
from stack_batches import alike, both_drivers, check_the_installed, recorded, simulated, wait_ms

CASES = recorded("litserve")
WAITS = {name: case for name, case in CASES.items() if case["wait_ns"]}


def table(case, kind: str, **more):
    return {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}


def test_the_installed_litserve_forms_the_recorded_batches():
    check_the_installed("litserve")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_start_at_the_same_instants_with_the_same_requests(case):
    assert both_drivers(case, table(case, "collection_window")) == case["batches"]


OTHERS = {
    "from the oldest": {"kind": "size_or_timeout"},
    "from the pick": {"kind": "timer_from_pick"},
    "sealed": {"kind": "sealed_batches"},
}
ALIKE = {
    "from the oldest": set(),
    "from the pick": {"800 per second, wait 10 ms"},
    "sealed": set(),
}
"""Under a backlog a window always begins with somebody in it."""


@pytest.mark.parametrize("other", OTHERS)
def test_timers_of_other_stacks_form_other_batches(other):
    assert alike(WAITS, lambda case: table(case, **OTHERS[other])) == ALIKE[other]


def test_a_timeout_of_zero_is_greedy():
    case = CASES["500 per second, wait 0 ms"]
    assert simulated(case, {"kind": "greedy", "max_batch_size": 8}) == case["batches"]
