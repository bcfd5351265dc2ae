"""No rule gets below the bounds, in runs of every kind; a service that is too slow would."""

from functools import cache

import numpy as np
import pytest
from random_runs import MS
from service_curves import CURVES, LINE, SIZES

from policies import POLICIES, Optimal
from sim import kernel
from sim.bounds import (
    demand_of,
    drawn_bound,
    fluid_bound,
    joined,
    mean_load,
    no_wait_bound,
    percentile_bound,
)
from sim.errors import WorkloadError
from sim.lengths import Dataset
from sim.service import Noise, Service
from sim.theory import MDc
from sim.theory_batch import greedy_table, largest_rate, solve_batches
from sim.theory_noise import CONSTANT, Gamma, Mixture
from sim.theory_smdp import solve_optimum
from sim.trace import SERVED
from sim.workload import Workload

LOADS = (0.2, 0.5, 0.9)
REQUESTS = 60_000

EDGES = np.array([16, 128, 512])
TABLE_MS = 2.0 + SIZES[:, None] * EDGES / 400.0
LENGTHS = Dataset("imdb").pmf().truncated(512)

RULES = {
    "static": (8,),
    "greedy": (),
    "size_or_timeout": (16, 3 * MS),
    "preferred_sizes": (np.array([4, 8]), 16, 2 * MS),
    "timer_from_pick": (16, 3 * MS),
    "cork": (16,),
    "collection_window": (16, 3 * MS),
    "sealed_batches": (16, 30 * MS),
    "token_budget_ahead": (4096,),
    "queue_depth_wait": (16, 4 * MS),
    "aimd": (15 * MS,),
    "deadline_aware": (40 * MS,),
    "rate_aware": (),
    "length_bucketed": (np.array([100, 200, 300]), np.array([16])),
    "nearest_lengths": (16,),
    "token_budget": (4096,),
    "snap": (),
    "balanced_cap": (),
    "optimal": (greedy_table(32, 3),),
    "priority": (np.array([16]), np.array([2 * MS]), np.array([100, 200, 300])),
    "priority_fill": (16, 3 * MS),
    "headroom": (15 * MS,),
    "weighted_fair": (),
    "ageing": (),
    "edf": (16, 0, np.array([50 * MS])),
    "shortest_first": (40 * MS,),
    "sequence_direct": (),
    "sequence_oldest": (16, 4 * MS),
}


def times_of(lengths):
    return np.stack([np.interp(lengths, EDGES, row) for row in TABLE_MS])


def mixed_lengths():
    return demand_of(times_of(LENGTHS.length), LENGTHS.probability)


def arrivals(rate, seed, bursty):
    """Poisson, or gaps of a hyperexponential with cv 2: in ns."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(MS / rate, REQUESTS)
    if bursty:
        gaps *= rng.choice([0.56, 4.6], REQUESTS, p=[0.89109, 0.10891])
    return gaps.cumsum().astype(np.int64)


def simulated(kind, rate, servers, bursty=False, noise=None, slower=1.0):
    """Arrivals, lengths and latencies in ms of the requests after the first tenth."""
    workload = Workload(
        LENGTHS.draw(np.random.default_rng(3), REQUESTS),
        arrivals(rate, 4, bursty),
        np.zeros(REQUESTS, dtype=np.int8),
    )
    table = np.rint(TABLE_MS * slower * MS).astype(np.int64)[None]
    service = Service(table, EDGES, servers, noise or Noise())
    trace = kernel.run(POLICIES[kind](*RULES[kind]), workload, service)
    kept = np.arange(REQUESTS) >= REQUESTS // 10
    kept &= trace.status == SERVED
    latency = (trace.finish_ns - trace.arrival_ns)[kept] / MS
    return trace.arrival_ns[kept] / MS, trace.length[kept], latency


def drawn(arrival, length, servers, noise=CONSTANT):
    values, classes = np.unique(length, return_inverse=True)
    demand = demand_of(times_of(values), np.full(len(values), 1.0 / len(values)))
    return drawn_bound(arrival, classes.astype(np.int64), demand, servers, noise=noise)


def test_every_kind_has_a_rule_here():
    assert set(RULES) == set(POLICIES)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("servers", [1, 3])
def test_no_rule_gets_below_the_bounds(kind, servers):
    demand = mixed_lengths()
    for load in LOADS:
        rate = load / mean_load(1.0, demand, servers)
        for bursty in (False, True):
            arrival, length, latency = simulated(kind, rate, servers, bursty)
            mean = latency.mean()
            assert no_wait_bound(rate, demand, servers) < mean
            assert drawn(arrival, length, servers) < mean
            assert bursty or fluid_bound(rate, demand, servers) < mean
            for portion in (0.5, 0.9, 0.99):
                assert least_percentile(load, servers, portion) < np.quantile(latency, portion)


@cache
def least_percentile(load, servers, portion):
    """The bound for every rule: it knows neither the rule nor the arrivals."""
    demand = mixed_lengths()
    return percentile_bound(load / mean_load(1.0, demand, servers), demand, servers, portion)


@pytest.mark.parametrize("kind", ["greedy", "snap", "length_bucketed", "nearest_lengths"])
def test_no_rule_gets_below_the_bounds_with_noise(kind):
    values, weights = np.array([0.7, 1.0, 2.2]), np.array([0.4, 0.4, 0.2])
    values /= values @ weights
    law = Mixture(values[None], weights)
    rng = np.random.default_rng(5)
    noise = Noise(rng.choice(values.astype(np.float32), (1, 2, REQUESTS), p=weights))
    demand = mixed_lengths()
    for load in LOADS:
        rate = load / mean_load(1.0, demand, 2)
        arrival, length, latency = simulated(kind, rate, 2, noise=noise)
        bounds = [no_wait_bound(rate, demand, 2, noise=law), drawn(arrival, length, 2, law)]
        bounds.append(fluid_bound(rate, demand, 2, noise=law))
        assert max(bounds) < latency.mean()
        for portion in (0.5, 0.99):
            least = percentile_bound(rate, demand, 2, portion, noise=law)
            assert least < np.quantile(latency, portion)


def test_a_bound_of_a_service_that_is_too_slow_is_broken_by_runs():
    """Negative control: at a low load the bound is so near that 20 % more would be wrong."""
    demand = mixed_lengths()
    rate = 0.02 / mean_load(1.0, demand, 1)
    slow = demand_of(times_of(LENGTHS.length) * 1.2, LENGTHS.probability)
    latency = simulated("greedy", rate, 1)[2]
    assert no_wait_bound(rate, demand) < latency.mean() < no_wait_bound(rate, slow)
    p50 = np.quantile(latency, 0.5)
    assert percentile_bound(rate, demand, 1, 0.5) < p50 < percentile_bound(rate, slow, 1, 0.5)


def test_a_fluid_bound_of_a_service_that_is_too_slow_is_broken_by_the_optimum():
    """Negative control: close to saturation 2 % more arrivals would be a contradiction."""
    rate = 0.97 * largest_rate(LINE[:2])
    best = solve_optimum(rate, LINE[:2]).cost
    demand = demand_of(LINE[:2])
    assert fluid_bound(rate, demand) < best
    assert fluid_bound(rate * 1.02, demand) > best


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("noise", [CONSTANT, Gamma(0.5), Gamma(1.0)], ids=repr)
def test_the_exact_optimum_lies_above_the_bounds(curve, noise):
    service = CURVES[curve]
    demand = demand_of(service)
    for load in (0.05, 0.3, 0.6, 0.9, 0.99):
        rate = load * largest_rate(service)
        for weight in (0.0, 5.0):
            best = solve_optimum(rate, service, noise=noise, busy_weight=weight)
            least = no_wait_bound(rate, demand, noise=noise, busy_weight=weight)
            assert least < best.cost * (1 + 1e-9)
        assert fluid_bound(rate, demand, noise=noise) < best.mean_latency


def test_without_load_the_bound_is_a_service_and_the_optimum_reaches_it():
    assert no_wait_bound(1e-6, demand_of(LINE)) == pytest.approx(2.35)
    assert solve_optimum(1e-6, LINE).cost == pytest.approx(2.35, rel=1e-5)
    assert no_wait_bound(0.0, demand_of(LINE)) == 2.35


def test_with_equal_shares_of_time_the_bound_is_the_best_mix_of_sizes():
    service = np.array([1.0, 1.2])  # at rate 1.3, batches of 1 take too much time
    share = (1.0 - 1 / 1.3) / (1.0 - 0.6)  # of the requests in pairs, so that E[S / k] = 1 / 1.3
    mix = (1.0 - share) * 1.0 + share * 1.2
    assert no_wait_bound(1.3, demand_of(service)) == pytest.approx(mix, rel=1e-9)


def test_the_percentile_bound_is_the_time_of_the_largest_batch_that_is_needed():
    demand = demand_of(LINE)
    rate = 1.2  # needs 2 / (1 / 1.2 - 0.35) = 4.14 requests in each batch
    assert percentile_bound(rate, demand, 1, 0.999) == pytest.approx(2.0 + 0.35 * 5, rel=1e-6)
    assert percentile_bound(rate, demand, 1, 0.01) == pytest.approx(2.35, rel=1e-6)
    assert percentile_bound(1e-9, demand, 1, 0.99) == pytest.approx(2.35, rel=1e-6)
    assert percentile_bound(0.0, demand, 1, 0.99) == pytest.approx(2.35, rel=1e-6)


def test_batches_of_one_have_the_percentile_of_their_own_law():
    p99 = percentile_bound(0.5, demand_of([1.0]), 1, 0.99, noise=Gamma(1.0))
    assert p99 == pytest.approx(-np.log(0.01), rel=1e-6)


@pytest.mark.parametrize("load", [0.5, 0.9, 0.99])
def test_the_fluid_bound_of_single_requests_is_half_a_service_below_constant_service(load):
    bound = fluid_bound(load, demand_of([1.0]))
    assert bound == pytest.approx(MDc(load, 1.0).mean_wait + 0.5 + 0.5, rel=1e-9)


def test_the_fluid_bound_says_nothing_about_a_very_noisy_service():
    assert fluid_bound(0.5, demand_of([1.0]), noise=Gamma(1.01)) == 0.0
    assert drawn_bound(np.arange(3.0), np.zeros(3, int), demand_of([1.0]), noise=Gamma(2)) == 0.0


def test_drawn_poisson_arrivals_have_the_fluid_bound_of_their_law():
    rate, demand = 0.9 * largest_rate(LINE), demand_of(LINE)
    arrival = np.random.default_rng(6).exponential(1.0 / rate, 400_000).cumsum()
    drawn_ms = drawn_bound(arrival, np.zeros(len(arrival), dtype=np.int64), demand)
    law = fluid_bound(rate, demand) - no_wait_bound(rate, demand) / 2.0 + LINE[0] / 2.0
    assert drawn_ms == pytest.approx(law, rel=0.03)


def test_drawn_arrivals_in_a_burst_wait_for_one_another():
    work = LINE[31] / 32
    found = drawn_bound(np.zeros(64), np.zeros(64, dtype=np.int64), demand_of(LINE))
    assert found == pytest.approx(64 * work / 2 + LINE[0] / 2)
    greedy = np.mean([LINE[31], 2 * LINE[31]])
    assert found < greedy


def test_padding_is_taken_where_a_table_says_it_is_faster():
    odd = np.array([[2.0, 1.0, 3.0]])
    assert demand_of(odd, np.full(3, 1 / 3)).time.tolist() == [[1.0, 1.0, 3.0]]


def test_tiers_that_cost_the_same_are_one_class():
    part = demand_of([1.0, 1.5])
    both = joined([(0.25, part), (0.75, part)])
    assert both.time.shape == (2, 1)
    assert both.share.tolist() == [1.0]
    other = joined([(0.25, part), (0.75, demand_of([2.0, 2.5]))])
    assert sorted(other.share.tolist()) == [0.25, 0.75]


@pytest.mark.parametrize("seed", range(12))
def test_more_servers_and_fewer_arrivals_never_raise_a_bound(seed):
    rng = np.random.default_rng(seed)
    table = np.cumsum(rng.exponential(1.0, (8, 3)), axis=0)
    demand = demand_of(table, rng.dirichlet(np.ones(3)))
    rate = 0.8 / mean_load(1.0, demand, 1)
    for bound in (no_wait_bound, fluid_bound, lambda *a: percentile_bound(*a, 0.9)):
        assert bound(rate, demand, 2) <= bound(rate, demand, 1) * (1 + 1e-6)
        assert bound(rate / 2, demand, 1) <= bound(rate, demand, 1) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: no_wait_bound(3.0, demand_of(LINE)), "load < 1, or no rule keeps up"),
        (lambda: fluid_bound(0.0, demand_of(LINE)), "rate > 0"),
        (lambda: no_wait_bound(-1.0, demand_of(LINE)), "rate >= 0"),
        (lambda: percentile_bound(1.0, demand_of(LINE), 1, 1.0), "0 < portion < 1"),
        (lambda: demand_of([[1.0, 2.0]], [0.5, 0.6]), "the shares add up to 1"),
        (lambda: demand_of([1.0, -1.0]), "above 0"),
        (lambda: demand_of([[1.0, 2.0]]), r"share \(lengths,\)"),
    ],
)
def test_impossible_parameters_are_refused(call, message):
    with pytest.raises(WorkloadError, match=message):
        call()


def test_a_table_of_the_optimum_is_far_from_its_bound_only_by_waiting():
    rate = 0.5 * largest_rate(LINE)
    best = solve_optimum(rate, LINE)
    assert solve_batches(rate, LINE, Optimal(best.take).take).mean_latency == pytest.approx(
        best.cost
    )
    assert 0.5 < no_wait_bound(rate, demand_of(LINE)) / best.cost < 1.0
