"""What the rules promise about whole runs: stability, and how they compare with greedy.

Service is ``S(k) = 2 + 0.35 k`` ms for up to 32, arrivals are Poisson with a fixed seed.  Measured
over 20 other seeds, every bound lies more than 5 standard deviations from the mean of what it
bounds: a false alarm is rarer than one in a million.
"""

from functools import cache

import numpy as np

from policies import BalancedCap, Greedy, RateAware, Snap
from sim import kernel
from sim.service import Service
from sim.workload import Workload

LINEAR_MS = 2.0 + 0.35 * np.arange(1, 33)
TILES_MS = 2.0 + 2.8 * np.ceil(np.arange(1, 33) / 8)
REQUESTS = 200_000


@cache
def latency_ms(policy_class, window, load, servers, tiled=False, max_batch_size=0):
    """Mean and p99 latency, without the first tenth."""
    service_ms = TILES_MS if tiled else LINEAR_MS
    rate_per_ms = load * servers * 32 / service_ms[-1]
    gaps_ns = np.random.default_rng(3).exponential(1e6 / rate_per_ms, REQUESTS)
    workload = Workload(
        length=np.ones(REQUESTS, dtype=np.int32), arrival_ns=np.cumsum(gaps_ns).astype(np.int64)
    )
    table = (service_ms * 1e6).round().astype(np.int64)[None, :, None]
    policy = policy_class(max_batch_size=max_batch_size)
    if window:
        policy = policy._replace(window=window)
    trace = kernel.run(policy, workload, Service(table, np.array([1]), servers=servers))
    latency_ns = (trace.finish_ns - trace.arrival_ns)[REQUESTS // 10 :]
    return latency_ns.mean() / 1e6, np.percentile(latency_ns, 99) / 1e6


def test_balanced_cap_lowers_the_tail_of_several_servers():
    for load in (0.3, 0.5, 0.7):
        _, greedy = latency_ms(Greedy, 0, load, 4)
        _, balanced = latency_ms(BalancedCap, 1000, load, 4)
        assert balanced < 0.85 * greedy


def test_balanced_cap_is_stable_near_saturation_whatever_it_has_learned():
    # A window of one gap knows nothing of the rate; it costs a tenth, not the stability.
    greedy, _ = latency_ms(Greedy, 0, 0.95, 4)
    for window in (1, 1000):
        balanced, _ = latency_ms(BalancedCap, window, 0.95, 4)
        assert balanced < 1.25 * greedy


def test_a_cap_that_stays_is_unstable_there():
    greedy, _ = latency_ms(Greedy, 0, 0.95, 4)
    capped, _ = latency_ms(Greedy, 0, 0.95, 4, max_batch_size=8)
    assert capped > 10 * greedy


def test_waiting_for_one_more_costs_next_to_nothing_on_one_smooth_server():
    for load in (0.1, 0.5, 0.9):
        greedy, _ = latency_ms(Greedy, 0, load, 1)
        aware, _ = latency_ms(RateAware, 200, load, 1)
        assert abs(aware / greedy - 1) < 0.005


def test_waiting_for_one_more_pays_on_several_servers_at_middle_load():
    greedy, _ = latency_ms(Greedy, 0, 0.3, 4)
    aware, _ = latency_ms(RateAware, 200, 0.3, 4)
    assert aware < 0.98 * greedy


def test_snap_halves_the_loss_of_a_staircase():
    greedy, greedy_p99 = latency_ms(Greedy, 0, 0.7, 1, tiled=True)
    snap, snap_p99 = latency_ms(Snap, 0, 0.7, 1, tiled=True)
    assert snap < 0.85 * greedy
    assert snap_p99 < 0.85 * greedy_p99
