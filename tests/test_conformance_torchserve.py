"""A real TorchServe, recorded over HTTP, starts the batches that ``timer_from_pick`` would.

Its clocks are real, so that one late batch changes all that follow.  Therefore each batch is judged
from the state that the server was in: who waited when the batch before had ended, who came since.
"""

import pytest
from stack_batches import recorded, share_of_next_batches, simulated, wait_ms

MARGIN_NS = 6_000_000
"""What a batch may start later than the rule says: 1.5 ms before and after the model, and the
jitter of a machine with two cores.  Waits are 30 ms, services 22 to 36 ms."""
SURELY, HARDLY = 0.9, 0.6
"""Shares of batches of the same size that start within the margin."""

CASES = recorded("torchserve")
LONG = {name: case for name, case in CASES.items() if case["wait_ns"] > 4 * MARGIN_NS}
QUIET = "60 per second, wait 30 ms, 1 at a time"


def share(case, kind: str, **more) -> float:
    table = {"kind": kind, "max_batch_size": 8, "max_wait_ms": wait_ms(case), **more}
    return share_of_next_batches(case, table, MARGIN_NS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_start_a_wait_after_a_free_worker_took_the_first_request(case):
    assert share(case, "timer_from_pick", clock_ms=1) > SURELY


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_do_not_start_a_wait_after_the_first_request_came(case):
    assert share(case, "size_or_timeout") < HARDLY


@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize("case", LONG.values(), ids=LONG)
def test_batches_do_not_start_after_half_of_the_wait_or_twice_as_long(case, factor):
    off = {**case, "wait_ns": round(case["wait_ns"] * factor)}
    right = share(case, "timer_from_pick", clock_ms=1)
    assert share(off, "timer_from_pick", clock_ms=1) < right - 0.15


def test_windows_of_an_idle_worker_do_not_begin_before_somebody_is_there():
    assert share(CASES[QUIET], "collection_window") < SURELY - 0.05


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_are_not_sealed_while_the_worker_is_busy(case):
    table = {"kind": "sealed_batches", "max_batch_size": 8, "max_wait_ms": wait_ms(case)}
    sealed = simulated(case, table)
    assert len(sealed) > 1.2 * len(case["batches"])
