"""The timers of serving stacks: the same size and wait mean something else in each."""

import numpy as np
import pytest
from scipy.stats import kstest

from policies import CollectionWindow, SealedBatches, SizeOrTimeout, TimerFromPick, TokenBudgetAhead
from policies.contract import FIRE, NEVER, bind
from policies.testing import EDGES, TABLE, TIERS, Waiting, example_view
from sim import kernel
from sim.service import Service
from sim.workload import Workload

MS = 1_000_000
US = 1_000


def ready(policy):
    return bind(policy, TABLE, EDGES, TIERS, 1)


def at(now_ns, *arrivals_ns, **others):
    return example_view(now_ns, [Waiting(arrival_ns) for arrival_ns in arrivals_ns], **others)


def answer(policy, view):
    """``("fire", size)`` or ``("wait", instant)``."""
    said = policy.decide(view)
    if said == FIRE:
        return "fire", int(view.take.sum())
    assert not view.take.any()
    return "wait", said


def poisson(rate_per_s, seconds, seed):
    rng = np.random.default_rng(seed)
    arrival_ns = np.sort(rng.integers(0, seconds * 10**9, rng.poisson(rate_per_s * seconds)))
    return Workload(np.ones(len(arrival_ns), dtype=np.int32), arrival_ns)


FAKE = Service(
    np.array([[[round((5 + 0.5 * size) * MS)] for size in range(1, 9)]], dtype=np.int64),
    np.array([1]),
)
"""5 ms and 0.5 ms a request, at most 8: the model that the stacks were measured with."""


# from the pick


def test_the_timer_starts_when_a_free_server_takes_the_first_request():
    policy = ready(TimerFromPick(8, 100))
    assert answer(policy, at(60, 10, idle_since_ns=50)) == ("wait", 150)
    assert answer(policy, at(150, 10, idle_since_ns=50)) == ("fire", 1)
    assert answer(policy, at(60, 55, idle_since_ns=50)) == ("wait", 155)


def test_a_second_idle_server_begins_to_collect_when_the_first_has_gone():
    policy = ready(TimerFromPick(8, 100))
    view = at(260, 10, idle_since_ns=50)._replace(formed_ns=250)
    assert answer(policy, view) == ("wait", 350)


@pytest.mark.parametrize(
    ("first_us", "last_us", "due_us"),
    [
        (1_000, 1_000, 11_000),
        (1_900, 1_900, 11_900),
        (1_900, 2_100, 11_100),  # a tick has passed: 9 ms are left
        (1_000, 2_900, 11_900),  # one tick only
        (1_900, 10_950, 11_950),
        (1_900, 11_000, 11_000),  # nothing is left
    ],
)
def test_a_wait_in_whole_ticks_is_counted_anew_from_each_request(first_us, last_us, due_us):
    policy = ready(TimerFromPick(8, 10 * MS, clock_ns=MS))
    view = at(last_us * US, first_us * US, last_us * US, idle_since_ns=0)
    expected = ("fire", 2) if due_us == last_us else ("wait", due_us * US)
    assert answer(policy, view) == expected


def test_a_wait_of_no_tick_makes_batches_of_at_most_two():
    policy = ready(TimerFromPick(8, 0, clock_ns=MS))
    assert answer(policy, at(9, 9)) == ("fire", 1)
    assert answer(policy, at(9, 1, 2, 3, 4)) == ("fire", 2)
    assert answer(ready(TimerFromPick(8, 0)), at(9, 1, 2, 3, 4)) == ("fire", 4)


def test_a_timer_that_is_polled_ends_at_the_first_look_after_it():
    policy = ready(TimerFromPick(8, MS, poll_ns=MS // 10))
    assert answer(policy, at(500_030, 500_030)) == ("wait", 1_500_030)
    assert answer(policy, at(530_000, 500_030, 530_000)) == ("wait", 1_530_000)
    late = at(1_510_000, 500_030, 1_510_000)
    assert answer(policy, late) == ("fire", 2)  # it is looked at when a request is taken


def test_a_clock_and_a_poll_together_are_refused():
    with pytest.raises(ValueError, match="`clock_ns or poll_ns, not both` must hold"):
        ready(TimerFromPick(8, MS, MS, MS))


def test_ticks_end_a_wait_of_two_requests_up_to_one_tick_early_or_late():
    """Pairs of requests at random phases: the wait of the first is 10 ms give or take one tick."""
    rng = np.random.default_rng(4)
    first = np.arange(20_000) * 50 * MS + rng.integers(0, MS, 20_000)
    second = first + rng.integers(1, 9 * MS, 20_000)
    arrival_ns = np.stack([first, second], axis=1).reshape(-1)
    workload = Workload(np.ones(len(arrival_ns), dtype=np.int32), arrival_ns)
    trace = kernel.run(TimerFromPick(8, 10 * MS, clock_ns=MS), workload, FAKE)
    late_ns = (trace.start_ns - trace.arrival_ns)[::2] - 10 * MS
    assert trace.batch_size.min() == 2
    assert -MS < late_ns.min() < -0.9 * MS
    assert 0.9 * MS < late_ns.max() < MS
    exact = kernel.run(TimerFromPick(8, 10 * MS), workload, FAKE)
    assert set((exact.start_ns - exact.arrival_ns)[::2].tolist()) == {10 * MS}


# windows


def test_a_lone_request_waits_for_the_rest_of_a_window():
    policy = ready(CollectionWindow(8, 100))
    assert answer(policy, at(275, 275, idle_since_ns=50)) == ("wait", 350)
    assert answer(policy, at(350, 275, idle_since_ns=50)) == ("fire", 1)
    assert answer(policy, at(349, 275, 349, idle_since_ns=50)) == ("wait", 350)


def test_a_backlog_waits_for_a_whole_window():
    policy = ready(CollectionWindow(8, 100))
    assert answer(policy, at(50, 10, 20, idle_since_ns=50)) == ("wait", 150)
    assert answer(policy, at(50, *range(8), idle_since_ns=50)) == ("fire", 8)


def test_windows_of_no_length_take_what_is_there():
    assert answer(ready(CollectionWindow(8, 0)), at(9, 1, 2, 3)) == ("fire", 3)


def test_the_wait_of_a_lone_request_in_windows_is_uniform():
    """Kolmogorov and Smirnov on 5000 waits, of false alarm rate 1 in 1000; a timer fails it."""
    rng = np.random.default_rng(8)
    arrival_ns = np.arange(5000) * 10**9 + rng.integers(0, 10**8, 5000)
    workload = Workload(np.ones(5000, dtype=np.int32), arrival_ns)
    for policy, uniform in (
        (CollectionWindow(8, 10 * MS), True),
        (TimerFromPick(8, 10 * MS), False),
    ):
        trace = kernel.run(policy, workload, FAKE)
        share = (trace.start_ns - trace.arrival_ns) / (10 * MS)
        assert (kstest(share, "uniform").pvalue > 1e-3) == uniform


# sealed


def test_batches_are_closed_by_size_or_by_the_timer_of_their_first_request():
    policy = ready(SealedBatches(3, 100))
    assert answer(policy, at(120, 50, 60, memory_slots=1)) == ("wait", 150)
    assert answer(policy, at(120, 50, 60, memory_slots=1)._replace(formed_ns=80)) == ("wait", 180)
    assert answer(policy, at(61, 50, 60, 61, 61, memory_slots=1)) == ("fire", 3)


def test_who_is_kept_outside_is_taken_when_there_is_room_again():
    policy = ready(SealedBatches(3, 100, max_ongoing_requests=4))
    outside = at(120, 50, memory_slots=1)._replace(sealed_requests=4)
    assert answer(policy, outside) == ("wait", NEVER)
    partly = at(120, 50, 60, 70, memory_slots=1)._replace(sealed_requests=2)
    assert answer(policy, partly) == ("wait", 150)
    view = at(200, 50, finished=(1, 2, 90), memory_slots=1)._replace(sealed_requests=2)
    policy.observe(view)
    assert answer(policy, view) == ("wait", 300)
    roomy = at(250, 50, finished=(1, 1, 90), memory_slots=1)._replace(sealed_requests=2)
    policy.observe(roomy)
    assert roomy.memory[0] == 0  # there was room before, too


def test_a_budget_ahead_stops_at_the_first_that_does_not_fit():
    padded, summed = ready(TokenBudgetAhead(100)), ready(TokenBudgetAhead(100, padded=False))
    view = example_view(9, [Waiting(1, 10), Waiting(2, 45), Waiting(3, 40), Waiting(4, 1)])
    assert answer(padded, view._replace(take=view.take.copy())) == ("fire", 2)
    assert answer(summed, view._replace(take=view.take.copy())) == ("fire", 4)
    long = example_view(9, [Waiting(1, 300), Waiting(2, 1)])
    assert answer(padded, long) == ("fire", 1)


# all of them


MEANS = {
    ("oldest", 50): (SizeOrTimeout(8, 10 * MS), 1.538),
    ("oldest", 200): (SizeOrTimeout(8, 10 * MS), 2.994),
    ("oldest", 300): (SizeOrTimeout(8, 10 * MS), 4.027),
    ("pick", 50): (TimerFromPick(8, 10 * MS), 1.608),
    ("pick", 200): (TimerFromPick(8, 10 * MS), 3.650),
    ("pick", 300): (TimerFromPick(8, 10 * MS), 5.3),
    ("ticks", 200): (TimerFromPick(8, 10 * MS, clock_ns=MS), 3.650),
    ("window", 50): (CollectionWindow(8, 10 * MS), 1.397),
    ("window", 200): (CollectionWindow(8, 10 * MS), 3.478),
    ("sealed", 50): (SealedBatches(8, 10 * MS), 1.538),
    ("sealed", 300): (SealedBatches(8, 10 * MS), 4.027),
    ("sealed, no wait", 150): (SealedBatches(8, 0), 1.0),
}
"""Mean batch of small simulations of each family, written apart from these, for 5 + 0.5 n ms and
the arrivals of one measurement of 10 s: they scatter by a few per cent around the mean rate."""


@pytest.mark.parametrize("case", MEANS)
def test_mean_batches_are_those_of_a_simulation_of_each_family_that_was_written_apart(case):
    policy, mean = MEANS[case]
    trace = kernel.run(policy, poisson(case[1], 1000, 1), FAKE)
    assert trace.batch_size.mean() == pytest.approx(mean, rel=0.05)


def test_the_families_differ_by_more_than_those_simulations_scatter():
    workload = poisson(300, 1000, 1)
    of = {
        name: kernel.run(policy, workload, FAKE).batch_size.mean()
        for name, policy in (
            ("oldest", SizeOrTimeout(8, 10 * MS)),
            ("pick", TimerFromPick(8, 10 * MS)),
            ("ahead", TokenBudgetAhead(8)),
        )
    }
    assert of["pick"] > 1.25 * of["oldest"] > 1.25 * 1.25 * of["ahead"]


def test_a_batch_that_never_queues_is_the_same_from_the_oldest_and_sealed():
    """With a wait longer than any service the server is free whenever a timer ends."""
    workload = poisson(20, 200, 2)
    one = kernel.run(SizeOrTimeout(8, 20 * MS), workload, FAKE)
    other = kernel.run(SealedBatches(8, 20 * MS), workload, FAKE)
    assert np.array_equal(one.start_ns, other.start_ns)


def test_from_pick_without_clocks_is_from_idle_on_one_server():
    workload = poisson(250, 200, 3)
    one = kernel.run(TimerFromPick(8, 7 * MS), workload, FAKE)
    assert one.equals(kernel.run(SizeOrTimeout(8, 7 * MS, from_idle=True), workload, FAKE))
