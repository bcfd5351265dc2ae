"""What a policy asks of a stack: windows that mean the policy, and what others lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from export_settings import EDGES, LARGEST, LONGEST, SERVICE_NS, setting
from hypothesis import given
from hypothesis import strategies as st

from experiments.export.plan import Window, plan_of, plan_table, window
from experiments.export.setting import Costs
from experiments.export.windows import reason_of, runs
from experiments.rules import build_policy
from policies import LengthBucketed, PreferredSizes, SizeOrTimeout, Snap, Static
from policies.contract import NEVER, NOBODY, Tier, View, bind

MS = 1_000_000
SLO = (Tier("all", 200 * MS),)


def view(waiting, oldest_ns, now_ns, idle_since_ns):
    """One lane in front of an idle server; nothing that a window does not look at."""
    none = np.zeros(0, dtype=np.int64)
    one = np.array([waiting])
    return View(
        now_ns, one, np.array([oldest_ns]), np.array([0]), np.array([NOBODY]), none, none, none,
        none, none, 0, 1, 1, idle_since_ns, none, none, none, waiting, 0, 0, 0, np.zeros(0),
        np.zeros(1, dtype=np.int64),
    )  # fmt: skip


def answer(policy, seen):
    """What a policy takes, and when it wants to be asked again."""
    seen.take[:] = 0
    return policy.decide(seen), int(seen.take[0])


def behaves_alike(one, other):
    """Whether two bound policies answer alike in a grid of views that holds every threshold."""
    for waiting in (1, 2, 3, 4, 5, 7, 8, 9, 16, 40, 64, 65):
        for age in (0, 1, MS - 1, MS, 5 * MS, 60 * MS):
            for idle in (0, 1, 3 * MS, 80 * MS):
                seen = view(waiting, 100 * MS - age, 100 * MS, 100 * MS - idle)
                if answer(one, seen) != answer(other, seen):
                    return False
    return True


sizes = st.integers(1, 9)
waits = st.sampled_from([0, 1, MS, 5 * MS, 60 * MS, NEVER])


@st.composite
def windows(draw):
    """Policies of one lane that are windows."""
    largest = draw(sizes)
    wait_ns = draw(waits)
    if draw(st.booleans()):
        preferred = draw(st.lists(st.integers(1, largest), min_size=1, max_size=4))
        return PreferredSizes(np.array(preferred), largest, wait_ns)
    smallest = draw(st.integers(0, largest))
    return draw(
        st.sampled_from(
            [
                Static(largest),
                SizeOrTimeout(largest, wait_ns, smallest),
                SizeOrTimeout(largest, wait_ns, smallest, from_idle=True),
            ]
        )
    )


def given_as(policy):
    """The setting of a policy object."""
    kinds = {Static: "static", SizeOrTimeout: "size_or_timeout", PreferredSizes: "preferred_sizes"}
    bound = bind(policy, SERVICE_NS, EDGES)
    return replace(setting("greedy"), kind=kinds[type(policy)], policy=bound)


@given(windows())
def test_the_table_of_a_window_behaves_as_the_policy_that_it_came_from(policy):
    wanted = given_as(policy)
    again = bind(build_policy(plan_table(plan_of(wanted))), SERVICE_NS, EDGES)
    assert behaves_alike(wanted.policy, again)


@given(windows(), windows())
def test_windows_are_equal_only_where_policies_behave_alike(one, other):
    first, second = given_as(one), given_as(other)
    if plan_of(first) == plan_of(second):
        assert behaves_alike(first.policy, second.policy)


def test_the_grid_of_views_tells_two_timers_apart():
    one = bind(SizeOrTimeout(8, 5 * MS), SERVICE_NS, EDGES)
    other = bind(SizeOrTimeout(8, 5 * MS, from_idle=True), SERVICE_NS, EDGES)
    assert not behaves_alike(one, other)


@pytest.mark.parametrize(
    ("kind", "keys", "expected"),
    [
        ("greedy", {}, Window(LARGEST)),
        ("greedy", {"max_batch_size": 8}, Window(8)),
        ("static", {"batch_size": 8}, Window(8, NEVER, 8)),
        ("static", {"batch_size": 1}, Window(1)),
        ("size_or_timeout", {"max_batch_size": 8, "max_wait_ms": 2}, Window(8, 2 * MS, 8)),
        ("size_or_timeout", {"max_batch_size": 8, "max_wait_ms": 0}, Window(8)),
        (
            "size_or_timeout",
            {"max_batch_size": 8, "max_wait_ms": 2, "min_batch_size": 1},
            Window(8),
        ),
        (
            "size_or_timeout",
            {"max_batch_size": 8, "max_wait_ms": 2, "from_idle": True},
            Window(8, 2 * MS, 8, "pick"),
        ),
        (
            "preferred_sizes",
            {"max_batch_size": 8, "max_wait_ms": 2, "preferred_batch_size": [6, 7, 8]},
            Window(8, 2 * MS, 6),
        ),
        (
            "preferred_sizes",
            {"max_batch_size": 8, "max_wait_ms": 2, "preferred_batch_size": [8, 4]},
            Window(8, 2 * MS, 1, "oldest", (4, 8)),
        ),
        ("preferred_sizes", {"max_batch_size": 8, "preferred_batch_size": 4}, Window(4)),
        ("balanced_cap", {}, Window(LARGEST)),
        ("queue_depth_wait", {"max_batch_size": 2, "max_wait_ms": 2}, Window(2, 2 * MS, 2)),
        ("queue_depth_wait", {"max_batch_size": 8, "max_wait_ms": 0}, Window(8)),
        ("nearest_lengths", {"max_batch_size": 8, "length_lanes": 1}, Window(8)),
        ("token_budget", {"max_batch_size": 8, "max_tokens": 8 * LONGEST}, Window(8)),
        ("optimal", {"take": [0, 1, 2, 3]}, Window(3)),
        ("optimal", {"take": [0, 0, 2, 3, 3]}, Window(3, NEVER, 2)),
    ],
)
def test_a_policy_is_exactly_a_window(kind, keys, expected):
    plan = plan_of(setting(kind, **keys))
    assert plan.exact
    assert plan.only == expected


def test_buckets_of_length_are_lanes_with_windows_of_their_own():
    wanted = setting(
        "length_bucketed", boundaries=[100, 200], max_batch_size=[8, 4, 2], max_wait_ms=[0, 1, 2]
    )
    plan = plan_of(wanted)
    assert plan.exact
    assert [(lane.low, lane.high) for lane in plan.lanes] == [
        (None, 100),
        (100, 200),
        (200, None),
    ]
    assert [lane.window for lane in plan.lanes] == [
        Window(8),
        Window(4, MS, 4),
        Window(2, 2 * MS, 2),
    ]
    again = build_policy(plan_table(plan))
    assert isinstance(again, LengthBucketed)
    assert repr(bind(again, SERVICE_NS, EDGES)) == repr(wanted.policy)


def test_one_bucket_is_one_window():
    assert plan_of(setting("length_bucketed", max_batch_size=8, max_wait_ms=1)).only == Window(
        8, MS, 8
    )


NOT_WINDOWS = [
    (
        "snap",
        {},
        {},
        "snap takes the size with the best throughput for the lengths of those that wait, which no "
        "window of size and wait can say; with --nearest it becomes greedy with at most 64: these "
        "are the efficient sizes at 512 tokens, whatever the lengths of those that wait",
        Window(64),
    ),
    (
        "balanced_cap",
        {},
        {"servers": 4},
        "balanced_cap shares the queue between the servers by the rate that it sees, which no "
        "window of size and wait can say; with --nearest it becomes greedy with at most 4: the cap "
        "fits 1200 requests per second, and no longer follows the rate or a long queue",
        Window(4),
    ),
    (
        "aimd",
        {"slo_ms": 10, "max_wait_ms": 3},
        {},
        "aimd learns its largest batch from the times of batches, which no window of size and wait "
        "can say; with --nearest it becomes a batch of 64 or 3 ms since the oldest arrival: the "
        "limit no longer backs off when batches are too slow",
        Window(64, 3 * MS, 64),
    ),
    (
        "deadline_aware",
        {"slo_ms": 50, "max_batch_size": 8, "margin_ms": 5},
        {},
        "deadline_aware plans each start from the objectives and lengths of those that wait, which "
        "no window of size and wait can say; with --nearest it becomes a batch of 8 or 41.952 ms "
        "since the oldest arrival: the wait is what the tightest objective leaves beside the "
        "largest batch of the longest requests, whatever waits",
        Window(8, 41_952_000, 8),
    ),
    (
        "deadline_aware",
        {"slo_ms": 3, "max_batch_size": 8},
        {},
        "deadline_aware plans each start from the objectives and lengths of those that wait, which "
        "no window of size and wait can say; with --nearest it becomes greedy with at most 8: the "
        "tightest objective leaves nothing beside the largest batch of the longest requests, so "
        "that it no longer waits",
        Window(8),
    ),
    (
        "rate_aware",
        {"max_batch_size": 8},
        {},
        "rate_aware waits or not by the rate that it sees, which no window of size and wait can "
        "say; with --nearest it becomes greedy with at most 8: it no longer waits when the "
        "arrivals say that it pays",
        Window(8),
    ),
    (
        "queue_depth_wait",
        {"max_batch_size": 8, "max_wait_ms": 4},
        {},
        "queue_depth_wait waits less the more requests wait, which no window of size and wait can "
        "say; with --nearest it becomes a batch of 8 or 4 ms since the oldest arrival: the wait is "
        "the same for every depth of the queue, so that it waits longer",
        Window(8, 4 * MS, 8),
    ),
    (
        "nearest_lengths",
        {"max_batch_size": 8},
        {},
        "nearest_lengths picks the requests that are nearest in length to the oldest, which no "
        "window of size and wait can say; with --nearest it becomes greedy with at most 8: batches "
        "are filled in order of arrival, so that they are padded more",
        Window(8),
    ),
    (
        "optimal",
        {"take": [0, 0, 0, 2, 4]},
        {},
        "optimal looks up the size of each batch in a table by the length of the queue, which no "
        "window of size and wait can say; with --nearest it becomes greedy with at most 4: the "
        "other sizes of the table, and its waiting, are lost",
        Window(4),
    ),
    (
        "optimal",
        {"take": [0, 0, 0, 0, 2]},
        {},
        "optimal looks up the size of each batch in a table by the length of the queue, which no "
        "window of size and wait can say; with --nearest it becomes greedy with at most 2: the "
        "other sizes of the table, and its waiting, are lost",
        Window(2),
    ),
    (
        "token_budget",
        {"max_tokens": 4096},
        {},
        "token_budget fills a batch by size times longest length, which no window of size and wait "
        "can say; with --nearest it becomes greedy with at most 8: 8 of the longest requests fit "
        "the budget, so that batches of shorter ones stay smaller than they could be",
        Window(8),
    ),
]


@pytest.mark.parametrize(("kind", "keys", "more", "sentence", "nearest"), NOT_WINDOWS)
def test_a_policy_that_is_no_window_says_why_and_what_comes_nearest(
    kind, keys, more, sentence, nearest
):
    wanted = setting(kind, **keys, **more)
    plan = plan_of(wanted)
    assert f"{reason_of(wanted)}; with --nearest {'; '.join(plan.notes)}" == sentence
    assert not plan.exact
    assert plan.only == nearest


STEPS_NS = np.array([[10], [11], [17], [17], [25], [26], [30], [30]]) * MS
"""Times of batches of 1 to 8: of these sizes 1, 2, 4 and 8 have no smaller one that beats them."""


def stopping(service_ns, length_edges, costs=None):
    """``snap`` on a profile of its own."""
    policy = bind(Snap(), service_ns, length_edges)
    return replace(setting("snap"), policy=policy, costs=costs, longest=int(length_edges[-1]))


def test_snap_on_a_staircase_is_preferred_sizes_that_wait_for_nothing():
    wanted = stopping(STEPS_NS, np.array([1]))
    assert plan_of(wanted).exact
    assert plan_of(wanted).only == Window(8, 0, 1, "oldest", (2, 4, 8))
    again = bind(build_policy(plan_table(plan_of(wanted))), STEPS_NS, np.array([1]))
    for waiting in range(1, 20):
        longest = np.ones(20, dtype=np.int64)
        chain = np.append(np.arange(1, 20), NOBODY)
        seen = view(waiting, 0, MS, 0)._replace(length=longest, next=chain)
        assert answer(wanted.policy, seen) == answer(again, seen)


def test_snap_is_exact_where_all_requests_cost_as_if_they_were_of_one_length():
    edges = np.array([32, 64])
    two = np.hstack([STEPS_NS, np.arange(1, 9)[:, np.newaxis] * MS + 50 * MS])
    short = Costs(two, edges, np.array([8, 32]), np.array([0.5, 0.5]))
    alike = Costs(two, edges, np.array([64]), np.ones(1))
    mixed = Costs(two, edges, np.array([32, 64]), np.array([0.5, 0.5]))
    assert plan_of(stopping(two, edges, short)).only == Window(8, 0, 1, "oldest", (2, 4, 8))
    assert plan_of(stopping(two, edges, alike)) == plan_of(setting("greedy", max_batch_size=8))
    assert not plan_of(stopping(two, edges, mixed)).exact
    assert not plan_of(stopping(two, edges)).exact


def test_the_nearest_of_snap_keeps_the_stops_at_the_longest():
    edges = np.array([32, 64])
    two = np.hstack([np.arange(1, 9)[:, np.newaxis] * MS + 50 * MS, STEPS_NS])
    assert plan_of(stopping(two, edges)).notes == (
        "it becomes the largest of 2, 4, 8 that waits: these are the efficient sizes at 64 tokens, "
        "whatever the lengths of those that wait",
    )


def test_sizes_are_told_in_runs():
    assert runs((2, 4, 6, 7, 8, 13, 14)) == "2, 4, 6 to 8, 13, 14"


def test_a_kind_without_a_row_becomes_greedy_and_says_that_the_rest_is_lost():
    wanted = replace(setting("greedy", max_batch_size=8), kind="mine")
    plan = plan_of(wanted)
    assert plan.only == Window(8)
    assert plan.notes == ("it becomes greedy with at most 8: the rest of it is lost",)


def test_an_unknown_rate_leaves_the_cap_of_balanced_cap_open():
    wanted = setting("balanced_cap", servers=4)
    closed = replace(wanted, evidence=replace(wanted.evidence, rate_per_s=None))
    assert plan_of(closed).only == Window(LARGEST)


def test_a_preferred_size_below_all_others_is_only_a_cap_where_nothing_waits():
    assert window(8, 0, preferred=[3, 4]) == Window(4)
    assert window(8, 0, preferred=[1, 4]) == Window(8, 0, 1, "oldest", (1, 4))
