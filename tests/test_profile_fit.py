import csv
from pathlib import Path

import numpy as np
import pytest

from profiles import Metadata, Profile, best_fit, fitted, load, names

FITS = Path(__file__).parent / "data" / "profiles" / "fits.csv"
PUBLISHED = list(csv.DictReader(FITS.read_text().splitlines()))
SIZES, LENGTHS = np.array([1, 2, 4, 8, 16, 32]), np.array([16, 64, 256])


def profile(formula):
    size, length = np.meshgrid(SIZES, LENGTHS, indexing="ij")
    latency_ns = np.rint(formula(size.astype(float), length.astype(float))).astype(np.int64)
    metadata = Metadata(
        model="m", device="d", precision="FP16", framework="f", timed="a call", licence="CC0-1.0"
    )
    return Profile("formula", SIZES, LENGTHS, latency_ns, "tokens", "p50", metadata)


def test_an_affine_profile_gives_its_coefficients_back():
    fit = fitted(profile(lambda b, n: 5e6 + 900.0 * b * n))
    assert fit.base_ns == pytest.approx(5e6, rel=1e-6)
    assert fit.per_token_ns == pytest.approx(900.0, rel=1e-6)
    assert fit.max_error < 1e-6
    assert fit.knee == pytest.approx(5e6 / 900.0, rel=1e-6)


def test_a_quadratic_profile_gives_its_coefficients_back():
    fit = fitted(profile(lambda b, n: 5e6 + 900.0 * b * n + 3.0 * b * n * n), "quadratic")
    assert fit.per_token_ns == pytest.approx(900.0, rel=1e-5)
    assert fit.per_token_length_ns == pytest.approx(3.0, rel=1e-5)
    assert fit.latency_ns(4, 64) == pytest.approx(5e6 + 900.0 * 256 + 3.0 * 256 * 64, rel=1e-6)


def test_a_hinge_profile_gives_its_coefficients_back():
    hinge = profile(lambda b, n: np.maximum(8e6, 1e6 + 2_000.0 * b * n))
    fit = fitted(hinge, "hinge")
    assert fit.floor_ns == pytest.approx(8e6, rel=1e-5)
    assert fit.base_ns == pytest.approx(1e6, rel=1e-3)
    assert fit.per_token_ns == pytest.approx(2_000.0, rel=1e-4)
    assert best_fit(hinge).form == "hinge"
    assert fitted(hinge, "affine").max_error > 0.1


@pytest.mark.parametrize("form", ["affine", "quadratic", "hinge"])
def test_coefficients_are_never_negative(form):
    falling = fitted(profile(lambda b, n: 1e9 / (b * n)), form)
    found = (
        falling.base_ns,
        falling.per_token_ns,
        falling.per_token_length_ns,
        falling.floor_ns,
    )
    assert min(found) >= 0.0
    assert falling.max_error > 0.5


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="form") as error:
        fitted(profile(lambda b, n: b * n * 1e3), "x")
    assert str(error.value) == "form must be one of affine, quadratic, hinge, but got 'x'"


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["profile"])
def test_fits_of_published_profiles_equal_those_made_independently(row):
    shipped = load(row["profile"])
    affine, quadratic = fitted(shipped), fitted(shipped, "quadratic")
    expected = {key: float(value) for key, value in row.items() if key != "profile"}
    assert affine.base_ns / 1e6 == pytest.approx(expected["affine_a_ms"], abs=6e-4)
    assert affine.per_token_ns / 1e3 == pytest.approx(expected["affine_us_per_token"], abs=6e-5)
    assert affine.median_error == pytest.approx(expected["affine_med_err"], abs=6e-4)
    assert affine.max_error == pytest.approx(expected["affine_max_err"], abs=6e-4)
    assert affine.knee == pytest.approx(expected["knee_tokens"], rel=0.01)
    assert quadratic.base_ns / 1e6 == pytest.approx(expected["quad_a_ms"], abs=6e-4)
    assert quadratic.per_token_ns / 1e3 == pytest.approx(expected["quad_us_per_token"], abs=6e-5)
    assert quadratic.per_token_length_ns == pytest.approx(expected["quad_ns_per_token2"], abs=6e-5)
    assert quadratic.median_error == pytest.approx(expected["quad_med_err"], abs=6e-4)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["profile"])
def test_the_hinge_is_at_least_as_close_as_the_one_made_independently(row):
    shipped = load(row["profile"])
    size, length = np.meshgrid(shipped.batch_size, shipped.length, indexing="ij")
    slope_ns = float(row["hinge_us_per_token"]) * 1e3
    line = float(row["hinge_offset"]) * 1e6 + slope_ns * size * length
    other = np.maximum(float(row["hinge_floor_ms"]) * 1e6, line)
    found = fitted(shipped, "hinge").latency_ns(size, length)
    squares = [np.sum((curve / shipped.latency_ns - 1.0) ** 2) for curve in (found, other)]
    assert squares[0] <= squares[1] * (1.0 + 1e-3)


def test_an_eager_framework_is_a_floor_and_an_engine_is_not():
    eager = load("bert-base-a100-pytorch-eager-fp16")
    assert best_fit(eager).form == "hinge"
    assert best_fit(load("bert-base-a100-tensorrt-fp16")).form == "quadratic"
    assert 8e6 < fitted(eager, "hinge").floor_ns < 9e6


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("bert")])
def test_every_shipped_bert_has_a_formula_close_to_its_figures(name):
    assert best_fit(load(name)).median_error < 0.09


def test_jasper_in_fp32_on_a_t4_has_no_good_formula():
    assert best_fit(load("jasper-t4-fp32")).median_error > 0.15


def test_a_single_point_has_a_formula():
    fit = fitted(
        Profile(
            name="point",
            batch_size=np.array([4]),
            length=np.array([8]),
            latency_ns=np.array([[32_000]]),
            length_unit="tokens",
            statistic="p50",
            metadata=profile(lambda b, n: b * n * 1e3).metadata,
        ),
        "hinge",
    )
    assert fit.latency_ns(4, 8) == pytest.approx(32_000.0)
