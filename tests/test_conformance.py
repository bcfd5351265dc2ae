"""Every rule of the package keeps the contract."""

import numpy as np
import pytest

from policies import (
    POLICIES,
    Ageing,
    Aimd,
    BalancedCap,
    CollectionWindow,
    Cork,
    DeadlineAware,
    Edf,
    Greedy,
    Headroom,
    LengthBucketed,
    NearestLengths,
    Optimal,
    PreferredSizes,
    Priority,
    PriorityFill,
    QueueDepthWait,
    RateAware,
    SealedBatches,
    SequenceDirect,
    SequenceOldest,
    ShortestFirst,
    SizeOrTimeout,
    Snap,
    Static,
    TimerFromPick,
    TokenBudget,
    TokenBudgetAhead,
    WeightedFair,
)
from policies.contract import NEVER, bind
from policies.testing import EDGES, TABLE, TIERS, check_policy

MS = 1_000_000
BUCKETS = np.array([32, 64, 128, 256])

EXAMPLES = [
    Static(8),
    Static(1),
    Greedy(),
    SizeOrTimeout(32, 2_000_000),
    SizeOrTimeout(16, 50_000_000, min_batch_size=4),
    SizeOrTimeout(32, 2_000_000, 4, from_idle=True),
    SizeOrTimeout(8, 0),
    PreferredSizes(np.array([4, 8]), 16, 3_000_000),
    PreferredSizes(np.array([4]), 8, 0),
    PreferredSizes(max_wait_ns=20_000_000),
    TimerFromPick(16, 4 * MS),
    TimerFromPick(16, 4 * MS, clock_ns=MS),
    TimerFromPick(0, 0, clock_ns=MS),
    TimerFromPick(16, 4 * MS, poll_ns=MS // 10),
    Cork(16, 60 * MS),
    Cork(),
    CollectionWindow(16, 4 * MS),
    CollectionWindow(),
    SealedBatches(16, 4 * MS),
    SealedBatches(8, 0),
    SealedBatches(8, 3 * MS, max_ongoing_requests=12),
    TokenBudgetAhead(4096),
    TokenBudgetAhead(1000, 8, padded=False),
    QueueDepthWait(32, 20_000_000),
    Aimd(),
    Aimd(30_000_000, 16, 1_000_000, 2.5, 0.5),
    DeadlineAware(),
    DeadlineAware(100_000_000, 8, 1_000_000),
    RateAware(),
    RateAware(16, window=5),
    LengthBucketed(),
    LengthBucketed(BUCKETS, np.array([32, 16, 16, 8, 4]), np.array([1, 2, 3, 4, 5]) * 1_000_000),
    NearestLengths(),
    NearestLengths(16, 4_000_000, 8, 2),
    TokenBudget(4096, 0, 5_000_000),
    TokenBudget(1000),
    Snap(),
    BalancedCap(),
    BalancedCap(32, window=20),
    Optimal(np.array([0, 1, 2, 3, 4, 4, 4, 7, 8])),
    Optimal(np.array([0, 0, 2, 0, 4, 4]), busy_weight_ns=1_000_000),
    Priority(),
    Priority(np.array([4, 16, 64]), np.array([0, 3, 20]) * MS, BUCKETS),
    PriorityFill(16, 5 * MS),
    PriorityFill(0, 3 * MS, BUCKETS),
    Headroom(20 * MS),
    Headroom(4 * MS, 0.6, np.array([8, 16, 64]), 25 * MS, boundaries=BUCKETS),
    Headroom(0, 0.9, interactive=np.array([0, 1])),
    WeightedFair(),
    WeightedFair(np.array([4.0, 2.0, 1.0]), np.array([16]), np.array([0, 3, 20]) * MS, BUCKETS),
    WeightedFair(np.array([0.7, 0.2, 0.1])),
    Ageing(),
    Ageing(np.array([1.0, 0.3, 0.05]), np.array([16]), np.array([0, 3, 20]) * MS, BUCKETS),
    Edf(),
    Edf(16, 3 * MS, np.array([20, 50, 400]) * MS, boundaries=BUCKETS),
    Edf(8, default_slo_ns=2_000 * MS),
    ShortestFirst(100 * MS),
    ShortestFirst(0, 16, 5 * MS, 8),
    SequenceDirect(),
    SequenceDirect(16, 5 * MS, 0.5, 300 * MS),
    SequenceOldest(),
    SequenceOldest(16, 5 * MS, 40, np.array([4, 8])),
]


@pytest.mark.usefixtures("shared_twins")
@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_every_rule_keeps_the_contract(place):
    policy = EXAMPLES[place]
    check_policy(policy, seed=place, may_leave_tail=isinstance(policy, Static | Optimal))


def test_every_kind_is_among_the_examples():
    assert {type(policy) for policy in EXAMPLES} == set(POLICIES.values())


def test_a_bound_policy_may_be_checked_too():
    policy = bind(Snap(), TABLE, EDGES, TIERS, 1)
    check_policy(policy, views=100, compiled=False)


def test_only_static_needs_leave_to_keep_a_tail():
    endless = SizeOrTimeout(8, NEVER)
    check_policy(endless, views=200, may_leave_tail=True, compiled=False)
    with pytest.raises(
        ValueError, match=r"rule 13: SizeOrTimeout left \d requests waiting forever"
    ):
        check_policy(endless, views=2000, compiled=False)
