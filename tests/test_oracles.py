"""The simulated systems find the exact answers of queueing theory.

Every figure of ``data/oracles.json`` is simulated with a million requests, mostly through the
scenarios that come with the package, or is listed as outside the model with its reason.

A figure may deviate by four of its standard errors and 0.1 %.  A right simulation exceeds that for
one figure in 16 000 or more, so for the file's 160 figures together in one choice of seeds in 100;
the seeds are fixed.  What the check rejects is in ``test_oracles_controls.py``.
"""

from functools import cache

import numpy as np
import pytest
from oracle_runs import (
    MS,
    ORACLES,
    REQUESTS,
    deviations,
    run_scenario,
    run_system,
    tolerance,
)

from experiments.config import load_scenario
from policies import Greedy, Snap, Static
from sim import kernel
from sim.lengths import Lognormal
from sim.service import Service
from sim.streams import stream
from sim.theory import ageing_waits
from sim.theory_batch import linear_service, mean_latency_of_batch, solve_batches
from sim.theory_loss import ClosedMM1
from sim.workload import Workload

RATE = "workload.arrivals.rate_per_s"
TIMEOUT = "policies.size_or_timeout"

SCENARIOS = {
    "mm1": ("mm1",),
    "mmc4": ("mmc4",),
    "md1": ("md1",),
    "mdc4": ("mdc4",),
    "mg1_lognormal": ("mg1_lognormal",),
    "dm1": ("dm1",),
    "e4m1": ("e4m1",),
    "h2m1": ("h2m1",),
    "mmpp2m1": ("mmpp2m1",),
    "mm1k": ("mm1k",),
    "md1k": ("md1k",),
    "erlangB": ("erlang_b",),
    "mm1_abandon": ("mm1_abandon",),
    "mm4_abandon": ("mm4_abandon",),
    "mm1_deadline": ("mm1_deadline",),
    "greedy_lam0.6": ("greedy", f"{RATE}=600"),
    "greedy_lam1.2": ("greedy",),
    "greedy_lam2.0": ("greedy", f"{RATE}=2000"),
    "greedy_lam2.3": ("greedy", f"{RATE}=2300"),
    "greedy_gamma_noise": ("greedy_gamma_noise",),
    "greedy_exp": ("greedy_exp",),
    "greedy_cap1": ("greedy_cap1",),
    "greedy_finite": ("greedy_finite",),
    "greedy_inf": ("greedy", "service.model.max_batch_size=128"),
    "static_8": ("static_8",),
    "threshold_m4": ("threshold_m4",),
    "batch_c3": (
        "greedy_exp",
        "service.model={ table_ms = [1, 1, 1, 1], noise = { kind = 'gamma', cv = 1 } }",
        "service.servers=3",
        f"{RATE}=6000",
    ),
    "timeout_ample_b8": ("timeout_ample", "service.servers=16"),
    "timeout_ample_b16": (
        "timeout_ample",
        "service.servers=16",
        f"{RATE}=500",
        f"{TIMEOUT}.max_batch_size=16",
        f"{TIMEOUT}.max_wait_ms=10",
    ),
    "timeout_single_0.6_8_2.0": ("timeout_single", f"{RATE}=600", f"{TIMEOUT}.max_wait_ms=2"),
    "timeout_single_1.2_8_4.0": ("timeout_single",),
    "timeout_single_1.2_32_5.0": (
        "timeout_single",
        f"{TIMEOUT}.max_batch_size=32",
        f"{TIMEOUT}.max_wait_ms=5",
    ),
    "timeout_single_2.0_32_8.0": (
        "timeout_single",
        f"{RATE}=2000",
        f"{TIMEOUT}.max_batch_size=32",
        f"{TIMEOUT}.max_wait_ms=8",
    ),
}
"""Oracles that a shipped scenario describes, with the changes that it needs."""

TABLES = {
    "smdp_linear_0.3": "greedy",
    "smdp_linear_0.5": "greedy",
    "smdp_linear_0.7": "greedy",
    "smdp_pow2_0.3": "staircase_pow2",
    "smdp_pow2_0.7": "staircase_pow2",
    "smdp_tile8_0.3": "staircase_tile8",
    "smdp_tile8_0.5": "staircase_tile8",
}
"""Oracles of greedy and snap on a table of service times; the load is in the name."""

PRIORITIES = ("mm1_prio2", "mg1_prio3")
"""Oracles of strict priority, each a shipped scenario."""

ELSEWHERE = {
    "padding_saturated": "its figures are rates without a queue: tested below",
    "golden_trace": "request for request, in tests/test_oracles_paths.py",
    "limits": "closed forms, in tests/test_theory_batch.py",
    "light_traffic": "closed forms, in tests/test_theory_batch.py",
    "inoue": "closed forms, in tests/test_theory_batch.py",
    "contbatch": "iteration by iteration, in tests/test_iteration_theory.py",
    "llm_saturated": "iteration by iteration, in tests/test_iteration_theory.py",
}

OUTSIDE = {
    "mm1_sjf": "needs the service time of each request known in advance; here a batch has one",
    "mg1_sjf_lognormal": "needs the service time of each request known in advance",
    "mm1_ps": "processor sharing: a batch that runs is not slowed down by later arrivals",
    "mg1_ps_lognormal": "processor sharing",
    "mlperf_early_stopping": "a rule for when a benchmark may stop, not a queue",
}

NOT_SIMULATED = {"inoue_bound", "optimal_mean_latency"}
"""Figures that no policy here attains: a bound, and the semi-Markov optimum."""


def test_every_oracle_is_simulated_or_has_a_reason():
    sorted_in = [*SCENARIOS, *TABLES, *PRIORITIES, *ELSEWHERE, *OUTSIDE]
    assert sorted(sorted_in) == sorted(ORACLES)


@cache
def simulated(name: str) -> dict[str, float]:
    """Deviations of the figures of one scenario, each over what is tolerated."""
    oracle = ORACLES[name]
    run = run_scenario(*SCENARIOS[name])
    assert len(run.trace) == REQUESTS
    return deviations(run, oracle, [key for key in oracle["expected"] if key not in NOT_SIMULATED])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_finds_its_exact_figures(name):
    assert {key: value for key, value in simulated(name).items() if not abs(value) <= 1} == {}


@pytest.mark.parametrize("name", TABLES)
def test_greedy_and_snap_have_their_exact_mean_on_any_curve(name):
    oracle = ORACLES[name]
    load = name.rpartition("_")[2]
    scenario = load_scenario(TABLES[name], [f"workload.arrivals.load={load}"])
    workload, service = scenario.draw()
    for policy, figure in ((Greedy(), "greedy"), (Snap(), "snap")):
        mean = run_system(policy, workload, service).overall.latency_ms["mean"].value
        exact = oracle["expected"][f"{figure}_mean_latency"]
        assert mean == pytest.approx(exact, rel=oracle["tolerance"]["value"]), figure


def mean_waits(run, tiers):
    """Of each tier and of all, as the oracles name them."""
    tier = run.trace.tier[run.served]
    waits = {f"mean_wait_{k + 1}": run.wait[tier == k].mean() for k in range(tiers)}
    return {**waits, "mean_wait_all": run.wait.mean()}


@pytest.mark.parametrize("name", PRIORITIES)
def test_strict_priority_has_the_waits_of_cobham(name):
    oracle = ORACLES[name]
    run = run_scenario(name, policy="priority")
    assert len(run.trace) == REQUESTS
    waits = mean_waits(run, len(oracle["params"]["lam"]))
    for key, exact in oracle["expected"].items():
        allowed = tolerance(oracle, key, int(run.kept.sum()))
        assert waits[key] == pytest.approx(exact, rel=allowed), key


def test_first_come_first_served_has_none_of_these_waits():
    waits = mean_waits(run_scenario("mm1_prio2", policy="fifo"), 2)
    assert waits["mean_wait_1"] == pytest.approx(4.0, rel=0.05)
    assert waits["mean_wait_2"] == pytest.approx(4.0, rel=0.05)


def test_ageing_has_the_waits_of_kleinrock():
    rates = [1.0, 0.4, 0.1]
    run = run_scenario("mg1_prio3", f"policies.priority={{ kind = 'ageing', rates = {rates} }}")
    exact = ageing_waits([0.4, 0.2, 0.1], [0.5, 1.0, 2.0], [0.5, 1.0, 6.0], rates)
    strict = ORACLES["mg1_prio3"]["expected"]
    found = mean_waits(run, 3)
    for place, wait in enumerate(exact, 1):
        assert found[f"mean_wait_{place}"] == pytest.approx(wait, rel=0.03)
        assert abs(strict[f"mean_wait_{place}"] / wait - 1.0) > 0.05, "the rates matter"


@pytest.mark.parametrize("size", [1, 4, 8, 16, 32])
def test_padding_costs_the_exact_share_of_a_saturated_server(size):
    oracle = ORACLES["padding_saturated"]
    params, expected = oracle["params"], oracle["expected"]
    grain = 16  # lengths in sixteenths of a token, as the exact ones are not whole numbers
    lengths = Lognormal(
        params["median"] * grain, params["sigma"], params["lo"] * grain, params["hi"] * grain
    )
    length = lengths.pmf().draw(stream(2, "lengths"), REQUESTS).astype(np.int32)
    edges = np.array([1, params["hi"] * grain])
    per_length = params["c"] * MS / grain
    table = params["a"] * MS + per_length * edges * np.arange(1, size + 1)[:, None]
    service = Service(np.rint(table)[None].astype(np.int64), edges)
    there = np.zeros(REQUESTS, dtype=np.int64)
    for order, figure in ((length, "random"), (np.sort(length), "sorted")):
        trace = kernel.run(Static(size), Workload(order, there), service)
        per_s = REQUESTS / (trace.batch_finish_ns[-1] / 1e9)
        exact = expected[f"{figure}_req_per_s_k{size}"]
        assert per_s == pytest.approx(exact, rel=oracle["tolerance"]["value"]), figure
        if figure == "random":
            longest = trace.batch_longest.mean() / grain
            exact = expected[f"E_Lmax_k{size}"]
            assert longest == pytest.approx(exact, rel=oracle["tolerance"]["value"])


def test_a_closed_loop_has_the_latency_of_the_machine_repairman():
    run = run_scenario("closed_loop")
    exact = ClosedMM1(clients=10, think_time=9.0, service_rate=1.0)
    assert run.overall.latency_ms["mean"].value == pytest.approx(exact.mean_latency, rel=0.01)
    assert run.overall.utilisation.value == pytest.approx(exact.utilisation, rel=0.005)


def test_a_bounded_room_has_the_latency_of_its_chain():
    run = run_scenario("greedy_finite")
    exact = solve_batches(1.8, linear_service(2.0, 0.35, 8), room=12)
    assert run.overall.latency_ms["mean"].value == pytest.approx(exact.mean_latency, rel=0.002)
    assert run.overall.mean_number_in_system.value == pytest.approx(exact.mean_number, rel=0.005)


@pytest.mark.parametrize("rate", [0.4, 1.2, 2.0])
def test_the_measured_mean_batch_gives_the_measured_mean_latency(rate):
    uncapped = ("service.model.max_batch_size=128", f"{RATE}={1000 * rate:.0f}")
    overall = run_scenario("greedy", *uncapped).overall
    follows = mean_latency_of_batch(rate, 2.0, 0.35, overall.mean_batch_size.value)
    assert overall.latency_ms["mean"].value == pytest.approx(follows, rel=0.005)


def test_deviations_are_as_large_as_chance_makes_them():
    """Too small is as suspicious as too large: standard errors have to be those of a run.

    All figures are looked at, whichever of them this process simulated already: which ones those
    are is chance when tests run in several.  The median of normal deviations is 0.67 standard
    errors, 0.17 of what is tolerated, and 0.06 here: the 0.1 % on top is the larger part of most
    tolerances, and deviations of one scenario move together.
    """
    found = [value for name in SCENARIOS for value in simulated(name).values()]
    assert len(found) == 192
    assert 0.05 < float(np.median(np.abs(found))) < 0.4
