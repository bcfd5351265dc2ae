"""Parameters that no rule can work with, and what the message says."""

import inspect
import re

import numpy as np
import pytest

from policies import (
    POLICIES,
    Ageing,
    Aimd,
    BalancedCap,
    DeadlineAware,
    Edf,
    Greedy,
    Headroom,
    LengthBucketed,
    NearestLengths,
    PreferredSizes,
    Priority,
    PriorityFill,
    QueueDepthWait,
    RateAware,
    ShortestFirst,
    SizeOrTimeout,
    Snap,
    Static,
    TokenBudget,
    WeightedFair,
)
from policies.contract import NEVER, Tier, bind, lane_count, memory_slots
from policies.testing import EDGES, TABLE, TIERS

SIZES = np.array([4, 8])

BROKEN = [
    (Static(0), "`1 <= batch_size <= 64` must hold, but got (batch_size=0)"),
    (Static(65), "`1 <= batch_size <= 64` must hold, but got (batch_size=65)"),
    (Greedy(65), "`0 <= max_batch_size <= 64` must hold, but got (max_batch_size=65)"),
    (Greedy(-1), "`0 <= max_batch_size <= 64` must hold, but got (max_batch_size=-1)"),
    (Greedy(8.5), "`max_batch_size is a whole number` must hold, but got (max_batch_size=8.5)"),
    (Greedy(True), "`max_batch_size is a whole number` must hold, but got (max_batch_size=True)"),
    (SizeOrTimeout(0, 5), "`1 <= max_batch_size <= 64` must hold, but got (max_batch_size=0)"),
    (SizeOrTimeout(8, -1), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-1)"),
    (SizeOrTimeout(8, 5, 9), "`0 <= min_batch_size <= 8` must hold, but got (min_batch_size=9)"),
    (
        PreferredSizes(np.array([4, 9]), 8),
        "`1 <= preferred_batch_size <= 8` must hold, but got (preferred_batch_size=[4, 9])",
    ),
    (
        PreferredSizes(np.array([0, 4]), 8),
        "`1 <= preferred_batch_size <= 8` must hold, but got (preferred_batch_size=[0, 4])",
    ),
    (
        PreferredSizes(np.array([1.5])),
        "`preferred_batch_size is a list of whole numbers` must hold, but got ",
    ),
    (PreferredSizes(SIZES, 8, -2), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-2)"),
    (QueueDepthWait(70, 5), "`0 <= max_batch_size <= 64` must hold, but got (max_batch_size=70)"),
    (QueueDepthWait(7, -5), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-5)"),
    (Aimd(increase=0.0), "`increase > 0` must hold, but got (increase=0.0)"),
    (Aimd(decrease=1.0), "`0 < decrease < 1` must hold, but got (decrease=1.0)"),
    (Aimd(slo_ns=-1), "`0 <= slo_ns` must hold, but got (slo_ns=-1)"),
    (Aimd(max_wait_ns=-1), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-1)"),
    (DeadlineAware(margin_ns=-1), "`0 <= margin_ns` must hold, but got (margin_ns=-1)"),
    (RateAware(window=0), "`1 <= window` must hold, but got (window=0)"),
    (BalancedCap(window=0), "`1 <= window` must hold, but got (window=0)"),
    (Snap(65), "`0 <= max_batch_size <= 64` must hold, but got (max_batch_size=65)"),
    (
        LengthBucketed(np.array([8, 4])),
        "`boundaries are positive and increasing` must hold, but got (boundaries=[8, 4])",
    ),
    (
        LengthBucketed(np.array([0, 4])),
        "`boundaries are positive and increasing` must hold, but got (boundaries=[0, 4])",
    ),
    (
        LengthBucketed(np.array([64]), np.array([1, 2, 3])),
        "`max_batch_size has 1 value or 2, one a bucket` must hold, but got "
        "(max_batch_size=[1, 2, 3])",
    ),
    (
        LengthBucketed(np.array([64]), np.array([1, 65])),
        "`1 <= max_batch_size <= 64` must hold, but got (max_batch_size=65)",
    ),
    (
        LengthBucketed(np.array([64]), SIZES, np.array([-1])),
        "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-1)",
    ),
    (NearestLengths(length_lanes=0), "`1 <= length_lanes <= 4096` must hold, but got "),
    (NearestLengths(window=-1), "`0 <= window` must hold, but got (window=-1)"),
    (NearestLengths(max_wait_ns=-1), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-1)"),
    (TokenBudget(0), "`1 <= max_tokens` must hold, but got (max_tokens=0)"),
    (TokenBudget(9, max_wait_ns=-1), "`0 <= max_wait_ns` must hold, but got (max_wait_ns=-1)"),
    (
        Priority(np.array([8, 8])),
        "`max_batch_size has 1 value or 3, one a tier` must hold, but got (max_batch_size=[8, 8])",
    ),
    (
        Priority(np.array([65])),
        "`1 <= max_batch_size <= 64` must hold, but got (max_batch_size=65)",
    ),
    (
        PriorityFill(boundaries=np.array([8, 8])),
        "`boundaries are positive and increasing` must hold, but got (boundaries=[8, 8])",
    ),
    (PriorityFill(-1), "`0 <= max_batch_size <= 64` must hold, but got (max_batch_size=-1)"),
    (Headroom(-1), "`0 <= max_block_ns` must hold, but got (max_block_ns=-1)"),
    (Headroom(5, 1.5), "`0 <= reserved <= 1` must hold, but got (reserved=1.5)"),
    (
        Headroom(5, interactive=np.array([0, 3])),
        "`0 <= interactive <= 2` must hold, but got (interactive=3)",
    ),
    (Headroom(5, max_fill_ns=-1), "`0 <= max_fill_ns` must hold, but got (max_fill_ns=-1)"),
    (
        WeightedFair(np.array([1.0, 2.0])),
        "`weights has a value for each of the 3 tiers` must hold, but got (weights=[1.0, 2.0])",
    ),
    (
        WeightedFair(np.array([1.0, 2.0, 0.0])),
        "`weights > 0` must hold, but got (weights=[1.0, 2.0, 0.0])",
    ),
    (
        Ageing(np.array([1.0, np.inf, 0.1])),
        "`rates > 0` must hold, but got (rates=[1.0, inf, 0.1])",
    ),
    (
        Edf(slo_ns=np.array([1, 2])),
        "`slo_ns has 1 value or 3, one a tier` must hold, but got (slo_ns=[1, 2])",
    ),
    (Edf(default_slo_ns=-1), "`0 <= default_slo_ns` must hold, but got (default_slo_ns=-1)"),
    (ShortestFirst(-1), "`0 <= max_age_ns` must hold, but got (max_age_ns=-1)"),
    (
        ShortestFirst(5, length_lanes=0),
        "`1 <= length_lanes <= 4096` must hold, but got (length_lanes=0)",
    ),
]


@pytest.mark.parametrize(("policy", "sentence"), BROKEN, ids=lambda value: type(value).__name__)
def test_a_broken_parameter_is_named_with_its_rule_and_value(policy, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        bind(policy, TABLE, EDGES, TIERS)


@pytest.mark.parametrize("policy", [Aimd(), DeadlineAware()], ids=["aimd", "deadline_aware"])
def test_a_rule_with_an_objective_needs_one_from_somewhere(policy):
    sentence = "`slo_ns > 0, or a tier has an SLO` must hold, but got (slo_ns=0)"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        bind(policy, TABLE, EDGES, (Tier("all"), Tier("more", NEVER)))


def test_every_kind_has_one_line_that_describes_it():
    for policy in POLICIES.values():
        first = inspect.getdoc(policy).splitlines()[0]
        assert first.endswith(".")
        assert "NamedTuple" not in first


def test_a_kind_is_its_class_name_in_small_letters():
    for kind, policy in POLICIES.items():
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", policy.__name__).lower() == kind


def test_lists_may_be_given_where_arrays_are_kept():
    bucketed = bind(LengthBucketed([64, 128], 16, [1, 2, 3]), TABLE, EDGES)
    assert bucketed.max_batch_size.dtype == np.int64
    assert bucketed.max_batch_size.tolist() == [16, 16, 16]
    assert lane_count(bucketed) == 3


def test_a_bound_rule_keeps_a_table_of_its_own():
    table = TABLE.copy()
    snap = bind(Snap(), table, EDGES)
    table[:] = 1
    assert np.array_equal(snap.service_ns, TABLE)


def test_only_learning_rules_remember():
    assert [memory_slots(p) for p in (Aimd(), RateAware(), BalancedCap(), Greedy())] == [1, 2, 2, 0]
