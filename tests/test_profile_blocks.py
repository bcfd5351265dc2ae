"""Noise in blocks: the spread of the batch size's class, in the order in which calls came."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_runner import DrawnRunner, VirtualClock
from scipy import stats

from experiments.config import load_scenario
from experiments.costs import correlated, draw_noise
from experiments.demand import correlated as is_correlated
from experiments.schema_service import BlocksNoise, ProfileNoise
from profiles import ProfileError
from profiles.blocks import BLOCK, CALLS_LEAST, block_scores, steady_of
from profiles.calls import Call, read_calls, write_calls
from profiles.campaign import Wishes, measured, save_campaign
from profiles.noise import noise_table
from sim.service import noise_factor

SCENARIO = """
[workload]
requests = 2_000
arrivals = { process = "poisson", load = 0.5 }
lengths = { constant = 32 }
[service]
profile = "mine"
noise = { kind = "blocks" }
[policies.greedy]
kind = "greedy"
"""


def machine(count, seed, fast=0.5, slow=0.985):
    """Scores with two memories, as a machine has: half of the variance lasts for long."""
    rng = np.random.default_rng(seed)
    parts = []
    for phi in (fast, slow):
        fresh = np.sqrt(1.0 - phi**2) * rng.standard_normal(count)
        part = np.zeros(count)
        part[0] = rng.standard_normal()
        for k in range(1, count):
            part[k] = phi * part[k - 1] + fresh[k]
        parts.append(part)
    return (parts[0] + parts[1]) / np.sqrt(2.0)


def calls_of(*series, base_ns=10**7):
    return [
        Call(4, 64, number, "steady", 0, round(base_ns * 3**number * np.exp(0.12 * z)), None, k)
        for number, scores in enumerate(series)
        for k, z in enumerate(scores)
    ]


def autocorrelation(scores, lag):
    rows = np.atleast_2d(scores)
    return float(np.corrcoef(rows[:, :-lag].ravel(), rows[:, lag:].ravel())[0, 1])


def test_scores_are_exactly_normal_however_short_the_series():
    steady = steady_of(calls_of(machine(70, 1)))
    scores = block_scores(steady, (1, 200_000), np.random.default_rng(2)).ravel()
    assert scores.dtype == np.float32
    # Blocks of 60 with a correlation of about 0.6: a KS distance of independent scores times 10.
    assert stats.kstest(scores, "norm").statistic < 0.02
    assert abs(scores).max() > 4.0, "tails that no 70 calls have"


def test_blocks_remember_as_the_machine_does_and_one_number_does_not():
    series = [machine(1_200, seed) for seed in (3, 4, 5)]
    data = [np.mean([autocorrelation(one, lag) for one in series]) for lag in (1, 5, 20)]
    steady = steady_of(calls_of(*series))
    rng = np.random.default_rng(6)
    blocks = block_scores(steady, (4, 100_000), rng)
    chain = correlated(rng.standard_normal((4, 100_000), dtype=np.float32), data[0])
    assert data[2] > 0.2, "the control: this machine does remember"
    for place, lag in enumerate((1, 5, 20)):
        kept, forgotten = autocorrelation(blocks, lag), autocorrelation(chain, lag)
        share = 1.0 - lag / BLOCK
        assert kept == pytest.approx(share * data[place], abs=0.06)
        if lag > 1:
            assert abs(kept - data[place]) < 0.6 * abs(forgotten - data[place])
    # Same spread: both are normal scores, read in the same table of quantiles.
    for chance in (0.05, 0.5, 0.95):
        assert np.quantile(blocks, chance) == pytest.approx(np.quantile(chain, chance), abs=0.03)


def test_of_a_machine_without_memory_blocks_make_none():
    rng = np.random.default_rng(7)
    steady = steady_of(calls_of(*rng.standard_normal((3, 400))))
    scores = block_scores(steady, (2, 200_000), np.random.default_rng(8))
    # 1200 calls: a correlation of them has a standard error of 0.029; four of them.
    assert abs(autocorrelation(scores, 1)) < 0.12
    assert abs(autocorrelation(scores, 5)) < 0.12


def test_series_of_different_shapes_do_not_look_like_steps():
    rng = np.random.default_rng(9)
    steady = steady_of(calls_of(rng.standard_normal(300), rng.standard_normal(300)))
    scores = block_scores(steady, (1, 100_000), np.random.default_rng(10))
    assert abs(autocorrelation(scores, 1)) < 0.16
    assert set(steady.length.tolist()) == {300}
    assert sorted(set(steady.start.tolist())) == [0, 300]


def test_equal_calls_are_no_trend():
    steady = steady_of(calls_of(np.zeros(400)))
    scores = block_scores(steady, (1, 100_000), np.random.default_rng(11))
    assert abs(autocorrelation(scores, 1)) < 0.2


def test_servers_have_luck_of_their_own_and_a_short_stream_is_cut():
    steady = steady_of(calls_of(machine(400, 12)))
    scores = block_scores(steady, (2, 7), np.random.default_rng(13))
    assert scores.shape == (2, 7)
    assert not np.array_equal(scores[0], scores[1])
    again = block_scores(steady, (2, 7), np.random.default_rng(13))
    np.testing.assert_array_equal(scores, again)


def test_short_series_and_other_calls_are_no_blocks():
    assert steady_of(calls_of(np.zeros(CALLS_LEAST - 1))) is None
    grid = [call._replace(kind="grid") for call in calls_of(np.zeros(400))]
    assert steady_of(grid) is None


@pytest.fixture
def folder(tmp_path):
    """A measured profile with its raw calls, and a scenario on it."""
    clock = VirtualClock()
    runner = DrawnRunner(clock, sigma=0.12, phi=0.6)
    made = measured(runner, Wishes(8, (16, 32), 60 * 10**9, name="mine"), clock=clock)
    save_campaign(made, tmp_path)
    (tmp_path / "s.toml").write_text(SCENARIO)
    return tmp_path


def test_the_factor_is_that_of_the_class_of_the_batch(folder):
    scenario = load_scenario(folder / "s.toml")
    noise = draw_noise(
        [BlocksNoise(kind="blocks")], scenario.profile, 2, 50, np.random.default_rng(1),
        scenario.steady,
    )  # fmt: skip
    table = noise_table(scenario.profile)
    np.testing.assert_array_equal(noise.quantiles, table.quantiles)
    assert noise.draws.shape == (1, 2, 50)
    for size in (1, 8):
        score = np.clip(float(noise.draws[0, 1, 3]), -4.0, 4.0)
        row = table.quantiles[table.class_of_size[size]]
        expected = np.interp(score, np.linspace(-4.0, 4.0, len(row)), row)
        found = noise_factor(noise.draws, noise.quantiles, noise.class_of_size, 0, 1, 3, size)
        assert found == pytest.approx(expected)


def test_a_scenario_replays_the_steady_calls_beside_its_profile(folder):
    blocks = load_scenario(folder / "s.toml")
    chain = load_scenario(folder / "s.toml", ["service.noise=profile"])
    assert isinstance(chain.noise[0], ProfileNoise)
    assert chain.steady is None
    scores = blocks.draw()[1].noise.draws[0]
    assert autocorrelation(scores, 1) == pytest.approx(0.6, abs=0.15)
    assert blocks.hash != chain.hash
    assert is_correlated(blocks)
    assert "in measured order" in blocks.describe()


def test_other_calls_make_another_scenario(folder):
    before = load_scenario(folder / "s.toml").hash
    path = folder / "mine-raw.csv.gz"
    calls = read_calls(path)
    write_calls([call._replace(wall_ns=call.wall_ns + (k % 7) * 10**6)
                 for k, call in enumerate(calls)], path)  # fmt: skip
    assert load_scenario(folder / "s.toml").hash != before


def test_a_broken_raw_file_is_told(folder):
    path = folder / "mine-raw.csv.gz"
    path.write_bytes(b"nothing")
    with pytest.raises(ProfileError) as error:
        read_calls(path)
    assert str(error.value) == (
        f"{path}: the file must be gzip of rows batch_size,length,round,kind,gap_ns,wall_ns,"
        "device_ns,instant_ns, but reading it failed: BadGzipFile: Not a gzipped file (b'no')"
    )
