"""Exact batch service and timers against the digits of ``data/oracles.json``."""

import numpy as np
import pytest
from oracle_runs import ORACLES, holds
from service_curves import CURVES, LINE, SIZES

from policies import Snap
from policies.contract import bind
from policies.example_view import Waiting, example_view
from sim.errors import WorkloadError
from sim.theory import MDc
from sim.theory_batch import (
    balance_size,
    greedy_table,
    inoue_bound,
    largest_rate,
    light_traffic_latency,
    linear_service,
    mean_latency_of_batch,
    snap_table,
    solve_batches,
    solve_servers,
)
from sim.theory_latency import GreedyLatency
from sim.theory_loss import MD1K
from sim.theory_timeout import AmpleTimeout, solve_timeout


def means(queue):
    return {
        "mean_latency": queue.mean_latency,
        "mean_number": queue.mean_number,
        "mean_batch": queue.mean_batch,
        "utilisation": queue.utilisation,
        "batches_per_ms": queue.batch_rate,
        "p_empty_at_departure": queue.p_empty,
        "throughput": queue.rate * (1.0 - queue.p_loss),
        "mean_batch_seen_by_request": queue.mean_batch_of_request,
        "p_loss": queue.p_loss,
    }


SOLVED = {
    "greedy_lam0.6": lambda: solve_batches(0.6, LINE),
    "greedy_lam1.2": lambda: solve_batches(1.2, LINE),
    "greedy_lam2.0": lambda: solve_batches(2.0, LINE),
    "greedy_lam2.3": lambda: solve_batches(2.3, LINE),
    "greedy_gamma_noise": lambda: solve_batches(1.2, LINE[:8], cv=0.2),
    "greedy_exp": lambda: solve_batches(1.0, LINE[:8], cv=1.0),
    "greedy_cap1": lambda: solve_batches(0.3, LINE[:1]),
    "greedy_finite": lambda: solve_batches(1.8, LINE[:8], room=12),
    "greedy_inf": lambda: solve_batches(1.2, linear_service(2.0, 0.35, 200)),
    "static_8": lambda: solve_batches(1.2, LINE[:8], greedy_table(8, smallest=8)),
    "threshold_m4": lambda: solve_batches(1.2, LINE, greedy_table(32, smallest=4)),
}


@pytest.mark.parametrize("name", SOLVED)
def test_a_table_rule_is_solved_to_all_digits(name):
    found = means(SOLVED[name]())
    wanted = ORACLES[name]["expected"]
    left = set(wanted) - set(found)
    assert left <= {"p50_latency", "p90_latency", "p99_latency", "cdf_at_mean", "inoue_bound"}
    holds(name, **{key: value for key, value in found.items() if key in wanted})


@pytest.mark.parametrize("name", [name for name in ORACLES if name.startswith("smdp")])
def test_greedy_and_snap_are_solved_on_any_curve(name):
    oracle = ORACLES[name]
    curve, rate = CURVES[name.split("_")[1]], oracle["params"]["lam"]
    assert rate == pytest.approx(oracle["params"]["rho"] * largest_rate(curve))
    greedy, snap = solve_batches(rate, curve), solve_batches(rate, curve, snap_table(curve))
    holds(name, greedy_mean_latency=greedy.mean_latency, snap_mean_latency=snap.mean_latency)


@pytest.mark.parametrize("name", [name for name in ORACLES if name.startswith("smdp")])
def test_the_table_of_the_optimum_has_the_optimal_mean(name):
    oracle = ORACLES[name]
    table = [*oracle["params"]["optimal_policy_first40"]]
    curve, rate = CURVES[name.split("_")[1]], oracle["params"]["lam"]
    found = solve_batches(rate, curve, table).mean_latency
    assert found == pytest.approx(oracle["expected"]["optimal_mean_latency"], rel=2e-4)
    assert found <= solve_batches(rate, curve).mean_latency


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
def test_the_table_of_snap_is_what_the_policy_does(curve):
    service_ns = np.rint(curve * 1e6).astype(np.int64)[:, None]
    policy = bind(Snap(), service_ns, np.array([1]), (), 1)
    for waiting, expected in enumerate(snap_table(curve)[1:], start=1):
        view = example_view(10, [Waiting(0)] * waiting)
        policy.decide(view)
        assert view.take[0] == expected


def test_the_table_of_snap_does_not_depend_on_the_unit():
    assert np.array_equal(snap_table(CURVES["tile8"]), snap_table(CURVES["tile8"] * 1e6))


@pytest.mark.parametrize("rate", [0.6, 1.2, 2.0])
def test_latency_under_greedy_has_its_exact_distribution(rate):
    expected = ORACLES[f"greedy_lam{rate}"]["expected"]
    latency = GreedyLatency(rate, LINE)
    for key, share in (("p50_latency", 0.5), ("p90_latency", 0.9), ("p99_latency", 0.99)):
        assert latency.cdf(expected[key]) == pytest.approx(share, rel=1e-8)
    assert latency.cdf(expected["mean_latency"]) == pytest.approx(expected["cdf_at_mean"], rel=1e-8)


def test_a_percentile_under_greedy_is_the_inverse_of_the_distribution():
    latency = GreedyLatency(1.0, LINE[:4])
    assert latency.cdf(latency.quantile(0.95)) == pytest.approx(0.95, rel=1e-9)


def test_latency_under_greedy_batches_of_one_is_that_of_constant_service():
    batches, single = GreedyLatency(0.3, LINE[:1]), MDc(0.3, 2.35)
    for time in (1.0, 2.35, 3.0, 8.0, 20.0):
        assert batches.cdf(time) == pytest.approx(single.wait_cdf(time - 2.35), abs=1e-9)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
def test_the_distribution_under_greedy_agrees_with_its_mean(curve):
    latency = GreedyLatency(0.5, curve[:12])
    times = np.linspace(curve[0], curve[0] + 40.0, 201)
    above = [1.0 - latency.cdf(time) for time in times]
    mean = curve[0] + np.trapezoid(above, times)  # nobody is faster than a batch of one
    assert mean == pytest.approx(latency.queue.mean_latency, rel=1e-3)


@pytest.mark.parametrize("rate", [0.25, 0.75, 1.2, 2.0])
def test_the_mean_latency_without_a_cap_follows_from_the_mean_batch(rate):
    queue = solve_batches(rate, linear_service(2.0, 0.35, 200))
    follows = mean_latency_of_batch(rate, 2.0, 0.35, queue.mean_batch)
    assert queue.mean_latency == pytest.approx(follows, rel=1e-9)
    bound = inoue_bound(rate, 2.0, 0.35)
    assert queue.mean_latency < bound
    holds("inoue", **{f"exact_lam{rate}": queue.mean_latency, f"bound_lam{rate}": bound})
    if rate == 1.2:
        holds("greedy_inf", inoue_bound=bound)


def test_the_bound_is_the_smaller_of_the_two_closed_forms():
    base, own = 2.0, 0.35
    for rate in (0.1, 0.25, 0.5, 1.2, 2.5):
        share, idle = rate * own, rate * base
        light = (own + base) / (2 * (1 - share)) * (1 + 2 * idle + (1 - idle) / (1 + share))
        heavy = 1.5 * base / (1 - share) + own / 2 * (share + 2) / (1 - share**2)
        assert inoue_bound(rate, base, own) == pytest.approx(min(light, heavy))


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_light_traffic_is_a_first_order_expansion(rate):
    expansion, exact = light_traffic_latency(rate, LINE[0]), solve_batches(rate, LINE)
    figures = {f"asym_lam{rate}": expansion, f"exact_lam{rate}": exact.mean_latency}
    holds("light_traffic", **figures)
    assert abs(expansion - exact.mean_latency) < 2.0 * rate**2


def test_no_rule_can_serve_more_than_the_best_batch():
    expected = ORACLES["limits"]["expected"]
    assert largest_rate(LINE) == pytest.approx(expected["lam_max_per_ms"], rel=1e-9)
    assert largest_rate(LINE[:8]) == pytest.approx(expected["lam_max_greedy_cap8"], rel=1e-9)
    assert largest_rate(LINE, servers=3) == pytest.approx(3 * expected["lam_max_per_ms"])


def test_greedy_is_unstable_before_a_convex_curve_is_exhausted():
    convex = 2.0 + 0.1 * SIZES + 0.03 * SIZES**2
    assert largest_rate(convex) == pytest.approx(8 / convex[7])
    with pytest.raises(WorkloadError, match="no equilibrium"):
        solve_batches(0.9, convex)
    assert solve_batches(0.9, convex[:8]).mean_latency < 10.0


def test_the_balance_size_is_the_fixed_point_of_a_line():
    for rate, servers in ((1.2, 1), (4.0, 2), (6.0, 4)):
        exact = rate * 2.0 / (servers - rate * 0.35)
        assert balance_size(rate, LINE, servers) == np.ceil(exact)


def test_exponential_batches_on_several_servers_are_a_chain_in_continuous_time():
    queue = solve_servers(6.0, 1.0, largest=4, servers=3)
    assert holds(
        "batch_c3",
        mean_latency=queue.mean_latency,
        mean_batch=queue.mean_batch,
        utilisation=queue.utilisation,
        p_wait=queue.p_wait,
    )
    one, batches = solve_servers(1.0, 0.5, 4, 1), solve_batches(1.0, [2.0] * 4, cv=1.0)
    assert one.mean_latency == pytest.approx(batches.mean_latency)
    assert one.mean_batch == pytest.approx(batches.mean_batch)


@pytest.mark.parametrize("name", ["timeout_ample_b8", "timeout_ample_b16"])
def test_a_timer_with_a_server_always_free_is_solved_to_all_digits(name):
    params = ORACLES[name]["params"]
    queue = AmpleTimeout(params["lam"], params["B"], params["T"], LINE)
    found = {
        "mean_batch": queue.mean_batch,
        "mean_wait": queue.mean_wait,
        "mean_forming_time": queue.mean_forming_time,
        "p_full": queue.p_full,
        "p_batch_1": queue.batch[0],
        "p_wait_eq_T": queue.p_whole_wait,
        "p_wait_zero": queue.p_no_wait,
        "p_wait_gt_half_T": queue.wait_above(params["T"] / 2),
        "mean_latency": queue.mean_latency,
        "batch_sd": np.sqrt(queue.batch @ SIZES[: params["B"]] ** 2 - queue.mean_batch**2),
    }
    for share in (50, 90, 99):
        found[f"p{share}_latency"] = queue.latency_quantile(share / 100)
    assert holds(name, **{key: found[key] for key in ORACLES[name]["expected"]})


def test_the_distribution_of_an_ample_timer_agrees_with_its_mean():
    queue = AmpleTimeout(2.0, 8, 3.0, LINE)
    times = np.linspace(0.0, 3.0, 121)
    above = [queue.wait_above(time) for time in times]
    above[-1] = queue.p_whole_wait  # a jump: those who wait for the timer wait exactly 3
    assert np.trapezoid(above, times) == pytest.approx(queue.mean_wait, rel=1e-4)
    assert queue.wait_above(3.0) == pytest.approx(0.0, abs=1e-12)
    assert queue.latency_cdf(LINE[0]) == 0.0
    assert queue.latency_cdf(3.0 + LINE[7]) == pytest.approx(1.0)


@pytest.mark.parametrize("name", [name for name in ORACLES if name.startswith("timeout_single")])
def test_a_timer_on_one_server_is_solved_to_all_digits(name):
    params = ORACLES[name]["params"]
    queue = solve_timeout(params["lam"], LINE, params["B"], params["T"])
    found = {
        "mean_latency": queue.mean_latency,
        "mean_number": queue.mean_number,
        "mean_batch": queue.mean_batch,
        "utilisation": queue.utilisation,
        "throughput": queue.mean_number / queue.mean_latency,
        "p_full": queue.p_full,
    }
    assert holds(name, **{key: found[key] for key in ORACLES[name]["expected"]})


def test_a_timer_of_nothing_is_greedy():
    timer, greedy = solve_timeout(1.2, LINE, 32, 0.0), solve_batches(1.2, LINE)
    assert timer.mean_latency == pytest.approx(greedy.mean_latency, rel=1e-9)
    assert timer.mean_batch == pytest.approx(greedy.mean_batch, rel=1e-9)


def test_a_room_that_is_never_full_is_no_room():
    bounded, endless = solve_batches(0.6, LINE, room=150), solve_batches(0.6, LINE)
    assert bounded.mean_latency == pytest.approx(endless.mean_latency, rel=1e-9)
    assert bounded.p_loss == pytest.approx(0.0, abs=1e-12)


def test_batches_of_one_before_a_room_are_the_bounded_queue_of_constant_service():
    batches, queue = solve_batches(0.9, [1.0], room=9), MD1K(0.9, 1.0, capacity=10)
    assert batches.p_loss == pytest.approx(queue.p_loss)
    assert batches.mean_latency == pytest.approx(queue.mean_latency)
    assert batches.utilisation == pytest.approx(queue.utilisation)


@pytest.mark.parametrize(
    ("solve", "message"),
    [
        (lambda: solve_batches(3.0, LINE), "load < 1"),
        (lambda: solve_batches(1.0, []), "service is a list of times above 0"),
        (lambda: solve_batches(1.0, [1.0, -1.0]), "service is a list of times above 0"),
        (lambda: solve_batches(1.0, LINE, [0, 2]), r"0 <= take\[n\] <= min\(n, 32\)"),
        (lambda: solve_batches(1.0, LINE, [0, 1, 0]), "the last entry serves"),
        (lambda: solve_batches(1.0, LINE, cv=0.5, room=9), "cv = 0 where room is given"),
        (lambda: solve_batches(1.0, LINE, greedy_table(8, 8), room=5), "within the room serves"),
        (lambda: balance_size(3.0, LINE), "rate <= largest_rate"),
        (lambda: solve_timeout(1.0, LINE, 33, 1.0), "1 <= size <= 32"),
        (lambda: solve_timeout(1.0, LINE, 8, 5.0), "0 <= wait <= 4.8"),
        (lambda: solve_timeout(1.7, LINE, 8, 1.0), "load < 1"),
        (lambda: AmpleTimeout(1.0, 40, 1.0, LINE), "size <= 32"),
        (lambda: inoue_bound(3.0, 2.0, 0.35), "load < 1"),
    ],
)
def test_impossible_parameters_are_refused(solve, message):
    with pytest.raises(WorkloadError, match=message):
        solve()
