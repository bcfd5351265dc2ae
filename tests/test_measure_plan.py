"""The plan of a measurement: it fits its budget, and gives up in the stated order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from drawn_runner import DrawnRunner, VirtualClock

from profiles import ProfileError
from profiles.campaign import Wishes, measured, wished_lengths
from profiles.cost import Cost, fitted_cost, pilot_shapes
from profiles.forms import default_form
from profiles.models.buckets import LENGTHS as GRAPH_LENGTHS
from profiles.models.buckets import SIZES, bucket, edges
from profiles.plan import (
    CPU_WARMING,
    CUDA_WARMING,
    PACED_GAPS_NS,
    SAMPLES_ANCHOR,
    SAMPLES_LEAST,
    SAMPLES_MOST,
    STEADY_LEAST,
    all_sizes,
    graph_sizes,
    grids,
    holdout_shapes,
    planned,
)

LENGTHS = (16, 32, 64, 128, 256)
TINY = Cost(860_000.0, 11_600.0, 17.0)
SPEECH = Cost(14_300_000.0, 42_000.0, 0.5)
"""bert-tiny and wav2vec2-small on one core, roughly."""
SECOND = 10**9


def test_every_batch_size_up_to_32_is_in_the_grid_then_coarser_ones_and_the_cap():
    assert all_sizes(5) == [1, 2, 3, 4, 5]
    assert all_sizes(32) == list(range(1, 33))
    assert all_sizes(100) == [*range(1, 33), 40, 48, 64, 96, 100]


@pytest.mark.parametrize("budget_s", [8, 20, 60, 300, 1_800])
@pytest.mark.parametrize("cost", [TINY, Cost(3e6, 900.0), Cost(3e6, 900.0, first_ns=3e8)])
def test_a_plan_fits_its_budget(cost, budget_s):
    try:
        plan = planned(32, LENGTHS, budget_s * SECOND, cost)
    except ProfileError:
        assert cost.first_ns, "only captured graphs are too slow for the shortest of these budgets"
        assert budget_s == 8
        return
    assert plan.expected_ns <= budget_s * SECOND
    assert all(SAMPLES_LEAST <= cell.samples <= SAMPLES_ANCHOR for cell in plan.cells)


def test_the_estimate_is_the_sum_of_the_calls_and_a_fifth():
    plan = planned(4, (16, 64), 5 * SECOND, TINY)
    calls = sum((cell.samples + CPU_WARMING.calls) * TINY(*cell[:2]) for cell in plan.cells)
    calls += sum(s.calls * (s.gap_ns + TINY(s.batch_size, s.length)) for s in plan.series)
    assert plan.expected_ns == pytest.approx(1.2 * calls)


def test_with_time_enough_nothing_is_given_up_and_every_cell_has_most():
    plan = planned(32, LENGTHS, 1_800 * SECOND, TINY)
    assert plan.dropped == ()
    assert plan.sizes() == list(range(1, 33))
    assert plan.lengths() == list(LENGTHS)
    for cell in plan.cells:
        anchor = cell.kind == "grid" and cell.batch_size in (1, 32)
        assert cell.samples == (SAMPLES_ANCHOR if anchor else SAMPLES_MOST)


def test_cheap_cells_and_the_first_and_last_batch_size_get_more_samples():
    plan = planned(32, LENGTHS, 60 * SECOND, TINY)
    samples = {cell[:2]: cell.samples for cell in plan.cells}
    assert samples[2, 16] > samples[16, 64] > samples[24, 256]
    assert samples[32, 64] > samples[31, 64]


def test_what_does_not_fit_is_given_up_in_the_stated_order():
    seen = [planned(32, LENGTHS, s * SECOND, TINY) for s in (300, 60, 25, 15, 8, 4, 3, 2, 1)]
    cells = [sum(cell.kind == "grid" for cell in plan.cells) for plan in seen]
    assert cells == sorted(cells, reverse=True)
    assert len(set(cells)) > 3
    assert seen[0].dropped == ()
    for plan in seen[1:]:
        assert plan.expected_ns <= 300 * SECOND
        shapes = [(c.batch_size, c.length) for c in plan.cells if c.kind == "grid"]
        assert len(shapes) == len(plan.sizes()) * len(plan.lengths()), "a profile has no holes"
    assert "sizes" in seen[-1].dropped[0]


def test_the_order_of_giving_up_ends_with_one_batch_size_at_two_lengths():
    ladder = [(len(sizes), len(lengths)) for sizes, lengths, _ in grids(32, LENGTHS)]
    assert ladder[:4] == [(32, 5), (20, 5), (11, 5), (6, 5)]
    assert ladder[-1] == (1, 2)
    assert ladder == sorted(ladder, reverse=True)


def test_a_budget_too_short_says_what_would_do():
    with pytest.raises(ProfileError) as error:
        planned(8, (1_000, 5_000), 2 * SECOND, SPEECH)
    assert str(error.value) == (
        "2 s of --budget are left after the pilot, but the smallest plan (batch size 1, "
        "lengths 1000, 5000) takes 4 s: "
        "give a longer budget or shorter lengths"
    )


def test_every_cell_is_in_as_many_rounds_as_it_has_samples_evenly_and_in_the_first():
    plan = planned(32, LENGTHS, 30 * SECOND, TINY)
    assert len({cell.samples for cell in plan.cells}) > 5
    rounds = [plan.in_round(number) for number in range(plan.rounds)]
    assert rounds[0] == list(plan.cells)
    counts = Counter(cell for cells in rounds for cell in cells)
    assert all(counts[cell] == cell.samples for cell in plan.cells)
    half = Counter(cell for cells in rounds[: plan.rounds // 2] for cell in cells)
    assert all(abs(half[cell] - cell.samples / 2) <= 1 for cell in plan.cells)


def test_the_hold_out_is_off_the_grid_and_inside_it():
    for sizes, lengths in (
        (list(range(1, 33)), LENGTHS),
        ([1, 2, 4, 8, 16], (16, 64)),
        ([1], (9,)),
    ):
        shapes = holdout_shapes(sizes, lengths)
        assert not {(s, n) for s in sizes for n in lengths} & set(shapes)
        assert all(sizes[0] <= s <= sizes[-1] and lengths[0] <= n <= lengths[-1] for s, n in shapes)
    assert shapes == []


def test_noise_and_paced_calls_are_of_shapes_of_the_grid():
    plan = planned(32, LENGTHS, 60 * SECOND, TINY)
    shapes = {cell[:2] for cell in plan.cells if cell.kind == "grid"}
    assert {series[:2] for series in plan.series} <= shapes
    steady = [series for series in plan.series if series.kind == "steady"]
    assert len(steady) == 3
    assert all(series.calls >= STEADY_LEAST for series in steady)
    assert {s.gap_ns for s in plan.series if s.kind == "paced"} == set(PACED_GAPS_NS)


def test_a_shape_too_slow_for_a_steady_series_gives_way_to_a_smaller_one():
    plan = planned(8, (1_000, 5_000, 15_000), 300 * SECOND, SPEECH)
    steady = [series for series in plan.series if series.kind == "steady"]
    assert max(SPEECH(s.batch_size, s.length) for s in steady) < SPEECH(8, 15_000)
    assert steady


def test_load_before_the_first_shape_counts_against_the_budget():
    cpu, cuda = (planned(4, (16,), 60 * SECOND, TINY, w) for w in (CPU_WARMING, CUDA_WARMING))
    assert cuda.expected_ns - cpu.expected_ns > 1.5 * SECOND


def test_the_pilot_finds_the_cost_it_is_shown():
    true = Cost(2e6, 9_000.0, 12.0)
    shapes = list(pilot_shapes(range(1, 33), LENGTHS))
    assert shapes[0] == (1, 16)
    assert shapes[-1] == (32, 256)
    found = fitted_cost({shape: true(*shape) for shape in shapes})
    for shape in ((3, 48), (32, 256)):
        assert found(*shape) == pytest.approx(true(*shape), rel=1e-6)


def test_the_pilot_is_not_fooled_by_ten_percent_of_noise():
    true, rng = Cost(2e6, 9_000.0, 12.0), np.random.default_rng(3)
    shapes = list(pilot_shapes(range(1, 33), LENGTHS))
    noisy = {shape: true(*shape) * np.exp(0.1 * rng.standard_normal()) for shape in shapes}
    assert fitted_cost(noisy)(16, 128) == pytest.approx(true(16, 128), rel=0.25)


class GraphRunner(DrawnRunner):
    """Pads every batch up to the next captured shape, as CUDA graphs do."""

    def about(self):
        return {**super().about(), "mode": "graphs", "device_name": "a GPU"}

    def true_ns(self, size, length):
        return super().true_ns(*bucket(size, length, edges("tokens", self.longest)))


def graphs(cap, lengths=(), budget_s=120):
    clock = VirtualClock()
    wishes = Wishes(cap, tuple(lengths), budget_s * SECOND)
    runner = GraphRunner(clock, base_ns=100_000, per_unit_ns=100)
    return measured(runner, wishes, clock=clock)


def test_with_graphs_the_batch_sizes_are_those_that_are_captured_and_the_cap():
    assert graph_sizes(128) == list(SIZES)
    assert graph_sizes(20) == [1, 2, 4, 8, 12, 16, 20]
    assert graph_sizes(400) == [*SIZES, 256, 384, 400]
    assert graph_sizes(1) == [1]
    for cap in (20, 128, 400):
        shapes = {bucket(size, 16, (16,))[0] for size in range(1, cap + 1)}
        assert len(shapes) == len(graph_sizes(cap)), "one size of the grid for each graph"


def test_with_graphs_a_plan_measures_no_batch_size_between_the_captured_ones():
    plan = planned(32, LENGTHS, 600 * SECOND, TINY, graphs=True)
    assert plan.sizes() == graph_sizes(32)
    assert plan.dropped == ()
    off = [cell for cell in plan.cells if cell.kind == "holdout"]
    assert {cell.batch_size for cell in off} - set(plan.sizes()), "but looks whether it is flat"
    assert planned(32, LENGTHS, 600 * SECOND, TINY).sizes() == all_sizes(32)


def test_with_graphs_what_does_not_fit_is_given_up_all_the_same():
    cost = Cost(3e6, 900.0, first_ns=3e8)
    plan = planned(128, LENGTHS, 20 * SECOND, cost, graphs=True)
    assert plan.dropped
    assert set(plan.sizes()) <= set(SIZES)
    assert plan.expected_ns <= 20 * SECOND


def test_a_model_with_graphs_is_measured_at_the_captured_lengths():
    made = graphs(16)
    assert made.profile.length.tolist() == list(GRAPH_LENGTHS["tokens"])
    assert made.profile.batch_size.tolist() == graph_sizes(16)
    runner = GraphRunner(VirtualClock())
    runner.longest = 100
    assert wished_lengths(runner, Wishes()) == [16, 32, 64, 96, 100]
    assert wished_lengths(runner, Wishes(lengths=(64, 32))) == [32, 64]
    assert wished_lengths(DrawnRunner(VirtualClock()), Wishes()) == list(LENGTHS)


def test_a_model_with_graphs_becomes_a_staircase_that_predicts_what_lies_between():
    made = graphs(16)
    assert default_form(made.profile) == "bucket"
    assert made.hold_out.worst_error < 1e-5
    assert {shape.length for shape in made.hold_out.shapes} - set(GRAPH_LENGTHS["tokens"])
    assert {shape.batch_size for shape in made.hold_out.shapes} - set(SIZES)
