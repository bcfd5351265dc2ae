"""Rules that look ahead with the profile: what they do in one situation each."""

import numpy as np
import pytest

from policies import BalancedCap, DeadlineAware, RateAware, Snap
from policies.contract import FIRE, NEVER, Tier, bind
from policies.planning import longest_of_first, mean_gap_ns
from policies.testing import Running, Waiting, example_view

NO_SLO = (Tier("all"),)
ONE_EDGE = np.array([1])
LINEAR = np.array([[2_000 + 350 * size] for size in range(1, 33)])
TILES_OF_FOUR = np.array([[1_000 * -(-size // 4)] for size in range(1, 33)])
POWERS_OF_TWO = np.array([[2_000 + 350 * 2 ** (size - 1).bit_length()] for size in range(1, 33)])


def ready(policy, table=LINEAR, edges=ONE_EDGE, tiers=NO_SLO, servers=1):
    return bind(policy, table, edges, tiers, servers)


def answer(policy, view):
    """``("fire", size)`` or ``("wait", instant)``."""
    view.take[:] = 0
    said = policy.decide(view)
    if said == FIRE:
        return "fire", int(view.take.sum())
    assert not view.take.any()
    return "wait", said


def arrivals(*arrivals_ns):
    return [Waiting(arrival_ns) for arrival_ns in arrivals_ns]


def test_deadline_aware_leaves_in_time_for_one_request_more():
    policy = ready(DeadlineAware(slo_ns=10_000))
    start_ns = 50 + 10_000 - (2_000 + 350 * 3)
    assert answer(policy, example_view(60, arrivals(50, 60))) == ("wait", start_ns)
    assert answer(policy, example_view(start_ns, arrivals(50, 60))) == ("fire", 2)


def test_deadline_aware_keeps_its_margin():
    policy = ready(DeadlineAware(slo_ns=10_000, margin_ns=500))
    assert answer(policy, example_view(60, arrivals(50))) == ("wait", 50 + 10_000 - 2_700 - 500)


def test_deadline_aware_fires_a_full_batch_at_once():
    policy = ready(DeadlineAware(slo_ns=10_000, max_batch_size=2))
    assert answer(policy, example_view(60, arrivals(50, 51))) == ("fire", 2)
    assert answer(policy, example_view(60, arrivals(50, 51, 52))) == ("fire", 2)


def test_deadline_aware_heeds_the_most_urgent_request_in_the_batch():
    tiers = (Tier("urgent", 5_000), Tier("patient", 60_000))
    policy = ready(DeadlineAware(), tiers=tiers)
    waiting = [Waiting(50, tier=1), Waiting(80, tier=0)]
    assert answer(policy, example_view(90, waiting)) == ("wait", 80 + 5_000 - 3_050)
    assert answer(policy, example_view(90, waiting[:1])) == ("wait", 50 + 60_000 - 2_700)


def test_a_tier_without_an_slo_is_held_to_the_loosest_one():
    tiers = (Tier("a", 5_000), Tier("b", 60_000), Tier("c"))
    assert ready(DeadlineAware(), tiers=tiers).tier_slo_ns.tolist() == [5_000, 60_000, 60_000]
    own = ready(DeadlineAware(slo_ns=9_000), tiers=tiers)
    assert own.tier_slo_ns.tolist() == [9_000, 9_000, 9_000]


def test_deadline_aware_plans_for_the_longest_request():
    table, edges = np.array([[100, 900], [200, 1_800], [300, 2_700]]), np.array([10, 90])
    policy = ready(DeadlineAware(slo_ns=10_000), table, edges)
    waiting = [Waiting(1, 90), Waiting(2, 10)]
    assert answer(policy, example_view(9, waiting)) == ("wait", 1 + 10_000 - 2_700)


def learned(view, gap_ns):
    """The view after ``gap_ns`` has been learned from all arrivals so far."""
    view.memory[:] = gap_ns, view.arrived
    return view


def test_rate_aware_waits_up_to_the_break_even_gap():
    # S(k) = a + b k: one waits for the next while its gap is below (a - b) / 2 = 825 ns.
    policy = ready(RateAware())
    view = learned(example_view(100, arrivals(100), memory_slots=2), 824.0)
    assert answer(policy, view) == ("wait", 100 + 825)
    assert answer(policy, learned(view, 825.0)) == ("fire", 1)


def test_rate_aware_gives_up_when_the_running_gap_reaches_break_even():
    policy = ready(RateAware())
    for now_ns, said in ((924, ("wait", 925)), (925, ("fire", 1))):
        view = learned(example_view(now_ns, arrivals(100), memory_slots=2), 10.0)
        assert answer(policy, view) == said


def test_rate_aware_waits_less_with_every_request_that_waits():
    policy = ready(RateAware())
    two = learned(example_view(100, arrivals(100, 100), memory_slots=2), 10.0)
    assert answer(policy, two) == ("wait", 100 + (2_000 - 2 * 350) // 3)
    apart = learned(example_view(300, arrivals(100, 300), memory_slots=2), 10.0)
    assert answer(policy, apart) == ("wait", 300 + (2_000 - 2 * 350) // 3)
    six = learned(example_view(100, arrivals(*[100] * 6), memory_slots=2), 10.0)
    assert answer(policy, six) == ("fire", 6)


def test_rate_aware_fires_the_profiles_largest_batch_at_once():
    # Cheap enough for one more to pay, were there a larger batch.
    flat = ready(RateAware(), np.array([[100_000]] * 3))
    view = learned(example_view(100, arrivals(100, 100), memory_slots=2), 10.0)
    assert answer(flat, view) == ("wait", 100 + 33_333)
    full = learned(example_view(100, arrivals(100, 100, 100), memory_slots=2), 10.0)
    assert answer(flat, full) == ("fire", 3)


def test_rate_aware_never_waits_beside_another_idle_server():
    view = example_view(100, arrivals(100), idle_servers=2, memory_slots=2)
    assert answer(ready(RateAware()), learned(view, 1.0)) == ("fire", 1)


def test_rate_aware_counts_on_a_server_that_will_be_idle_sooner():
    policy = ready(RateAware())
    running = [Running(0, 4, 2_000)]
    view = learned(example_view(100, arrivals(100), running=running, memory_slots=2), 10.0)
    break_even_ns = (1_900 + 2_350 - 2_700 - 350) // 2
    assert answer(policy, view) == ("wait", 100 + break_even_ns)


def test_the_longest_of_the_first_looks_no_further_than_asked():
    view = example_view(9, [Waiting(1, 30), Waiting(2, 70), Waiting(3, 50), Waiting(4, 90)])
    assert [longest_of_first(view, 0, count) for count in range(5)] == [0, 30, 70, 70, 90]


def test_the_mean_gap_is_the_plain_mean_within_the_window():
    view = example_view(70, arrivals(10, 20, 50, 70), memory_slots=2)
    assert mean_gap_ns(view, 100) == pytest.approx(20.0)


def test_the_mean_gap_forgets_what_lies_far_behind_its_window():
    steady = np.cumsum([10] * 500 + [1_000] * 100).tolist()
    view = example_view(steady[-1], arrivals(*steady), memory_slots=2)
    assert mean_gap_ns(view, 10) == pytest.approx(1_000, rel=0.01)
    view.memory[:] = 0
    assert mean_gap_ns(view, 10**9) == pytest.approx(10 * 499 / 599 + 1_000 * 100 / 599)


def test_the_mean_gap_does_not_depend_on_when_it_is_asked():
    instants_ns = np.cumsum(np.random.default_rng(1).integers(0, 99, 300))
    once = example_view(10**6, arrivals(*instants_ns), memory_slots=2)
    often = example_view(10**6, arrivals(*instants_ns), memory_slots=2)
    for arrived in (1, 2, 2, 57, 300):
        gap_ns = mean_gap_ns(often._replace(arrived=arrived), 20)
    assert gap_ns == mean_gap_ns(once, 20)


@pytest.mark.parametrize(("waiting", "served"), [(1, 1), (3, 3), (4, 4), (7, 4), (8, 8), (11, 8)])
def test_snap_stops_at_the_edge_of_a_tile(waiting, served):
    # 7 requests in two tiles are fewer per tile than 4 in one; 8 in two are a tie.
    policy = ready(Snap(), TILES_OF_FOUR)
    assert answer(policy, example_view(9, arrivals(*range(waiting)))) == ("fire", served)


@pytest.mark.parametrize(("waiting", "served"), [(1, 1), (3, 3), (5, 4), (8, 8), (31, 31)])
def test_snap_weighs_a_padded_batch_against_the_power_of_two_below(waiting, served):
    policy = ready(Snap(), POWERS_OF_TWO)
    assert answer(policy, example_view(99, arrivals(*range(waiting)))) == ("fire", served)


def test_snap_is_greedy_where_times_are_smooth():
    for waiting in (1, 7, 32, 40):
        view = example_view(99, arrivals(*range(waiting)))
        assert answer(ready(Snap()), view) == ("fire", min(waiting, 32))


def test_snap_takes_the_larger_batch_on_a_tie():
    proportional = np.array([[1_000 * size] for size in range(1, 9)])
    view = example_view(9, arrivals(1, 2, 3))
    assert answer(ready(Snap(), proportional), view) == ("fire", 3)


def test_snap_leaves_out_a_long_request_that_would_slow_down_the_others():
    table = np.array([[1_000, 10_000]] * 8)
    policy = ready(Snap(), table, np.array([10, 100]))
    short, long = Waiting(1, 10), Waiting(3, 100)
    assert answer(policy, example_view(9, [short, Waiting(2, 10), long])) == ("fire", 2)
    assert answer(policy, example_view(9, [Waiting(0, 100), short, long])) == ("fire", 3)


def test_balanced_cap_is_one_third_and_two_above_the_balance():
    # S(k) <= 4 k gap with S = 2000 + 350 k and a gap of 187.5: k = 5 is the smallest, exactly.
    policy = ready(BalancedCap(), servers=4)
    view = example_view(99, arrivals(*range(30)), idle_servers=4, memory_slots=2)
    cap = int(np.ceil(1.3 * 5 + 2))
    assert answer(policy, learned(view, 187.5)) == ("fire", cap)


def test_balanced_cap_takes_an_equal_share_of_a_queue_that_grows():
    policy = ready(BalancedCap(), servers=2)
    few = example_view(99, arrivals(*range(8)), idle_servers=2, memory_slots=2)
    assert answer(policy, learned(few, 10_000.0)) == ("fire", 4)
    many = example_view(99, arrivals(*range(50)), idle_servers=2, memory_slots=2)
    assert answer(policy, learned(many, 10_000.0)) == ("fire", 25)
    odd = example_view(99, arrivals(*range(51)), idle_servers=2, memory_slots=2)
    assert answer(policy, learned(odd, 10_000.0)) == ("fire", 26)
    most = example_view(99, arrivals(*range(90)), idle_servers=2, memory_slots=2)
    assert answer(policy, learned(most, 10_000.0)) == ("fire", 32)


def test_balanced_cap_has_no_cap_when_no_batch_keeps_up():
    policy = ready(BalancedCap(), servers=2)
    view = example_view(99, arrivals(*range(30)), idle_servers=2, memory_slots=2)
    assert answer(policy, learned(view, 1.0)) == ("fire", 30)


def test_balanced_cap_with_one_server_is_greedy():
    view = example_view(99, arrivals(*range(30)), memory_slots=2)
    assert answer(ready(BalancedCap()), learned(view, 10_000.0)) == ("fire", 30)


def test_an_slo_that_never_comes_is_no_slo():
    with pytest.raises(ValueError, match="slo_ns > 0, or a tier has an SLO"):
        ready(DeadlineAware(), tiers=(Tier("all", NEVER),))
