"""Metrics: against brute force, against theory, and honest about what a run cannot say."""

import json
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from policies.contract import Tier
from sim.metrics import RATES, SHARES, measure, paired_difference
from sim.recursion import recursion
from sim.sections import cut, overlap
from sim.service import Service
from sim.stability import Stability, useful_ns
from sim.trace import EXPIRED, REJECTED, SERVED, UNFINISHED, Trace
from sim.workload import Workload

LINEAR = 2_000_000 + 350_000 * np.arange(1, 33)
CURVE_A = Service(LINEAR.reshape(1, 32, 1), np.array([1]))
TINY = Service(np.array([[[10, 14], [12, 18], [14, 22], [16, 30]]]), np.array([4, 8]), servers=2)
TIERS = (Tier("fast", 30, 90.0), Tier("slow"))
GREEDY = {"largest": 32, "wait_ns": 0, "smallest": 1}


def poisson(requests: int, per_ms: float, seed: int = 1) -> Workload:
    gaps = np.random.default_rng(seed).exponential(1e6 / per_ms, requests)
    return Workload(np.ones(requests, np.int32), np.rint(np.cumsum(gaps)).astype(np.int64))


def tiny_trace(requests: int = 3_000, seed: int = 5) -> Trace:
    """Two tiers on a grid of a few ns, so that every ns can be looked at."""
    random = np.random.default_rng(seed)
    workload = Workload(
        random.integers(1, 12, requests).astype(np.int32),
        np.cumsum(random.integers(0, 9, requests)),
        tier=random.integers(0, 2, requests).astype(np.int8),
        tiers=TIERS,
    )
    return recursion(workload, TINY, 4, 9)


def with_fates(trace: Trace) -> Trace:
    """Some of the last and some other requests of a trace fail instead: columns per request only.

    Batches keep their sizes, so this trace is for what is counted by request.
    """
    random = np.random.default_rng(9)
    fate = random.choice(
        [SERVED, REJECTED, EXPIRED, UNFINISHED], len(trace), p=[0.7, 0.1, 0.1, 0.1]
    )
    fate = fate.astype(np.int8)
    lost = fate != SERVED
    finish = np.where(lost, -1, trace.finish_ns)
    finish[fate == EXPIRED] = trace.arrival_ns[fate == EXPIRED] + 5
    return replace(
        trace,
        status=fate,
        finish_ns=finish,
        start_ns=np.where(lost, -1, trace.start_ns),
        batch=np.where(lost, -1, trace.batch).astype(np.int32),
    )


def in_window(trace: Trace) -> np.ndarray:
    """Which requests finish in the window of time, by its definition."""
    first, last = trace.arrival_ns[len(trace) // 10], trace.arrival_ns[-1]
    served = trace.status == SERVED
    return served & (trace.finish_ns > first) & (trace.finish_ns <= last)


@pytest.fixture(scope="module")
def tiny() -> Trace:
    return tiny_trace()


def test_counts_are_of_the_whole_run():
    trace = with_fates(tiny_trace())
    measures = measure(trace, TINY)
    for group, own in [
        (measures.overall, np.ones(len(trace), bool)),
        (measures.group("fast"), trace.tier == 0),
        (measures.group("slow"), trace.tier == 1),
    ]:
        fates = [int(np.sum(trace.status[own] == fate)) for fate in range(4)]
        assert [group.served, group.rejected, group.expired, group.unfinished] == fates
        assert group.requests == sum(fates) == own.sum()


@pytest.mark.parametrize(("table", "since"), [("latency_ms", "finish_ns"), ("wait_ms", "start_ns")])
@pytest.mark.parametrize("tier", [None, "fast"])
def test_latencies_and_waits_are_those_of_the_served_after_the_warm_up(table, since, tier):
    trace = with_fates(tiny_trace(30_000))
    kept = (trace.status == SERVED) & (np.arange(30_000) >= 3_000)
    if tier is not None:
        kept &= trace.tier == 0
    spent = (getattr(trace, since) - trace.arrival_ns)[kept]
    group = measure(trace, TINY).group(tier)
    assert group.estimate(f"{table}.mean").value == pytest.approx(spent.mean() * 1e-6)
    assert group.estimate(f"{table}.mean").n == kept.sum()
    expected = np.quantile(spent, 0.5, method="inverted_cdf") * 1e-6
    assert group.estimate(f"{table}.p50").value == pytest.approx(expected)


def test_rates_are_those_of_the_window_looked_at_ns_by_ns(tiny):
    first, last = int(tiny.arrival_ns[300]), int(tiny.arrival_ns[-1])
    busy, present = np.zeros((2, last + 100))
    for start, finish in zip(tiny.batch_start_ns, tiny.batch_finish_ns, strict=True):
        busy[start:finish] += 1
    for arrival, finish in zip(tiny.arrival_ns, tiny.finish_ns, strict=True):
        present[arrival:finish] += 1
    done = in_window(tiny)
    latency = tiny.finish_ns - tiny.arrival_ns
    good = done & ((tiny.tier == 1) | (latency <= 30))
    useful = useful_ns(TINY, tiny.length, tiny.tier)[done].sum()
    seconds = (last - first) * 1e-9
    padded = np.maximum(tiny.batch_longest, 4)[tiny.batch[done]]
    found = measure(tiny, TINY).overall
    expected = {
        "throughput_per_s": done.sum() / seconds,
        "goodput_per_s": good.sum() / seconds,
        "utilisation": busy[first:last].mean() / 2,
        "useful_fraction": useful / (last - first) / 2,
        "mean_batch_size": done.sum() / np.sum(1 / tiny.batch_size[tiny.batch[done]]),
        "padding_waste": 1 - tiny.length[done].sum() / padded.sum(),
        "mean_number_in_system": present[first:last].mean(),
    }
    assert {name: found.estimate(name).value for name in expected} == pytest.approx(expected)


def test_the_mean_batch_is_batches_over_members_when_tiers_do_not_mix(tiny):
    done = in_window(tiny)
    sizes = tiny.batch_size[np.unique(tiny.batch[done])]
    assert measure(tiny, TINY).overall.mean_batch_size.value == pytest.approx(
        sizes.mean(), rel=1e-3
    )


def test_tiers_add_up_to_the_whole(tiny):
    measures = measure(tiny, TINY)
    for name in ("throughput_per_s", "goodput_per_s", "utilisation", "useful_fraction"):
        parts = [tier.estimate(name).value for tier in measures.tiers]
        assert sum(parts) == pytest.approx(measures.overall.estimate(name).value)
    parts = [tier.mean_number_in_system.value for tier in measures.tiers]
    assert sum(parts) == pytest.approx(measures.overall.mean_number_in_system.value)


def test_whoever_is_not_served_in_time_missed_the_slo():
    trace = with_fates(tiny_trace())
    kept = (np.arange(3_000) >= 300) & (trace.tier == 0)
    met = kept & (trace.status == SERVED) & (trace.finish_ns - trace.arrival_ns <= 30)
    measures = measure(trace, TINY)
    assert measures.group("fast").slo_attainment.value == met.sum() / kept.sum()
    assert measures.overall.slo_attainment == measures.group("fast").slo_attainment
    assert measures.group("slow").slo_attainment is None
    assert 0.1 < met.sum() / kept.sum() < 0.7


def test_a_batch_counts_for_each_section_that_it_runs_through():
    start, finish = np.array([0, 5, 5, 40]), np.array([10, 25, 6, 60])
    edges = np.array([5, 10, 20, 20, 100])
    assert overlap(start, finish, edges).tolist() == [11.0, 10.0, 0.0, 25.0]
    weight = np.array([2.0, 0.5, 1.0, 0.25])
    assert overlap(start, finish, edges, weight).tolist() == [13.5, 5.0, 0.0, 7.5]


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_are_those_counted_ns_by_ns(seed):
    random = np.random.default_rng(seed)
    start = np.sort(random.integers(0, 300, 80))
    finish = start + random.integers(0, 90, 80)
    edges = np.sort(random.integers(0, 420, 8))
    weight = random.random(80)
    line = np.zeros(500)
    for low, high, one in zip(start, finish, weight, strict=True):
        line[low:high] += one
    expected = [line[a:b].sum() for a, b in pairwise(edges)]
    np.testing.assert_allclose(overlap(start, finish, edges, weight), expected, atol=1e-9)


@pytest.fixture(scope="module")
def greedy() -> Trace:
    return recursion(poisson(250_000, 1.2), CURVE_A, **GREEDY)


def test_greedy_batches_are_what_theory_says(greedy):
    """Exact values of batch service on curve A at 1.2 requests per ms.

    The tolerance is twice the half-width: 4.5 standard errors, and t with 9 degrees of freedom goes
    beyond 4.5 once in 700; eight numbers are held against it.
    """
    found = measure(greedy, CURVE_A).overall
    theory = {
        "latency_ms.mean": 5.674756,
        "latency_ms.p50": 5.536366,
        "latency_ms.p90": 7.703242,
        "latency_ms.p99": 9.740254,
        "utilisation": 0.994690,
        "mean_batch_size": 4.176168,
        "mean_number_in_system": 1.2 * 5.674756,
        "throughput_per_s": 1200.0,
    }
    for name, exact in theory.items():
        one = found.estimate(name)
        assert abs(one.value - exact) < one.high - one.low, name
        assert one.high - one.low < 0.03 * exact, name


def test_useful_work_is_load_where_nothing_is_lost(greedy):
    found = measure(greedy, CURVE_A).overall
    rate = found.throughput_per_s.value
    assert found.useful_fraction.value == pytest.approx(rate / 2424.2424, rel=1e-6)


def test_replications_share_the_sections(greedy):
    again = [recursion(poisson(60_000, 1.2, seed), CURVE_A, **GREEDY) for seed in (2, 3, 4)]
    pooled = measure(again, CURVE_A).overall
    kept = [(trace.finish_ns - trace.arrival_ns)[6_000:] for trace in again]
    assert pooled.requests == 180_000
    assert len(pooled.latency_ms["mean"].sections) == 12
    assert pooled.latency_ms["mean"].value == pytest.approx(np.concatenate(kept).mean() * 1e-6)
    assert pooled.latency_ms["p99"].n == 162_000
    assert pooled.latency_ms["p99"].value is not None
    alone = measure(again[0], CURVE_A).overall.latency_ms["p99"]
    assert (alone.value, alone.needs) == (None, 100_000)


def test_a_short_run_gives_no_percentile_and_says_what_it_needs():
    found = measure(recursion(poisson(12_000, 1.2), CURVE_A, **GREEDY), CURVE_A).overall
    needs = {key: one.needs for key, one in found.latency_ms.items()}
    assert needs == {
        "mean": None,
        "p50": None,
        "p90": None,
        "p95": 20_000,
        "p99": 100_000,
        "p999": 1_000_000,
    }
    assert found.to_json()["latency_ms"]["p99"] == {"value": None, "needs": 100_000}


@pytest.mark.parametrize("requests", [0, 1, 2, 9])
def test_a_handful_of_requests_is_no_error(requests):
    trace = recursion(poisson(requests, 1.2), CURVE_A, **GREEDY)
    found = measure(trace, CURVE_A)
    assert found.overall.requests == requests
    assert found.overall.latency_ms["mean"].value is None
    json.dumps(found.to_json(), allow_nan=False)


def test_an_unstable_run_has_no_latency_and_says_why(greedy):
    stability = Stability(False, 1200.0, 1010.5)
    found = measure(greedy, CURVE_A, stability=stability)
    reason = "unstable: 1200.0 requests/s arrive, this policy can serve 1010.5/s (load 1.19)"
    for table in (found.overall.latency_ms, found.overall.wait_ms):
        assert {one.to_json()["reason"] for one in table.values()} == {reason}
    assert found.overall.mean_number_in_system.value is None
    assert found.overall.utilisation.value is not None
    assert found.to_json()["stable"] is False


def test_json_has_the_agreed_structure(tiny):
    stability = Stability(True, 600.0, 1000.0)
    found = json.loads(json.dumps(measure(tiny, TINY, load=0.5, stability=stability).to_json()))
    counts = ["requests", "served", "rejected", "expired", "unfinished", "lost"]
    common = {*counts, "latency_ms", "wait_ms", *RATES, "load", "stable", "intervals"}
    assert set(found) == common | {"tiers", "stability", "warnings"}
    assert set(found["tiers"]) == {"fast", "slow"}
    assert set(found["tiers"]["slow"]) == common
    assert set(found["latency_ms"]) == {"mean", *SHARES}
    assert set(found["latency_ms"]["mean"]) == {"value", "low", "high"}
    assert (found["load"], found["stable"]) == (0.5, True)
    for name in RATES:
        assert isinstance(found[name], float), name
        assert found["intervals"][name]["low"] <= found[name] <= found["intervals"][name]["high"]
    assert found["tiers"]["slow"]["slo_attainment"] is None
    assert "slo_attainment" not in found["tiers"]["slow"]["intervals"]


def test_the_frame_has_a_row_for_each_tier_and_statistic(tiny):
    frame = measure(tiny, TINY).to_frame()
    assert list(frame.columns) == ["value", "low", "high", "n", "needs"]
    assert frame.loc[("overall", "latency_ms.p99"), "needs"] == 100_000
    assert np.isnan(frame.loc[("overall", "latency_ms.p99"), "value"])
    assert frame.loc[("slow", "utilisation"), "value"] > 0
    assert ("slow", "slo_attainment") not in frame.index
    assert len(frame) == 3 * (2 * 6 + len(RATES)) - 1


def test_one_tier_is_the_whole(greedy):
    found = measure(greedy, CURVE_A)
    assert replace(found.tiers[0], name="overall") == found.overall


def test_a_start_from_a_backlog_is_warned_of():
    late = poisson(100_000, 2.3)
    arrival = np.maximum(late.arrival_ns - 6_000_000_000, 0)
    from_backlog = recursion(replace(late, arrival_ns=arrival), CURVE_A, **GREEDY)
    (warning,) = measure(from_backlog, CURVE_A).warnings
    assert warning.startswith("the run is too short: MSER-5 would drop ")
    assert measure(recursion(late, CURVE_A, **GREEDY), CURVE_A).warnings == ()


def test_policies_are_paired_on_the_same_arrivals(greedy):
    waiting = recursion(poisson(250_000, 1.2), CURVE_A, 32, 5_000_000)
    one, other = measure(greedy, CURVE_A), measure(waiting, CURVE_A)
    found = paired_difference(one, other, "latency_ms.p99")
    assert found.verdict == "lower"
    assert found.low < found.value < found.high < 0
    assert paired_difference(other, one, "utilisation").verdict == "lower"
    assert paired_difference(one, one, "latency_ms.mean", "all").verdict == "tie"
    assert paired_difference(one, other, "latency_ms.p999").verdict == "unknown"


def test_an_unknown_statistic_or_tier_is_named(greedy):
    one = measure(greedy, CURVE_A)
    with pytest.raises(ValueError, match=r"`latency_ms\.p98` is not measured for `overall`"):
        paired_difference(one, one, "latency_ms.p98")
    with pytest.raises(ValueError, match=r"no tier is named `gold`; the tiers are \['all'\]"):
        one.group("gold")


def test_warm_up_and_sections_are_cut_by_arrival(greedy):
    sections = cut(greedy)
    assert sections.ids.tolist() == list(range(25_000, 250_001, 22_500))
    assert sections.edges_ns[:-1].tolist() == greedy.arrival_ns[sections.ids[:-1]].tolist()
    assert sections.edges_ns[-1] == greedy.arrival_ns[-1]
    assert sections.lasts_s.sum() == pytest.approx(225_000 / 1200, rel=0.01)


def test_measuring_needs_few_bytes_per_request(greedy):
    tracemalloc.start()
    measure(greedy, CURVE_A)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 + 30 * len(greedy)


def test_what_finishes_at_the_first_instant_of_the_window_is_before_it():
    arrival = np.append(np.arange(19) * 10, 195)
    steady = Service(np.array([[[10]]]), np.array([1]))
    trace = recursion(Workload(np.ones(20, np.int32), arrival), steady, 1, 0)
    assert trace.finish_ns[1] == trace.arrival_ns[2] == 20
    assert measure(trace, steady).overall.throughput_per_s.value == pytest.approx(17e9 / 175)


def test_any_percentile_can_be_asked_for():
    trace = recursion(poisson(60_000, 1.2), CURVE_A, **GREEDY)
    found = measure(trace, CURVE_A, shares={"p80": 0.8}).overall.latency_ms
    assert set(found) == {"mean", "p80"}
    both = measure(trace, CURVE_A).overall.latency_ms
    assert both["p50"].value < found["p80"].value < both["p90"].value
