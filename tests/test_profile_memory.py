"""The memory of batches: measured by shape, modelled from above, and what fits by it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from drawn_runner import DrawnRunner, VirtualClock
from typer.testing import CliRunner

from experiments.cli import app
from profiles.campaign import Wishes, measured, save_campaign
from profiles.memory import (
    MemoryModel,
    Peaks,
    fitted_memory,
    load_peaks,
    memory_path,
    overshoot,
    peaks_text,
)
from profiles.metadata import ProfileError

MODEL = MemoryModel(fixed=400e6, per_request=1e6, per_length=5e4, per_square=60.0)
SHAPES = [(size, length) for size in (1, 2, 4, 8, 16, 32) for length in (16, 64, 128, 256, 512)]
BLOCK = 2 << 20
"""Caching allocators hand out whole blocks."""


def drawn(seed):
    """What a device might say: the model, up to 10 % more, in whole blocks."""
    rng = np.random.default_rng(seed)
    more = rng.uniform(1.0, 1.1, len(SHAPES))
    took = [float(MODEL.bytes_of(*shape)) for shape in SHAPES]
    blocks = np.ceil(np.array(took) * more / BLOCK).astype(int).tolist()
    return Peaks({shape: count * BLOCK for shape, count in zip(SHAPES, blocks, strict=True)})


def test_an_exact_model_is_found_again():
    peaks = Peaks({shape: int(MODEL.bytes_of(*shape)) for shape in SHAPES})
    found = fitted_memory(peaks)
    assert found.fixed == pytest.approx(400e6, rel=1e-6)
    assert found.per_request == pytest.approx(1e6, rel=1e-6)
    assert found.per_length == pytest.approx(5e4, rel=1e-6)
    assert found.per_square == pytest.approx(60.0, rel=1e-6)
    assert overshoot(found, peaks) < 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_no_measured_shape_takes_more_than_its_model_says_and_none_much_less(seed):
    peaks = drawn(seed)
    found = fitted_memory(peaks)
    assert all(found.bytes_of(*shape) >= took for shape, took in peaks.bytes.items())
    assert 0.0 < overshoot(found, peaks) < 0.15


def test_one_measured_shape_is_enough_for_a_model_of_it():
    found = fitted_memory(Peaks({(4, 100): 1000}))
    assert found.bytes_of(4, 100) >= 1000
    assert overshoot(found, Peaks({(4, 100): 1000})) < 1e-9


def test_the_largest_batch_that_fits_is_where_one_more_does_not():
    for limit in (0.5e9, 1e9, 2e9, 7e9):
        lengths = np.arange(1, 513)
        most = MODEL.most(limit, lengths, 64)
        assert (MODEL.bytes_of(most, lengths) <= limit).all()
        more = MODEL.bytes_of(most + 1, lengths) > limit
        assert (more | (most == 64)).all()
        assert (np.diff(most) <= 0).all()


def test_a_limit_on_a_whole_batch_lets_that_batch_fit():
    model = MemoryModel(fixed=0.1, per_request=0.1)
    for size in range(1, 200):
        assert model.most(float(model.bytes_of(size, 1)), 1, 500) == size


def test_nothing_fits_where_the_model_itself_does_not():
    assert MODEL.most(300e6, np.array([1, 512]), 64).tolist() == [0, 0]
    assert MemoryModel(fixed=300.0).most(300.0, 5, 64) == 64
    assert MemoryModel(fixed=300.1).most(300.0, 5, 64) == 0


def test_what_did_not_fit_when_it_was_measured_never_fits():
    refused = replace(MODEL, refused=((8, 256), (20, 64)))
    most = refused.most(1e12, np.array([63, 64, 255, 256, 512]), 64)
    assert most.tolist() == [64, 19, 19, 7, 7]


def test_a_negative_coefficient_is_refused():
    with pytest.raises(ProfileError, match=r"`per_length` must not be below 0, but got -1\.0"):
        MemoryModel(per_length=-1.0)


def test_a_campaign_writes_the_memory_and_its_limits_and_they_read_back(tmp_path):
    runner = DrawnRunner(VirtualClock(), memory=256)
    made = measured(runner, Wishes(8, (16, 64), 60 * 10**9, seed=3), clock=runner.clock)
    save_campaign(made, tmp_path)
    peaks = load_peaks(memory_path(tmp_path / made.profile.name))
    assert peaks.bytes == made.found.peak_bytes
    assert peaks.refused == tuple(sorted(set(made.found.limits)))
    assert peaks.refused
    assert all(size * length > 256 for size, length in peaks.refused)
    model = fitted_memory(peaks)
    assert model.per_length == pytest.approx(1000.0)
    assert model.most(1e9, np.array([16, 64]), 8).tolist() == [8, 256 // 64]


def test_a_profile_without_measured_memory_says_so():
    assert memory_path("bert-base-a100-tensorrt-fp16") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("batch_size,length\n1,2\n", "the column peak_bytes is missing"),
        (
            "batch_size,length,peak_bytes\n1,2,-5\n",
            "line 2: peak_bytes must be a whole number from 1, but got '-5'",
        ),
        (
            "batch_size,length,peak_bytes\n1,2,\n",
            "there must be at least one row with peak_bytes",
        ),
    ],
)
def test_a_broken_file_is_told_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "x-memory.csv"
    path.write_text(text)
    with pytest.raises(ProfileError, match=re.escape(sentence)):
        load_peaks(path)


def test_rows_stand_in_order_of_size_and_length():
    text = peaks_text({(10, 2): 7, (2, 10): 6, (2, 9): 5}, [(4, 1)])
    rows = ["2,9,5", "2,10,6", "4,1,", "10,2,7"]
    assert text.splitlines()[1:] == rows


def test_profile_show_says_what_batches_take_of_the_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = DrawnRunner(VirtualClock(), memory=256)
    made = measured(runner, Wishes(8, (16, 64), 60 * 10**9, seed=3), clock=runner.clock)
    side = save_campaign(made, tmp_path)[0]
    shown = CliRunner().invoke(app, ["profile", "show", str(side)])
    assert shown.exit_code == 0, shown.output
    told = " ".join(shown.stdout.split())
    assert "0.954 MiB per 1,000 of padded length (at most 0 % above what was measured)" in told
    assert "did not fit: 5 x 64" in told
    found = json.loads(CliRunner().invoke(app, ["profile", "show", str(side), "--json"]).stdout)
    assert found["memory"]["per_length_mib"] == pytest.approx(1000 / 2**20)
    assert found["memory"]["did_not_fit"][0] == [5, 64]


def test_profile_show_says_nothing_of_memory_that_was_not_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["profile", "show", "jasper-t4-fp16", "--json"])
    assert json.loads(found.stdout)["memory"] is None


def test_limits_are_the_refused_shapes_that_no_smaller_one_says_already():
    peaks = Peaks({(1, 1): 1}, ((27, 256), (8, 256), (16, 128), (17, 128), (32, 64), (16, 128)))
    assert peaks.limits == ((8, 256), (16, 128), (32, 64))
