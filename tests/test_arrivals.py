"""Every arrival process against its own mean rate, variation and dispersion.

Statistical checks are z-tests over 100 sections of one long run with a fixed seed; |z| > 4.5 has a
probability of 2e-5 (Student, 99 degrees of freedom).  Each has data that it must reject.
"""

import itertools
import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from sim.arrivals import (
    ARRIVALS,
    Clumped,
    Gamma,
    Hyperexponential,
    Mmpp,
    Paced,
    Poisson,
    RateCurve,
    draw_arrivals,
)
from sim.errors import WorkloadError
from sim.streams import stream

S = 1_000_000_000

CURVE = RateCurve(((0, 5.0), (4 * S, 45.0), (5 * S, 0.0), (10 * S, 0.0), (12 * S, 20.0)))
BURSTS = Mmpp((18.0, 2.0), (0.5, 0.25))
PROCESSES = [
    Paced(30.0),
    Poisson(30.0),
    Gamma(0.5, 30.0),
    Gamma(2.0, 30.0),
    Hyperexponential(2.0, 30.0),
    BURSTS,
    Mmpp((40.0, 0.0, 5.0), (1.0, 2.0, 0.5)),
    Clumped(4, 50_000_000, 30.0),
    Clumped(3, 0, 30.0),
    Clumped(8, 3 * S, 30.0),
    CURVE,
]
RANDOM = [p for p in PROCESSES if not isinstance(p, Paced)]


def name(process):
    return repr(process)[:60]


@lru_cache(maxsize=16)
def drawn(process, requests=300_000, seed=7):
    return draw_arrivals(process, stream(seed, "arrivals"), requests)


def z_of(values, expected):
    """Student's statistic of 100 section means against what they should be."""
    sections = np.array([part.mean() for part in np.array_split(values, 100)])
    return (sections.mean() - expected) / (sections.std(ddof=1) / 10)


def counts(instants_ns, window_s):
    windows = int(instants_ns[-1] // (window_s * S))
    inside = instants_ns[instants_ns < windows * window_s * S]
    return np.bincount((inside // int(window_s * S)).astype(int), minlength=windows)


def z_of_rate(instants_ns, rate_per_s, window_s):
    return z_of(counts(instants_ns, window_s), rate_per_s * window_s)


def z_of_cv(instants_ns, rate_per_s, cv):
    return z_of((np.diff(instants_ns) / S * rate_per_s) ** 2, 1 + cv * cv)


def z_of_dispersion(instants_ns, rate_per_s, window_s, expected):
    mean = rate_per_s * window_s
    return z_of((counts(instants_ns, window_s) - mean) ** 2 / mean, expected)


def dispersion(mmpp, window_s):
    """Index of dispersion of counts of a two-state MMPP (Heffes and Lucantoni 1986)."""
    (a, b), (leave_a, leave_b) = mmpp.rates_per_s, mmpp.switch_per_s
    both = leave_a + leave_b
    share = leave_b / both
    variance = (a - b) ** 2 * share * (1 - share)
    settled = 1 - (1 - math.exp(-both * window_s)) / (both * window_s)
    return 1 + 2 * variance / (mmpp.rate_per_s * both) * settled


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_a_draw_has_exactly_the_requests_asked_for_in_order(process):
    for requests in (1, 256, 257, 100_000, 200_000):
        instants = drawn(process, requests)
        assert instants.dtype == np.int64
        assert instants.shape == (requests,)
        assert instants[0] >= 0
        assert (np.diff(instants) >= 0).all()


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_a_longer_draw_begins_with_the_shorter_one(process):
    longer = drawn(process, 200_000)
    assert np.array_equal(drawn(process, 70_000), longer[:70_000])
    until = int(longer[140_000])
    by_time = draw_arrivals(process, stream(7, "arrivals"), duration_ns=until)
    assert np.array_equal(by_time, longer[longer <= until])


@pytest.mark.parametrize("process", RANDOM, ids=name)
def test_another_seed_gives_other_instants(process):
    assert not np.array_equal(drawn(process, 100), drawn(process, 100, seed=8))


@pytest.mark.parametrize("process", RANDOM, ids=name)
def test_the_mean_rate_is_the_declared_one(process):
    instants = drawn(process)
    assert abs(z_of_rate(instants, process.rate_per_s, 12)) < 4.5


def test_the_test_of_the_mean_rate_rejects_a_rate_that_is_two_percent_off():
    assert abs(z_of_rate(drawn(Poisson(30.0)), 30.6, 12)) > 4.5


@pytest.mark.parametrize("process", [p for p in RANDOM if p.gap_cv is not None], ids=name)
def test_the_variation_of_the_gaps_is_the_declared_one(process):
    assert abs(z_of_cv(drawn(process), process.rate_per_s, process.gap_cv)) < 4.5


def test_the_test_of_the_variation_tells_gamma_gaps_from_exponential_ones():
    assert abs(z_of_cv(drawn(Gamma(1.05, 30.0)), 30.0, 1.0)) > 4.5


def dispersion_p(instants_ns, window_s=0.2):
    """Probability of a dispersion of counts at least as far from Poisson's, both sides."""
    n = counts(instants_ns, window_s)
    statistic = ((n - n.mean()) ** 2).sum() / n.mean()
    upper = stats.chi2.sf(statistic, len(n) - 1)
    return 2 * min(upper, 1 - upper)


def test_poisson_counts_are_dispersed_as_poisson_with_a_false_alarm_rate_of_1e_4():
    assert dispersion_p(drawn(Poisson(30.0))) > 1e-4


@pytest.mark.parametrize("process", [Gamma(2.0, 30.0), Gamma(0.8, 30.0), BURSTS], ids=name)
def test_the_test_of_dispersion_rejects_what_is_not_poisson(process):
    assert dispersion_p(drawn(process)) < 1e-4


@pytest.mark.parametrize("window_s", [0.1, 1.0, 10.0])
def test_the_counts_of_an_mmpp_are_dispersed_as_the_formula_says(window_s):
    instants = drawn(BURSTS, 1_000_000)
    expected = dispersion(BURSTS, window_s)
    assert expected > 1.2
    assert abs(z_of_dispersion(instants, BURSTS.rate_per_s, window_s, expected)) < 4.5
    assert abs(z_of_dispersion(instants, BURSTS.rate_per_s, window_s, expected * 1.2)) > 4.5


def test_an_mmpp_starts_in_equilibrium():
    first_s = [
        draw_arrivals(BURSTS, stream(seed, "arrivals"), duration_ns=S).size for seed in range(400)
    ]
    assert abs(z_of(np.array(first_s), BURSTS.rate_per_s)) < 4.5
    assert abs(z_of(np.array(first_s), 18.0)) > 4.5


def test_an_mmpp_visits_its_states_in_turn():
    path = Mmpp((1.0, 2.0, 4.0), (1.0, 1.0, 1.0))._path(stream(1, "arrivals"))
    visited = []
    for ends_ns, points in itertools.islice(path, 3):
        visited.extend(np.rint(np.diff(points) / np.diff(ends_ns) * S).astype(int).tolist())
    after = {1: 2, 2: 4, 4: 1}
    assert all(after[here] == there for here, there in itertools.pairwise(visited))


def test_an_mmpp_that_switches_much_faster_than_requests_come_is_poisson():
    fast = Mmpp((20.0, 0.0), (1000.0, 1000.0))
    assert dispersion_p(drawn(fast, 30_000)) > 1e-4


def slice_p(instants_ns, curve, slices=48):
    """Chi-square of the counts in equal slices of the curve, all its rounds together."""
    end_ns = curve.points[-1][0]
    rounds = int(instants_ns[-1] // end_ns)
    place = instants_ns[instants_ns < rounds * end_ns] % end_ns
    found = np.bincount(place * slices // end_ns, minlength=slices)
    fine = np.linspace(0, end_ns, slices * 1000 + 1)
    at, rate = np.array(curve.points, dtype=float).T
    mids = (fine[1:] + fine[:-1]) / 2
    expected = np.interp(mids, at, rate).reshape(slices, 1000).sum(axis=1)
    expected *= end_ns / S / (slices * 1000) * rounds
    assert (found[expected == 0] == 0).all()
    held = expected > 0
    statistic = ((found[held] - expected[held]) ** 2 / expected[held]).sum()
    return stats.chi2.sf(statistic, held.sum())


def test_a_rate_curve_brings_as_many_as_its_integral_with_a_false_alarm_rate_of_1e_4():
    assert slice_p(drawn(CURVE), CURVE) > 1e-4


def test_the_test_of_the_rate_curve_rejects_another_curve():
    steeper = RateCurve(((0, 4.5), (4 * S, 45.5), (5 * S, 0.0), (10 * S, 0.0), (12 * S, 20.0)))
    assert slice_p(drawn(steeper), CURVE) < 1e-4


def test_a_rate_curve_begins_again_after_its_last_point():
    short = RateCurve(((0, 100.0), (S, 100.0)))
    assert short.rate_per_s == 100.0
    assert dispersion_p(drawn(short, 100_000)) > 1e-4


def test_paced_instants_are_rounded_once_and_do_not_drift():
    instants = drawn(Paced(3.0), 200_000)
    expected = [round(Fraction(k * S, 3)) for k in range(1, 200_001)]
    assert instants.tolist() == expected


def test_a_clump_without_spread_arrives_at_one_instant():
    groups = drawn(Clumped(5, 0, 10.0), 5_000).reshape(1000, 5)
    assert (groups == groups[:, :1]).all()
    assert (np.diff(groups[:, 0]) > 0).all()


def test_far_between_clumps_stay_within_their_spread_and_fill_it_evenly():
    groups = drawn(Clumped(4, 2_000_000, 0.01), 40_000).reshape(10_000, 4)
    width = (groups[:, -1] - groups[:, 0]) / 2_000_000
    assert width.max() <= 1
    assert abs(z_of(width, 3 / 5)) < 4.5, "the range of 4 uniform times has mean 3/5"


def test_clumps_disperse_long_counts_by_their_size():
    instants = drawn(Clumped(8, S // 100, 40.0), 1_000_000)
    assert abs(z_of_dispersion(instants, 40.0, 5.0, 8.0)) < 4.5
    assert abs(z_of_dispersion(instants, 40.0, 5.0, 7.0)) > 4.5


@pytest.mark.parametrize("process", PROCESSES, ids=name)
def test_a_process_at_another_rate_keeps_its_shape(process):
    other = process.at_rate(6.0)
    assert type(other) is type(process)
    assert other.rate_per_s == pytest.approx(6.0, rel=1e-12)
    if not isinstance(process, Mmpp):
        assert other.gap_cv == process.gap_cv
    assert process.at_rate(process.rate_per_s) == process or isinstance(process, Mmpp | RateCurve)


@pytest.mark.parametrize("process", [Poisson(30.0), Gamma(2.0, 30.0), Hyperexponential(3.0, 30.0)])
def test_twice_the_rate_of_a_renewal_process_is_the_same_luck_in_half_the_time(process):
    slow, fast = drawn(process, 1000), drawn(process.at_rate(60.0), 1000)
    assert np.abs(slow - 2 * fast).max() <= 2


def test_an_arrival_at_the_end_of_the_duration_is_in():
    assert draw_arrivals(Paced(1.0), stream(1, "arrivals"), duration_ns=3 * S).tolist() == [
        S,
        2 * S,
        3 * S,
    ]


def test_with_requests_and_a_duration_whichever_comes_first_ends_the_draw():
    rng = stream(1, "arrivals")
    assert draw_arrivals(Paced(1.0), rng, requests=2, duration_ns=3 * S).size == 2
    assert draw_arrivals(Paced(1.0), rng, requests=9, duration_ns=3 * S).size == 3


def test_the_table_holds_every_process_of_a_scenario():
    assert sorted(ARRIVALS) == [
        "closed",
        "clumped",
        "gamma",
        "hyperexponential",
        "mmpp",
        "paced",
        "poisson",
        "rate_curve",
        "trace",
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Poisson(0.0), "`rate_per_s > 0` must hold, but got rate_per_s = 0.0"),
        (lambda: Paced(-1.0), "`rate_per_s > 0` must hold, but got rate_per_s = -1.0"),
        (lambda: Gamma(2.0, math.nan), "`rate_per_s > 0` must hold, but got rate_per_s = nan"),
        (lambda: Gamma(0.0, 1.0), "`cv > 0` must hold, but got cv = 0.0"),
        (lambda: Hyperexponential(1.0, 1.0), "`cv > 1` must hold, but got cv = 1.0"),
        (lambda: Clumped(0, 5), "`clump_size >= 1` must hold, but got clump_size = 0"),
        (lambda: Clumped(2, -5), "`spread_ns >= 0` must hold, but got spread_ns = -5"),
        (
            lambda: Mmpp((1.0, 2.0), (1.0,)),
            (
                "`rates_per_s and switch_per_s have the same length of at least 2` must hold, but"
                " got rates_per_s = (1.0, 2.0), switch_per_s = (1.0,)"
            ),
        ),
        (
            lambda: Mmpp((0.0, 0.0), (1.0, 1.0)),
            (
                "`rates_per_s are not negative and not all 0` must hold, but got"
                " rates_per_s = (0.0, 0.0)"
            ),
        ),
        (
            lambda: Mmpp((1.0, 2.0), (1.0, 0.0)),
            "`switch_per_s > 0` must hold, but got switch_per_s = (1.0, 0.0)",
        ),
        (
            lambda: RateCurve(((1, 5.0), (2, 5.0))),
            (
                "`points begin at 0 and increase, and there are at least 2` must hold, but got"
                " points = ((1, 5.0), (2, 5.0))"
            ),
        ),
        (
            lambda: RateCurve(((0, 5.0), (2, -5.0))),
            (
                "`rates of points are not negative and not all 0` must hold, but got"
                " points = ((0, 5.0), (2, -5.0))"
            ),
        ),
        (
            lambda: draw_arrivals(Poisson(1.0), stream(1, "arrivals")),
            "give requests or a duration: this arrival process has no end",
        ),
        (
            lambda: draw_arrivals(Poisson(1e-9), stream(1, "arrivals"), 1000),
            (
                "1000 requests at 1e-09 per second take more than 146 years; give a higher rate or"
                " fewer requests"
            ),
        ),
        (
            lambda: draw_arrivals(Poisson(1.0), stream(1, "arrivals"), 0),
            "`requests >= 1` must hold, but got requests = 0",
        ),
    ],
)
def test_a_wrong_process_is_refused_with_the_rule_and_the_value(build, message):
    with pytest.raises(WorkloadError) as error:
        build()
    assert str(error.value) == message
