"""TensorFlow's own batch scheduler, recorded, and the rules that stand for it here.

A batch of TensorFlow starts later than its rule says: the call is on its way into the scheduler, a
thread looks once a millisecond (``kTimeoutMillis``), and the function has to be called.  None is
early.  A batch is the rule's if it starts at most ``LATE_NS`` after the rule's instant, with no
fewer requests than the rule would take and no more than were there.
"""

import numpy as np
import pytest
from next_batches import compared, share_within
from stack_batches import recorded, simulated, wait_ms

LATE_NS = 4_000_000
NEARLY_ALL = 0.97
"""The recording process was held up by others now and then."""

CASES = recorded("tensorflow")
WAITS = {name: case for name, case in CASES.items() if case["wait_ns"]}
ONE_THREAD = {name: case for name, case in WAITS.items() if case["at_a_time"] == 1}
TWO_THREADS = {name: case for name, case in WAITS.items() if case["at_a_time"] == 2}


def table(case, kind="size_or_timeout", **more):
    return {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_batch_starts_when_it_is_full_or_the_oldest_has_waited(case):
    assert share_within(case, table(case), LATE_NS) >= NEARLY_ALL
    assert share_within(case, table(case, "preferred_sizes"), LATE_NS) >= NEARLY_ALL


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_batch_starts_early(case):
    assert min(each.late_ns for each in compared(case, table(case))) > 0


@pytest.mark.parametrize("kind", ["timer_from_pick", "collection_window"])
@pytest.mark.parametrize("case", ONE_THREAD.values(), ids=ONE_THREAD)
def test_the_timers_of_other_stacks_start_later(case, kind):
    found = compared(case, table(case, kind))
    assert share_within(case, table(case, kind), LATE_NS) < 0.3
    assert np.median([each.late_ns for each in found]) < -5_000_000


@pytest.mark.parametrize("kind", ["timer_from_pick", "collection_window"])
@pytest.mark.parametrize("case", TWO_THREADS.values(), ids=TWO_THREADS)
def test_two_threads_seldom_keep_a_batch_waiting_and_yet_the_timers_differ(case, kind):
    assert share_within(case, table(case, kind), LATE_NS) < 0.9


@pytest.mark.parametrize(
    "other", [{"max_batch_size": 6}, {"max_wait_ms": 10}, {"max_wait_ms": 90}], ids=str
)
@pytest.mark.parametrize("case", WAITS.values(), ids=WAITS)
def test_other_numbers_make_other_batches(case, other):
    assert share_within(case, table(case, **other), LATE_NS) < NEARLY_ALL


def test_without_a_wait_a_free_thread_takes_what_is_there():
    (case,) = (case for case in CASES.values() if case["wait_ns"] == 0)
    assert share_within(case, {"kind": "greedy"}, LATE_NS) >= NEARLY_ALL
    assert share_within(case, table(case, max_wait_ms=30), LATE_NS) < 0.5


def test_a_batch_is_padded_to_a_size_that_is_allowed_and_takes_its_time():
    (case,) = (case for case in CASES.values() if case["allowed"])
    sizes = np.array([size for _, size, _ in case["batches"]])
    assert {1, 3, 5, 6, 7} & set(sizes)
    service_ns = np.array(case["service_ns"])
    over_ns = np.array(case["took_ns"]) - service_ns[sizes - 1]
    assert np.all((over_ns >= 0) & (over_ns < 2_000_000))
    assert np.all(service_ns[[0, 2, 4, 5, 6]] == service_ns[[1, 3, 7, 7, 7]])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_whole_run_has_batches_of_the_recorded_sizes(case):
    """Mean size within 5 %: what a batch costs beside the function is the recording's median."""
    extra_ns = int(np.median([each.late_ns for each in compared(case, table(case))]))
    costly = {**case, "service_ns": [ns + extra_ns for ns in case["service_ns"]]}
    found = simulated(costly, table(case), case["at_a_time"])
    sizes = [np.mean([size for _, size, _ in batches]) for batches in (found, case["batches"])]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
