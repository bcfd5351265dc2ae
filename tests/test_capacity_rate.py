"""The largest rate that meets the SLOs, against exact answers; what it takes, and what it refuses.

Exact 99th percentiles are those of :class:`sim.theory_latency.GreedyLatency`.  Coverage has fixed
seeds: at a true coverage of 0.95 fewer than 33 of 40 intervals cover with probability 1e-3.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from experiments.capacity_rate import largest_rate
from experiments.config import ScenarioError
from experiments.crossing import crossing
from experiments.lateness import check, run_needs, targets_of
from experiments.load_curve import at_pace
from experiments.rate_search import LEAST
from policies import Greedy, SizeOrTimeout, Snap, Static
from policies.contract import Tier
from sim import kernel
from sim.arrivals import Poisson
from sim.lengths import Constant
from sim.service import Service
from sim.specs import TierSpec, WorkloadSpec
from sim.streams import Seeds
from sim.theory_latency import GreedyLatency
from sim.workload import draw_workload

MS = 1_000_000
BASE = 1000.0
SIZES = np.arange(1, 33)
CURVES = {
    "linear": 2.0 + 0.35 * SIZES,
    "tile-8": 2.0 + 2.8 * np.ceil(SIZES / 8),
    "pow2": 2.0 + 0.35 * 2.0 ** np.ceil(np.log2(SIZES)),
    "convex": 2.0 + 0.1 * SIZES + 0.03 * SIZES**2,
}


def tier(ms, percentile=99.0, name="all"):
    return Tier(name, int(ms * MS), percentile)


TEN = (tier(10.0),)


def draw(curve="linear", requests=200_000, seed=1, tiers=TEN, shares=(1.0,), **service):
    """Poisson arrivals at ``BASE`` per second, and one server with a curve of service times."""
    spec = WorkloadSpec(
        lengths=Constant(1),
        arrivals=Poisson(BASE),
        requests=requests,
        tiers=tuple(TierSpec(each, share) for each, share in zip(tiers, shares, strict=True)),
    )
    table = np.rint(CURVES[curve] * MS).astype(np.int64)[np.newaxis, :, np.newaxis]
    serving = Service(table, np.array([1], dtype=np.int64), **service)
    return draw_workload(spec, Seeds(arrivals=seed)), serving


def limit(policy, drawn, *slos, **more):
    tiers = slos or drawn[0].tiers
    return largest_rate(policy, drawn, kernel.run, tiers, base_rate_per_s=BASE, **more)


def share_missed(policy, drawn, rate, slo_ms, percentile=99.0):
    workload, service = drawn
    tiers = (tier(slo_ms, percentile),)
    trace = kernel.run(policy, at_pace(workload, rate / BASE), service)
    return check(rate, [trace], targets_of(tiers, workload)).tiers[0].missed.value


def tail_ms(policy, drawn, rate):
    workload, service = drawn
    trace = kernel.run(policy, at_pace(workload, rate / BASE), service)
    return check(rate, [trace], targets_of(TEN, workload)).tiers[0].tail_ns / MS


@pytest.mark.parametrize(
    ("curve", "slo_ms"),
    [("linear", 10.0), ("tile-8", 15.0), ("tile-8", 20.0)],
)
def test_the_interval_of_greedy_holds_the_exact_capacity(curve, slo_ms):
    found = limit(Greedy(), draw(curve), tier(slo_ms))
    exact_ms = [
        GreedyLatency(rate / 1000, CURVES[curve]).quantile(0.99) for rate in (found.low, found.high)
    ]
    assert exact_ms[0] <= slo_ms <= exact_ms[1]
    assert (found.high - found.low) / found.value < 0.06
    assert found.bound == "slo"


GREEDY_AND_SNAP = {
    ("linear", 10): (0.507, 0.507),
    ("linear", 15): (0.709, 0.709),
    ("linear", 20): (0.819, 0.819),
    ("tile-8", 10): (0.266, 0.376),
    ("tile-8", 15): (0.490, 0.636),
    ("tile-8", 20): (0.639, 0.779),
    ("pow2", 10): (0.339, 0.440),
    ("pow2", 15): (0.481, 0.644),
    ("pow2", 20): (0.523, 0.763),
    ("convex", 10): (None, 0.742),
    ("convex", 15): (None, 0.871),
    ("convex", 20): (None, 0.915),
}
"""Our own computation, by a separate simulator (a recursion over batches): the largest load with
p99 within 10, 15 or 20 ms, as a share of max k / S(k).  It was read from a coarser search: against
the exact percentiles of greedy it is up to 1 % too low.  Of greedy on convex times it says
0.693 to 0.706, which a run survives for a while, but saturation is at 0.526: see below."""


@pytest.mark.parametrize(("curve", "slo_ms"), GREEDY_AND_SNAP)
def test_capacities_of_greedy_and_snap_are_those_of_a_separate_simulator(curve, slo_ms):
    possible = 1000 * float((SIZES / CURVES[curve]).max())
    for policy, known in zip((Greedy(), Snap()), GREEDY_AND_SNAP[curve, slo_ms], strict=True):
        if known is None:
            continue
        found = limit(policy, draw(curve), tier(slo_ms))
        assert found.low / possible - 0.001 <= 1.01 * known, (policy, found)
        assert known <= found.high / possible + 0.001, (policy, found)


def test_convex_times_make_greedy_unstable_before_it_misses_its_slo():
    found = limit(Greedy(), draw("convex"), tier(10.0))
    assert share_missed(Greedy(), draw("convex"), 0.68 * 1694.9, 10.0) <= 0.01  # for a while
    assert found.bound == "stability"
    assert found.value == found.low == found.high == found.saturation_per_s
    assert found.tail_ms is None
    cap = 32 / CURVES["convex"][-1]
    assert found.saturation_per_s == pytest.approx(1000 * cap, rel=2e-3)


EXACT_AT_15_MS = 1723.5
"""Rate per second at which greedy's exact p99 on the linear curve is 15 ms."""


def test_the_interval_covers_and_one_of_independent_requests_does_not():
    exact_ms = GreedyLatency(EXACT_AT_15_MS / 1000, CURVES["linear"]).quantile(0.99)
    assert exact_ms == pytest.approx(15.0, abs=0.005)
    ours = independent = 0
    for seed in range(40):
        drawn = draw(requests=112_000, seed=seed)
        found = limit(Greedy(), drawn, tier(15.0), lowest=False, saturation=2424.24)
        ours += found.low <= EXACT_AT_15_MS <= found.high
        missed = share_missed(Greedy(), drawn, EXACT_AT_15_MS, 15.0)
        half = 1.96 * np.sqrt(missed * (1 - missed) / 100_800)
        independent += abs(missed - 0.01) <= half
    assert ours >= 33
    assert independent < 24


def test_few_runs_are_enough():
    found = limit(Greedy(), draw(), tier(15.0))
    assert found.runs <= 16
    coarse = limit(Greedy(), draw(), tier(15.0), tolerance=0.05)
    assert coarse.runs < found.runs


def test_the_value_meets_the_slo_and_a_little_more_misses_it():
    drawn = draw()
    found = limit(Greedy(), drawn, tier(15.0), tolerance=0.001)
    assert share_missed(Greedy(), drawn, found.value, 15.0) <= 0.01
    assert share_missed(Greedy(), drawn, 1.002 * found.value, 15.0) > 0.01
    assert found.low < found.value < found.high
    assert found.tail_ms == pytest.approx(15.0, rel=0.01)


def test_a_full_batch_meets_the_slo_only_in_the_middle_and_says_from_where():
    drawn = draw()
    found = limit(Static(16), drawn, tier(25.0))
    assert 0.0 < found.from_per_s < found.low < found.value < found.saturation_per_s
    assert share_missed(Static(16), drawn, found.from_per_s, 25.0) <= 0.01
    assert share_missed(Static(16), drawn, 0.99 * found.from_per_s, 25.0) > 0.01
    assert share_missed(Static(16), drawn, found.value, 25.0) <= 0.01
    assert share_missed(Static(16), drawn, 1.01 * found.value, 25.0) > 0.01


def test_a_narrow_band_of_rates_between_the_steps_of_the_scan_is_found():
    drawn = draw()
    rates = np.linspace(1500.0, 2080.0, 117)
    tails = np.array([tail_ms(Static(16), drawn, rate) for rate in rates])
    slo_ms = 1.004 * tails.min()
    meets = rates[tails <= slo_ms]
    assert meets[-1] / meets[0] < 1.15
    found = limit(Static(16), drawn, tier(slo_ms))
    assert found.value == pytest.approx(meets[-1], rel=0.015)
    assert found.from_per_s == pytest.approx(meets[0], rel=0.015)


def test_a_rule_that_meets_the_slo_down_to_nothing_says_0():
    assert limit(Greedy(), draw(), tier(10.0)).from_per_s == 0.0
    assert limit(Greedy(), draw(), tier(10.0), lowest=False).from_per_s is None


def test_a_full_queue_that_turns_requests_away_is_not_capacity():
    free = limit(Greedy(4), draw(), tier(8.0))
    workload, service = draw(capacity=4)
    bounded = limit(Greedy(4), (workload, service), tier(8.0))
    assert bounded.value < 0.8 * free.value
    trace = kernel.run(Greedy(4), at_pace(workload, free.value / BASE), service)
    served = (trace.finish_ns - trace.arrival_ns)[trace.finish_ns >= 0]
    assert served.max() <= 8.0 * MS  # what counting only the served would claim


def test_requests_that_give_up_count_as_missed():
    patient = limit(Greedy(4), draw(), tier(8.0))
    workload, service = draw()
    hasty = replace(workload, timeout_ns=np.full(len(workload), MS, dtype=np.int64))
    found = limit(Greedy(4), (hasty, service), tier(8.0))
    assert found.value < patient.value


def test_every_tier_has_to_meet_its_own_slo_and_the_one_that_binds_is_named():
    tiers = (tier(10.0, 95.0, "fast"), tier(60.0, 99.0, "slow"))
    drawn = draw(requests=300_000, tiers=tiers, shares=(0.5, 0.5))
    found = limit(Greedy(), drawn)
    assert found.tier == "fast"
    assert (found.slo_ms, found.percentile) == (10.0, 95.0)
    alone = limit(Greedy(), drawn, tiers[0], Tier("slow"))
    assert alone.value == found.value
    tight = (tier(60.0, 95.0, "fast"), tier(10.0, 99.0, "slow"))
    assert limit(Greedy(), drawn, *tight).tier == "slow"


def test_an_slo_below_one_request_alone_is_met_by_no_rate_and_says_what_one_takes():
    found = limit(Greedy(), draw(), tier(2.3))
    assert found.bound == "nothing"
    assert found.value is found.low is found.high is None
    assert found.alone_ms == 2.35


def test_a_wait_longer_than_the_slo_is_met_by_no_rate_but_one_request_alone_would():
    found = limit(SizeOrTimeout(32, 30 * MS), draw(), tier(3.0))
    assert found.bound == "nothing"
    assert found.alone_ms == 2.35
    assert found.tail_ms > 3.0


def test_a_short_run_is_refused_with_the_requests_that_suffice():
    tiers = (tier(10.0, name="some"), Tier("others"))
    drawn = draw(requests=50_000, tiers=tiers, shares=(0.4, 0.6))
    found = limit(Greedy(), drawn)
    assert found.bound == "too few requests"
    assert found.value is None
    longer = draw(requests=found.needs, tiers=tiers, shares=(0.4, 0.6))
    assert limit(Greedy(), longer).value > 0.0
    shorter = draw(requests=int(0.9 * found.needs), tiers=tiers, shares=(0.4, 0.6))
    assert run_needs([shorter[0]], targets_of(tiers, shorter[0])) is not None


def test_replications_share_the_sections():
    both = [draw(requests=120_000, seed=1), draw(requests=120_000, seed=2)]
    found = limit_of(both)
    one, two = (limit_of([each]) for each in both)
    assert min(one.value, two.value) * 0.99 <= found.value <= max(one.value, two.value) * 1.01
    assert found.high - found.low < max(one.high - one.low, two.high - two.low)


def limit_of(draws):
    return largest_rate(Greedy(), draws, kernel.run, (tier(15.0),), base_rate_per_s=BASE)


def test_many_searches_at_once_find_what_one_finds():
    drawn = draw(requests=112_000)
    slos = [10.0, 12.0, 15.0, 20.0] * 2
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda ms: limit(Greedy(), drawn, tier(ms)), slos))
    assert together == [limit(Greedy(), drawn, tier(ms)) for ms in slos]


def test_faster_arrivals_of_the_same_luck_scale_with_the_base_rate():
    drawn = draw()
    workload, service = drawn
    twice = (at_pace(workload, 2.0), service)
    found = largest_rate(Greedy(), twice, kernel.run, (tier(15.0),), base_rate_per_s=2 * BASE)
    assert found.value == pytest.approx(limit(Greedy(), drawn, tier(15.0)).value, rel=1e-3)


def test_no_slo_is_a_sentence():
    with pytest.raises(ScenarioError) as wrong:
        limit(Greedy(), draw(), Tier("all"))
    assert str(wrong.value) == (
        "workload.tiers has no SLO, and capacity is the largest rate that meets the SLOs; give a "
        "tier one, such as slo = { percentile = 99, ms = 50.0 }"
    )


def test_light_traffic_is_light():
    found = limit(Greedy(), draw(), tier(10.0))
    assert LEAST * found.saturation_per_s < 0.01 * found.value


@pytest.mark.parametrize("root", [0.123, 0.5, 0.9876])
@pytest.mark.parametrize("bend", [0.2, 1.0, 6.0])
def test_a_crossing_is_closed_from_both_sides_in_few_runs(root, bend):
    asked = []

    def excess(rate):
        asked.append(rate)
        return np.sign(rate - root) * abs(rate - root) ** bend

    found = crossing(excess, 0.01, 1.0, 0.005)
    assert found.meets <= root <= found.misses
    assert found.misses - found.meets <= 0.005 * found.misses
    assert len(asked) <= 20


def test_a_crossing_from_above_and_one_of_a_jump_are_found():
    falling = crossing(lambda rate: 0.3 - rate, 1.0, 0.01, 0.005)
    assert falling.misses < 0.3 <= falling.meets
    jump = crossing(lambda rate: 50.0 if rate > 0.7 else -1e-3, 0.01, 1.0, 0.005)
    assert jump.meets <= 0.7 < jump.misses
