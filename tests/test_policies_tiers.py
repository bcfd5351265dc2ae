"""Rules that know tiers: what they do in one situation each."""

import numpy as np
import pytest

from policies import Ageing, Edf, Headroom, Priority, PriorityFill, ShortestFirst, WeightedFair
from policies.contract import FIRE, NEVER, Tier, bind, memory_slots
from policies.testing import Running, Waiting, example_view

MS = 1_000_000
LARGEST = 16
PLAIN = np.array([[(10 + 10 * size) * MS] for size in range(1, LARGEST + 1)])
"""10 ms and 10 ms for each request."""
STAIRS = np.array([[20 * MS * -(-size // 4)] for size in range(1, LARGEST + 1)])
"""Batches of 4, 8, ... are the cheapest."""
BY_LENGTH = np.array([[size * edge * MS // 10 for edge in (10, 100)] for size in range(1, 17)])
EDGES = np.array([10, 100])
ONE_EDGE = np.array([1])
TWO = (Tier("interactive", slo_ns=100 * MS), Tier("offline"))
THREE = (*TWO, Tier("last"))


def ready(policy, table=PLAIN, edges=ONE_EDGE, tiers=THREE, servers=1):
    return bind(policy, table, edges, tiers, servers)


def looks(policy, now_ns, waiting, memory=None, **others):
    """What a rule sees; requests stand in their lanes."""
    placed = [one._replace(lane=policy.lane_of(one.length, one.tier)) for one in waiting]
    view = example_view(
        now_ns, placed, lanes=policy.lanes(), memory_slots=memory_slots(policy), **others
    )
    return view if memory is None else view._replace(memory=memory)


def taken(policy, now_ns, waiting, **others):
    """What is taken from each lane, or the instant to ask again."""
    view = looks(policy, now_ns, waiting, **others)
    said = policy.decide(view)
    if said == FIRE:
        return view.take.tolist()
    assert not view.take.any()
    return said


def tier(number, arrival_ns, length=1):
    return Waiting(arrival_ns, length, number)


class TestPriority:
    def test_the_most_urgent_tier_goes_alone_however_long_the_others_have_waited(self):
        waiting = [tier(2, 0), tier(1, 1), tier(0, 98), tier(0, 99)]
        assert taken(ready(Priority()), 100, waiting) == [2, 0, 0]
        assert taken(ready(Priority()), 100, waiting[:2]) == [0, 1, 0]

    def test_a_tier_that_is_not_ready_lets_the_next_one_go(self):
        policy = ready(Priority(np.array([2, 4, 4]), np.array([50, 0, 0])))
        assert taken(policy, 100, [tier(1, 10), tier(0, 90)]) == [0, 1, 0]
        assert taken(policy, 100, [tier(1, 10), tier(0, 90), tier(0, 91)]) == [2, 0, 0]
        assert taken(policy, 140, [tier(1, 10), tier(0, 90)]) == [1, 0, 0]

    def test_it_asks_again_at_the_first_timer_of_all(self):
        policy = ready(Priority(np.array([4]), np.array([50, 30, 300])))
        assert taken(policy, 100, [tier(0, 90), tier(1, 95), tier(2, 10)]) == 125

    def test_a_batch_holds_one_bucket_of_one_tier(self):
        policy = ready(Priority(boundaries=np.array([64])))
        waiting = [tier(0, 10, 100), tier(0, 11, 64), tier(1, 5, 100), tier(0, 12, 90)]
        assert taken(policy, 100, waiting) == [0, 2, 0, 0, 0, 0]


class TestPriorityFill:
    def test_a_batch_is_filled_with_the_next_tiers_in_their_order(self):
        policy = ready(PriorityFill(4))
        waiting = [tier(2, 0), tier(2, 1), tier(1, 2), tier(1, 3), tier(0, 99)]
        assert taken(policy, 100, waiting) == [1, 2, 1]

    def test_the_timer_is_that_of_the_oldest_whatever_its_tier(self):
        policy = ready(PriorityFill(4, 50))
        assert taken(policy, 100, [tier(0, 90), tier(2, 60)]) == 110
        assert taken(policy, 110, [tier(0, 90), tier(2, 60)]) == [1, 0, 1]

    def test_a_full_batch_of_all_tiers_goes_at_once(self):
        policy = ready(PriorityFill(3, 50))
        assert taken(policy, 100, [tier(2, 99), tier(1, 99), tier(0, 99)]) == [1, 1, 1]

    def test_the_ready_bucket_with_the_most_urgent_tier_goes(self):
        policy = ready(PriorityFill(8, boundaries=np.array([64])))
        waiting = [tier(1, 1, 10), tier(1, 2, 90), tier(0, 50, 90), tier(2, 3, 90)]
        assert taken(policy, 100, waiting) == [0, 1, 0, 1, 0, 1]
        assert taken(policy, 100, [tier(1, 2, 10), tier(1, 1, 90)]) == [0, 0, 0, 1, 0, 0]

    def test_a_bucket_waits_for_its_own_timer(self):
        policy = ready(PriorityFill(2, 50, np.array([64])))
        waiting = [tier(0, 90, 10), tier(0, 60, 90), tier(1, 95, 10)]
        assert taken(policy, 100, waiting) == [1, 0, 1, 0, 0, 0]
        assert taken(policy, 100, waiting[:2]) == 110


OFFLINE = [tier(1, place) for place in range(12)]


class TestHeadroom:
    def test_interactive_requests_go_first_and_alone(self):
        policy = ready(Headroom(45 * MS), tiers=TWO)
        assert taken(policy, 100, [*OFFLINE, tier(0, 99), tier(0, 99)]) == [2, 0]

    def test_an_offline_batch_takes_no_more_time_than_the_budget(self):
        for budget_ms, size in ((45, 3), (50, 4), (20, 1), (1000, 12)):
            policy = ready(Headroom(budget_ms * MS), tiers=TWO)
            assert taken(policy, 100, OFFLINE) == [0, size], budget_ms

    def test_an_offline_batch_obeys_its_size_too(self):
        policy = ready(Headroom(1000 * MS, max_batch_size=np.array([16, 5])), tiers=TWO)
        assert taken(policy, 100, OFFLINE) == [0, 5]

    def test_of_the_sizes_within_the_budget_the_one_with_the_best_throughput_goes(self):
        policy = ready(Headroom(60 * MS), table=STAIRS, tiers=TWO)
        assert taken(policy, 100, OFFLINE) == [0, 12]
        assert taken(policy, 100, OFFLINE[:11]) == [0, 8]
        assert taken(ready(Headroom(59 * MS), table=STAIRS, tiers=TWO), 100, OFFLINE) == [0, 8]

    def test_the_longest_request_that_would_be_taken_counts(self):
        policy = ready(Headroom(40 * MS), table=BY_LENGTH, edges=EDGES, tiers=TWO)
        short = [tier(1, place, 10) for place in range(6)]
        assert taken(policy, 100, short) == [0, 6]
        short[2] = tier(1, 2, 100)
        assert taken(policy, 100, short) == [0, 2], "3 of them already cost 10 ms each"
        short[0] = tier(1, 0, 100)
        assert taken(policy, 100, short) == [0, 4], "4 of them take 40 ms"

    def test_a_request_that_is_alone_too_long_goes_alone_where_all_is_reserved(self):
        assert taken(ready(Headroom(15 * MS), tiers=TWO), 100, OFFLINE) == [0, 1]

    def test_of_several_servers_those_not_reserved_take_long_batches(self):
        policy = ready(Headroom(45 * MS, 0.5), tiers=TWO, servers=2)
        assert taken(policy, 100, OFFLINE, idle_servers=2) == [0, 12]
        other = [Running(0, 12, 130 * MS)]
        assert taken(policy, 100, OFFLINE, running=other) == [0, 3]

    def test_a_server_that_will_be_idle_within_the_budget_is_open(self):
        policy = ready(Headroom(45 * MS, 0.5), tiers=TWO, servers=2)
        other = [Running(0, 12, 130 * MS)]
        assert taken(policy, 85 * MS - 1, OFFLINE, running=other) == [0, 3]
        assert taken(policy, 85 * MS, OFFLINE, running=other) == [0, 12]

    def test_it_asks_again_when_the_other_server_opens(self):
        policy = ready(Headroom(15 * MS, 0.5), tiers=TWO, servers=2)
        other = [Running(0, 12, 130 * MS)]
        assert taken(policy, 100, OFFLINE, running=other) == 115 * MS

    def test_a_fraction_of_a_server_lends_long_batches_for_its_share_of_the_time(self):
        policy = ready(Headroom(0, 0.75), tiers=TWO)
        view = looks(policy, 500 * MS, OFFLINE)
        assert policy.decide(view) == FIRE
        assert view.take.tolist() == [0, 12]
        done = looks(policy, 630 * MS, OFFLINE, view.memory, finished=(1, 12, 130 * MS))
        policy.observe(done)
        assert policy.decide(done) == 500 * MS + 4 * 130 * MS
        again = looks(policy, 1020 * MS, OFFLINE, view.memory)
        assert policy.decide(again) == FIRE

    def test_a_fraction_lends_one_long_batch_at_a_time(self):
        policy = ready(Headroom(45 * MS, 0.75), tiers=TWO, servers=2)
        waiting = OFFLINE[:8]
        nearly_over = [Running(0, 12, 130 * MS)]
        view = looks(policy, 100 * MS, waiting, running=nearly_over)
        view.memory[1] = 1.0  # the other server runs on loan
        assert policy.decide(view) == FIRE
        assert view.take.tolist() == [0, 3]
        view = looks(policy, 100 * MS, waiting, running=nearly_over)
        assert policy.decide(view) == FIRE
        assert view.take.tolist() == [0, 8]

    def test_a_batch_within_the_budget_needs_no_fraction(self):
        policy = ready(Headroom(45 * MS, 0.75), tiers=TWO)
        view = looks(policy, 500 * MS, OFFLINE[:2])
        assert policy.decide(view) == FIRE
        policy.observe(looks(policy, 530 * MS, [], view.memory, finished=(1, 2, 30 * MS)))
        next_view = looks(policy, 530 * MS, OFFLINE, view.memory)
        assert policy.decide(next_view) == FIRE
        assert next_view.take.tolist() == [0, 12]

    def test_a_share_that_makes_whole_servers_is_not_lost_to_rounding(self):
        policy = ready(Headroom(45 * MS, 0.9), tiers=TWO, servers=10)
        busy = [Running(0, 3, 40 * MS)] * 8
        view = looks(policy, 0, OFFLINE, running=busy, idle_servers=2)
        assert policy.decide(view) == FIRE
        assert view.take.tolist() == [0, 12]
        assert not view.memory.any(), "a whole server needs no loan"

    def test_interactive_batches_are_filled_up_to_a_time(self):
        waiting = [*OFFLINE, tier(0, 99), tier(0, 99)]
        policy = ready(Headroom(45 * MS, max_fill_ns=60 * MS), tiers=TWO)
        assert taken(policy, 100, waiting) == [2, 3]
        policy = ready(Headroom(45 * MS, max_fill_ns=20 * MS), tiers=TWO)
        assert taken(policy, 100, waiting) == [2, 0]
        small = Headroom(45 * MS, max_batch_size=np.array([4, 16]), max_fill_ns=60 * MS)
        assert taken(ready(small, tiers=TWO), 100, waiting) == [2, 2]

    def test_interactive_are_the_tiers_with_an_slo_or_the_first_or_those_named(self):
        objective = Tier("has one", slo_ns=MS)
        none = Tier("none")
        for tiers, found in (
            ((none, objective, objective), [1, 2]),
            ((none, none), [0]),
            ((objective, none), [0]),
        ):
            assert ready(Headroom(MS), tiers=tiers).interactive.tolist() == found
        named = Headroom(MS, interactive=np.array([1]))
        assert ready(named, tiers=TWO).interactive.tolist() == [1]

    def test_offline_batches_hold_one_bucket(self):
        policy = ready(Headroom(45 * MS, boundaries=np.array([64])), tiers=TWO)
        waiting = [tier(1, 5, 10), tier(1, 4, 90), tier(1, 6, 90)]
        assert taken(policy, 100, waiting) == [0, 0, 0, 2]


class TestWeightedFair:
    def test_at_first_the_most_urgent_goes_then_who_had_least_for_its_weight(self):
        policy = ready(WeightedFair(np.array([3.0, 1.0])), tiers=TWO)
        waiting = [tier(0, place) for place in range(9)] + [tier(1, place) for place in range(9)]
        memory, order = np.zeros(memory_slots(policy)), []
        for turn in range(8):
            now_ns = (turn + 1) * MS
            view = looks(policy, now_ns, waiting, memory)
            assert policy.decide(view) == FIRE
            order.append(int(view.take.argmax()))
            done = looks(policy, now_ns + MS, waiting, memory, finished=(turn + 1, 9, MS))
            policy.observe(done)
        assert order == [0, 1, 0, 0, 0, 1, 0, 0]

    def test_who_had_nothing_to_do_saves_up_no_claim(self):
        policy = ready(WeightedFair(), tiers=TWO)
        memory = np.zeros(memory_slots(policy))
        first, second = [tier(0, 0)], [tier(1, 0)]
        for turn in range(20):
            policy.decide(looks(policy, turn * MS, first, memory))
            policy.observe(looks(policy, turn * MS + MS, first, memory, finished=(turn, 1, MS)))
        order = []
        for turn in range(20, 26):
            view = looks(policy, turn * MS, first + second, memory)
            policy.decide(view)
            order.append(int(view.take.argmax()))
            policy.observe(looks(policy, turn * MS + MS, first, memory, finished=(turn, 1, MS)))
        assert order == [1, 0, 1, 0, 1, 0]

    def test_who_comes_late_pays_from_the_start_of_the_latest_batch_on(self):
        policy = ready(WeightedFair(), tiers=TWO, servers=4)
        both = [tier(0, 0), tier(1, 0)]
        twice = [Running(0, 1, 20 * MS), Running(0, 1, 20 * MS)]
        view = looks(policy, MS, both, idle_servers=2, running=twice)
        view.memory[[5, 6]] = 1  # tier 0 is on both other servers: its clock says 40 ms
        view.memory[2] = 20 * MS  # when the second of them started it said 20 ms
        assert policy.decide(view) == FIRE
        assert view.take.tolist() == [0, 1]
        third = [Running(MS, 1, 21 * MS), *twice]
        again = looks(policy, 2 * MS, both, running=third)
        again.memory[:] = view.memory
        again.memory[[3, 4]] = again.memory[[4, 3]]  # the server that started is number 1 here
        assert policy.decide(again) == FIRE
        assert again.take.tolist() == [1, 0], "both clocks say 40 ms"

    def test_what_runs_on_another_server_counts(self):
        policy = ready(WeightedFair(), tiers=TWO, servers=2)
        both = [tier(0, 0), tier(1, 0)]
        view = looks(policy, MS, both, idle_servers=2)
        policy.decide(view)
        assert view.take.tolist() == [1, 0]
        other = looks(policy, MS, both, running=[Running(MS, 1, 21 * MS)])
        other.memory[:] = view.memory
        other.memory[[3, 4]] = other.memory[[4, 3]]  # the other server is number 1 here
        policy.decide(other)
        assert other.take.tolist() == [0, 1]


class TestAgeing:
    def test_the_wait_times_the_rate_decides(self):
        policy = ready(Ageing(np.array([1.0, 0.25])), tiers=TWO)
        assert taken(policy, 100, [tier(1, 0), tier(0, 74)]) == [1, 0]
        assert taken(policy, 100, [tier(1, 0), tier(0, 76)]) == [0, 1]

    def test_of_equals_the_more_urgent_tier_goes(self):
        policy = ready(Ageing(np.array([1.0, 0.25])), tiers=TWO)
        assert taken(policy, 100, [tier(1, 0), tier(0, 75)]) == [1, 0]

    def test_without_rates_each_tier_waits_twice_as_long_for_the_same_urgency(self):
        assert ready(Ageing()).rates.tolist() == [1.0, 0.5, 0.25]

    def test_a_bucket_ages_by_itself(self):
        policy = ready(Ageing(boundaries=np.array([64])), tiers=TWO)
        waiting = [tier(0, 90, 10), tier(0, 80, 90), tier(0, 81, 90), tier(1, 70, 10)]
        assert taken(policy, 100, waiting) == [0, 2, 0, 0]


class TestEdf:
    def test_the_earliest_deadlines_of_all_tiers_go_together(self):
        policy = ready(Edf(3, slo_ns=np.array([100, 50, 500])))
        waiting = [tier(0, 10), tier(0, 20), tier(1, 55), tier(1, 80), tier(2, 0)]
        assert taken(policy, 200, waiting) == [2, 1, 0]
        assert taken(policy, 200, waiting[1:]) == [1, 2, 0]

    def test_of_equal_deadlines_the_more_urgent_tier_goes_first(self):
        policy = ready(Edf(1, slo_ns=np.array([100, 50, 500])))
        assert taken(policy, 200, [tier(0, 10), tier(1, 60)]) == [1, 0, 0]

    def test_a_tier_without_an_objective_is_held_to_ten_times_the_loosest_or_what_is_said(self):
        tiers = (Tier("a", slo_ns=7), Tier("b", slo_ns=9), Tier("none"))
        assert ready(Edf(), tiers=tiers).tier_slo_ns.tolist() == [7, 9, 90]
        assert ready(Edf(default_slo_ns=30), tiers=tiers).tier_slo_ns.tolist() == [7, 9, 30]
        said = Edf(default_slo_ns=30, slo_ns=np.array([4]))
        assert ready(said, tiers=tiers).tier_slo_ns.tolist() == [4, 4, 4]

    def test_a_backlog_fills_what_the_others_leave(self):
        tiers = (Tier("offline", backlog=True), Tier("interactive", slo_ns=100))
        policy = ready(Edf(4), tiers=tiers)
        waiting = [*(tier(0, 0) for _ in range(9)), tier(1, 800), tier(1, 900)]
        assert taken(policy, 1000, waiting) == [2, 2]
        assert taken(policy, 1000, waiting[:9]) == [4, 0]

    def test_somebody_has_to_say_an_objective(self):
        rule = "`a tier has an SLO, or slo_ms or default_slo_ms is given` must hold"
        with pytest.raises(ValueError, match=rule):
            ready(Edf(), tiers=(Tier("a"), Tier("b")))
        assert ready(Edf(default_slo_ns=5), tiers=(Tier("a"),)).tier_slo_ns.tolist() == [5]

    def test_it_waits_for_a_full_batch_of_any_tiers(self):
        policy = ready(Edf(3, 50, np.array([100])))
        assert taken(policy, 100, [tier(0, 90), tier(2, 60)]) == 110
        assert taken(policy, 110, [tier(0, 90), tier(2, 60)]) == [1, 0, 1]
        assert taken(policy, 100, [tier(0, 90), tier(1, 99), tier(2, 60)]) == [1, 1, 1]

    def test_a_batch_holds_the_bucket_of_the_earliest_deadline(self):
        policy = ready(Edf(8, slo_ns=np.array([100, 50, 500]), boundaries=np.array([64])))
        waiting = [tier(0, 40, 10), tier(1, 60, 90), tier(2, 0, 90)]
        assert taken(policy, 200, waiting) == [0, 0, 0, 1, 0, 1]


class TestShortestFirst:
    POLICY = ShortestFirst(500, 3, length_lanes=4)
    LENGTHS = np.array([10, 80])

    def policy(self, **changes):
        table = np.repeat(PLAIN, 2, axis=1)
        return ready(self.POLICY._replace(**changes), table=table, edges=self.LENGTHS)

    def test_the_shortest_go_first(self):
        waiting = [tier(0, 1, 70), tier(0, 2, 30), tier(0, 3, 10), tier(2, 4, 50)]
        assert taken(self.policy(), 100, waiting) == [1, 1, 1, 0]

    def test_one_that_has_waited_too_long_goes_first_with_the_next_shorter_ones(self):
        waiting = [tier(0, 1, 50), tier(0, 2, 10), tier(0, 3, 30), tier(0, 4, 31), tier(0, 5, 70)]
        assert taken(self.policy(), 500, waiting) == [1, 2, 0, 0]
        assert taken(self.policy(), 501, waiting) == [0, 2, 1, 0]

    def test_it_waits_for_a_full_batch(self):
        waiting = [tier(0, 60, 50), tier(0, 70, 10)]
        assert taken(self.policy(max_wait_ns=90), 100, waiting) == 150
        assert taken(self.policy(max_wait_ns=90), 150, waiting) == [1, 0, 1, 0]
        assert taken(self.policy(max_wait_ns=90), 100, [*waiting, tier(0, 99, 70)]) == [1, 0, 1, 1]


def test_a_wait_without_end_is_no_timer():
    policy = ready(Priority(np.array([4]), np.array([NEVER])))
    assert taken(policy, 100, [tier(0, 1)]) == NEVER
