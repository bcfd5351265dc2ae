"""The optimum of one server: oracles, a second method, closed forms, and what nothing can beat."""

import numpy as np
import pytest
from oracle_runs import ORACLES, holds
from service_curves import CURVES, LINE, SIZES

from profiles import load
from profiles.noise import noise_table
from sim.errors import WorkloadError
from sim.service import noise_factor
from sim.theory_batch import (
    greedy_table,
    largest_rate,
    linear_service,
    snap_table,
    solve_batches,
)
from sim.theory_noise import CONSTANT, Gamma, Lognormal, Mixture
from sim.theory_quantiles import Quantiles
from sim.theory_smdp import solve_optimum

SMDP = [name for name in ORACLES if name.startswith("smdp")]
PROFILE = load("bert-base-a100-tensorrt-fp16")
TABLE = noise_table(PROFILE)
STEEP = Quantiles(np.sort(np.random.default_rng(3).uniform(0.2, 3.0, (2, 9))), SIZES // 3 % 2)
NOISES = {
    "none": CONSTANT,
    "gamma": Gamma(0.4),
    "lognormal": Lognormal(0.4),
    "two values": Mixture(np.array([[0.8, 1.8]]), np.array([0.8, 0.2])),
    "by size": Mixture(
        np.stack([0.5 + 1 / SIZES[:8], 2.0 - 1 / SIZES[:8]], axis=1), np.full(2, 0.5)
    ),
    "profile": Quantiles(TABLE.quantiles, TABLE.class_of_size),
    "steep": STEEP,
}


def staircase(rng, largest):
    """Times that never fall, with steps and flat stretches."""
    rises = rng.exponential(1.0, largest) * (rng.random(largest) < 0.5)
    return 1.0 + rng.exponential(2.0) + np.cumsum(rises)


def random_table(rng, largest):
    """Any table that serves; the last entry is the most efficient size that greedy can use."""
    counts = np.arange(1, 3 * largest)
    table = rng.integers(0, np.minimum(counts, largest) + 1)
    return np.concatenate([[0], table, [largest]])


@pytest.mark.parametrize("name", SMDP)
def test_the_optimum_has_all_the_digits_and_every_entry_of_the_oracle(name):
    oracle = ORACLES[name]
    found = solve_optimum(oracle["params"]["lam"], CURVES[name.split("_")[1]])
    holds(name, optimal_mean_latency=found.mean_latency)
    wanted = oracle["params"]["optimal_policy_first40"]
    assert [found.take[min(n, len(found.take) - 1)] for n in range(40)] == wanted


POWER = [  # load, weight, smallest batch, mean latency, utilisation
    (0.1, 20.0, 2, 4.90, 0.323),
    (0.3, 5.0, 3, 4.96, 0.691),
    (0.3, 20.0, 5, 6.64, 0.540),
    (0.5, 10.0, 5, 6.33, 0.838),
    (0.7, 20.0, 10, 9.39, 0.890),
]


@pytest.mark.parametrize(("load", "weight", "smallest", "latency", "busy"), POWER)
def test_a_price_of_busy_time_is_paid_by_waiting(load, weight, smallest, latency, busy):
    found = solve_optimum(load * largest_rate(LINE), LINE, busy_weight=weight)
    assert int(np.argmax(found.take > 0)) == smallest
    assert found.mean_latency == pytest.approx(latency, abs=0.006)
    assert found.utilisation == pytest.approx(busy, abs=0.0006)
    assert found.cost == pytest.approx(found.mean_latency + weight * found.utilisation, rel=1e-12)
    limit = solve_batches(found.rate, LINE, greedy_table(32, smallest))
    assert limit.mean_latency + weight * limit.utilisation == pytest.approx(found.cost, rel=2e-5)


def value_iteration(rate, service, states):
    """Bounds on the least mean number in the system, by value iteration.

    A discrete chain with the same average cost (Schweitzer 1971; Puterman 1994, section 11.4):
    costs over times, and moves that happen with probability ``step / time``.
    """
    from scipy.stats import poisson

    largest, queue = len(service), np.arange(states)
    time = np.append(1.0 / rate, service)
    step = 0.99 * time.min()
    moves = np.zeros((largest + 1, states, states))
    moves[0, queue, np.minimum(queue + 1, states - 1)] = 1.0
    for size in range(1, largest + 1):
        chance = poisson.pmf(queue, rate * service[size - 1])
        for n in range(size, states):
            moves[size, n, n - size :] = chance[: states - n + size]
            moves[size, n, -1] += 1.0 - moves[size, n].sum()
    cost = np.outer(time, queue) + np.append(0.0, rate * service**2 / 2.0)[:, None]
    cost /= time[:, None]
    cost[np.arange(largest + 1)[:, None] > queue] = np.inf
    value = np.zeros(states)
    for _ in range(20_000):
        ahead = moves @ value - value
        new = (cost + ahead / time[:, None]).min(axis=0)
        if np.ptp(new) < 1e-10:
            break
        value += step * new
        value -= value[0]
    return new.min(), new.max()


@pytest.mark.parametrize("load", [0.4, 0.7])
@pytest.mark.parametrize("curve", CURVES)
def test_value_iteration_encloses_the_same_optimum(curve, load):
    service = CURVES[curve][:9]
    rate = load * largest_rate(service)
    low, high = value_iteration(rate, service, states=110)
    found = solve_optimum(rate, service)
    assert high - low < 1e-9
    assert low - 1e-8 < found.cost * rate < high + 1e-8
    greedy = solve_batches(rate, service[: len(service)], greedy_table(9)).mean_number
    assert curve not in ("pow2", "tile8") or greedy > high + 1e-3  # steps are what greedy misses


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
@pytest.mark.parametrize("load", [0.05, 0.5, 0.9])
def test_the_table_has_the_mean_that_was_promised(noise, load):
    for curve in CURVES.values():
        service = curve[:8]
        rate = load * largest_rate(service * noise.mean(8))
        found = solve_optimum(rate, service, noise=noise, busy_weight=1.0)
        table = solve_batches(rate, service, found.take, noise=noise)
        assert table.mean_latency == pytest.approx(found.mean_latency, rel=1e-9)
        assert table.utilisation == pytest.approx(found.utilisation, rel=1e-9)
        assert table.mean_batch == pytest.approx(found.mean_batch, rel=1e-9)


@pytest.mark.parametrize("load", [0.1, 0.8, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_batches_of_one_have_the_mean_of_pollaczek_and_khinchine(noise, load):
    if isinstance(noise, Mixture):
        noise = Mixture(noise.factor[:1], noise.weight)
    mean, square = 3.0 * noise.mean(1)[0], 9.0 * noise.square(1)[0]
    rate = load / mean
    exact = mean + rate * square / (2.0 * (1.0 - load))
    assert solve_optimum(rate, [3.0], noise=noise).cost == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("seed", range(30))
def test_no_table_is_better_on_a_random_staircase(seed):
    rng = np.random.default_rng(seed)
    largest = int(rng.integers(2, 13))
    service = staircase(rng, largest)
    noise = list(NOISES.values())[seed % 4]
    weight = float(rng.choice([0.0, 3.0]))
    rate = float(rng.uniform(0.05, 0.9)) * min(largest_rate(service), largest / service[-1])
    best = solve_optimum(rate, service, busy_weight=weight, noise=noise)
    tables = [greedy_table(largest), snap_table(service), greedy_table(largest, largest)]
    tables += [random_table(rng, largest) for _ in range(20)]
    for table in tables:
        other = solve_batches(rate, service, table, noise=noise)
        assert best.cost <= (other.mean_latency + weight * other.utilisation) * (1 + 1e-10)


def test_a_spoiled_table_is_seen_to_be_worse():
    best = solve_optimum(1.2, CURVES["tile8"])
    spoiled = best.take.copy()
    spoiled[9] = 1
    assert solve_batches(1.2, CURVES["tile8"], spoiled).mean_latency > best.cost * (1 + 1e-6)


def test_the_unit_of_time_does_not_matter():
    ms, ns = solve_optimum(1.5, CURVES["pow2"]), solve_optimum(1.5e-6, CURVES["pow2"] * 1e6)
    assert np.array_equal(ms.take, ns.take)
    assert ns.cost == pytest.approx(ms.cost * 1e6, rel=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_faster_batches_and_larger_ones_never_cost_more(seed):
    rng = np.random.default_rng(seed)
    service = staircase(rng, 10)
    rate = 0.7 * largest_rate(service[:6])
    base = solve_optimum(rate, service[:6]).cost
    assert solve_optimum(rate, service).cost <= base * (1 + 1e-10)
    assert solve_optimum(rate, service[:6] * rng.uniform(0.7, 1.0, 6)).cost < base


def test_the_more_busy_time_costs_the_less_there_is_of_it():
    found = [solve_optimum(0.7, LINE, busy_weight=weight) for weight in (0, 3, 10, 30, 100)]
    assert np.all(np.diff([each.utilisation for each in found]) < 0)
    assert np.all(np.diff([each.mean_latency for each in found]) > 0)


def test_states_are_added_where_noise_needs_them():
    flat = np.full(32, 5.0)
    rate = 0.6 * largest_rate(flat)
    found = solve_optimum(rate, flat, noise=Gamma(1.0))
    assert found.states > solve_optimum(rate, flat).states
    exact = solve_batches(rate, flat, found.take, noise=Gamma(1.0))
    assert exact.mean_latency == pytest.approx(found.cost, rel=1e-8)


@pytest.mark.parametrize("curve", CURVES)
def test_close_to_saturation_few_states_give_what_many_do(curve):
    service = CURVES[curve][:8]
    found = solve_optimum(0.98 * largest_rate(service), service)
    assert found.states < 100
    exact = solve_batches(found.rate, service, found.take)  # 1300 states
    assert found.mean_latency == pytest.approx(exact.mean_latency, rel=1e-9)
    assert found.mean_batch == pytest.approx(exact.mean_batch, rel=1e-9)


def test_close_to_saturation_the_optimum_is_the_oracle_of_greedy_batches():
    found = solve_optimum(2.3, LINE)  # greedy is optimal to a few digits here
    exact = ORACLES["greedy_lam2.3"]["expected"]["mean_latency"]
    assert exact * (1 - 1e-4) < found.cost <= exact
    assert found.states < 200


@pytest.mark.parametrize("largest", [32, 128])
def test_the_optimum_is_found_in_a_few_steps_on_few_states(largest):
    """Each step solves a dense system; so it takes no time that anybody would notice."""
    service = linear_service(2.0, 0.35, largest)
    found = solve_optimum(0.9 * largest_rate(service), service)
    assert found.states == 2 * largest + 40, "the first number of states is enough"
    assert found.iterations <= 4


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_a_law_of_noise_agrees_with_itself(noise):
    points = np.linspace(0.0, 12.0, 240_001)
    below = noise.below(np.broadcast_to(points, (8, len(points))))
    assert np.all(np.diff(below, axis=1) >= 0)
    above = 1.0 - below
    assert np.trapezoid(above, points) == pytest.approx(noise.mean(8), abs=1e-4)
    assert np.trapezoid(2 * points * above, points) == pytest.approx(noise.square(8), abs=1e-3)
    least = noise.least(8)[:, None]
    assert np.all(noise.below(least - 1e-9) == 0.0)
    assert np.all((noise.below(least + 0.2) > 0.0) | (least == 0.0))
    chance = noise.arrivals(1.3, LINE[:8], 400)
    count, mean = np.arange(400), 1.3 * LINE[:8] * noise.mean(8)
    assert chance.sum(axis=1) == pytest.approx(np.ones(8), abs=1e-9)
    assert chance @ count == pytest.approx(mean, rel=1e-8)
    square = (1.3 * LINE[:8]) ** 2 * noise.square(8)
    assert chance @ count**2 == pytest.approx(square + mean, rel=1e-7)


def test_a_gamma_law_is_the_mixture_of_its_own_quadrature():
    from scipy.special import roots_genlaguerre

    node, weight = roots_genlaguerre(60, 3.0)
    mixture = Mixture(node[None] / 4.0, weight / weight.sum())
    gamma, mixed = (solve_optimum(1.0, LINE, noise=noise) for noise in (Gamma(0.5), mixture))
    assert mixed.cost == pytest.approx(gamma.cost, rel=1e-8)
    assert np.array_equal(mixed.take, gamma.take)


@pytest.mark.parametrize("law", [NOISES["profile"], STEEP], ids=["profile", "steep"])
def test_the_law_of_a_profile_is_that_of_the_drivers(law):
    scores = np.random.default_rng(8).standard_normal((1, 1, 100_000)).astype(np.float32)
    size = np.array([2])
    drawn = [
        noise_factor(scores, law.quantiles, law.class_of_size, 0, 0, k, int(size[0]))
        for k in range(scores.shape[2])
    ]
    for share in (0.01, 0.3, 0.5, 0.9, 0.999):
        ratio = np.full((2, 1), np.quantile(drawn, share))
        spread = np.sqrt(share * (1 - share) / len(drawn))
        assert abs(law.below(ratio)[1, 0] - share) < 5 * spread
    assert law.mean(2)[1] == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 300)


def test_a_profile_of_means_has_a_factor_of_mean_one():
    assert PROFILE.statistic == "mean"
    largest = PROFILE.largest_batch
    assert NOISES["profile"].mean(largest) == pytest.approx(np.ones(largest), abs=1e-10)


@pytest.mark.parametrize(
    ("solve", "message"),
    [
        (lambda: solve_optimum(3.0, LINE), "load < 1"),
        (lambda: solve_optimum(0.0, LINE), "rate > 0"),
        (lambda: solve_optimum(1.0, [1.0, -1.0]), "service is a list of times above 0"),
        (lambda: solve_optimum(1.0, LINE, busy_weight=-1.0), "busy_weight >= 0"),
        (lambda: solve_optimum(1.0, linear_service(2.0, 0.35, 3000)), "6000 states are enough"),
        (lambda: Gamma(0.0), "cv > 0"),
        (lambda: Lognormal(-1.0), "cv > 0"),
        (lambda: Lognormal(99.0).arrivals(1.0, LINE, 9), "nodes resolve"),
        (lambda: Mixture(np.ones((1, 2)), np.ones(2)), "weights adding up to 1"),
        (lambda: Mixture(np.ones((3, 1)), np.ones(1)).mean(4), "1 or 4 rows"),
        (lambda: solve_batches(1.0, LINE, cv=0.5, noise=Gamma(0.2)), "cv or noise"),
        (lambda: solve_batches(1.0, LINE, noise=Gamma(0.2), room=9), "cv = 0 where room"),
    ],
)
def test_impossible_parameters_are_refused(solve, message):
    with pytest.raises(WorkloadError, match=message):
        solve()
