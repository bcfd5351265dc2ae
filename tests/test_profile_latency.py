import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from profiles import (
    Metadata,
    Profile,
    ProfileError,
    Samples,
    best_cost_ns,
    from_samples,
    latency_at,
    table_ns,
)
from sim.service import expected_ns

MS = 1_000_000
METADATA = Metadata(
    model="m", device="d", precision="FP16", framework="f", timed="a call", licence="CC0-1.0"
)


def profile(**changes):
    """A staircase: 8 requests of 100 tokens cost more than twice as much as 4."""
    grid = {
        "name": "steps",
        "batch_size": np.array([2, 4, 8]),
        "length": np.array([100, 300]),
        "latency_ns": np.array([[10, 20], [12, 24], [30, 60]]) * MS,
        "length_unit": "tokens",
        "statistic": "p50",
        "metadata": METADATA,
    }
    return Profile(**(grid | changes))


def calls(batch_size, length, latency_ns):
    start_ns = np.cumsum(latency_ns)
    return Samples(np.array(batch_size), np.array(length), start_ns, np.array(latency_ns))


def test_interpolation_is_exact_on_measured_points():
    steps = profile()
    for i, size in enumerate([2, 4, 8]):
        for j, length in enumerate([100, 300]):
            assert latency_at(steps, size, length) == steps.latency_ns[i, j]


def test_interpolation_is_bilinear_between_measured_points():
    steps = profile()
    assert latency_at(steps, 3, 100) == 11 * MS
    assert latency_at(steps, 2, 150) == 12.5 * MS
    # Half way from 4 to 8, a quarter from 100 to 300: (21 * 3 + 42) / 4.
    assert latency_at(steps, 6, 150) == 26.25 * MS


def test_below_the_grid_a_batch_is_padded_up_to_it():
    steps = profile()
    assert latency_at(steps, 1, 100) == 10 * MS
    assert latency_at(steps, 1, 1) == 10 * MS
    assert latency_at(steps, 4, 99) == 12 * MS


@pytest.mark.parametrize(
    ("size", "length", "message"),
    [
        (9, 100, "profile steps knows batch sizes 1 to 8, but got 9"),
        (0, 100, "profile steps knows batch sizes 1 to 8, but got 0"),
        (8, 301, "profile steps knows lengths up to 300 tokens, but got 301 tokens"),
        (8, 0, "profile steps knows lengths up to 300 tokens, but got 0 tokens"),
    ],
)
def test_above_the_grid_there_is_only_an_error_that_names_the_range(size, length, message):
    with pytest.raises(ProfileError) as error:
        latency_at(profile(), size, length)
    assert str(error.value) == message


def test_the_table_has_every_batch_size_from_one_to_the_largest():
    table = table_ns(profile())
    assert table.dtype == np.int64
    assert table.shape == (8, 2)
    np.testing.assert_array_equal(table[:, 0] / MS, [10, 10, 11, 12, 16.5, 21, 25.5, 30])


def test_the_table_rounds_half_to_even():
    odd = profile(latency_ns=np.array([[10, 20], [13, 23], [14, 24]]))
    np.testing.assert_array_equal(table_ns(odd)[:4, 0], [10, 10, 12, 13])


def test_the_table_and_the_simulator_agree_with_the_profile_everywhere():
    steps = profile()
    table = table_ns(steps)
    for size in range(1, 9):
        for length in (1, 100, 101, 237, 300):
            simulated = expected_ns(table, steps.length, size, length)
            assert simulated == pytest.approx(latency_at(steps, size, length), abs=1.0)


def test_a_staircase_stays_a_staircase():
    table = table_ns(profile())
    per_request = table[:, 0] / np.arange(1, 9)
    assert per_request[3] < per_request[7]
    assert np.argmin(per_request) == 3


def test_the_best_cost_is_that_of_the_cheapest_batch_size():
    steps = profile()
    np.testing.assert_array_equal(best_cost_ns(steps), [3 * MS, 6 * MS])
    np.testing.assert_array_equal(best_cost_ns(table_ns(steps)), [3 * MS, 6 * MS])


BROKEN = [
    (
        {"length_unit": "seconds"},
        "length_unit must be tokens or audio_ms, but got 'seconds'",
    ),
    ({"statistic": "max"}, "statistic must be p50 or mean, but got 'max'"),
    (
        {"batch_size": np.zeros(0, dtype=np.int64)},
        "batch_size must be int64 with at least one value, but got int64 (0,)",
    ),
    (
        {"length": np.array([100.0, 300.0])},
        "length must be int64 with at least one value, but got float64 (2,)",
    ),
    ({"batch_size": np.array([0, 4, 8])}, "batch_size must be from 1 to 100000, but got 0"),
    ({"length": np.array([1, 10**10])}, "length must be from 1 to 1000000000, but got 10000000000"),
    ({"batch_size": np.array([2, 8, 4])}, "batch_size must increase, but 4 follows 8"),
    (
        {"length": np.array([100, 100])},
        "length must have no duplicates, but 100 is there twice",
    ),
    (
        {"latency_ns": np.full((3, 2), np.nan)},
        "latency_ns must be int64 (3, 2), but got float64 (3, 2)",
    ),
    (
        {"latency_ns": np.ones((2, 3), dtype=np.int64)},
        "latency_ns must be int64 (3, 2), but got int64 (2, 3)",
    ),
    (
        {"latency_ns": np.array([[1, 2], [3, -4], [5, 6]])},
        (
            "latency_ns at batch size 4, length 300 must be a positive time below 11 days, "
            "but got -4 ns"
        ),
    ),
    (
        {"latency_ns": np.array([[1, 2], [3, 4], [10**18, 6]])},
        (
            "latency_ns at batch size 8, length 100 must be a positive time below 11 days, "
            "but got 1000000000000000000 ns"
        ),
    ),
    (
        {"percentiles_ns": {75: np.full((3, 2), 99 * MS)}},
        "percentiles_ns may hold 50, 90, 95 and 99, but got 75",
    ),
    (
        {"percentiles_ns": {99: np.full((3, 2), 11 * MS)}},
        "p99 at batch size 2, length 300 is 11 ms, but p50 is 20 ms and must not be above it",
    ),
    (
        {"percentiles_ns": {95: np.full((3, 2), 90 * MS), 99: np.full((3, 2), 80 * MS)}},
        "p99 at batch size 2, length 100 is 80 ms, but p95 is 90 ms and must not be above it",
    ),
    (
        {"statistic": "mean", "percentiles_ns": {99: np.full((3, 2), 59 * MS)}},
        (
            "the mean at batch size 8, length 300 is 60 ms, above p99 (59 ms), "
            "so warm-up or stalls are in it: use p50"
        ),
    ),
    (
        {"samples": calls([2, 4], [100, 100], [10, 12])},
        "batch size 2, length 300 has no sample",
    ),
    (
        {
            "samples": Samples(
                *(np.array([1, 2]), np.array([1, 2]), np.array([2, 1])) * 1, np.ones(2)
            )
        },
        "the columns of samples must be int64 and equally long",
    ),
]


@pytest.mark.parametrize(("changes", "problem"), BROKEN)
def test_a_broken_profile_is_refused_in_one_sentence(changes, problem):
    with pytest.raises(ProfileError) as error:
        profile(**changes)
    assert str(error.value) == f"profile steps: {problem}"


def test_a_name_that_is_no_file_name_is_refused():
    with pytest.raises(ProfileError) as error:
        profile(name="../steps")
    assert str(error.value) == (
        "profile ../steps: a name must be letters, digits, dots, dashes and underscores, "
        "since files have it"
    )


def test_a_mean_above_p95_is_legal_because_of_heavy_tails():
    heavy = profile(
        statistic="mean",
        percentiles_ns={95: np.full((3, 2), 9 * MS), 99: np.full((3, 2), 60 * MS)},
    )
    assert heavy.statistic == "mean"


def test_samples_must_be_in_the_order_of_their_starts():
    samples = calls([1, 1], [5, 5], [3, 4])
    backwards = dataclasses.replace(samples, start_ns=np.array([9, 8]))
    with pytest.raises(ProfileError) as error:
        from_samples("raw", backwards, "tokens", METADATA)
    assert str(error.value) == "profile raw: samples must be in the order of their start_ns"


def test_a_profile_of_samples_has_their_medians_and_percentiles():
    latency = np.concatenate([np.arange(1, 102), np.arange(1001, 1102)])
    raw = from_samples("raw", calls([1] * 101 + [2] * 101, [5] * 202, latency), "tokens", METADATA)
    assert raw.statistic == "p50"
    np.testing.assert_array_equal(raw.latency_ns, [[51], [1051]])
    assert {key: value[0, 0] for key, value in raw.percentiles_ns.items()} == {
        90: 91,
        95: 96,
        99: 100,
    }


def test_samples_with_a_hole_in_their_grid_are_refused():
    with pytest.raises(ProfileError) as error:
        from_samples("raw", calls([1, 2], [5, 6], [3, 4]), "tokens", METADATA)
    assert str(error.value) == "profile raw: batch size 1, length 6 has no sample"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": ""}, "`device` must say what it was, but is empty"),
        ({"execution": "fast"}, "`execution` must be one of engine, eager, but got 'fast'"),
    ],
)
def test_metadata_says_what_it_lacks(changes, message):
    with pytest.raises(ProfileError) as error:
        dataclasses.replace(METADATA, **changes)
    assert str(error.value) == message


def test_a_profile_without_a_repository_was_measured_here():
    assert METADATA.source == "measured with batchwright"


def test_importing_profiles_imports_neither_scipy_nor_torch_nor_pandas():
    code = "import sys, profiles; print(sorted({'scipy', 'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
