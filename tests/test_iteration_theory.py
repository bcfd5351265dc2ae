"""Continuous batching in theory against the digits of ``data/oracles.json`` and the kernel."""

from functools import cache

import numpy as np
import pytest
from oracle_runs import ORACLES, holds
from random_iterations import MS, random_iterations

from policies.contract import NEVER
from policies.iteration import RULES, Continuous, RequestLevel, VllmLike
from policies.iteration.contract import Engine
from policies.iteration.times import StepTimes
from sim.errors import WorkloadError
from sim.iteration import kernel
from sim.iteration.serving import Serving
from sim.iteration.theory import (
    binomial_table,
    continuous_rate,
    least_latency_ns,
    longest_of,
    request_level_rate,
    sequences_in_memory,
    solve_iterations,
)
from sim.iteration.workload import workload_of
from sim.pmf import LengthPmf

STEP = 12.0 + 0.4 * np.arange(1, 33)
"""ms, of iterations of 1 to 32 sequences"""

TIMES = StepTimes(12e6, 4e5, 4e5)
"""the same for the kernel: a prompt of one token costs what a token costs"""

MEAN_TOKENS = 100.0


def geometric(mean, longest=6000):
    n = np.arange(1, longest + 1)
    weight = (1.0 - 1.0 / mean) ** (n - 1) / mean
    return LengthPmf(n, weight / weight.sum())


@cache
def outputs(count):
    return np.random.default_rng(11).geometric(1.0 / MEAN_TOKENS, count)


@cache
def poisson(count, per_ms):
    gaps = np.random.default_rng(12).exponential(MS / per_ms, count)
    return gaps.cumsum().astype(np.int64)


def run(rule, arrival_ns, output, prompt=1, **engine):
    work = workload_of(arrival_ns, np.broadcast_to(prompt, output.shape), output)
    return kernel.run(rule, work, Serving(Engine(**{"sequences": 32, **engine}), TIMES))


def means(trace, skip=0.1):
    """Mean latency in ms and sequences of an iteration, without the beginning."""
    kept = slice(int(skip * len(trace)), None)
    latency_ms = (trace.instant_ns(trace.finished) - trace.arrival_ns)[kept] / MS
    last = np.searchsorted(trace.steps["start_ns"], trace.arrival_ns[-1])
    return latency_ms.mean(), trace.steps["running"][:last].mean()


# the chain


def test_the_chain_has_the_digits_of_the_oracle():
    queue = solve_iterations(0.01, STEP, MEAN_TOKENS)
    assert holds(
        "contbatch",
        mean_latency=queue.mean_latency,
        mean_number=queue.mean_number,
        mean_active_per_step=queue.mean_active,
        utilisation=queue.utilisation,
        tokens_per_ms=queue.token_rate,
    )


@pytest.mark.parametrize(("rate", "most"), [(0.01, 32), (0.003, 32), (0.0022, 4), (0.0115, 32)])
def test_more_states_change_nothing(rate, most):
    once = solve_iterations(rate, STEP[:most], MEAN_TOKENS)
    more = solve_iterations(rate, STEP[:most], MEAN_TOKENS, states=1100)
    assert once.mean_latency == pytest.approx(more.mean_latency, rel=1e-8)
    assert once.mean_active == pytest.approx(more.mean_active, rel=1e-8)


def test_all_tokens_that_are_wanted_are_generated():
    queue = solve_iterations(0.007, STEP, MEAN_TOKENS)
    assert queue.token_rate == pytest.approx(0.007 * MEAN_TOKENS, rel=1e-9)


def test_without_others_a_request_takes_its_iterations_and_half_of_one_that_runs():
    rate = 1e-9
    queue = solve_iterations(rate, STEP, MEAN_TOKENS)
    assert queue.mean_latency == pytest.approx(MEAN_TOKENS * STEP[0], rel=1e-5)
    assert queue.utilisation == pytest.approx(rate * MEAN_TOKENS * STEP[0], rel=1e-5)


def test_a_rate_that_a_full_batch_cannot_serve_is_refused():
    with pytest.raises(WorkloadError, match="load < 1"):
        solve_iterations(0.0130, STEP, MEAN_TOKENS)
    with pytest.raises(WorkloadError, match="mean_tokens >= 1"):
        solve_iterations(0.0130, STEP, 0.5)


def test_binomials_are_those_of_scipy():
    from scipy.stats import binom

    table = binomial_table(9, 0.3)
    for k in range(10):
        assert np.allclose(table[k], binom.pmf(np.arange(10), k, 0.3))


@pytest.mark.parametrize(("rate", "most", "tolerance"), [(0.010, 32, 0.02), (0.0022, 4, 0.03)])
@pytest.mark.parametrize("kind", ["continuous", "vllm_like"])
def test_the_kernel_finds_the_mean_of_the_chain(kind, rate, most, tolerance):
    """A deviation of four standard errors, as runs of other seeds showed them."""
    exact = solve_iterations(rate, STEP[:most], MEAN_TOKENS)
    trace = run(RULES[kind](max_num_seqs=most), poisson(200_000, rate), outputs(200_000))
    latency, active = means(trace)
    assert latency == pytest.approx(exact.mean_latency, rel=tolerance)
    assert active == pytest.approx(exact.mean_active, rel=tolerance)


def test_a_join_that_waits_for_an_empty_batch_is_told_from_the_chain():
    exact = solve_iterations(0.0030, STEP, MEAN_TOKENS)
    rule = RequestLevel(32, padded=False)
    latency, _ = means(run(rule, poisson(50_000, 0.0030), outputs(50_000)))
    assert latency > 1.2 * exact.mean_latency


# the largest rates


def test_the_largest_rates_have_the_digits_of_the_oracles():
    tokens, found = geometric(MEAN_TOKENS), {}
    for size in (8, 32):
        step = STEP[:size]
        found |= {
            f"E_max_tokens_B{size}": longest_of(tokens, size),
            f"continuous_req_per_s_B{size}": 1e3 * continuous_rate(step, MEAN_TOKENS),
            f"static_padded_req_per_s_B{size}": 1e3 * request_level_rate(step, tokens, padded=True),
            f"static_shrinking_req_per_s_B{size}": 1e3
            * request_level_rate(step, tokens, padded=False),
        }
    assert holds("llm_saturated", **found)
    limits = ORACLES["limits"]["expected"]
    assert found["continuous_req_per_s_B32"] == pytest.approx(limits["contbatch_req_per_s"])
    assert 100 * found["continuous_req_per_s_B32"] == pytest.approx(
        limits["contbatch_tokens_per_s"]
    )


def test_at_32_continuous_batching_serves_four_times_as_many_or_two_and_a_half():
    tokens = geometric(MEAN_TOKENS)
    continuous = continuous_rate(STEP, MEAN_TOKENS)
    padded = continuous / request_level_rate(STEP, tokens, padded=True)
    dropped = continuous / request_level_rate(STEP, tokens, padded=False)
    assert (round(padded, 2), round(dropped, 2)) == (4.04, 2.47)


RATES = {
    "continuous": (Continuous(), lambda tokens: continuous_rate(STEP, tokens.mean)),
    "padded": (RequestLevel(32), lambda t: request_level_rate(STEP, t, padded=True)),
    "dropped": (
        RequestLevel(32, padded=False),
        lambda tokens: request_level_rate(STEP, tokens, padded=False),
    ),
}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("law", ["geometric", "lognormal"])
def test_a_backlog_is_served_at_the_largest_rate(name, law):
    rng, count = np.random.default_rng(13), 32 * 2500
    tokens = geometric(MEAN_TOKENS)
    if law == "lognormal":
        drawn = np.clip(rng.lognormal(4.0, 0.8, 300_000).astype(np.int64), 1, 2000)
        tokens = LengthPmf.of_counts(drawn, np.ones(len(drawn)))
    rule, rate = RATES[name]
    trace = run(rule, np.zeros(count, dtype=np.int64), tokens.draw(rng, count))
    found = count / (trace.steps["finish_ns"][-1] / MS)
    assert found == pytest.approx(rate(tokens), rel=0.02)


def test_the_longest_of_many_is_that_of_draws():
    rng = np.random.default_rng(14)
    drawn = np.clip(rng.lognormal(4.0, 1.0, 50_000).astype(np.int64), 1, 4000)
    tokens = LengthPmf.of_counts(drawn, np.ones(len(drawn)))
    longest = tokens.draw(rng, 16 * 40_000).reshape(-1, 16).max(axis=1)
    error = longest.std() / np.sqrt(len(longest))
    assert abs(longest.mean() - longest_of(tokens, 16)) < 4 * error
    assert longest_of(tokens, 1) == pytest.approx(tokens.mean)


# memory


@pytest.mark.parametrize("block", [1, 16, 64])
def test_memory_holds_no_more_sequences_than_the_bound_and_nearly_as_many(block):
    rng, count = np.random.default_rng(15), 2500
    prompt = LengthPmf.of_counts(rng.integers(50, 400, 2000), np.ones(2000))
    output = geometric(MEAN_TOKENS, 1500)
    engine = {"sequences": 64, "blocks": 8000 // block, "block_tokens": block}
    drawn = output.draw(rng, count), prompt.draw(rng, count)
    trace = run(VllmLike(), np.zeros(count, dtype=np.int64), *drawn, **engine)
    most = sequences_in_memory(Engine(**engine), prompt, output)
    found = trace.steps["running"][: -len(trace.steps) // 20].mean()
    assert most < 64
    assert 0.85 * most < found <= 1.01 * most


def test_where_memory_is_no_limit_the_engine_is():
    tokens = geometric(5.0, 100)
    assert sequences_in_memory(Engine(7), tokens, tokens) == 7
    assert Engine(7).blocks == NEVER


# any rule


@pytest.mark.parametrize("kind", RULES)
def test_nobody_is_faster_than_alone(kind):
    compared = 0
    for seed in range(60):
        case = random_iterations(seed, kind)
        times = case.serving.times
        if times.grid_ns.size or times.fixed_ns < 10.0 or case.serving.noise.max() != 1.0:
            continue
        trace = kernel.run(*case)
        latency_ns = (trace.instant_ns(trace.finished) - trace.arrival_ns)[trace.served]
        least = least_latency_ns(case.workload, case.serving)[trace.served]
        assert np.all(latency_ns >= least)
        compared += len(latency_ns)
    assert compared > 200


def test_whoever_is_alone_is_as_fast_as_that():
    work = workload_of(np.array([0, 10**12]), np.array([70, 3]), np.array([40, 1]))
    serving = Serving(Engine(8), StepTimes(3e6, 1e4, 2e5, 700.0, 35.0))
    trace = kernel.run(Continuous(), work, serving)
    latency_ns = trace.instant_ns(trace.finished) - trace.arrival_ns
    assert np.abs(latency_ns - least_latency_ns(work, serving)).max() <= 40
