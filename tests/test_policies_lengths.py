"""Rules that look at lengths: what they do in one situation each."""

import numpy as np
import pytest

from policies import LengthBucketed, NearestLengths, TokenBudget
from policies.contract import FIRE, bind
from policies.testing import EDGES, TABLE, Waiting, example_view


def ready(policy):
    return bind(policy, TABLE, EDGES)


def taken(policy, now_ns, waiting):
    """What is taken from each lane, or the instant to ask again."""
    lanes = policy.lanes() if hasattr(policy, "lanes") else 1
    placed = [
        one._replace(lane=policy.lane_of(one.length, 0) if lanes > 1 else 0) for one in waiting
    ]
    view = example_view(now_ns, placed, lanes=lanes)
    said = policy.decide(view)
    if said == FIRE:
        return view.take.tolist()
    assert not view.take.any()
    return said


BUCKETS = LengthBucketed(np.array([64, 128]), np.array([4, 2, 1]), np.array([100, 200, 0]))


@pytest.mark.parametrize(
    ("length", "bucket"), [(1, 0), (64, 0), (65, 1), (128, 1), (129, 2), (10**6, 2)]
)
def test_a_boundary_belongs_to_the_bucket_that_it_closes(length, bucket):
    assert BUCKETS.lane_of(length, 0) == bucket


def test_length_bucketed_waits_for_the_first_of_its_timers():
    waiting = [Waiting(10, 100), Waiting(50, 60)]
    assert taken(ready(BUCKETS), 60, waiting) == 150
    assert taken(ready(BUCKETS), 150, waiting) == [1, 0, 0]
    assert taken(ready(BUCKETS), 210, waiting[:1]) == [0, 1, 0]


def test_length_bucketed_fires_a_full_bucket_and_leaves_the_others():
    waiting = [Waiting(10, 10), Waiting(11, 100), Waiting(12, 100), Waiting(13, 100)]
    assert taken(ready(BUCKETS), 13, waiting) == [0, 2, 0]
    assert taken(ready(BUCKETS), 13, waiting[:3]) == [0, 2, 0]


def test_of_two_ready_buckets_the_one_with_the_oldest_head_goes():
    waiting = [Waiting(12, 10), Waiting(11, 100), Waiting(13, 300)]
    assert taken(ready(BUCKETS), 500, waiting) == [0, 1, 0]
    late = [Waiting(10, 10), *waiting[1:]]
    assert taken(ready(BUCKETS), 500, late) == [1, 0, 0]


def test_of_two_ready_buckets_with_heads_of_one_instant_the_shorter_goes():
    assert taken(ready(BUCKETS), 500, [Waiting(11, 100), Waiting(11, 10)]) == [1, 0, 0]


def test_one_number_stands_for_every_bucket():
    policy = ready(LengthBucketed(np.array([64, 128]), np.array([8])))
    assert policy.max_batch_size.tolist() == [8, 8, 8]
    assert policy.max_wait_ns.tolist() == [0, 0, 0]
    assert ready(LengthBucketed(np.array([64]))).max_batch_size.tolist() == [64, 64]


def test_nearest_lengths_divides_the_profiles_lengths_into_equal_lanes():
    policy = ready(NearestLengths(length_lanes=8))
    assert [policy.lane_of(length, 0) for length in (1, 64, 65, 128, 449, 512, 600)] == [
        0, 0, 1, 1, 7, 7, 7,
    ]  # fmt: skip


def lengths(*lanes):
    """Requests in lanes of 64 in the order of their arrival."""
    return [Waiting(10 + i, 64 * lane + 1) for i, lane in enumerate(lanes)]


def test_nearest_lengths_grows_from_the_oldest_to_both_sides():
    policy = ready(NearestLengths(4, length_lanes=8))
    assert taken(policy, 99, lengths(4, 0, 7, 3, 5, 4)) == [0, 0, 0, 1, 2, 1, 0, 0]


def test_nearest_lengths_takes_the_shorter_side_first():
    policy = ready(NearestLengths(2, length_lanes=8))
    assert taken(policy, 99, lengths(4, 5, 3)) == [0, 0, 0, 1, 1, 0, 0, 0]


def test_nearest_lengths_always_takes_the_oldest_and_fills_up_from_afar():
    policy = ready(NearestLengths(4, length_lanes=8))
    assert taken(policy, 99, lengths(7, 0, 0, 0, 0)) == [3, 0, 0, 0, 0, 0, 0, 1]


def test_nearest_lengths_leaves_alone_what_lies_outside_its_window():
    policy = ready(NearestLengths(4, length_lanes=8, window=1))
    assert taken(policy, 99, lengths(4, 2, 3, 5, 6)) == [0, 0, 0, 1, 1, 1, 0, 0]


def test_nearest_lengths_with_a_wait_counts_only_its_window_as_full():
    policy = ready(NearestLengths(3, max_wait_ns=50, length_lanes=8, window=1))
    assert taken(policy, 20, lengths(4, 7, 7, 0)) == 60
    assert taken(policy, 20, lengths(4, 6, 6, 2, 2)) == 60
    assert taken(policy, 20, lengths(4, 0, 3, 5)) == [0, 0, 0, 1, 1, 1, 0, 0]
    assert taken(policy, 60, lengths(4, 0, 7, 0)) == [0, 0, 0, 0, 1, 0, 0, 0]


def test_token_budget_counts_padded_tokens():
    policy = ready(TokenBudget(300))
    waiting = [Waiting(1, 100), Waiting(2, 50), Waiting(3, 100), Waiting(4, 10)]
    assert taken(policy, 9, waiting) == [3]
    assert taken(policy, 9, [*waiting[:2], Waiting(3, 101)]) == [2]


def test_token_budget_sends_a_request_above_the_budget_alone():
    policy = ready(TokenBudget(300, max_wait_ns=10**9))
    assert taken(policy, 9, [Waiting(1, 400), Waiting(2, 1)]) == [1]


def test_token_budget_waits_while_another_request_would_fit():
    policy = ready(TokenBudget(300, max_wait_ns=1000))
    assert taken(policy, 9, [Waiting(1, 100)]) == 1001
    assert taken(policy, 9, [Waiting(1, 100), Waiting(2, 100)]) == 1001
    assert taken(policy, 1001, [Waiting(1, 100)]) == [1]
    assert taken(policy, 9, [Waiting(1, 100), Waiting(2, 1), Waiting(3, 1)]) == [3]
    assert taken(policy, 9, [Waiting(1, 1)] * 5) == 1001


def test_token_budget_obeys_the_largest_batch_too():
    policy = ready(TokenBudget(10_000, max_batch_size=2, max_wait_ns=1000))
    assert taken(policy, 9, [Waiting(1, 1), Waiting(2, 1), Waiting(3, 1)]) == [2]
    assert taken(policy, 9, [Waiting(1, 1), Waiting(2, 1)]) == [2]
