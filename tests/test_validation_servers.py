"""Validations of several servers: alike or not, behind a router, on few cores, from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner
from windows_by_hand import (
    CREW,
    GOOD,
    POLICIES,
    calibrated,
    device,
    trips,
    workload_at,
)

from experiments.cli import app
from experiments.config import ScenarioError, load_scenario
from experiments.validation import Window, judged, recorded
from experiments.validation.campaign import opening_of
from experiments.validation.guard import condition_of
from experiments.validation.luck import apart
from experiments.validation.predict import replayed
from experiments.validation.preparing import calibration_of, cap_of
from experiments.validation.shown import crew
from experiments.validation.summary import REPLAYED
from policies.contract import Tier, View, fire
from policies.greedy import Greedy
from policies.length_bucketed import LengthBucketed
from policies.routers import LeastLoaded, LengthAffinity, PowerOfTwo
from sim import kernel, model
from sim.backlog import end_of_run, joined
from sim.cluster import Cluster
from sim.timing import cores
from sim.trace import REJECTED, SERVED, UNFINISHED
from sim.wall import Alone, Readings

MS = 1_000_000


def batchwright(*arguments):
    return CliRunner().invoke(app, list(arguments))


# servers that differ


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    path = tmp_path_factory.mktemp("crew") / "crew.toml"
    path.write_text(CREW)
    return load_scenario(path)


def test_how_much_slower_a_server_is_comes_from_its_calls(scenario):
    found = calibration_of(trips((1.0, 1.2)), scenario, {})
    # The mean of both is 1.1; 400 calls with a spread of 5 % say it to 0.25 %.
    assert found.server_factors == pytest.approx((1.0 / 1.1, 1.2 / 1.1), rel=0.01)
    assert found.differing == found.server_factors


def test_servers_that_are_alike_are_taken_to_be(scenario):
    found = calibration_of(trips((1.0, 1.0)), scenario, {})
    assert found.server_factors == pytest.approx((1.0, 1.0), abs=0.01)
    assert found.differing == ()


def test_servers_whose_calls_differ_too_much_to_say_are_taken_to_be_alike(scenario):
    found = calibration_of(trips((1.0, 1.0), calls=20, spread=1.0), scenario, {})
    assert max(abs(factor - 1.0) for factor in found.server_factors) > 0.03
    assert found.differing == ()
    sure = calibration_of(trips((1.0, 1.5), calls=200, spread=0.3), scenario, {})
    assert sure.differing == sure.server_factors


def test_replicas_of_several_servers_take_their_mean():
    grouped = replace(device(1, servers=4), cluster=Cluster(np.array([0, 0, 1, 1]), True))
    found = apart(grouped, (1.0, 1.2, 0.9, 0.9))
    assert found.tables_ns[0] == pytest.approx(1.1 * grouped.service_ns, rel=1e-6)
    assert found.tables_ns[1] == pytest.approx(0.9 * grouped.service_ns, rel=1e-6)


def errors(factors, known):
    """Errors of the predicted mean where servers are slower by factors, of which some are known."""
    workload = workload_at(0.3, 600)
    windows = [
        Window(name, 0.3, place, 0, kernel.run(rule, workload, apart(true, factors)), GOOD)
        for place in range(3)
        for seed, (name, rule) in enumerate(POLICIES.items(), start=10 * place)
        for true in [device(seed, servers=2)]
    ]
    calibration = replace(calibrated(), server_factors=known)
    found = judged(
        {}, POLICIES, {0.3: workload}, calibration, windows, calibration.service(2), device={},
        replications=60,
    )  # fmt: skip
    return [abs(match.cell("mean").error) for match in found.matches]


def test_predictions_know_each_server():
    assert max(errors((0.7, 1.3), (0.7, 1.3))) < 0.02
    # The server that was idle longest goes first, so that both do about as much; but taken to be
    # alike, the pair is less slow behind than it is.
    assert min(errors((0.4, 1.6), ())) > max(errors((0.4, 1.6), (0.4, 1.6)))


@pytest.mark.parametrize(
    ("device_facts", "factors", "lines"),
    [
        ({}, (), []),
        (
            {"servers": 3, "server_cores": 3}, (0.98, 1.0, 1.02),
            ["3 servers, each at 0.98 to 1.02 of the mean of their calibrating calls."],
        ),
        (
            {"servers": 3, "server_cores": 1}, (1.0, 1.0, 1.0),
            [
                "3 servers, each at 1.00 of the mean of their calibrating calls.",
                "Caveat: the processes of 3 servers take turns on 1 core; a server that computes "
                "waits for another there, which one that sleeps (emulated) or has a GPU hardly "
                "does.",
            ],
        ),
    ],
)  # fmt: skip
def test_what_has_to_be_known_of_several_servers_is_said(device_facts, factors, lines):
    found = judged(
        {}, POLICIES, {}, replace(calibrated(), server_factors=factors), [],
        calibrated().service(), device=device_facts,
    )  # fmt: skip
    assert list(crew(found)) == lines


def test_a_calibrating_batch_is_larger_than_a_queue_that_refuses():
    limited = replace(device(1, servers=2), capacity=1, cluster=Cluster(np.arange(2), True))
    call = Alone(None, limited, (4, 32))
    call.station.admit(0, [0])
    (batch,) = call.station.dispatch(0)
    assert len(batch.members) == 4


def test_a_backlog_that_waits_from_the_beginning_is_no_lateness():
    late = [int(5 * MS)] * 100 + [int(0.1 * MS)] * 100
    readings = Readings(late, [0], [], 10_000 * MS, crowd=100)
    assert condition_of(readings, [1.0] * 9, [1.0] * 9, MS, None).rejected == ""
    counted = replace(readings, crowd=0)
    assert "late at p99" in condition_of(counted, [1.0] * 9, [1.0] * 9, MS, None).rejected


# on disk


class UrgentFirst(NamedTuple):
    """A lane for each tier, the first one first."""

    def lanes(self) -> int:
        return 2

    def lane_of(self, length: int, tier: int) -> int:
        return tier

    def decide(self, view: View) -> int:
        lane = 0 if view.waiting[0] > 0 else 1
        return fire(view, lane, min(view.waiting[lane], 8))


@pytest.mark.parametrize(
    "router", [LeastLoaded(), PowerOfTwo(), LengthAffinity(np.array([64])), None]
)
def test_a_window_behind_a_router_comes_back_from_disk_and_is_replayed_exactly(tmp_path, router):
    luck = np.random.default_rng(3).random(5000)
    group = Cluster(np.array([0, 1, 1]))
    if router is not None:
        group = replace(group, own_queues=True, router=router, route_u=luck)
    tiers = (Tier("interactive", 20 * MS), Tier("offline", backlog=True))
    first = replace(workload_at(1.0, 300), tier=np.zeros(300, dtype=np.int8), tiers=tiers)
    end_ns = end_of_run(int(first.arrival_ns[-1]))
    workload = joined(first, {1: np.full(3000, 32, dtype=np.int32)}, end_ns)
    limits = np.array([2, 10**9])
    service = replace(calibrated().service(3), cluster=group, tier_capacity=limits)
    true = replace(device(5, servers=3), cluster=group, tier_capacity=limits)
    live = model.run(UrgentFirst(), workload, true)
    window = Window("urgent", 0.3, 0, 0, live, GOOD)
    recorded.save(tmp_path, window, {"kind": "greedy"}, workload, service, {})
    back = recorded.load(tmp_path)
    assert back.workload.until_ns == end_ns
    assert back.window.trace.tiers == tiers
    again = replayed(UrgentFirst(), back.workload, back.service, back.window.trace)
    assert again.trace.equals(live)
    assert {SERVED, REJECTED, UNFINISHED} == set(live.status.tolist())


# from end to end


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A validation on two emulated servers behind a router, and what it printed as JSON."""
    place = tmp_path_factory.mktemp("validate")
    (place / "crew.toml").write_text(CREW)
    done = batchwright(
        "validate", str(place / "crew.toml"), "--rounds", "1", "--window", "2s", "--calibrate",
        "3s", "--json", "--out", str(place / "runs"),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_two_servers_run_live_behind_their_router(run):
    assert run["device"]["servers"] == 2
    assert len(run["calibration"]["server_factors"]) == 2
    (folder, *_) = sorted((Path(run["run"]) / "live").iterdir())
    kept = recorded.load(folder)
    assert kept.service.cluster.queues == 2
    assert kept.service.tier_capacity[1] == 50
    trace = kept.window.trace
    assert min(np.bincount(trace.batch_server, minlength=2)) > 5
    assert [tier.name for tier in trace.tiers] == ["interactive", "offline"]
    if len(cores()) < 4:  # no generator of its own, whose messages would be on their way
        assert kept.replay_errors() == dict.fromkeys(REPLAYED, 0.0)


def test_each_tier_is_in_the_result(run):
    # on a machine that is busy with other tests no window may count
    for match in run["matches"]:
        cells = {(one["tier"], one["statistic"]): one for one in match["tier_cells"]}
        for tier in ("interactive", "offline"):
            assert cells[tier, "p99"]["replay_error"] == 0.0
            assert cells[tier, "throughput_per_s"]["measured"] > 0
            assert cells[tier, "mean"]["a_priori"]["low"] <= cells[tier, "mean"]["a_priori"]["high"]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "service.cluster.instances_per_gpu=2",
            "scenario crew has service.cluster.instances_per_gpu = 2; validate calibrates each "
            "server alone, so that each needs a device of its own",
        ),
        (
            "service.preprocessing={workers = 1, base_ms = 1.0}",
            "scenario crew has service.preprocessing; validate runs what batches, without CPU "
            "stages around it",
        ),
    ],
)
def test_what_does_not_run_live_is_refused_in_one_sentence(tmp_path, setting, sentence):
    (tmp_path / "crew.toml").write_text(
        CREW.replace('router = "least_loaded"', 'router = "least_loaded"\nslowdown = [1.4]')
        if "per_gpu" in setting
        else CREW
    )
    done = batchwright(
        "validate", str(tmp_path / "crew.toml"), "--set", setting, "--out", str(tmp_path)
    )
    assert done.exit_code == 2
    assert done.stderr.strip().endswith(f"error: {sentence}"), done.stderr


def test_a_policy_that_gives_no_sizes_is_calibrated_up_to_the_largest():
    assert cap_of([LengthBucketed(np.array([64]))], 12) == 12
    assert cap_of([Greedy(3), LengthBucketed(np.array([64]), np.array([2, 5]))], 12) == 5


def test_each_of_several_servers_has_a_gpu_of_its_own(scenario, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "profiles.models.open_runner", lambda _m, device, **_: opened.append(device)
    )
    opening = opening_of(scenario, "cuda", "bert-tiny", "fp16", "eager", 1)
    for server in (0, 1):
        opening.open(server)
    assert opened == ["cuda:0", "cuda:1"]
    opening_of(scenario, "cpu", "bert-tiny", "fp32", "eager", 1).open(1)
    assert opened[-1] == "cpu"
    sentence = "--device cuda:1 is one GPU, but scenario crew has 2 servers; --device cuda gives"
    with pytest.raises(ScenarioError, match=sentence):
        opening_of(scenario, "cuda:1", "bert-tiny", "fp16", "eager", 1)
