"""Validations of several tiers on several servers: each tier measured, replayed and predicted."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console
from windows_by_hand import GOOD, POLICIES, calibrated, device, workload_at

from experiments.validation import Validation, Window, judged
from experiments.validation.shown import tier_table, validation_tables
from experiments.validation.summary import LATENCIES, TIERED, summary_of
from policies.contract import Tier, View, fire
from sim import kernel
from sim.backlog import end_of_run, joined
from sim.trace import SERVED

TIERS = (Tier("interactive", 20_000_000), Tier("offline"))
SERVERS = 3
LOAD = 0.3
"""Of one server."""


def tiered(load=LOAD, requests=1200):
    """Requests of two tiers; the load is of one server."""
    workload = workload_at(load, requests)
    rng = np.random.default_rng(9)
    return replace(workload, tier=(rng.random(requests) < 0.3).astype(np.int8), tiers=TIERS)


def backlogged(workload):
    """Its second tier is always there."""
    first = replace(
        workload, tier=np.zeros(len(workload), dtype=np.int8),
        tiers=(TIERS[0], TIERS[1]._replace(backlog=True)),
    )  # fmt: skip
    lengths = np.full(6000, 32, dtype=np.int32)
    return joined(first, {1: lengths}, end_of_run(int(workload.arrival_ns[-1])))


class UrgentFirst(NamedTuple):
    """One tier after the other, as many as fit, at once."""

    def lanes(self) -> int:
        return 2

    def lane_of(self, length: int, tier: int) -> int:
        return tier

    def decide(self, view: View) -> int:
        lane = 0 if view.waiting[0] > 0 else 1
        return fire(view, lane, min(view.waiting[lane], 8))


def validated(workload, policies=POLICIES, *, drift=1.0, calibration=None, rounds=3):
    """Windows on three servers, judged."""
    calibration = calibration or calibrated()
    windows = [
        Window(name, LOAD, place, 0, kernel.run(rule, workload, device(seed, drift, SERVERS)), GOOD)
        for place in range(rounds)
        for seed, (name, rule) in enumerate(policies.items(), start=10 * place + 1)
    ]
    return judged(
        {"name": "tiers"}, policies, {LOAD: workload}, calibration, windows,
        calibration.service(SERVERS), device={}, replications=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return validated(tiered())


def test_a_tier_is_summed_up_as_if_its_requests_were_alone():
    trace = kernel.run(POLICIES["greedy"], tiered(), device(1, servers=SERVERS))
    whole = summary_of(trace)
    for place, tier in enumerate(TIERS):
        own = trace.tier == place
        latency = (trace.finish_ns - trace.arrival_ns)[own & (trace.status == SERVED)] / 1e6
        values = whole.tiers[tier.name]
        assert tuple(values) == TIERED
        assert values["mean"] == pytest.approx(latency.mean())
        assert values["p99"] == pytest.approx(np.quantile(latency, LATENCIES["p99"]))
        assert values["lost"] == 0.0
    shares = [whole.tiers[tier.name]["throughput_per_s"] for tier in TIERS]
    assert sum(shares) == pytest.approx(whole.values["throughput_per_s"])


def test_requests_that_are_lost_are_lost_by_their_tier():
    limited = replace(device(1, servers=1), capacity=4)
    trace = kernel.run(POLICIES["greedy"], tiered(load=2.0), limited)
    whole = summary_of(trace)
    lost = [whole.tiers[tier.name]["lost"] for tier in TIERS]
    assert lost == [float(((trace.tier == k) & (trace.status != SERVED)).sum()) for k in (0, 1)]
    assert sum(lost) == whole.values["lost"] > 0


def test_a_backlog_has_a_throughput_and_neither_latencies_nor_losses():
    workload = backlogged(tiered(0.5, 300))
    trace = kernel.run(UrgentFirst(), workload, device(1, servers=SERVERS))
    whole = summary_of(trace)
    assert whole.values["lost"] == whole.tiers["offline"]["lost"] == 0.0
    assert np.isnan(whole.tiers["offline"]["p99"])
    assert whole.tiers["offline"]["throughput_per_s"] > 0
    assert whole.values["p99"] == whole.tiers["interactive"]["p99"]
    cells = validated(workload, {"urgent": UrgentFirst()}, rounds=1).matches[0].tier_cells
    assert [cell.statistic for cell in cells if cell.tier == "offline"] == ["throughput_per_s"]


def test_one_tier_alone_has_no_statistics_of_its_own():
    trace = kernel.run(POLICIES["greedy"], workload_at(0.3, 100), device(1))
    assert summary_of(trace).tiers == {}


def test_every_tier_is_replayed_without_error(found):
    errors = {cell.replay_error for match in found.matches for cell in match.tier_cells}
    assert errors == {0.0}


def test_every_tier_is_predicted(found):
    for match in found.matches:
        assert match.tiers == ("interactive", "offline")
        for tier in match.tiers:
            assert abs(match.of_tier(tier, "mean").error) < 0.02
            assert abs(match.of_tier(tier, "p99").error) < 0.1


def test_a_calibration_that_is_a_fifth_off_is_off_in_every_tier():
    off = validated(tiered(), calibration=calibrated(slow=1.2))
    for match in off.matches:
        for tier in match.tiers:
            assert match.of_tier(tier, "mean").error > 0.1
            assert match.of_tier(tier, "mean").inside == 0


def test_a_statistic_of_a_tier_that_is_not_there_is_a_key_error(found):
    with pytest.raises(KeyError, match="no mean of tier 'nobody': there are interactive, offline"):
        found.matches[0].of_tier("nobody", "mean")


def test_tiers_come_back_from_json_and_stand_in_the_frame(found):
    back = Validation.of(found.to_dict())
    assert back.matches[1].tier_cells == found.matches[1].tier_cells
    assert back.verdict == found.verdict
    frame = found.to_frame()
    own = frame[(frame.tier == "offline") & (frame.statistic == "p99") & (frame.policy == "greedy")]
    assert own.iloc[0].measured == found.match("greedy", LOAD).of_tier("offline", "p99").measured
    assert set(frame.tier) == {"all", "interactive", "offline"}


def test_each_tier_of_each_policy_has_its_rows(found):
    text = io.StringIO()
    Console(file=text, width=100).print(tier_table(found, LOAD))
    lines = [line.strip() for line in text.getvalue().splitlines()]
    rows = [line.split("  ")[0] for line in lines if "," in line.split("  ")[0]]
    assert rows == [
        "greedy, interactive", "greedy, offline", "patient, interactive", "patient, offline",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 100
    assert len(validation_tables(found)) == len(validation_tables(one_tier())) + 1


def one_tier():
    return validated(workload_at(LOAD, 1200), rounds=1)


def test_the_verdict_says_how_far_single_tiers_are_off(found):
    calm = found.matches[0].busy
    assert calm < 0.6, "errors are claimed of it"
    assert "Of each of the 2 tiers it predicts the mean to within" in found.verdict
    assert "Of each" not in one_tier().verdict
