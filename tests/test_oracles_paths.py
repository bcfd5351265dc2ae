"""Both drivers against answers that hold path by path, to the nanosecond."""

from bisect import insort

import numpy as np
import pytest
from oracle_runs import MS, ORACLES

from policies import Greedy, SizeOrTimeout, Static
from policies.contract import NEVER
from sim import kernel, model
from sim.recursion import recursion
from sim.service import Service
from sim.workload import Workload

GOLDEN = ORACLES["golden_trace"]
RULES = {
    "greedy_cap32": Greedy(32),
    "greedy_cap2": Greedy(2),
    "static4_T3": SizeOrTimeout(4, 3 * MS),
    "size3_T1": SizeOrTimeout(3, 1 * MS),
    "batch1": Greedy(1),
}
LINE = np.array([[[2 * MS + 350_000 * size] for size in range(1, 33)]])


def workload_of(arrival_ns, length=None):
    arrival_ns = np.asarray(arrival_ns, dtype=np.int64)
    length = np.ones(len(arrival_ns)) if length is None else length
    return Workload(np.asarray(length, dtype=np.int32), arrival_ns)


def whole_ns(milliseconds):
    return [round(time * MS) for time in milliseconds]


@pytest.mark.parametrize("driver", [kernel, model])
@pytest.mark.parametrize("name", GOLDEN["expected"])
def test_ten_requests_have_the_latencies_that_were_worked_out_by_hand(name, driver):
    rule, two, _ = name.partition("_2workers")
    service = Service(LINE, np.array([1]), servers=2 if two else 1)
    trace = driver.run(RULES[rule], workload_of(whole_ns(GOLDEN["params"]["arrivals"])), service)
    latency_ns = (trace.finish_ns - trace.arrival_ns).tolist()
    assert latency_ns == whole_ns(GOLDEN["expected"][name])


def random_system(seed, requests):
    """Arrivals that come in bursts, and half the time on a coarse grid, full of ties."""
    rng = np.random.default_rng(seed)
    grid = int(rng.choice([1, MS // 2]))
    servers, largest = int(rng.integers(1, 9)), int(rng.integers(1, 17))
    table = np.sort(rng.integers(1, 40, size=(1, largest, 1)), axis=1) * (MS // 2)
    load = float(rng.uniform(0.3, 1.05))
    gap = float(table[0, -1, 0]) / largest / servers / load
    gaps = rng.exponential(gap, requests) * rng.choice([0.2, 1.8], requests)
    arrival_ns = gaps.cumsum().astype(np.int64) // grid * grid
    service = Service(table, np.array([1]), servers)
    wait_ns = int(rng.integers(0, 20)) * (MS // 2)
    return workload_of(arrival_ns), service, largest, wait_ns, int(rng.integers(1, largest + 1))


def expected_traces(seed, requests):
    """Rules, and what the recursion says of each."""
    workload, service, largest, wait_ns, size = random_system(seed, requests)
    pairs = [
        (Greedy(largest), (largest, 0, 1)),
        (Greedy(1), (1, 0, 1)),
        (Static(size), (size, NEVER, size)),
        (SizeOrTimeout(largest, wait_ns), (largest, wait_ns, largest)),
        (SizeOrTimeout(largest, wait_ns, size), (largest, wait_ns, size)),
    ]
    for policy, parameters in pairs:
        yield policy, workload, service, recursion(workload, service, *parameters)


@pytest.mark.parametrize(
    ("driver", "requests", "seeds"), [(kernel, 10_000, range(16)), (model, 400, range(100, 116))]
)
def test_waiting_rules_follow_the_recursion_on_one_to_eight_servers(driver, requests, seeds):
    for seed in seeds:
        for policy, workload, service, expected in expected_traces(seed, requests):
            assert driver.run(policy, workload, service).equals(expected), (seed, policy)


def test_another_timer_rule_does_not_follow_the_recursion():
    differ = 0
    for seed in range(8):
        workload, service, largest, wait_ns, _ = random_system(seed, 2000)
        late = kernel.run(SizeOrTimeout(largest, wait_ns, from_idle=True), workload, service)
        differ += not late.equals(recursion(workload, service, largest, wait_ns))
    assert differ >= 4


def kiefer_wolfowitz(arrival_ns, service_ns, servers):
    """Waits in a first-come G/G/c queue, from the sorted work of the servers at each arrival."""
    work, waits, before = [0] * servers, [], 0
    for arrival, service in zip(arrival_ns, service_ns, strict=True):
        work = [max(0, each - (arrival - before)) for each in work]
        first = work.pop(0)
        waits.append(first)
        insort(work, first + service)
        before = arrival
    return waits


@pytest.mark.parametrize("driver", [kernel, model])
@pytest.mark.parametrize("servers", [1, 2, 3, 8])
def test_single_requests_wait_as_kiefer_and_wolfowitz_say(servers, driver):
    rng = np.random.default_rng(servers)
    requests = 20_000 if driver is kernel else 1000
    length = rng.integers(1, 10_001, requests)
    arrival_ns = (rng.exponential(5500 / servers, requests).cumsum() * 1000).astype(np.int64)
    service = Service(np.array([[[1000, 10_000_000]]]), np.array([1, 10_000]), servers)
    trace = driver.run(Greedy(), workload_of(arrival_ns, length), service)
    expected = kiefer_wolfowitz(arrival_ns.tolist(), (length * 1000).tolist(), servers)
    assert (trace.start_ns - trace.arrival_ns).tolist() == expected
