"""Every kind of length: its exact probabilities, and that what is drawn follows them.

Chi-square tests have a fixed seed and a false-alarm rate of 1e-4.
"""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from sim.errors import WorkloadError
from sim.lengths import (
    DATASETS,
    LENGTHS,
    Column,
    Constant,
    Dataset,
    Histogram,
    Lognormal,
    Uniform,
)
from sim.pmf import LengthPmf, mixture
from sim.streams import stream

PUBLISHED = {
    "sst2": ("tokens", 67_349, 13.32, 66, 10),
    "ag_news": ("tokens", 7_600, 43.38, 279, 41),
    "imdb": ("tokens", 1_000, 332.22, 1_683, 248),
    "tweets": ("tokens", 12_284, 25.41, 75, 26),
    "tweets_hate": ("tokens", 2_970, 37.35, 141, 32),
    "librispeech": ("audio_ms", 11_126, 6_879.07, 35_150, 5_500),
    "azure_conv_prompt": ("tokens", 19_366, 1_154.70, 14_050, 1_020),
    "azure_conv_output": ("tokens", 19_366, 211.13, 1_000, 129),
    "azure_code_prompt": ("tokens", 8_819, 2_047.85, 7_437, 1_469),
    "azure_code_output": ("tokens", 8_819, 27.88, 1_899, 13),
}
"""Unit, requests, mean, longest, median."""

KINDS = [
    Constant(128),
    Uniform(3, 40),
    Lognormal(64.0, 0.8, 8, 512),
    Lognormal(10.0, 0.3, 60, 90),
    Dataset("imdb"),
    Dataset("librispeech"),
    Column(np.array([5, 5, 9, 700], dtype=np.int32)),
]


def p_of(drawn, pmf):
    """Chi-square over about 50 groups of lengths with equal probability."""
    edges = sorted({pmf.quantile(share) for share in np.linspace(0.02, 0.98, 49)})
    if len(edges) == 1:
        return float((drawn == edges[0]).all())
    groups = np.searchsorted(edges, pmf.length)
    expected = np.bincount(groups, weights=pmf.probability) * len(drawn)
    found = np.bincount(np.searchsorted(edges, drawn), minlength=len(expected))
    kept = expected > 0
    statistic = ((found[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    return stats.chi2.sf(statistic, kept.sum() - 1)


@pytest.mark.parametrize("lengths", KINDS, ids=lambda kind: repr(kind)[:50])
def test_a_pmf_is_complete_and_in_order(lengths):
    pmf = lengths.pmf()
    assert pmf.probability.sum() == pytest.approx(1, abs=1e-12)
    assert (pmf.probability > 0).all()
    assert (np.diff(pmf.length) > 0).all()
    assert pmf.length.dtype == np.int64
    assert pmf.length[0] >= 1


@pytest.mark.parametrize("lengths", KINDS, ids=lambda kind: repr(kind)[:50])
def test_drawn_lengths_follow_the_pmf(lengths):
    pmf = lengths.pmf()
    drawn = pmf.draw(stream(5, "lengths"), 200_000)
    assert drawn.dtype == np.int32
    assert np.isin(drawn, pmf.length).all()
    assert p_of(drawn, pmf) > 1e-4


def test_the_test_of_drawn_lengths_rejects_a_slightly_wider_lognormal():
    drawn = Lognormal(64.0, 0.82, 8, 512).pmf().draw(stream(5, "lengths"), 200_000)
    assert p_of(drawn, Lognormal(64.0, 0.8, 8, 512).pmf()) < 1e-4


def test_a_longer_draw_begins_with_the_shorter_one():
    pmf = Dataset("imdb").pmf()
    longer = pmf.draw(stream(5, "lengths"), 1_500_000)
    assert np.array_equal(pmf.draw(stream(5, "lengths"), 1_100_000), longer[:1_100_000])


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_has_its_published_size_mean_and_extremes(name):
    unit, requests, mean, longest, median = PUBLISHED[name]
    dataset = Dataset(name)
    pmf = dataset.pmf()
    assert dataset.unit == unit
    counts = pmf.probability * requests
    assert np.abs(counts - np.rint(counts)).max() < 1e-6
    assert pmf.mean == pytest.approx(mean, abs=0.005)
    assert pmf.longest == longest
    assert pmf.quantile(0.5) == median


def test_every_data_set_is_shipped():
    assert sorted(DATASETS) == sorted(PUBLISHED)


def test_a_lognormal_is_conditioned_and_nothing_piles_up_at_its_ends():
    pmf = Lognormal(64.0, 0.8, 8, 512).pmf()
    assert pmf.probability[0] < pmf.probability[1]
    assert pmf.probability[-1] < pmf.probability[-2]


@pytest.mark.parametrize(("size", "exact"), [(1, 85.73567142), (8, 210.0943232), (32, 312.7896427)])
def test_the_mean_of_the_longest_of_k_lognormal_lengths_is_the_exact_one(size, exact):
    """``E[max] = lo + integral of 1 - F**k``, of the continuous law; rounding costs under 0.01."""
    pmf = Lognormal(64.0, 0.8, 8, 512).pmf()
    below = np.cumsum(pmf.probability)
    assert 8 + (1 - below[:-1] ** size).sum() == pytest.approx(exact, rel=1e-4)


def test_a_far_tail_of_a_lognormal_keeps_its_shape():
    pmf = Lognormal(10.0, 0.2, 60, 90).pmf()
    law = stats.lognorm(0.2, scale=10.0)
    exact = integrate.quad(law.pdf, 60, 60.5)[0] / integrate.quad(law.pdf, 60, 90)[0]
    assert pmf.probability[0] == pytest.approx(exact, rel=1e-6)


def test_expectations_are_exact_sums():
    pmf = LengthPmf.of_counts(np.array([30, 10, 30]), np.array([1, 2, 1]))
    assert pmf.length.tolist() == [10, 30]
    assert pmf.mean == 20.0
    assert pmf.cv == 0.5
    assert pmf.expected(lambda length: length**2.0) == 500.0
    assert [pmf.quantile(share) for share in (0, 0.5, 0.51, 1)] == [10, 10, 30, 30]
    assert pmf.share_above(10) == 0.5
    assert pmf.truncated(12).length.tolist() == [10, 12]
    assert pmf.admitted(12).probability.tolist() == [1.0]


def test_a_mixture_weighs_its_parts_by_their_rates():
    both = mixture([(3.0, Constant(10).pmf()), (1.0, Uniform(10, 11).pmf())])
    assert both.length.tolist() == [10, 11]
    assert both.probability.tolist() == [0.875, 0.125]


def test_the_table_holds_every_kind():
    assert set(LENGTHS) == {"constant", "lognormal", "uniform", "histogram", "dataset", "column"}


def test_a_histogram_from_a_file_may_know_its_unit(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("length,count\n7,3\n5,1\n6,0\n")
    assert Histogram(str(file)).unit is None
    assert Histogram(str(file)).pmf().length.tolist() == [5, 7]
    speech = tmp_path / "speech.csv"
    speech.write_text("audio_ms,count\n700,3\n")
    assert Histogram(str(speech)).unit == "audio_ms"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tokns,count\n1,2\n", "line 1: the header must be tokens,count or audio_ms,count or"),
        ("", "line 1: the header must be"),
        (
            "tokens,count\n1,2\n0,4\n",
            "line 3: '0' must be a length, a whole number from 1 to 2147483647",
        ),
        (
            "tokens,count\n1.5,2\n",
            "line 2: '1.5' must be a length, a whole number from 1 to 2147483647",
        ),
        (
            "tokens,count\n1,-2\n",
            "line 2: '-2' must be a count, a whole number from 0 to 2147483647",
        ),
        ("tokens,count\n1\n", "line 2: '1' must be a length and a count"),
        ("tokens,count\n", "counts no request at all; give at least one count above 0"),
    ],
)
def test_a_broken_histogram_is_refused_with_file_and_line(tmp_path, content, message):
    file = tmp_path / "broken.csv"
    file.write_text(content)
    with pytest.raises(WorkloadError) as error:
        Histogram(str(file)).pmf()
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_a_missing_histogram_is_refused(tmp_path):
    with pytest.raises(WorkloadError, match=r"none\.csv cannot be read: No such file"):
        Histogram(str(tmp_path / "none.csv")).pmf()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Dataset("imbd"), "there is no length data set 'imbd'; did you mean 'imdb'?"),
        (
            lambda: Constant(0),
            "`1 <= constant <= 2147483647` must hold, but got constant = 0",
        ),
        (lambda: Uniform(9, 5), "`1 <= min <= max <= 2147483647` must hold, but got min = 9"),
        (lambda: Uniform(1, 2**30), "`max - min < 4194304` must hold"),
        (lambda: Lognormal(0.0, 1.0, 1, 9), "`median > 0` must hold, but got median = 0.0"),
        (lambda: Lognormal(5.0, math.inf, 1, 9), "`sigma > 0` must hold, but got sigma = inf"),
        (
            lambda: Lognormal(5.0, 0.01, 5000, 9000).pmf(),
            "a lognormal with median 5 and sigma 0.01 has no mass between 5000 and 9000",
        ),
        (
            lambda: Constant(9).pmf().admitted(8),
            "every request is longer than 8, so none would be admitted",
        ),
    ],
)
def test_a_wrong_length_is_refused_with_the_rule_and_the_value(build, message):
    with pytest.raises(WorkloadError) as error:
        build()
    assert str(error.value).startswith(message)
