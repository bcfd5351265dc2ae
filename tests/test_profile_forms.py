"""The forms of a latency model: what a batch costs at, between and below measured points."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.config import load_scenario
from policies import Greedy
from policies.contract import expected_ns
from profiles import Metadata, Profile, ProfileError, Samples, from_samples, load, save, table_ns
from profiles.forms import FORMS, STRAIGHT, costs, default_form, smooth, trust
from profiles.sampling import sampling
from sim.kernel import run as kernel
from sim.model import run as model

METADATA = Metadata(
    model="m", device="d", precision="fp16", framework="f", timed="a call", licence="CC0-1.0"
)
SIZES, LENGTHS = (1, 2, 4, 8, 16, 32), (16, 64, 128, 256)
SCENARIO = """
[workload]
requests = 3_000
arrivals = {{ process = "poisson", load = 0.7 }}
lengths = {{ distribution = "uniform", min = 1, max = 256 }}
[service]
profile = "{path}"
noise = {{ kind = "none" }}
servers = 2
[policies.greedy]
kind = "greedy"
"""


def profile(true_ns, sizes=SIZES, lengths=LENGTHS, **metadata):
    """Measured without error; ``true_ns`` of batch size and length."""
    size, length = np.meshgrid(sizes, lengths, indexing="ij")
    return Profile(
        name="known",
        batch_size=np.array(sizes),
        length=np.array(lengths),
        latency_ns=np.rint(true_ns(size, length)).astype(np.int64),
        length_unit="tokens",
        statistic="p50",
        metadata=dataclasses.replace(METADATA, **metadata),
    )


def attention(size, length):
    return 2e6 + 10_000.0 * size * length + 40.0 * size * length**2


def launches(size, length):
    return np.maximum(6e6, 1e6 + 9_000.0 * size * length)


def steps(size, length):
    """Grows with what it is padded to, as a captured graph does."""
    sizes, lengths = np.array(SIZES), np.array(LENGTHS)
    wide = sizes[np.searchsorted(sizes, size)]
    return 1e6 + 5_000.0 * wide * lengths[np.searchsorted(lengths, length)]


def everywhere(found):
    """float64 (largest batch, longest): what a driver charges for every whole length."""
    table, edges = found
    lengths = range(1, int(edges[-1]) + 1)
    return np.array(
        [[expected_ns(table, edges, k + 1, n) for n in lengths] for k in range(len(table))]
    )


def truth(true_ns, longest=LENGTHS[-1], largest=SIZES[-1]):
    return true_ns(np.arange(1, largest + 1)[:, None], np.arange(1, longest + 1)[None])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_a_table_of_every_batch_size_at_increasing_edges(form):
    table, edges = costs(load("bert-base-a100-tensorrt-fp16"), form)
    assert table.dtype == edges.dtype == np.int64
    assert table.shape == (128, len(edges))
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == 384
    assert (table > 0).all()


def test_the_grid_is_what_it_was():
    shipped = load("bert-base-a100-tensorrt-fp16")
    table, edges = costs(shipped, "grid")
    np.testing.assert_array_equal(table, table_ns(shipped))
    np.testing.assert_array_equal(edges, shipped.length)


@pytest.mark.parametrize("form", FORMS)
def test_without_samples_every_form_meets_every_measured_point(form):
    shipped = load("bert-base-a100-pytorch-eager-fp16")
    found = costs(shipped, form)
    for i, size in enumerate(shipped.batch_size.tolist()):
        for j, length in enumerate(shipped.length.tolist()):
            charged = expected_ns(found.table_ns, found.length_edges, size, length)
            assert charged == pytest.approx(shipped.latency_ns[i, j], abs=0.51)


@pytest.mark.parametrize(
    ("form", "true_ns"), [("fitted", attention), ("hinge", launches)], ids=["fitted", "hinge"]
)
def test_a_formula_that_is_true_is_right_at_every_size_and_length(form, true_ns):
    right = truth(true_ns)
    charged = everywhere(costs(profile(true_ns), form))
    assert np.abs(charged / right - 1.0).max() < 1.1 * STRAIGHT
    straight = everywhere(costs(profile(true_ns), "grid"))[:, LENGTHS[0] :]
    assert np.abs(straight / right[:, LENGTHS[0] :] - 1.0).max() > 0.03, "the control: the grid"


def test_a_formula_goes_on_below_the_grid_where_the_grid_pads():
    known = profile(attention)
    assert costs(known, "fitted").latency_ns(1, 1) == pytest.approx(attention(1, 1), rel=1e-6)
    for form in ("grid", "bucket"):
        table, edges = costs(known, form)
        assert expected_ns(table, edges, 1, 1) == expected_ns(table, edges, 1, 16)


def test_of_one_length_no_slope_is_known_so_shorter_ones_are_padded_up_to_it():
    table, edges = costs(profile(attention, lengths=(64,)), "fitted")
    assert edges.tolist() == [64]
    assert table[0, 0] == pytest.approx(attention(1, 64), rel=1e-3)


def test_of_one_batch_size_no_slope_is_known_so_smaller_ones_are_padded_up_to_it():
    table, _ = costs(profile(attention, sizes=(8,)), "fitted")
    assert table.shape[0] == 8
    assert (table == table[-1]).all()


def test_straight_lines_between_the_edges_are_near_the_form():
    surface = smooth(load("bert-base-t4-torchscript-fp16"), "fitted")
    charged = everywhere(costs(load("bert-base-t4-torchscript-fp16"), "fitted"))
    own = surface.latency_ns(np.arange(1, 33), np.arange(1, 385))
    assert np.abs(charged / own - 1.0).max() < 1.1 * STRAIGHT


def test_a_step_that_the_formula_lacks_is_kept_by_the_map():
    def stepped(size, length):
        return attention(size, length) * np.where(size > 8, 1.3, 1.0)

    table, edges = costs(profile(stepped), "fitted")
    for size, length in ((8, 128), (16, 128), (32, 256)):
        charged = expected_ns(table, edges, size, length)
        assert charged == pytest.approx(stepped(size, length), rel=1e-6)


def noisy(true_ns, calls, sigma=0.2, seed=7):
    """A profile of so many calls of each point."""
    rng = np.random.default_rng(seed)
    size, length = (
        np.tile(axis.ravel(), calls) for axis in np.meshgrid(SIZES, LENGTHS, indexing="ij")
    )
    took = true_ns(size, length) * np.exp(sigma * rng.standard_normal(len(size)))
    latency = np.rint(took).astype(np.int64)
    made = Samples(size, length, np.cumsum(latency), latency)
    return from_samples("noisy", made, "tokens", METADATA)


def test_few_calls_of_a_point_lean_on_the_formula():
    size, length = np.meshgrid(SIZES, LENGTHS, indexing="ij")
    right, errors = attention(size, length), []
    for seed in range(8):
        measured = noisy(attention, 5, seed=seed)
        surface = smooth(measured, "fitted").latency_ns(measured.batch_size, measured.length)
        errors.append([np.abs(measured.latency_ns / right - 1.0).mean(),
                       np.abs(surface / right - 1.0).mean()])  # fmt: skip
    grid, fitted = np.mean(errors, axis=0)
    assert grid > 0.06, "the control: medians of five calls are that far off"
    assert fitted < 0.6 * grid


def test_many_calls_of_a_point_are_believed_against_the_formula():
    def stepped(size, length):
        return attention(size, length) * np.where(size > 8, 1.5, 1.0)

    measured = noisy(stepped, 200)
    surface = smooth(measured, "fitted").latency_ns(measured.batch_size, measured.length)
    np.testing.assert_allclose(surface, measured.latency_ns, rtol=0.01)


def test_where_all_deviation_is_noise_none_of_it_is_believed():
    ratio, error = np.array([[0.1, -0.1]]), np.array([[0.2, 0.2]])
    assert trust(ratio, error).tolist() == [[0.0, 0.0]]
    assert trust(ratio, np.zeros((1, 2))).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("calls", [5, 50])
def test_the_sampling_error_is_that_of_the_medians(calls):
    size, length = np.meshgrid(SIZES, LENGTHS, indexing="ij")
    seen, said = [], []
    for seed in range(20):
        measured = noisy(attention, calls, seed=100 + seed)
        seen.append(np.log(measured.latency_ns / attention(size, length)))
        said.append(sampling(measured).error)
    # 480 medians: their standard deviation has a standard error of 3.2 %; five of them.
    assert np.mean(said) == pytest.approx(np.std(seen), rel=0.16)
    assert (sampling(measured).calls == calls).all()


def test_without_calls_the_sampling_error_is_unknown():
    assert sampling(load("bert-base-a100-tensorrt-fp16")) is None


def test_a_bucket_costs_exactly_the_next_measured_size_and_length():
    known = profile(steps)
    np.testing.assert_array_equal(everywhere(costs(known, "bucket")), truth(steps))
    assert (everywhere(costs(known, "grid")) != truth(steps)).mean() > 0.8, "the control"


def test_neighbouring_lengths_need_no_edge_between():
    table, edges = costs(profile(attention, lengths=(5, 6, 9)), "bucket")
    assert edges.tolist() == [5, 6, 7, 9]
    assert table[0].tolist() == [round(attention(1, n)) for n in (5, 6, 9, 9)]


@pytest.fixture
def captured(tmp_path):
    """A scenario on a profile that was measured with CUDA graphs."""
    save(profile(steps, execution="engine", versions={"mode": "graphs"}), tmp_path)
    (tmp_path / "s.toml").write_text(SCENARIO.format(path="known"))
    return lambda *overrides: load_scenario(tmp_path / "s.toml", overrides)


@pytest.mark.parametrize("run", [kernel, model], ids=["kernel", "simpy"])
def test_drivers_charge_exactly_the_step(captured, run):
    workload, service = captured().draw()
    trace = run(Greedy(max_batch_size=32), workload, service)
    took = trace.finish_ns - trace.start_ns
    own = trace.batch
    np.testing.assert_array_equal(took, steps(trace.batch_size[own], trace.batch_longest[own]))
    assert len(np.unique(trace.batch_size)) > 4


def test_a_profile_of_graphs_is_a_staircase_unless_the_scenario_says_otherwise(captured):
    known = captured().profile
    assert default_form(known) == "bucket"
    assert captured().length_edges.tolist() == [16, 17, 64, 65, 128, 129, 256]
    assert captured("service.latency=grid").length_edges.tolist() == [16, 64, 128, 256]
    assert "latency bucket" in captured().describe()
    assert "latency" not in captured("service.latency=grid").describe()
    assert default_form(profile(steps, execution="engine")) == "grid"


def test_the_form_is_part_of_what_a_scenario_is(captured):
    hashes = {captured(f"service.latency={form}").hash for form in FORMS}
    assert len(hashes) == 4


def test_an_unknown_form_is_told():
    with pytest.raises(ProfileError) as error:
        costs(profile(attention), "spline")
    assert str(error.value) == "form must be one of grid, fitted, hinge, bucket, but got 'spline'"
