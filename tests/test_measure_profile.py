"""From raw calls to a profile: what was put into synthetic calls comes out again."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_runner import DrawnRunner, VirtualClock
from typer.testing import CliRunner

import profiles
from experiments.cli import app
from experiments.config import load_scenario
from profiles import ProfileError
from profiles.calls import Call, read_calls, samples, write_calls
from profiles.campaign import Wishes, measured, profile_name, save_campaign
from profiles.conditions import Conditions
from profiles.distil import held_out, paced_ratio, steady_lag1
from profiles.noise import KNOTS, noise_table

pytestmark = pytest.mark.usefixtures("unswept")

SECOND = 10**9
SIGMA, PHI = 0.12, 0.6
"""As on a quiet machine."""
SCENARIO = """
name = "mine"
[workload]
requests = 2_000
arrivals = {{ process = "poisson", load = 0.5 }}
lengths = {{ distribution = "uniform", min = 8, max = 64 }}
[service]
profile = "{path}"
over_length = "truncate"
[policies.greedy]
kind = "greedy"
"""


def campaign(*, budget_s=60, cap=8, lengths=(16, 32, 64), name="", **settings):
    runner = DrawnRunner(VirtualClock(), **{"sigma": SIGMA, "phi": PHI, **settings})
    wishes = Wishes(cap, tuple(lengths), budget_s * SECOND, seed=3, name=name)
    return runner, measured(runner, wishes, clock=runner.clock)


def test_medians_are_those_that_were_put_in():
    runner, made = campaign()
    sizes, lengths = np.meshgrid(made.profile.batch_size, made.profile.length, indexing="ij")
    errors = np.log(made.profile.latency_ns / runner.true_ns(sizes, lengths))
    # 50 calls a cell: standard error of a median 1.2533 * 0.12 / sqrt(50) = 0.021; five of them.
    assert np.abs(errors).max() < 0.11
    assert abs(errors.mean()) < 0.02


def test_medians_without_noise_are_exact():
    runner, made = campaign(sigma=0.0)
    sizes, lengths = np.meshgrid(made.profile.batch_size, made.profile.length, indexing="ij")
    np.testing.assert_array_equal(made.profile.latency_ns, runner.true_ns(sizes, lengths))


@pytest.mark.parametrize("sigma", [0.02, 0.12])
def test_jitter_is_that_which_was_put_in(sigma):
    _, made = campaign(sigma=sigma)
    table = noise_table(made.profile)
    one = KNOTS // 2 + (KNOTS - 1) // 8  # score +1
    for row in table.quantiles:
        assert math.log(row[one]) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("phi", [0.0, 0.6])
def test_autocorrelation_is_that_of_the_steady_series(phi):
    _, made = campaign(phi=phi)
    # 3 series of 400: standard error sqrt((1 - phi^2) / 1200) < 0.03; four of them.
    assert made.profile.lag1 == pytest.approx(phi, abs=0.12)
    assert noise_table(made.profile).lag1 == made.profile.lag1


def test_autocorrelation_does_not_see_that_series_differ_in_level():
    rng = np.random.default_rng(5)
    calls = [
        Call(1, 16, number, "steady", 0, round(level * math.exp(0.1 * z)), None, 0)
        for number, level in enumerate((10**6, 10**8))
        for z in rng.standard_normal(500)
    ]
    assert abs(steady_lag1(calls)) < 0.13
    mixed = [call._replace(round=0) for call in calls]
    assert steady_lag1(mixed) > 0.5, "the control: in one series the levels look correlated"


def test_a_long_series_counts_for_more_than_a_short_one():
    rng = np.random.default_rng(6)
    free = rng.standard_normal(3_000)
    calls = [
        Call(1, 16, number, "steady", 0, round(10**6 * math.exp(0.1 * z)), None, 0)
        for number, series in enumerate((free, np.cumsum(free[:60])))
        for z in series
    ]
    assert steady_lag1([call for call in calls if call.round == 1]) > 0.7
    assert abs(steady_lag1(calls)) < 0.08


def test_short_series_say_nothing_of_autocorrelation():
    calls = [Call(1, 16, 0, "steady", 0, 10**6 + i, None, 0) for i in range(20)]
    assert steady_lag1(calls) is None
    assert steady_lag1([]) is None


def test_warm_up_steady_and_paced_calls_are_not_in_the_profile():
    _, made = campaign(first_ns=10**8)
    profile, calls = made.profile, made.found.calls
    assert len(profile.samples) == sum(call.kind == "grid" for call in calls) < len(calls)
    assert profile.samples.latency_ns.max() < 10**8 < max(call.wall_ns for call in calls)


def test_the_hold_out_is_right_where_the_surface_is_what_interpolation_takes_it_for():
    _, made = campaign(sigma=0.0)
    assert made.hold_out.worst_error < 1e-6
    _, noisy = campaign()
    assert noisy.hold_out.median_error < 3 * noisy.hold_out.noise_error
    by_theory = 0.6745 * 1.2533 * SIGMA * math.sqrt(1.5 / 50)
    assert noisy.hold_out.noise_error == pytest.approx(by_theory, rel=0.1)


def test_the_hold_out_sees_a_surface_that_bends_between_the_points():
    _, made = campaign(sigma=0.0, lengths=(16, 512), bend=2.0, per_unit_ns=100)
    assert made.hold_out.worst_error > 0.3


def test_the_hold_out_is_measured_against_the_right_shapes():
    _, made = campaign()
    worse = replace(
        made.profile, latency_ns=2 * made.profile.latency_ns, percentiles_ns={}, samples=None
    )
    errors = [
        shape.error
        for shape in held_out(replace(worse, samples=made.profile.samples), made.found).shapes
    ]
    assert min(errors) > 0.8


def test_calls_after_idle_time_are_compared_with_the_same_shape():
    class Sleepy(DrawnRunner):
        end = 0

        def true_ns(self, size, length):
            idle, self.end = self.clock.now - self.end > 10**7, self.clock.now
            return (2 if idle else 1) * 1_000_000

        def serve(self, lengths):
            served = super().serve(lengths)
            self.end = self.clock.now
            return served

    runner = Sleepy(VirtualClock())
    made = measured(runner, Wishes(8, (16, 32), 60 * SECOND), clock=runner.clock)
    assert paced_ratio(made.found) == {20_000_000: 2.0, 100_000_000: 2.0}
    assert "calls after 20 ms idle take 2.00 times as long" in made.profile.metadata.defects
    _, steady = campaign(sigma=0.0)
    assert set(paced_ratio(steady.found).values()) == {1.0}
    assert not any("idle" in defect for defect in steady.profile.metadata.defects)


def test_a_limit_of_memory_leaves_the_largest_full_grid_and_is_written_down():
    _, made = campaign(memory=256)
    profile = made.profile
    fit = [(s, n) for s in range(1, 9) for n in (16, 32, 64) if s * n <= 256]
    assert profile.batch_size.tolist() == list(range(1, 9))
    assert profile.length.tolist() == [16, 32]
    assert {(s, n) for s in profile.batch_size for n in profile.length} < set(fit)
    assert any(text.startswith("batch size ") and text.endswith("does not fit into memory")
               for text in profile.metadata.defects)  # fmt: skip


def test_an_interrupted_measurement_is_a_profile_that_says_so():
    runner = DrawnRunner(VirtualClock(), sigma=0.1)
    runner.before = {500: KeyboardInterrupt()}
    made = measured(runner, Wishes(8, (16, 32), 30 * SECOND), clock=runner.clock)
    done = made.found.rounds_done
    assert f"stopped after {done} of {made.found.plan.rounds} rounds: interrupted" in (
        made.profile.metadata.defects
    )
    assert made.profile.batch_size.tolist() == list(range(1, 9))


def test_a_loaded_machine_is_a_defect_and_a_quiet_one_is_not(monkeypatch):
    for load, loaded in ((1.1, False), (3.0, True)):
        monkeypatch.setattr("profiles.conditions.load_average", lambda load=load: load)
        _, made = campaign()
        assert (
            any("the machine was loaded" in text for text in made.profile.metadata.defects)
            is loaded
        )


def test_the_profile_says_what_ran_and_how():
    _, made = campaign()
    meta = made.profile.metadata
    assert (meta.model, meta.device, meta.precision) == ("drawn", "no device", "fp32")
    assert meta.framework == "numpy 2, eager"
    assert meta.execution == "eager"
    assert meta.versions["driver"] == "none"
    assert meta.versions["threads"] == "1"
    assert meta.samples.startswith(f"{len(made.profile.samples)} grid calls, 50 to 200 a cell")
    assert "2 of each new shape, discarded" in meta.warm_up


def test_names_are_of_model_device_precision_and_mode():
    about = {"model": "bert-base", "device": "cpu", "device_name": "Xeon", "precision": "fp32"}
    assert profile_name(about) == "bert-base-cpu-fp32"
    about |= {"device": "cuda:0", "device_name": "NVIDIA H100 80GB", "mode": "graphs"}
    assert profile_name(about) == "bert-base-nvidia-h100-80gb-fp32-graphs"


def test_a_profile_comes_back_from_its_files_exactly_with_every_raw_call(tmp_path):
    _, made = campaign()
    side, raw, rounds, memory = save_campaign(made, tmp_path)
    back = profiles.load(side)
    assert profiles.fingerprint(back) == profiles.fingerprint(made.profile)
    assert back.lag1 == made.profile.lag1
    assert read_calls(raw) == made.found.calls
    assert len(rounds.read_text().splitlines()) == made.found.plan.rounds + 1
    assert memory.read_text().splitlines()[:2] == ["batch_size,length,peak_bytes", "1,16,16000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drawn-cpu-fp32-memory.csv", "drawn-cpu-fp32-raw.csv.gz", "drawn-cpu-fp32-rounds.csv",
        "drawn-cpu-fp32.csv", "drawn-cpu-fp32.json", "drawn-cpu-fp32.samples.csv.gz",
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_profile_and_another_noise_does_not(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 3.0, 3.0))  # a profile says how loaded
    prints = [profiles.fingerprint(campaign(seed=seed)[1].profile) for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


def test_a_measured_profile_runs_in_a_scenario(tmp_path):
    _, made = campaign()
    side = save_campaign(made, tmp_path)[0]
    (tmp_path / "mine.toml").write_text(SCENARIO.format(path=side))
    scenario = load_scenario(tmp_path / "mine.toml")
    assert scenario.profile.lag1 == made.profile.lag1
    assert f"quantiles of {len(made.profile.samples):,} calls" in scenario.describe()
    told = CliRunner().invoke(app, ["simulate", str(scenario.path), "--engine", "simpy", "--json",
                                    "--out", str(tmp_path / "runs")])  # fmt: skip
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["policies"]["greedy"]["served"] == 2_000


def test_a_full_disk_leaves_the_old_profile(tmp_path, monkeypatch):
    _, made = campaign()
    side = profiles.save(made.profile, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Path, "replace", _no_room)
    with pytest.raises(OSError, match="no room"):
        profiles.save(replace(made.profile, lag1=0.5), tmp_path)
    assert {path.name: path.read_bytes() for path in side.parent.iterdir()} == before


def _no_room(*_):
    raise OSError(28, "no room")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ('"much"', "`lag1` must be a number, but got 'much'"),
        ("true", "`lag1` must be a number, but got True"),
        ("1.5", "lag1 must be between -1 and 1, but got 1.5"),
    ],
)
def test_an_autocorrelation_that_is_none_is_refused(tmp_path, given, sentence):
    _, made = campaign()
    side = profiles.save(made.profile, tmp_path)
    side.write_text(side.read_text().replace(f'"lag1": {made.profile.lag1}', f'"lag1": {given}'))
    with pytest.raises(ProfileError) as error:
        profiles.load(side)
    assert str(error.value).endswith(sentence)


def test_published_profiles_have_no_autocorrelation_of_their_own():
    assert all(profiles.load(name).lag1 is None for name in profiles.names()[:3])


def test_raw_calls_keep_what_the_device_said_and_what_it_could_not(tmp_path):
    calls = [Call(1, 16, 0, "grid", 0, 10, 7, 100), Call(2, 16, 0, "paced", 5, 11, None, 200)]
    write_calls(calls, tmp_path / "raw.csv.gz")
    assert read_calls(tmp_path / "raw.csv.gz") == calls
    assert samples(calls).latency_ns.tolist() == [10]
    assert Conditions(0, 1, None).power_w is None
