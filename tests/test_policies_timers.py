"""Rules that wait for a size or a time: what they do in one situation each."""

import numpy as np
import pytest

from policies import (
    Aimd,
    Greedy,
    PreferredSizes,
    QueueDepthWait,
    SizeOrTimeout,
    Static,
)
from policies.contract import FIRE, NEVER, Tier, bind
from policies.testing import EDGES, TABLE, TIERS, Waiting, example_view


def ready(policy, tiers=TIERS):
    return bind(policy, TABLE, EDGES, tiers, 1)


def at(now_ns, *arrivals_ns, **others):
    return example_view(now_ns, [Waiting(arrival_ns) for arrival_ns in arrivals_ns], **others)


def answer(policy, view):
    """``("fire", size)`` or ``("wait", instant)``."""
    said = policy.decide(view)
    if said == FIRE:
        return "fire", int(view.take.sum())
    assert not view.take.any()
    return "wait", said


def test_static_waits_without_end_for_an_exact_batch():
    policy = ready(Static(3))
    assert answer(policy, at(10**12, 1, 2)) == ("wait", NEVER)
    assert answer(policy, at(3, 1, 2, 3)) == ("fire", 3)
    assert answer(policy, at(4, 1, 2, 3, 4)) == ("fire", 3)


def test_greedy_takes_what_waits_up_to_its_limit():
    assert answer(ready(Greedy(2)), at(9, 9)) == ("fire", 1)
    assert answer(ready(Greedy(2)), at(9, 1, 2, 3)) == ("fire", 2)


def test_greedy_without_a_limit_takes_the_profiles_largest_batch():
    assert answer(ready(Greedy()), at(100, *range(100))) == ("fire", 64)


def test_size_or_timeout_fires_at_the_instant_the_timer_ends():
    policy = ready(SizeOrTimeout(8, 100))
    assert answer(policy, at(109, 10, 40)) == ("wait", 110)
    assert answer(policy, at(110, 10, 40)) == ("fire", 2)


def test_size_or_timeout_fires_a_full_batch_before_the_timer():
    policy = ready(SizeOrTimeout(2, 100))
    assert answer(policy, at(11, 10, 11)) == ("fire", 2)


def test_size_or_timeout_fires_all_that_wait_once_the_minimum_waits():
    policy = ready(SizeOrTimeout(8, 100, min_batch_size=2))
    assert answer(policy, at(10, 10)) == ("wait", 110)
    assert answer(policy, at(12, 10, 11, 12)) == ("fire", 3)


def test_size_or_timeout_counts_from_the_idle_server_when_it_is_told_to():
    from_oldest = ready(SizeOrTimeout(8, 100))
    from_idle = ready(SizeOrTimeout(8, 100, from_idle=True))
    late = {"idle_since_ns": 500}
    assert answer(from_oldest, at(500, 10, **late)) == ("fire", 1)
    assert answer(from_idle, at(500, 10, **late)) == ("wait", 600)
    assert answer(from_idle, at(550, 520, **late)) == ("wait", 620)


def test_a_wait_without_end_does_not_overflow():
    assert answer(ready(SizeOrTimeout(8, NEVER)), at(10**18, 10**17)) == ("wait", NEVER)
    assert answer(ready(SizeOrTimeout(8, NEVER - 5)), at(10**18, 10**17)) == ("wait", NEVER)


def test_preferred_sizes_fires_the_largest_preferred_size_that_waits():
    policy = ready(PreferredSizes(np.array([8, 4]), 16, 100))
    assert answer(policy, at(20, 1, 2, 3)) == ("wait", 101)
    assert answer(policy, at(20, 1, 2, 3, 4)) == ("fire", 4)
    assert answer(policy, at(20, *range(1, 8))) == ("fire", 4)
    assert answer(policy, at(20, *range(1, 18))) == ("fire", 8)


def test_preferred_sizes_fires_everything_when_the_delay_is_over():
    policy = ready(PreferredSizes(np.array([4]), 6, 100))
    assert answer(policy, at(101, 1, 2, 3, 4, 5)) == ("fire", 5)
    assert answer(policy, at(101, *range(1, 9))) == ("fire", 6)


def test_preferred_sizes_without_a_delay_only_caps_the_batch():
    policy = ready(PreferredSizes(np.array([4]), 6, 0))
    assert answer(policy, at(100, 1, 2, 3)) == ("fire", 3)
    assert answer(policy, at(100, *range(1, 7))) == ("fire", 4)


def test_preferred_sizes_prefers_the_largest_when_none_is_given():
    policy = ready(PreferredSizes(max_batch_size=6, max_wait_ns=100))
    assert answer(policy, at(10, 1, 2, 3, 4, 5)) == ("wait", 101)
    assert answer(policy, at(10, 1, 2, 3, 4, 5, 6)) == ("fire", 6)


@pytest.mark.parametrize(("waiting", "due_ns"), [(1, 1000 + 700), (2, 1000 + 600), (7, 1000 + 100)])
def test_queue_depth_wait_shrinks_by_equal_steps(waiting, due_ns):
    policy = ready(QueueDepthWait(8, 700))
    arrivals_ns = range(1000, 1000 + waiting)
    assert answer(policy, at(1010, *arrivals_ns)) == ("wait", due_ns)
    assert answer(policy, at(due_ns, *arrivals_ns)) == ("fire", waiting)


def test_queue_depth_wait_fires_a_full_batch_at_once():
    assert answer(ready(QueueDepthWait(3, 700)), at(4, 1, 2, 3, 4)) == ("fire", 3)
    assert answer(ready(QueueDepthWait(1, 700)), at(4, 4)) == ("fire", 1)


def test_queue_depth_wait_divides_an_endless_wait_without_overflow():
    said, instant_ns = answer(ready(QueueDepthWait(3, NEVER)), at(10, 1, 2))
    assert said == "wait"
    assert instant_ns == 1 + NEVER // 2


def after(policy, view, size, service_ns):
    """Let a learning rule see that a batch of ``size`` took ``service_ns``."""
    seen = view._replace(finished_size=size, finished_service_ns=service_ns)
    policy.observe(seen)


def test_aimd_starts_with_one_request_and_adds_one_while_batches_meet_the_slo():
    policy = ready(Aimd(slo_ns=1000))
    view = at(50, *range(40), memory_slots=1)
    sizes = []
    for _ in range(4):
        view.take[:] = 0
        sizes.append(answer(policy, view)[1])
        after(policy, view, sizes[-1], 1000)
    assert sizes == [1, 2, 3, 4]


def test_aimd_backs_off_by_a_tenth_after_a_batch_that_was_too_slow():
    policy = ready(Aimd(slo_ns=1000))
    view = at(50, *range(40), memory_slots=1)
    view.memory[0] = 19.0
    after(policy, view, 20, 1001)
    assert answer(policy, view) == ("fire", 18)


def test_aimd_learns_nothing_from_a_fast_batch_below_its_limit():
    policy = ready(Aimd(slo_ns=1000))
    view = at(50, *range(40), memory_slots=1)
    view.memory[0] = 9.0
    after(policy, view, 9, 10)
    assert view.memory[0] == 9.0
    after(policy, view, 10, 10)
    assert view.memory[0] == 10.0


def test_aimd_stays_between_one_and_the_largest_batch():
    policy = ready(Aimd(slo_ns=1000, max_batch_size=3, increase=5.0))
    view = at(50, *range(40), memory_slots=1)
    after(policy, view, 1, 2000)
    assert answer(policy, view) == ("fire", 1)
    view.take[:] = 0
    after(policy, view, 1, 10)
    assert answer(policy, view) == ("fire", 3)


def test_aimd_takes_the_tightest_tier_when_it_has_no_slo_of_its_own():
    tiers = (Tier("a", 7_000), Tier("b", 5_000), Tier("c"))
    assert ready(Aimd(), tiers).slo_ns == 5_000
    assert ready(Aimd(slo_ns=9_000), tiers).slo_ns == 9_000


def test_aimd_waits_for_its_limit_only_when_it_is_given_time():
    view = at(50, 40, memory_slots=1)
    view.memory[0] = 3.0
    assert answer(ready(Aimd(slo_ns=1000)), view) == ("fire", 1)
    view.take[:] = 0
    patient = ready(Aimd(slo_ns=1000, max_wait_ns=30))
    assert answer(patient, view) == ("wait", 70)
    assert answer(patient, view._replace(now_ns=70)) == ("fire", 1)


def test_aimd_does_not_wait_once_its_limit_is_there():
    view = at(50, 40, 41, memory_slots=1)
    view.memory[0] = 1.0
    assert answer(ready(Aimd(slo_ns=1000, max_wait_ns=30)), view) == ("fire", 2)
