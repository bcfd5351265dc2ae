"""What a tuner may choose of each rule: grids that fit the profile, settings that bind."""

import itertools

import numpy as np
import pytest

from experiments.rules import policy_of
from policies import POLICIES
from policies.contract import NEVER, Tier, bind
from policies.space import (
    Axis,
    Buckets,
    Facts,
    Part,
    Size,
    Time,
    Tokens,
    axes_of,
    boundaries,
    filled,
)
from policies.testing import EDGES, TABLE

LENGTHS = np.arange(1, 513)
FACTS = Facts(
    largest_batch=64,
    alone_ns=int(TABLE[0, 1]),
    full_ns=int(TABLE[-1, -1]),
    slo_ns=60_000_000,
    length=LENGTHS,
    probability=np.full(512, 1 / 512),
)
TIERS = (Tier("interactive", slo_ns=60_000_000),)
TUNABLE = [kind for kind, cls in POLICIES.items() if hasattr(cls, "space")]


@pytest.mark.parametrize("kind", TUNABLE)
def test_every_corner_and_many_points_of_a_space_are_settings_that_bind(kind):
    space = POLICIES[kind].space()
    axes = axes_of(space, FACTS)
    rng = np.random.default_rng(1)
    shares = [np.zeros(len(axes)), np.full(len(axes), 1 - 1e-12), *rng.random((200, len(axes)))]
    for uniform in shares:
        chosen = {a.name: a.values[a.place(u)] for a, u in zip(axes, uniform, strict=True)}
        table = {"kind": kind, **filled(space, chosen, FACTS)}
        policy = policy_of(table)
        bind(policy, TABLE, EDGES, TIERS, 2)


@pytest.mark.parametrize("kind", TUNABLE)
def test_with_three_tiers_too_every_point_is_a_setting_that_binds(kind):
    facts = FACTS._replace(tiers=3)
    tiers = (*TIERS, Tier("offline"), Tier("last", slo_ns=900_000_000))
    space = POLICIES[kind].space()
    axes = axes_of(space, facts)
    assert len({axis.name for axis in axes}) == len(axes)
    for uniform in np.random.default_rng(2).random((50, len(axes))):
        chosen = {a.name: a.values[a.place(u)] for a, u in zip(axes, uniform, strict=True)}
        policy = policy_of({"kind": kind, **filled(space, chosen, facts)})
        bind(policy, TABLE, EDGES, tiers, 2)


def test_a_number_for_each_tier_has_an_axis_for_each():
    facts = FACTS._replace(tiers=2)
    size = Size("max_batch_size", tiers=True)
    assert [axis.name for axis in size.axes(FACTS)] == ["max_batch_size"]
    assert size.fill({"max_batch_size": 8}, FACTS) == {"max_batch_size": 8}
    assert [axis.name for axis in size.axes(facts)] == ["max_batch_size_0", "max_batch_size_1"]
    chosen = {"max_batch_size_0": 8, "max_batch_size_1": 32}
    assert size.fill(chosen, facts) == {"max_batch_size": [8, 32]}


def test_every_rule_that_has_a_number_to_choose_has_a_space():
    assert set(POLICIES) - set(TUNABLE) <= {"optimal"}


@pytest.mark.parametrize("kind", TUNABLE)
def test_grids_are_ordered_and_without_repeats(kind):
    for axis in axes_of(POLICIES[kind].space(), FACTS):
        assert list(axis.values) == sorted(set(axis.values)), axis
        assert len(axis.values) > 1, axis


def test_every_place_of_a_grid_is_reached():
    for axis in (
        Axis("a", tuple(range(1, 33)), log=True),
        Axis("b", tuple(range(7))),
        Axis("c", (0.0, 1.0, 2.0, 5.0), whole=False),
    ):
        reached = {axis.place(u) for u in np.linspace(0, 1, 4000, endpoint=False)}
        assert reached == set(range(len(axis.values)))


def test_a_logarithmic_axis_tries_small_sizes_more_often():
    axis = Axis("size", tuple(range(1, 65)), log=True)
    places = [axis.place(u) for u in np.linspace(0, 1, 1000, endpoint=False)]
    assert np.median(places) + 1 == pytest.approx(8, abs=1)


def test_an_eighth_of_the_first_tries_do_not_wait():
    (axis,) = Time("max_wait_ms", zero=True).axes(FACTS)
    places = [axis.place(u) for u in np.linspace(0, 1, 1000, endpoint=False)]
    assert places.count(0) == pytest.approx(125, abs=2)


def test_waits_end_at_the_target_or_at_two_of_the_largest_batches():
    (axis,) = Time("max_wait_ms", zero=True).axes(FACTS)
    assert axis.values[0] == 0
    assert axis.values[-1] == 60.0
    (axis,) = Time("max_wait_ms").axes(FACTS._replace(slo_ns=NEVER))
    assert axis.values[0] > 0
    assert axis.values[-1] == pytest.approx(2 * FACTS.full_ns / 1e6)


def test_a_part_is_never_larger_than_the_whole():
    part = Part("min_batch_size", of="max_batch_size")
    for share in (0, 0.25, 1):
        for size in (1, 7, 64):
            chosen = {"min_batch_size_share": share, "max_batch_size": size}
            (smallest,) = part.fill(chosen, FACTS).values()
            assert 1 <= smallest <= size
    assert part.fill({"min_batch_size_share": 1, "max_batch_size": 7}, FACTS) == {
        "min_batch_size": 7
    }


def test_a_range_narrows_an_axis_and_draws_a_finer_grid_between_decimals():
    (size,) = Size("max_batch_size").axes(FACTS)
    assert size.within(4, 8).values == (4, 5, 6, 7, 8)
    (wait,) = Time("max_wait_ms", zero=True).axes(FACTS)
    narrow = wait.within(1, 2)
    assert narrow.values[0] == 1
    assert narrow.values[-1] == 2
    assert len(narrow.values) > 5


def test_a_tilt_of_0_shares_requests_evenly_and_of_1_work():
    equal = boundaries(FACTS, 4, 0.0)
    assert equal == [128, 256, 384]
    work = [0, *boundaries(FACTS, 4, 1.0), 512]
    sums = [LENGTHS[low:high].sum() for low, high in itertools.pairwise(work)]
    assert max(sums) / min(sums) < 1.03


def test_boundaries_are_below_the_longest_length_and_may_be_fewer_than_asked_for():
    peak = FACTS._replace(length=np.array([5, 9]), probability=np.array([0.99, 0.01]))
    assert boundaries(peak, 8, 0.0) == [5]
    assert boundaries(FACTS, 1, 1.0) == []
    axes = Buckets().axes(peak)
    assert axes[0].values == (1, 2)


def test_a_token_budget_holds_the_longest_request():
    (axis,) = Tokens("max_tokens").axes(FACTS)
    assert axis.values[0] == 512
    assert axis.values[-1] == pytest.approx(512 * 64, rel=0.05)
