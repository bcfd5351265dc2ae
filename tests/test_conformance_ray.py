"""Ray Serve's ``_BatchQueue`` and ``sealed_batches`` form the same batches, instant by instant."""

import pytest
from stack_batches import alike, both_drivers, check_the_installed, recorded, wait_ms

CASES = recorded("ray")
AWAITS = {name: case for name, case in CASES.items() if not case["blocks"]}
BLOCKS = {name: case for name, case in CASES.items() if case["blocks"]}


def table(case, kind: str, **more):
    return {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}


def test_the_installed_ray_serve_forms_the_recorded_batches():
    check_the_installed("ray")


@pytest.mark.parametrize("case", AWAITS.values(), ids=AWAITS)
def test_a_function_that_awaits_is_given_batches_that_were_sealed_before(case):
    sealed = both_drivers(case, table(case, "sealed_batches"), case["at_a_time"])
    assert sealed == case["batches"]


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS)
def test_a_function_that_blocks_makes_the_timer_begin_when_it_has_returned(case):
    assert both_drivers(case, table(case, "timer_from_pick")) == case["batches"]
    assert both_drivers(case, table(case, "sealed_batches")) != case["batches"]


OTHERS = {
    "from the oldest": {"kind": "size_or_timeout"},
    "from idle": {"kind": "size_or_timeout", "from_idle": True},
    "from the pick": {"kind": "timer_from_pick"},
    "a window": {"kind": "collection_window"},
}
ALIKE = {
    "from the oldest": {
        "50 per second, wait 10 ms, 1 at a time",
        "400 per second, wait 10 ms, 1 at a time",
    },
    "from idle": set(),
    "from the pick": set(),
    "a window": set(),
}
"""Where no service lasts longer than a wait, nobody waits for a server: sealed or not is one."""


@pytest.mark.parametrize("other", OTHERS)
def test_timers_of_other_stacks_form_other_batches(other):
    assert alike(AWAITS, lambda case: table(case, **OTHERS[other])) == ALIKE[other]


def test_a_wait_of_zero_serves_one_by_one_however_long_the_queue_is():
    case = AWAITS["300 per second, wait 0 ms, 1 at a time"]
    assert {size for _, size, _ in case["batches"]} == {1}
    late_ns = case["batches"][-1][0] - case["arrival_ns"][-1]
    assert late_ns > 100 * case["service_ns"][0]
