"""Validations of replicas with several profiles, and recorded windows of four servers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from windows_by_hand import CREW, trips

from experiments.cli import app
from experiments.config import ScenarioError, load_scenario
from experiments.validation import recorded
from experiments.validation.campaign import opening_of
from experiments.validation.predict import replayed
from experiments.validation.preparing import calibration_of, ratios_of
from experiments.validation.summary import REPLAYED, summary_of
from policies.routers import RoundRobin
from sim.emulated import EmulatedOpening
from sim.service import expected_ns
from sim.timing import cores
from sim.wall import Alone

SEVERAL = CREW.replace(
    'router = "least_loaded"',
    'router = "least_loaded"\nothers = [{ profile = "slow", replicas = 1 }]',
).replace(
    "model = { base_ms = 8.0, per_request_ms = 1.0, per_length_ms = 0.01, max_batch_size = 4 }",
    'profile = "fast"\nover_length = "truncate"',
)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A scenario with a fast replica and one that takes twice as long."""
    place = tmp_path_factory.mktemp("several")
    for name, times in (("fast", 1.0), ("slow", 2.0)):
        side = {
            "format": 1, "length_unit": "tokens", "statistic": "p50", "model": "m", "device": name,
            "precision": "fp16", "framework": "f", "timed": "t", "licence": "l",
        }  # fmt: skip
        rows = [
            f"{size},{length},{times * (8 + size * (1 + length / 100))}"
            for size in (1, 2, 4) for length in (16, 300)
        ]  # fmt: skip
        (place / f"{name}.json").write_text(json.dumps(side))
        (place / f"{name}.csv").write_text("\n".join(["batch_size,length,latency_ms", *rows]))
    (place / "several.toml").write_text(SEVERAL)
    return place / "several.toml"


def test_replicas_with_several_profiles_are_calibrated_each_by_itself(several):
    found = calibration_of(trips((1.0, 2.0)), load_scenario(several), {}, (0, 1))
    fast, slow = (profile.latency_ns[0, 0] for profile in found.profiles)
    assert slow / fast == pytest.approx(2.0, rel=0.01)
    assert found.server_factors == pytest.approx((1.0, 1.0), abs=0.01)
    assert [profile.name for profile in found.profiles] == ["crew-calibrated", "crew-calibrated-2"]


def test_sentinel_calls_are_held_against_the_profile_of_their_server(several):
    found = calibration_of(trips((1.0, 2.0)), load_scenario(several), {}, (0, 1))
    assert np.mean(ratios_of(trips((1.0, 2.0), 50), found)) == pytest.approx(1.0, abs=0.02)
    assert np.mean(ratios_of(trips((1.0, 1.0), 50), found)) == pytest.approx(0.75, abs=0.02)


def test_a_fast_and_a_slow_replica_run_live(several, tmp_path, monkeypatch):
    """The calls of the calibration are taken to last as long as they should have."""
    service, serve = load_scenario(several).draw()[1], Alone.serve
    profile_of = service.grouping.profiles

    def expected(server, size, length):
        table = service.tables_ns[profile_of[server], 0]
        return expected_ns(table, service.length_edges, size, length)

    def punctual(call):
        serve(call)
        return expected(call.worker.server, call.size, call.length)

    monkeypatch.setattr(Alone, "serve", punctual)
    done = CliRunner().invoke(app, [
        "validate", str(several), "--rounds", "1", "--window", "2s", "--calibrate", "4s",
        "--json", "--out", str(tmp_path),
    ])  # fmt: skip
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout)
    (folder, *_) = sorted((Path(run["run"]) / "live").iterdir())
    kept = recorded.load(folder)
    if len(cores()) < 4:  # no generator of its own, whose messages would be on their way
        assert kept.replay_errors() == dict.fromkeys(REPLAYED, 0.0)
    trace, tables = kept.window.trace, kept.service.tables_ns
    assert tables[1] / tables[0] == pytest.approx(2.0, rel=1e-4)
    asleep = [EmulatedOpening(service).open(server).table_ns for server in (0, 1)]
    assert asleep[1] == pytest.approx(2 * asleep[0])
    assert set(trace.batch_server.tolist()) == {0, 1}
    assert {path.name for path in (Path(run["run"]) / "calibrated").glob("*.json")} == {
        "crew-calibrated.json", "crew-calibrated-2.json",
    }  # fmt: skip


def test_other_devices_are_only_emulated(several):
    sentence = r"has replicas on other devices \(service.cluster.others\), which --device emulated"
    with pytest.raises(ScenarioError, match=sentence):
        opening_of(load_scenario(several), "cpu", "bert-tiny", "fp32", "eager", 1)


FOUR = (
    Path(__file__).parent / "data" / "live" / "emulated-four-servers-priority_fill-load-0.4-round-1"
)


def test_a_recorded_window_of_four_servers_is_replayed_exactly_in_each_tier():
    kept = recorded.load(FOUR)
    live = kept.window.trace
    again = replayed(kept.policy, kept.workload, kept.service, live, kept.window.late_ns)
    assert again.shared_batches == 1.0
    assert summary_of(again.trace).tiers == summary_of(live).tiers
    assert np.array_equal(again.trace.server, live.server)
    assert min(np.bincount(live.batch_server, minlength=4)) > 100
    assert kept.service.cluster.queues == 2


def test_a_recorded_window_of_four_servers_is_not_that_of_another_router():
    kept = recorded.load(FOUR)
    other = replace(kept.service.cluster, router=RoundRobin())
    service = replace(kept.service, cluster=other)
    live = kept.window.trace
    again = replayed(kept.policy, kept.workload, service, live, kept.window.late_ns)
    assert not np.array_equal(again.trace.server, live.server)
