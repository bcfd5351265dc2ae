"""What a workload draws, and that changing one thing changes one thing.

Shares are checked with a binomial z-test, |z| < 4.5 (7e-6), on a fixed seed.
"""

from dataclasses import replace

import numpy as np
import pytest

from policies.contract import NEVER, Tier
from sim.arrivals import Gamma, Mmpp, Paced, Poisson, draw_arrivals
from sim.closed import Closed, check_closed
from sim.errors import WorkloadError
from sim.lengths import Column, Constant, Dataset, Lognormal, Uniform
from sim.replay import Replay
from sim.streams import STREAMS, Seeds, stream
from sim.workload import TierSpec, Timeout, Workload, WorkloadSpec, draw_workload

S = 1_000_000_000
URGENT, BATCH = Tier("urgent", S), Tier("batch")

PLAIN = WorkloadSpec(Dataset("imdb"), Poisson(100.0), requests=5_000)
SHARED = replace(
    PLAIN,
    tiers=(TierSpec(URGENT, share=0.3, lengths=Uniform(1, 9)), TierSpec(BATCH, share=0.7)),
    timeout=Timeout(S, exponential=True),
)
OWN = WorkloadSpec(
    Uniform(1, 512),
    requests=5_000,
    tiers=(
        TierSpec(URGENT, arrivals=Poisson(90.0), timeout=Timeout(S)),
        TierSpec(BATCH, arrivals=Mmpp((40.0, 0.0), (0.1, 0.1)), lengths=Constant(300)),
    ),
)
RECORDED = Replay(
    np.array([0, 10, 10, 30]),
    np.array([4, 3, 2, 1], dtype=np.int32),
    np.array([0, 1, 1, 0], dtype=np.int8),
)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("arrival_ns", "length", "tier", "timeout_ns")
    )


@pytest.mark.parametrize("spec", [PLAIN, SHARED, OWN])
def test_the_same_seeds_draw_the_same_workload(spec):
    assert same(draw_workload(spec), draw_workload(spec))


@pytest.mark.parametrize("spec", [PLAIN, SHARED, OWN])
def test_columns_have_their_declared_types_and_shapes(spec):
    drawn = draw_workload(spec)
    assert isinstance(drawn, Workload)
    assert len(drawn) == 5_000
    assert drawn.arrival_ns.dtype == np.int64
    assert drawn.length.dtype == np.int32
    assert drawn.tier.dtype == np.int8
    assert drawn.timeout_ns.dtype == np.int64
    assert drawn.arrival_ns.shape == drawn.length.shape == (5_000,)
    assert drawn.tier.shape in ((0,), (5_000,))
    assert drawn.timeout_ns.shape in ((0,), (5_000,))
    assert (np.diff(drawn.arrival_ns) >= 0).all()


@pytest.mark.parametrize("spec", [SHARED, OWN])
@pytest.mark.parametrize(
    ("seed", "changes"),
    [
        ("arrivals", {"arrival_ns", "tier"}),
        ("lengths", {"length"}),
        ("timeouts", {"timeout_ns"}),
        ("service", set()),
        ("tuner", set()),
    ],
)
def test_another_seed_changes_its_own_columns_only(spec, seed, changes):
    spec = replace(spec, lengths=Uniform(1, 512), timeout=Timeout(S, exponential=True))
    spec = replace(spec, tiers=tuple(replace(t, lengths=None, timeout=None) for t in spec.tiers))
    one, other = draw_workload(spec), draw_workload(spec, replace(Seeds(), **{seed: 99}))
    changed = {
        name
        for name in ("arrival_ns", "length", "tier", "timeout_ns")
        if not np.array_equal(getattr(one, name), getattr(other, name))
    }
    assert changed == changes


@pytest.mark.parametrize("spec", [PLAIN, SHARED, OWN])
def test_a_longer_workload_begins_with_the_shorter_one(spec):
    shorter, longer = draw_workload(replace(spec, requests=1_000)), draw_workload(spec)
    assert np.array_equal(shorter.arrival_ns, longer.arrival_ns[:1_000])
    assert np.array_equal(shorter.length, longer.length[:1_000])
    assert np.array_equal(shorter.tier, longer.tier[:1_000])
    assert np.array_equal(shorter.timeout_ns, longer.timeout_ns[:1_000])


def test_another_replication_is_another_workload():
    one, other = draw_workload(PLAIN), draw_workload(PLAIN, replication=1)
    assert not np.array_equal(one.arrival_ns, other.arrival_ns)
    assert not np.array_equal(one.length, other.length)


def test_another_rate_keeps_lengths_tiers_and_patience():
    slow = draw_workload(SHARED)
    fast = draw_workload(replace(SHARED, arrivals=Gamma(2.0, 500.0)))
    assert np.array_equal(slow.length, fast.length)
    assert np.array_equal(slow.tier, fast.tier)
    assert np.array_equal(slow.timeout_ns, fast.timeout_ns)


def test_tiers_share_the_arrivals_as_asked():
    drawn = draw_workload(replace(SHARED, requests=100_000))
    urgent = int((drawn.tier == 0).sum())
    error = np.sqrt(100_000 * 0.3 * 0.7)
    assert abs(urgent - 30_000) < 4.5 * error
    assert abs(urgent - 31_000) > 4.5 * error
    assert drawn.length[drawn.tier == 0].max() <= 9
    assert drawn.length[drawn.tier == 1].min() >= 46
    assert drawn.tiers == (URGENT, BATCH)


def test_the_tier_of_a_request_tells_nothing_about_the_gap_before_it():
    spec = replace(SHARED, requests=1, timeout=None)
    first = [draw_workload(spec, replication=place) for place in range(2_000)]
    gaps = np.array([drawn.arrival_ns[0] for drawn in first]) / 1e7
    tiers = np.array([drawn.tier[0] for drawn in first])
    for place in (0, 1):
        mine = gaps[tiers == place]
        assert abs(mine.mean() - 1) < 4.5 / np.sqrt(len(mine))


def test_a_tier_without_a_share_gets_no_request():
    tiers = (TierSpec(URGENT, share=1.0), TierSpec(BATCH, share=0.0))
    assert not draw_workload(replace(PLAIN, tiers=tiers)).tier.any()


def test_tiers_with_arrivals_of_their_own_are_merged_in_order():
    drawn = draw_workload(OWN)
    for place, tier in enumerate(OWN.tiers):
        mine = drawn.arrival_ns[drawn.tier == place]
        alone = draw_arrivals(tier.arrivals, stream(1, "arrivals", 0, place + 1), len(mine))
        assert np.array_equal(mine, alone)
    assert set(drawn.length[drawn.tier == 1]) == {300}
    assert set(drawn.timeout_ns[drawn.tier == 0]) == {S}
    assert set(drawn.timeout_ns[drawn.tier == 1]) == {NEVER}


def test_requests_at_one_instant_are_ordered_by_tier():
    tiers = (TierSpec(URGENT, arrivals=Paced(1.0)), TierSpec(BATCH, arrivals=Paced(2.0)))
    drawn = draw_workload(WorkloadSpec(Constant(5), requests=6, tiers=tiers))
    assert drawn.arrival_ns.tolist() == [S // 2, S, S, 3 * S // 2, 2 * S, 2 * S]
    assert drawn.tier.tolist() == [1, 0, 1, 1, 0, 1]


def test_a_duration_ends_every_tier():
    tiers = (TierSpec(URGENT, arrivals=Paced(1.0)), TierSpec(BATCH, arrivals=Paced(2.0)))
    drawn = draw_workload(WorkloadSpec(Constant(5), duration_ns=2 * S, tiers=tiers))
    assert drawn.arrival_ns.tolist() == [S // 2, S, S, 3 * S // 2, 2 * S, 2 * S]


def test_one_tier_and_no_timeout_cost_no_column():
    drawn = draw_workload(PLAIN)
    assert drawn.tier.size == 0
    assert drawn.timeout_ns.size == 0
    assert drawn.closed is None


def test_a_trace_brings_its_lengths_and_tiers():
    spec = WorkloadSpec(
        Column(RECORDED.length), RECORDED, tiers=(TierSpec(URGENT, 0.5), TierSpec(BATCH, 0.5))
    )
    drawn = draw_workload(spec)
    assert drawn.arrival_ns.tolist() == [0, 10, 10, 30]
    assert drawn.length.tolist() == [4, 3, 2, 1]
    assert drawn.tier.tolist() == [0, 1, 1, 0]


def test_a_tier_may_take_its_lengths_from_the_shared_trace():
    tiers = (TierSpec(URGENT, 0.5, lengths=Column(RECORDED.length)), TierSpec(BATCH, 0.5))
    drawn = draw_workload(WorkloadSpec(Constant(9), RECORDED, tiers=tiers, requests=4))
    assert drawn.length.tolist() == [4, 9, 9, 1]


def test_a_tier_may_replay_a_trace_of_its_own():
    trace = replace(RECORDED, tier=None)
    tiers = (
        TierSpec(URGENT, arrivals=Paced(1e8)),
        TierSpec(BATCH, arrivals=trace, lengths=Column(trace.length)),
    )
    drawn = draw_workload(WorkloadSpec(Constant(9), requests=6, tiers=tiers))
    assert drawn.arrival_ns.tolist() == [0, 10, 10, 10, 20, 30]
    assert drawn.length.tolist() == [4, 9, 3, 2, 9, 9]


def test_patience_is_fixed_or_exponential():
    fixed = draw_workload(replace(PLAIN, timeout=Timeout(7 * S)))
    assert set(fixed.timeout_ns) == {7 * S}
    drawn = draw_workload(replace(PLAIN, timeout=Timeout(S, exponential=True), requests=100_000))
    assert drawn.timeout_ns.min() >= 1
    error = S / np.sqrt(100_000)
    assert abs(drawn.timeout_ns.mean() - S) < 4.5 * error
    assert abs(drawn.timeout_ns.mean() - 1.03 * S) > 4.5 * error


def test_a_closed_loop_has_a_table_of_think_times_and_no_arrivals():
    spec = replace(PLAIN, arrivals=Closed(16, S), requests=50)
    drawn = draw_workload(spec)
    assert drawn.arrival_ns.size == 0
    assert drawn.closed.think_ns.shape == (16, 50)
    assert drawn.closed.think_ns.dtype == np.int64
    assert drawn.closed.think_ns.min() >= 1
    assert len(drawn) == 50
    longer = draw_workload(replace(spec, requests=80)).closed.think_ns
    assert np.array_equal(longer[:, :50], drawn.closed.think_ns)


def test_think_times_are_exponential_or_constant_and_few_enough():
    table = Closed(1_000, S).think_table(stream(1, "arrivals"), 10**9)
    assert table.shape == (1_000, 2**22 // 1_000)
    error = S / np.sqrt(table.size)
    assert abs(table.mean() - S) < 4.5 * error
    assert abs(table.std() - S) < 4.5 * error * np.sqrt(2), "Var of the sample sd of Exp(1) is 2/n"
    assert set(Closed(2, 5, constant=True).think_table(stream(1, "arrivals"), 9).ravel()) == {5}
    crowd = Closed(2**17, 5, constant=True)
    assert crowd.think_table(stream(1, "arrivals"), 100).shape == (2**17, 64)


def test_longer_requests_are_refused_cut_or_left_to_the_drivers():
    spec = WorkloadSpec(Column(RECORDED.length), RECORDED, longest=2)
    with pytest.raises(WorkloadError) as error:
        draw_workload(spec)
    assert str(error.value) == (
        "2 of 4 requests are longer than 2, the longest length of the service (the longest request"
        ' has 4); give shorter lengths, or over_length = "truncate" or "reject"'
    )
    cut = draw_workload(replace(spec, over_length="truncate"))
    assert cut.length.tolist() == [2, 2, 2, 1]
    left = draw_workload(replace(spec, over_length="reject"))
    assert left.length.tolist() == [4, 3, 2, 1]


def test_the_unit_is_that_of_the_lengths_or_of_the_profile():
    assert draw_workload(replace(PLAIN, lengths=Dataset("librispeech"))).length_unit == "audio_ms"
    assert draw_workload(replace(PLAIN, lengths=Constant(9))).length_unit == "tokens"
    spec = replace(PLAIN, lengths=Constant(9), length_unit="audio_ms")
    assert spec.unit is None
    assert draw_workload(spec).length_unit == "audio_ms"


def test_lengths_of_all_tiers_together_are_weighted_with_their_rates():
    pmf = replace(OWN, lengths=Constant(10)).pmf()
    assert pmf.length.tolist() == [10, 300]
    assert pmf.probability.tolist() == pytest.approx([90 / 110, 20 / 110])
    assert OWN.rates_per_s() == (90.0, 20.0)
    assert SHARED.rates_per_s() == (30.0, 70.0)


def test_lengths_are_those_that_the_service_sees():
    spec = replace(PLAIN, longest=512)
    assert spec.pmf().longest == 1683
    assert replace(spec, over_length="truncate").pmf().longest == 512
    assert replace(spec, over_length="truncate").pmf().share_above(511) > 0.17
    assert replace(spec, over_length="reject").pmf().share_above(500) < 0.02


def test_a_closed_loop_knows_its_lengths_but_no_rate():
    spec = replace(PLAIN, arrivals=Closed(4, S))
    assert spec.pmf().mean == pytest.approx(332.22)
    with pytest.raises(WorkloadError, match="a closed loop has no arrival rate"):
        spec.rates_per_s()


def test_a_recorded_trace_has_the_rates_of_its_tiers():
    recorded = Replay(np.arange(5) * 2 * S, tier=np.array([0, 1, 1, 1, 1], dtype=np.int8))
    tiers = (TierSpec(URGENT, 0.5), TierSpec(BATCH, 0.5))
    assert WorkloadSpec(Constant(1), recorded, tiers=tiers).rates_per_s() == pytest.approx(
        (0.1, 0.4)
    )


def test_zero_think_time_before_a_bounded_queue_is_refused():
    check_closed(Closed(4, 0), NEVER)
    check_closed(Closed(4, 5), 10)
    check_closed(Poisson(1.0), 10)
    with pytest.raises(WorkloadError) as error:
        check_closed(Closed(4, 0), 10)
    assert str(error.value) == (
        "a closed loop with think time 0 cannot have a bounded queue (capacity 10): a refused"
        " client would ask again without end; give a think time above 0 or no capacity"
    )


def test_streams_are_independent_of_each_other_and_repeatable():
    first = {
        (seed, name, *indices): stream(seed, name, *indices).random()
        for seed in (0, 1)
        for name in STREAMS
        for indices in ((), (0,), (1,), (0, 0), (0, 1))
    }
    assert len(set(first.values())) == len(first)
    assert stream(1, "lengths", 0, 1).random() == first[1, "lengths", 0, 1]
    with pytest.raises(ValueError, match="unknown stream 'lenghts'; known are arrivals, lengths"):
        stream(1, "lenghts")


def test_the_order_of_the_streams_is_part_of_every_result():
    assert STREAMS[:5] == ("arrivals", "lengths", "service", "timeouts", "tuner")
    assert stream(1, "arrivals").integers(2**32) == 66_015_038


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: replace(PLAIN, arrivals=None),
            "give arrivals once: to the workload, or to every tier (then none to the workload)",
        ),
        (
            lambda: replace(OWN, arrivals=Poisson(1.0)),
            "give arrivals once: to the workload, or to every tier (then none to the workload)",
        ),
        (
            lambda: replace(SHARED, tiers=(TierSpec(URGENT, 0.5), TierSpec(BATCH, 0.4))),
            "the shares of the tiers must add up to 1, but give 0.9",
        ),
        (
            lambda: replace(SHARED, tiers=(TierSpec(URGENT, 1.5), TierSpec(BATCH, -0.5))),
            "the share of tier 'batch' must not be negative, but is -0.5",
        ),
        (
            lambda: replace(PLAIN, lengths=None),
            "tier 'all' has no lengths; give lengths",
        ),
        (
            lambda: replace(PLAIN, lengths=Column(RECORDED.length)),
            (
                "tier 'all' takes lengths from a column, so its own arrivals must be the trace that"
                " has it"
            ),
        ),
        (
            lambda: replace(PLAIN, arrivals=Closed(4, S), requests=None, duration_ns=S),
            "a closed loop runs for a number of requests; give requests only",
        ),
        (lambda: Closed(0, 5), "`clients >= 1` must hold, but got clients = 0"),
        (lambda: Closed(1, -5), "`think_ns >= 0` must hold, but got think_ns = -5"),
        (lambda: Timeout(0), "`timeout > 0` must hold, but got mean_ns = 0"),
        (
            lambda: draw_workload(WorkloadSpec(Constant(1), RECORDED, requests=5)),
            "requests = 5, but the trace ends after 4; give at most 4",
        ),
        (
            lambda: draw_workload(replace(PLAIN, requests=None, duration_ns=1)),
            "no request arrives before the end of the run; give a longer duration",
        ),
        (
            lambda: draw_workload(
                replace(
                    SHARED,
                    lengths=Dataset("sst2"),
                    tiers=(
                        TierSpec(URGENT, 0.5, lengths=Dataset("librispeech")),
                        TierSpec(BATCH, 0.5),
                    ),
                )
            ),
            "all tiers need one unit of length, but have audio_ms and tokens",
        ),
        (
            lambda: draw_workload(
                replace(OWN, tiers=(TierSpec(BATCH, arrivals=replace(RECORDED, tier=None)),))
            ),
            "requests = 5000, but the trace ends after 4; give at most 4",
        ),
        (
            lambda: replace(PLAIN, lengths=Lognormal(5.0, 1.0, 0, 9)),
            "`1 <= min <= max <= 2147483647` must hold, but got min = 0, max = 9",
        ),
    ],
)
def test_a_contradictory_workload_is_refused_in_one_sentence(build, message):
    with pytest.raises(WorkloadError) as error:
        build()
    assert str(error.value) == message
