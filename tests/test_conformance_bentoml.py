"""BentoML's ``CorkDispatcher`` and ``cork`` form the same batches, and drop the same requests."""

import pytest
from stack_batches import both_drivers, check_the_installed, recorded, simulated

CASES = recorded("bentoml")


def table(case):
    return {"kind": "cork", "max_batch_size": 8, "max_latency_ms": case["max_latency_ms"]}


def test_the_installed_bentoml_forms_the_recorded_batches():
    check_the_installed("bentoml")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_batches_start_at_the_same_instants_with_the_same_requests(case):
    assert both_drivers(case, table(case)) == case["batches"]


def test_requests_beyond_the_bound_are_dropped_and_not_served():
    case = CASES["950 per second, bound 40 ms"]
    served = sum(size for _, size, _ in case["batches"])
    assert served < len(case["arrival_ns"])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_greedy_forms_other_batches(case):
    assert simulated(case, {"kind": "greedy", "max_batch_size": 8}) != case["batches"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bound_that_is_taken_for_a_wait_forms_other_batches(case):
    wait = {"max_batch_size": 8, "max_wait_ms": case["max_latency_ms"]}
    assert simulated(case, {"kind": "size_or_timeout", **wait}) != case["batches"]
