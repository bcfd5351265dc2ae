"""Figures and errors of latency models."""

import numpy as np
import pytest

import profiles
from experiments.form_errors import form_errors
from experiments.plots_forms import formulas, left_out, noise
from profiles.check import check_of

NAMES = ("bert-base-a100-pytorch-eager-fp16", "minilm-cpu-fp32")


@pytest.fixture(scope="module")
def known():
    return [profiles.load(name) for name in NAMES]


def test_the_frame_has_the_errors_of_fit_and_check(known):
    frame = form_errors(known)
    assert list(frame.index) == list(NAMES)
    for profile in known:
        row = frame.loc[profile.name]
        assert row["hinge"] == profiles.fitted(profile, "hinge").median_error
        errors = {one.form: one for one in check_of(profile, form="grid").forms}
        assert row["left out, fitted"] == errors["fitted"].left_out
    assert np.isnan(frame.loc[NAMES[0], "noise"])
    assert 0.005 < frame.loc[NAMES[1], "noise"] < 0.02


def test_a_formula_is_drawn_through_its_own_values(known):
    axes = formulas(known[0])
    fit = profiles.fitted(known[0], "hinge")
    line = next(one for one in axes.get_lines() if one.get_label().startswith("hinge"))
    assert line.get_ydata() == pytest.approx(fit.latency_ns(line.get_xdata(), 1.0) / 1e6)
    dots = [one for one in axes.get_lines() if one.get_marker() == "o"]
    assert sum(len(one.get_xdata()) for one in dots) == known[0].latency_ns.size


def test_bars_are_the_errors_of_points_left_out(known):
    axes = left_out(known)
    widths = sorted(bar.get_width() for bar in axes.patches)
    columns = [f"left out, {form}" for form in ("grid", "fitted", "hinge")]
    assert widths == pytest.approx(sorted(100 * form_errors(known)[columns].to_numpy().ravel()))


def test_noise_is_drawn_by_classes_of_batch_sizes_and_says_where_it_is_from(known):
    axes = noise(known[1])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1-3", "4-15", "16"]
    table = profiles.noise_table(known[1])
    assert len(axes.patches) == len(table.quantiles)
    for bar, row in zip(axes.patches, table.quantiles, strict=True):
        assert row[0] < bar.get_y() < 1.0 < bar.get_y() + bar.get_height() < row[-1]
    texts = [text.get_text() for text in axes.texts]
    assert "measured: quantiles of 2,291 calls" in texts
    assert any("assumed" in text.get_text() for text in noise(known[0]).texts)
