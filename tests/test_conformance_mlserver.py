"""MLServer's ``AdaptiveBatcher`` and the rules that stand for it form the same batches.

A model that blocks holds the loop of the batcher, whose timer then begins when the model is done;
batches for a worker process are sealed meanwhile.
"""

import pytest
from stack_batches import alike, both_drivers, check_the_installed, recorded, simulated, wait_ms

CASES = recorded("mlserver")
WORKER = {name: case for name, case in CASES.items() if not case["blocks"]}
BLOCKS = {name: case for name, case in CASES.items() if case["blocks"]}
BACKLOG = "800 per second, wait 10 ms, it blocks"
"""Full batches leave requests behind: their timer runs while the model is busy."""
NO_BACKLOG = {name: case for name, case in BLOCKS.items() if name != BACKLOG}


def table(case, kind: str, **more):
    return {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}


def test_the_installed_mlserver_forms_the_recorded_batches():
    check_the_installed("mlserver")


@pytest.mark.parametrize("case", WORKER.values(), ids=WORKER)
def test_a_worker_is_given_batches_that_were_sealed_before(case):
    assert both_drivers(case, table(case, "sealed_batches")) == case["batches"]


@pytest.mark.parametrize("case", NO_BACKLOG.values(), ids=NO_BACKLOG)
def test_a_model_that_blocks_makes_the_timer_begin_when_it_is_done(case):
    assert both_drivers(case, table(case, "timer_from_pick")) == case["batches"]


def test_a_backlog_waits_less_than_the_rule_says():
    case = CASES[BACKLOG]
    found = simulated(case, table(case, "timer_from_pick"))
    assert found != case["batches"]
    assert len(found) == pytest.approx(len(case["batches"]), rel=0.1)


OTHERS = {
    "from the oldest": {"kind": "size_or_timeout"},
    "a window": {"kind": "collection_window"},
    "sealed": {"kind": "sealed_batches"},
    "from the pick": {"kind": "timer_from_pick"},
}
ALIKE = {
    "from the oldest": {
        "50 per second, wait 10 ms, one worker",
        "200 per second, wait 10 ms, one worker",
    },
    "a window": set(),
    "sealed": set(WORKER),
    "from the pick": set(NO_BACKLOG),
}
"""Where no service lasts longer than a wait, nobody waits for a server: sealed or not is one."""


@pytest.mark.parametrize("other", OTHERS)
def test_every_other_timer_forms_other_batches(other):
    assert alike(CASES, lambda case: table(case, **OTHERS[other])) == ALIKE[other]
