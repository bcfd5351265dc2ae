"""A real Triton, recorded, and the rule that stands for it here.

A batch is the rule's if it starts at most ``LATE_NS`` after the rule's instant (the request is on
its way through HTTP, the batcher and the stub of the Python backend), with no fewer requests than
the rule would take and no more than were there.

Without ``allow_timeout_override`` Triton forms batches ahead: when the delay of the oldest request
is over, those who are there become a batch although every instance is busy, and who comes later is
not in it.
"""

import numpy as np
import pytest
from next_batches import compared, share_within
from stack_batches import recorded, simulated, wait_ms

LATE_NS = 3_000_000
NEARLY_ALL = 0.97

CASES = recorded("triton")
NOT_AHEAD = {name: case for name, case in CASES.items() if not case["ahead"]}
ONE = "150 per second, wait 8 ms, 1 at a time"


def table(case, kind="size_or_timeout", **more):
    return {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}


@pytest.mark.parametrize("kind", ["size_or_timeout", "preferred_sizes"])
@pytest.mark.parametrize("case", NOT_AHEAD.values(), ids=NOT_AHEAD)
def test_a_batch_starts_when_it_is_full_or_the_oldest_has_waited(case, kind):
    assert share_within(case, table(case, kind), LATE_NS) >= NEARLY_ALL


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_batch_starts_early(case):
    assert min(each.late_ns for each in compared(case, table(case))) > 0


@pytest.mark.parametrize("kind", ["timer_from_pick", "collection_window"])
@pytest.mark.parametrize("case", NOT_AHEAD.values(), ids=NOT_AHEAD)
def test_the_timers_of_other_stacks_do_not(case, kind):
    assert share_within(case, table(case, kind), LATE_NS) < 0.9


@pytest.mark.parametrize("other", [{"max_batch_size": 5}, {"max_wait_ms": 90}], ids=str)
@pytest.mark.parametrize("case", NOT_AHEAD.values(), ids=NOT_AHEAD)
def test_other_numbers_make_other_batches(case, other):
    assert share_within(case, table(case, **other), LATE_NS) < NEARLY_ALL


@pytest.mark.parametrize("case", NOT_AHEAD.values(), ids=NOT_AHEAD)
def test_without_a_wait_batches_start_earlier(case):
    found = compared(case, table(case, max_wait_ms=0))
    assert max(each.late_ns for each in found) > 2 * LATE_NS


@pytest.mark.parametrize("case", NOT_AHEAD.values(), ids=NOT_AHEAD)
def test_a_whole_run_has_batches_of_the_recorded_sizes_and_latencies(case):
    """Within 5 %, where a batch costs what the recording lost between two."""
    extra_ns = int(np.median([each.late_ns for each in compared(case, table(case))]))
    costly = {**case, "service_ns": [ns + extra_ns for ns in case["service_ns"]]}
    found = simulated(costly, table(case), case["at_a_time"])
    sizes = [np.mean([size for _, size, _ in batches]) for batches in (found, case["batches"])]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert mean_latency_ns(costly, found) == pytest.approx(
        mean_latency_ns(case, case["batches"]), rel=0.05
    )


def mean_latency_ns(case, batches):
    """From arrival to the end of the batch."""
    arrival_ns, service_ns = np.array(case["arrival_ns"]), case["service_ns"]
    spent = [
        start_ns + service_ns[size - 1] - arrival_ns[first : first + size]
        for start_ns, size, first in batches
    ]
    return np.concatenate(spent).mean()


def test_batches_that_are_formed_ahead_do_not_grow_while_they_wait():
    """Busy when the delay was over, and more came before the start: all were left behind."""
    case = CASES["150 per second, wait 30 ms, 1 at a time"]
    free_ns, sealed, grown = 0, 0, 0
    for (start_ns, size, first), took_ns in zip(case["batches"], case["took_ns"], strict=True):
        over_ns = case["arrival_ns"][first] + case["wait_ns"]
        coming = np.array(case["arrival_ns"][first : first + 8])
        then, later = (coming <= over_ns + 300_000).sum(), (coming < start_ns - 300_000).sum()
        if over_ns < free_ns - 1_000_000 and then < later:
            sealed, grown = sealed + (size == then), grown + (size > then)
        free_ns = start_ns + took_ns
    assert grown == 0
    assert sealed > 20


def test_forming_ahead_costs_a_third_of_the_latency_under_load():
    ahead, not_ahead = CASES[ONE], CASES[f"{ONE}, not ahead"]
    assert share_within(ahead, table(ahead), LATE_NS) < 0.5
    means = [mean_latency_ns(case, case["batches"]) for case in (ahead, not_ahead)]
    assert means[0] > 1.3 * means[1]


@pytest.mark.parametrize(
    "name", ["60 per second, wait 30 ms, 1 at a time", "110 per second, wait 0 ms, 1 at a time"]
)
def test_at_low_load_or_without_a_delay_forming_ahead_makes_no_difference(name):
    assert share_within(CASES[name], table(CASES[name]), LATE_NS) >= NEARLY_ALL
