"""Every scenario that comes with the package loads, draws, and shows what its comment claims."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from experiments.config import SHIPPED, load_scenario, scenario_names
from policies.contract import NEVER
from sim.backlog import without
from sim.kernel import run
from sim.trace import SERVED

NAMES = scenario_names()
PROFILED = [name for name in NAMES if load_scenario(name).profile is not None]
STAGED = [name for name in NAMES if load_scenario(name).spec.service.preprocessing is not None]
"""They have CPU stages, and their claims are tested in a file of their own."""
TEXTBOOK = [name for name in NAMES if name not in (*PROFILED, *STAGED, "stacks")]
MIXED = [name for name in PROFILED if len(load_scenario(name).tiers) > 1]
"""Several kinds of traffic: each has a test file of its own for what it claims."""
ONE_KIND = [name for name in PROFILED if name not in (*MIXED, "streaming_speech")]
"""Requests that are all alike; of sequences ``test_sequences_scenario.py`` says more."""


@cache
def latency_ms(scenario, policy, *overrides):
    """float64: latencies of the served requests, without the first tenth."""
    loaded = load_scenario(scenario, ["workload.requests=200_000", *overrides])
    trace = run(loaded.policies[policy], *loaded.draw())
    served = trace.status == SERVED
    latency = (trace.finish_ns - trace.arrival_ns)[served] / 1e6
    return latency[len(latency) // 10 :]


def p99(scenario, policy, *overrides):
    return float(np.quantile(latency_ms(scenario, policy, *overrides), 0.99))


def mean(scenario, policy, *overrides):
    return float(latency_ms(scenario, policy, *overrides).mean())


def test_the_seeds_of_the_field_and_the_textbook_are_there():
    assert {"bert", "bert-l4", "bert-t4", "bert-eager", "speech", "speech-a100"} <= set(PROFILED)
    assert {"azure-conv", "azure-code"} <= set(PROFILED)
    assert {"mm1", "mmc4", "md1", "mdc4", "mg1_lognormal", "dm1", "e4m1"} <= set(TEXTBOOK)
    assert {"h2m1", "mmpp2m1", "mm1k", "md1k", "erlang_b", "mm1_deadline"} <= set(TEXTBOOK)
    assert {"greedy", "static_8", "threshold_m4", "timeout_single", "clumped"} <= set(TEXTBOOK)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_loads_and_draws(name):
    scenario = load_scenario(name, ["workload.requests=1000"])
    workload, service = scenario.draw()
    assert scenario.name == name
    assert len(without(workload)) == 1000
    assert workload.length.max() <= max(service.length_edges[-1], 1)
    assert workload.closed is not None or np.all(np.diff(workload.arrival_ns) >= 0)
    for policy in scenario.policies.values():
        trace = run(policy, workload, service)
        assert (trace.status == SERVED).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_teaches(name):
    text = (SHIPPED / f"{name}.toml").read_text()
    assert text.startswith("# ")
    assert len(text.split("name = ")[0]) > 80
    assert load_scenario(name).spec.description
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", TEXTBOOK)
def test_a_textbook_scenario_is_long_enough_for_theory(name):
    assert load_scenario(name).workload.requests == 1_000_000


@pytest.mark.parametrize("name", [name for name in PROFILED if name.endswith("-cpu")])
def test_a_scenario_on_a_cpu_says_what_batching_is_worth(name):
    scenario = load_scenario(name)
    assert scenario.workload.requests == 200_000
    assert scenario.tiers[0].slo_ns < NEVER
    assert scenario.spec.policies["single"]["batch_size"] == 1
    assert {"greedy", "size_or_timeout", "length_bucketed", "snap"} <= set(scenario.policies)


@pytest.mark.parametrize("name", [name for name in ONE_KIND if not name.endswith("-cpu")])
def test_a_scenario_on_a_gpu_has_an_objective_and_honest_baselines(name):
    scenario = load_scenario(name)
    assert scenario.workload.requests == 200_000
    assert scenario.tiers[0].slo_ns < NEVER
    assert {"static", "greedy", "snap", "length_bucketed"} <= set(scenario.policies)
    assert 6 <= len(scenario.policies) <= 8
    assert 0 < scenario.load < 0.7


@pytest.mark.parametrize("name", [name for name in PROFILED if name != "azure-code"])
def test_the_mean_rate_that_is_drawn_is_the_one_that_is_said(name):
    scenario = load_scenario(name)
    workload = without(scenario.draw()[0])
    drawn = len(workload) / (workload.arrival_ns[-1] / 1e9)
    # Poisson: 4.5 standard errors.  The modulated one changes its rate 440 times in the run.
    tolerance = 0.05 if name == "azure-conv" else 0.01
    assert drawn == pytest.approx(scenario.offered_rate_per_s, rel=tolerance)


def test_only_long_inputs_are_cut_and_the_comment_says_how_many():
    scenario = load_scenario("speech")
    lengths = scenario.workload.lengths.pmf()
    said = float(re.search(r"([\d.]+) % of the clips are longer", _text("speech")).group(1))
    assert 100 * lengths.share_above(scenario.profile.longest) == pytest.approx(said, abs=0.1)
    assert load_scenario("bert-eager").workload.lengths.pmf().longest < 1024


def _text(name):
    return (SHIPPED / f"{name}.toml").read_text()


def test_on_a_busy_a100_lengths_and_the_profile_decide_who_meets_the_objective():
    slo_ms = load_scenario("bert").tiers[0].slo_ns / 1e6
    for policy in ("static", "greedy", "size_or_timeout", "deadline_aware"):
        assert p99("bert", policy) > slo_ms
    for policy in ("length_bucketed", "nearest_lengths", "snap", "aimd"):
        assert p99("bert", policy) < slo_ms


def test_a_shared_queue_of_four_l4s_wants_a_cap():
    assert p99("bert-l4", "balanced_cap") < 0.6 * p99("bert-l4", "greedy")
    assert p99("four_servers", "balanced_cap") < 0.75 * p99("four_servers", "greedy")


def test_on_a_t4_rules_that_know_lengths_win_by_an_order_of_magnitude():
    assert p99("bert-t4", "length_bucketed") < 0.1 * p99("bert-t4", "greedy")


def test_padding_ranks_the_rules_on_a_t4_and_the_opposite_way_on_an_a100():
    assert p99("speech", "length_bucketed") < 0.6 * p99("speech", "greedy")
    assert p99("speech", "nearest_lengths") < 0.6 * p99("speech", "greedy")
    assert p99("speech-a100", "length_bucketed") > 1.2 * p99("speech-a100", "greedy")
    assert p99("speech-a100", "nearest_lengths") > 1.2 * p99("speech-a100", "greedy")


def test_below_the_launch_floor_one_by_one_cannot_keep_up():
    one = mean("bert-eager", "greedy", "policies.greedy.max_batch_size=1")
    assert one > 1000 * mean("bert-eager", "greedy")


def test_bursts_set_the_percentile_of_a_gpu_that_is_nearly_idle():
    assert load_scenario("azure-code").load < 0.1
    calm = p99("azure-code", "greedy", 'workload.arrivals={ process = "poisson", load = 0.0656 }')
    assert p99("azure-code", "greedy") > 5 * calm


def test_a_short_wait_pays_where_requests_come_in_groups():
    saved = 1 - mean("clumped", "wait_for_group") / mean("clumped", "greedy")
    assert saved == pytest.approx(0.19, abs=0.02)


@pytest.mark.parametrize(
    ("name", "greedy", "snap"),
    # What each loses against the optimum of the semi-Markov decision process, as comments say.
    [("staircase_pow2", 1.826, 1.018), ("staircase_tile8", 1.329, 1.021)],
)
def test_snap_takes_the_steps_of_a_staircase(name, greedy, snap):
    assert mean(name, "greedy") / mean(name, "snap") == pytest.approx(greedy / snap, rel=0.05)


def test_waiting_only_costs_on_one_server_with_smooth_times():
    assert mean("timeout_single", "size_or_timeout") > 1.1 * mean("timeout_single", "greedy")
    assert mean("static_8", "static") / mean("static_8", "greedy") == pytest.approx(1.42, abs=0.02)
    ratio = mean("threshold_m4", "threshold") / mean("threshold_m4", "greedy")
    assert ratio == pytest.approx(1.05, abs=0.01)
