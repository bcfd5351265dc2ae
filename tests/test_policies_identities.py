"""Rules that must agree with one another, view by view."""

import numpy as np
import pytest

from policies import (
    Aimd,
    BalancedCap,
    DeadlineAware,
    Greedy,
    LengthBucketed,
    NearestLengths,
    PreferredSizes,
    QueueDepthWait,
    RateAware,
    SizeOrTimeout,
    Snap,
    Static,
    TokenBudget,
)
from policies.contract import NEVER, Tier, bind
from policies.random_queue import Bound, RandomQueue
from policies.testing import EDGES, TABLE, TIERS

MS = 1_000_000
WAIT_NS = 200 * MS
LINEAR = np.array([[2 * MS + 350_000 * size] for size in range(1, 65)])
LOOSE = (Tier("all", NEVER - 1),)


def views(seed, servers, table, edges, tiers):
    """Five hundred views of one lane: queues of all depths, some of them waiting for long."""
    rng = np.random.default_rng(seed)
    bound = Bound(table, edges, tiers, servers)
    seen = 0
    while seen < 500:
        queue = RandomQueue(Greedy(), bound, rng)
        while queue.arrived < queue.requests:
            before_ns = queue.now_ns
            queue.move()
            for server in set(range(servers)) - set(queue.idle()):
                if queue.now_ns >= queue.expected_finish_ns[server]:
                    queue.finish(server)
            queue.admit(before_ns)
            if queue.waiting and queue.idle():
                seen += 1
                yield queue.view(queue.idle()[0])
                if rng.random() < 0.6:
                    count = int(rng.integers(1, min(queue.waiting, 64), endpoint=True))
                    queue.start(queue.idle()[0], queue.form(np.array([count])))


def answers(policy, servers=1, table=TABLE, edges=EDGES, tiers=TIERS):
    """What a rule says to each of the views."""
    bound = bind(policy, table, edges, tiers, servers)
    said = []
    for view in views(7, servers, table, edges, tiers):
        own = view._replace(memory=np.zeros(2))
        said.append((bound.decide(own), int(own.take[0])))
    return said


SAME = {
    "no wait is greedy": (SizeOrTimeout(16, 0), Greedy(16)),
    "a minimum of one is greedy": (SizeOrTimeout(16, NEVER, min_batch_size=1), Greedy(16)),
    "a limit without a timer is greedy": (QueueDepthWait(16, 0), Greedy(16)),
    "batches of one have nothing to wait for": (QueueDepthWait(1, NEVER), Greedy(1)),
    "one bucket is unbucketed": (
        LengthBucketed(max_batch_size=np.array([16]), max_wait_ns=np.array([WAIT_NS])),
        SizeOrTimeout(16, WAIT_NS),
    ),
    "one bucket without a wait is greedy": (LengthBucketed(), Greedy()),
    "one lane of lengths is unbucketed": (
        NearestLengths(16, WAIT_NS, length_lanes=1),
        SizeOrTimeout(16, WAIT_NS),
    ),
    "only the largest size preferred is size or timeout": (
        PreferredSizes(max_batch_size=16, max_wait_ns=WAIT_NS),
        SizeOrTimeout(16, WAIT_NS),
    ),
    "every size preferred is greedy": (
        PreferredSizes(np.arange(1, 17), 16, WAIT_NS),
        Greedy(16),
    ),
    "a budget without end is size or timeout": (
        TokenBudget(NEVER, 16, WAIT_NS),
        SizeOrTimeout(16, WAIT_NS),
    ),
    "a budget of nothing is one by one": (TokenBudget(1), Greedy(1)),
    "no patience and no minimum is a static batch": (SizeOrTimeout(16, NEVER), Static(16)),
    "a limit that never grew is one by one": (Aimd(), Greedy(1)),
    "one server has nothing to balance": (BalancedCap(), Greedy()),
    "an objective that is over is greedy": (DeadlineAware(slo_ns=1), Greedy()),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_two_rules_are_the_same(one, other):
    assert answers(one) == answers(other)


def test_snap_is_greedy_on_a_straight_line():
    line = {"table": LINEAR, "edges": np.array([512])}
    assert answers(Snap(), **line) == answers(Greedy(), **line)


def test_an_objective_without_end_waits_for_a_full_batch():
    waiting = answers(DeadlineAware(max_batch_size=16), tiers=LOOSE)
    static = answers(Static(16), tiers=LOOSE)
    assert [count for _, count in waiting] == [count for _, count in static]


def test_rate_aware_is_greedy_while_other_servers_are_idle():
    said = answers(RateAware(), servers=4)
    assert said != answers(Static(64), servers=4)
    crowded = [view.idle_servers > 1 for view in views(7, 4, TABLE, EDGES, TIERS)]
    greedy = answers(Greedy(), servers=4)
    assert sum(crowded) > 100
    assert all(a == b for a, b, idle in zip(said, greedy, crowded, strict=True) if idle)


def test_the_views_tell_rules_apart():
    assert answers(Greedy()) != answers(Greedy(16))
    assert answers(SizeOrTimeout(16, WAIT_NS)) != answers(SizeOrTimeout(16, WAIT_NS + MS))
    assert answers(Snap()) != answers(Greedy())
    fired = [count > 0 for _, count in answers(SizeOrTimeout(16, WAIT_NS))]
    assert 0.2 < np.mean(fired) < 0.8
