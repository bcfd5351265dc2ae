"""``profile check``: how far a profile is from what it was not shown, and what to measure more."""

from __future__ import annotations

import dataclasses
import json
import shlex

import numpy as np
import pytest
from drawn_runner import DrawnRunner, VirtualClock
from test_profile_forms import LENGTHS, SIZES, attention, launches, noisy, profile, steps
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli_check import longer, more_command, option, with_option
from profiles import ProfileError, load, save
from profiles.calls import Call
from profiles.campaign import Wishes, measured, save_campaign
from profiles.check import check_of, checked
from profiles.left_out import beside, inner, left_out, neighbours
from profiles.remedy import remedy_of

SECOND = 10**9


def plane(size, length):
    return 3e6 + 50_000.0 * size + 20_000.0 * length


def errors(check, form):
    return next(one for one in check.forms if one.form == form)


def test_a_plane_is_predicted_exactly_by_the_grid():
    found = left_out(profile(plane), "grid")
    assert np.nanmax(np.abs(found.error)) < 1e-6
    assert np.isnan(found.error).sum() == 4, "the corners have no line"


@pytest.mark.parametrize(("form", "true_ns"), [("fitted", attention), ("hinge", launches)])
def test_a_formula_that_is_true_predicts_every_point_corners_too(form, true_ns):
    found = left_out(profile(true_ns), form)
    assert np.abs(found.error).max() < 1e-3
    straight = left_out(profile(true_ns), "grid")
    assert np.nanmax(np.abs(straight.error)) > 0.03, "the control: a curve is no line"


def test_a_point_left_out_does_not_help_to_predict_itself():
    known = profile(attention)
    wrong = known.latency_ns.copy()
    wrong[2, 1] *= 3
    spoiled = dataclasses.replace(known, latency_ns=wrong)
    for form in ("grid", "fitted"):
        before, after = (left_out(p, form).error[2, 1] for p in (known, spoiled))
        assert after == pytest.approx((1.0 + before) / 3.0 - 1.0, rel=1e-6)


def test_weights_of_neighbours_add_up_and_are_those_of_the_lines():
    known = profile(plane)
    near = neighbours(known, 1, 1)
    assert sum(weight for _, _, weight in near) == pytest.approx(1.0)
    assert {(i, j): w for i, j, w in near} == pytest.approx(
        {(0, 1): 1 / 3, (2, 1): 1 / 6, (1, 0): 2 / 7, (1, 2): 3 / 14}
    )
    assert neighbours(known, 0, 0) == []


def test_inner_points_leave_out_the_ends_of_every_axis_that_has_three_values():
    assert inner(profile(plane)).sum() == (len(SIZES) - 2) * (len(LENGTHS) - 2)
    assert beside(profile(plane)).sum() == len(SIZES) * len(LENGTHS) - 4
    assert inner(profile(plane, lengths=(16, 64))).sum() == 2 * (len(SIZES) - 2)
    assert not inner(profile(plane, sizes=(1, 2), lengths=(16, 64))).any()


def test_errors_by_noise_alone_are_those_that_noise_alone_makes():
    seen, said = [], []
    for seed in range(12):
        found = left_out(noisy(plane, 20, seed=seed), "grid")
        inside = ~np.isnan(found.error)
        seen.append(np.abs(found.error[inside]).mean())
        said.append(found.mean_noise(inside))
    # 240 errors, neighbours share points: the mean is sure to about 8 %.
    assert np.mean(said) == pytest.approx(np.mean(seen), rel=0.2)


def test_a_fine_profile_is_within_its_bound_and_needs_nothing():
    check = check_of(profile(plane))
    assert check.within
    assert remedy_of(check) is None
    assert check.used.points == 8
    assert check.better is None


def test_a_bent_profile_names_the_widest_gap_of_the_bent_axis():
    def bent(size, length):
        return 1e6 + 200.0 * size**0.1 * length**2

    check = check_of(profile(bent), bound=0.08)
    assert not check.within
    assert not check.mostly_noise
    worst = check.gaps[0]
    assert (worst.axis, worst.below, worst.above) == ("length", 128, 256)
    between = np.interp(192, (128, 256), [bent(8, 128), bent(8, 256)]) / bent(8, 192) - 1.0
    assert worst.error == pytest.approx(between, rel=0.2), "as a smooth curve bends"
    remedy = remedy_of(check)
    assert 192 in remedy.lengths
    assert remedy.gaps == tuple(gap for gap in check.gaps if gap.error > 0.08)
    assert len(remedy.gaps) == 2, "the control: the other gaps are fine"
    assert remedy.times_budget == pytest.approx((4 + len(remedy.lengths)) / 4)


def test_a_form_that_is_nearer_is_named():
    check = check_of(profile(launches), bound=0.01)
    assert check.better.form == "hinge"
    assert check_of(profile(launches), form="hinge").better is None


def test_few_calls_are_told_from_few_points():
    check = check_of(noisy(plane, 5, sigma=0.3))
    assert not check.within
    assert check.mostly_noise
    remedy = remedy_of(check)
    assert remedy.gaps == ()
    # Four times the calls halve the noise: enough for noise to be half of the bound.
    assert remedy.times_budget == pytest.approx((check.used.by_noise / 0.025) ** 2)


def test_shapes_off_the_grid_count_before_points_left_out():
    known = noisy(plane, 50, sigma=0.01)
    off = [Call(8, 96, k, "holdout", 0, round(1.5 * plane(8, 96)), None, k) for k in range(10)]
    check = check_of(known, off)
    assert check.used.counts == pytest.approx(1 / 3, abs=0.03)
    assert check_of(known).used.counts < 0.02
    assert check.gaps[0][:3] == ("length", 64, 128)
    assert check.gaps[0].measured
    assert [gap[:3] for gap in check.gaps if gap.measured] == [("length", 64, 128)]


def test_a_staircase_can_only_be_checked_off_the_grid():
    known = profile(steps, execution="engine", versions={"mode": "graphs"})
    check = check_of(known)
    assert check.form == "bucket"
    assert check.used.counts is None
    assert not check.within
    measured_too = dataclasses.replace(known, samples=noisy(steps, 5, sigma=0.001).samples)
    off = [
        Call(8, n, k, "holdout", 0, round(steps(8, n)), None, k) for k in range(5) for n in (70,)
    ]
    assert check_of(measured_too, off).used.counts < 1e-6
    assert errors(check_of(measured_too, off), "grid").counts > 0.2, "the control: no staircase"


def test_a_grid_of_two_by_two_cannot_be_judged():
    check = check_of(profile(plane, sizes=(1, 2), lengths=(16, 64)))
    assert check.used.counts is None
    assert not check.within


def test_an_unknown_form_is_told():
    with pytest.raises(ProfileError, match="form must be one of grid, fitted, hinge, bucket"):
        check_of(profile(plane), form="spline")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["profile", "check", *arguments])


def test_a_shipped_profile_is_checked_without_samples(run):
    result = run("bert-base-a100-tensorrt-fp16")
    assert result.exit_code == 0, result.output
    assert "fine: 16 points left out are predicted with 1.8 % of error" in result.output
    assert "nothing is known between lengths 128 and 384 tokens" in result.output
    assert "no calls are kept" in result.output
    assert max(len(line) for line in result.output.splitlines()) <= 100


def test_above_the_bound_the_exit_code_is_1_and_says_so(run):
    result = run("bert-base-a100-pytorch-eager-fp16")
    assert result.exit_code == 1
    assert "too coarse: 10 points left out are predicted" in result.output
    assert "lengths 384 to 1,024" in result.output
    assert 'service.latency = "hinge"' in result.output
    assert "batchwright profile measure" not in result.output, "published, not measured here"
    assert run("bert-base-a100-pytorch-eager-fp16", "--bound", "20").exit_code == 0


def test_a_profile_that_is_not_there_is_wrong_input(run):
    assert run("bert-base-a100").exit_code == 2
    assert run("bert-base-a100-tensorrt-fp16", "--form", "spline").exit_code == 2


def measure(folder, command, bend=1.0, sigma=0.01):
    clock = VirtualClock()
    runner = DrawnRunner(clock, sigma=sigma, bend=bend, base_ns=100_000, per_unit_ns=1_000)
    wishes = Wishes(8, (16, 128), 60 * SECOND, name="mine", command=command)
    return save_campaign(measured(runner, wishes, clock=clock), folder)


def test_what_was_measured_here_gets_a_command_that_measures_more(run, tmp_path):
    measure(tmp_path, "batchwright profile measure drawn --lengths 16,128 --budget 60s", bend=2.0)
    result = run("mine")
    assert result.exit_code == 1, result.output
    assert "shapes off the grid are predicted" in result.output
    assert result.output.splitlines()[-1] == (
        "batchwright profile measure drawn --lengths 16,72,128 --budget 2m"
    )
    straight = measure(tmp_path, "batchwright profile measure drawn")
    assert run(str(straight[0])).exit_code == 0


@pytest.mark.parametrize(("sizes", "more"), [((1, 2, 8), True), (tuple(range(1, 9)), False)])
def test_batch_sizes_that_were_given_up_need_a_longer_budget(sizes, more):
    def falling(size, length):
        return 1e6 + 1e5 * length + 3e7 * (size - 4) ** 2

    known = profile(falling, sizes=sizes, command="batchwright profile measure m --budget 2m")
    check = check_of(known, bound=0.01)
    remedy = remedy_of(check)
    assert remedy.lengths == ()
    expected = "batchwright profile measure m --budget 4m" if more else None
    assert more_command(check, remedy) == expected


def test_json_says_all_of_it(run, tmp_path):
    measure(tmp_path, "batchwright profile measure drawn --budget=60s", bend=2.0)
    found = json.loads(run("mine", "--json").stdout)
    assert (found["latency"], found["within"], found["bound"]) == ("grid", False, 0.05)
    grid = found["forms"][0]
    assert grid["counts"] == pytest.approx(
        np.mean([abs(shape["error"]) for shape in grid["hold_out"]])
    )
    assert np.shape(found["sampling"]["error"]) == (8, 2)
    command = shlex.split(found["remedy"]["command"])
    assert option(command, "--budget") == "2m"
    assert option(command, "--lengths") == "16,72,128"


def test_a_profile_without_its_raw_calls_is_checked_by_its_points(run, tmp_path):
    measure(tmp_path, "batchwright profile measure drawn", bend=2.0)
    (tmp_path / "mine-raw.csv.gz").unlink()
    check = checked(tmp_path / "mine")
    assert check.used.hold_out is None
    assert check.used.points == 12
    (tmp_path / "mine.samples.csv.gz").unlink()
    assert checked(tmp_path / "mine").used.noise is None


def test_a_table_without_three_lengths_or_sizes_says_what_is_missing(run, tmp_path):
    save(profile(plane, sizes=(1, 2), lengths=(16, 64)), tmp_path)
    result = run("known")
    assert result.exit_code == 1
    assert "not known: no point has neighbours on both sides" in result.output
    assert "at least three batch sizes or three lengths" in result.output


def test_options_are_set_in_their_place():
    words = shlex.split("batchwright profile measure m --budget=90s --lengths 16,32")
    assert option(words, "--budget") == "90s"
    assert option(words, "--seed") is None
    assert with_option(words, "--budget", "3m")[4] == "--budget=3m"
    assert with_option(words, "--lengths", "8")[-1] == "8"
    assert with_option(words, "--seed", "1")[-2:] == ["--seed", "1"]
    assert longer("90s", 2.0) == "3m"
    assert longer("1h", 1.01) == "61m"


def test_every_shipped_profile_can_be_checked():
    for name in ("jasper-a100-fp16", "bert-large-t4-tensorrt-int8", "quartznet-v100-fp16"):
        check = checked(name)
        assert check.used.counts is not None
        assert load(name).name == check.profile.name
