"""The numbers in which live and simulated runs are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from windows_by_hand import POLICIES, device, workload_at

from experiments.validation.summary import STATISTICS, distance, error, summary_of
from sim import kernel


def test_a_summary_is_of_the_whole_run_and_counts_from_the_intended_arrival():
    live = kernel.run(POLICIES["patient"], workload_at(0.3, 200), device(1))
    seen = summary_of(live).values
    waited = (live.finish_ns - live.arrival_ns) / 1e6
    span_ns = live.batch_finish_ns.max() - live.arrival_ns[0]
    busy_ns = (live.batch_finish_ns - live.batch_start_ns).sum()
    assert tuple(seen) == STATISTICS
    assert seen["mean"] == pytest.approx(waited.mean())
    assert seen["p95"] == pytest.approx(np.quantile(waited, 0.95))
    assert seen["mean_batch"] == pytest.approx(200 / len(live.batch_size))
    assert seen["busy"] == pytest.approx(busy_ns / span_ns)
    assert seen["throughput_per_s"] == pytest.approx(200 / span_ns * 1e9)
    assert seen["lost"] == 0.0


def test_busy_is_a_share_of_the_time_of_all_servers():
    live = kernel.run(POLICIES["greedy"], workload_at(0.6, 200), device(1, servers=2))
    span_ns = live.batch_finish_ns.max() - live.arrival_ns[0]
    busy_ns = (live.batch_finish_ns - live.batch_start_ns).sum()
    assert summary_of(live).values["busy"] == pytest.approx(busy_ns / span_ns / 2)


def test_requests_that_were_refused_are_lost_and_have_no_latency():
    service = replace(device(1), capacity=2)
    live = kernel.run(POLICIES["patient"], workload_at(1.5, 200), service)
    seen = summary_of(live)
    assert seen.values["lost"] == (live.status != 0).sum() > 0
    assert len(seen.latency_ms) == 200 - seen.values["lost"]


def test_distances_of_known_distributions():
    one = np.array([1.0, 2.0, 3.0])
    assert distance(one, one).w1_over_mean == distance(one, one).cdf_gap == 0.0
    shifted = distance(one, one + 0.5)
    assert shifted.w1_over_mean == pytest.approx(0.25)
    assert shifted.cdf_gap == pytest.approx(1 / 3)
    assert distance(one, one + 9.0).cdf_gap == 1.0
    assert distance(one, np.repeat(one, 5)).w1_over_mean == pytest.approx(0.0, abs=1e-12)
    assert distance(np.array([1.25, 2.75]), one).w1_over_mean == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(distance(one, one[:0]).cdf_gap)


def test_an_error_over_nothing_is_none_unless_nothing_was_predicted():
    assert error(2.0, 2.5) == 0.25
    assert error(0.0, 0.0) == 0.0
    assert error(0.0, 3.0) is None
    assert error(float("nan"), 3.0) is None
