"""The station without an end: the same batches as one that knows who is to come."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import pytest
from random_runs import MS, random_run

from policies import POLICIES
from policies.contract import NEVER, Tier, fire, wait
from policies.greedy import Greedy
from policies.static import Static
from sim import endless, live
from sim.endless import Comer, EndlessStation
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.trace import EXPIRED, REJECTED, SERVED, UNFINISHED
from sim.virtual import VirtualWorld

RUNS_PER_POLICY = 16


def endlessly(policy, workload, service):
    """What becomes of each request, as (status, start, finish), and the station."""
    station = EndlessStation(policy, service, workload.tiers)
    times, running, start_ns = DrawnTimes(service), [], {}
    found, came = {}, 0
    tiers = workload.tier if len(workload.tier) else np.zeros(len(workload), dtype=int)
    patience = workload.timeout_ns if len(workload.timeout_ns) else [NEVER] * len(workload)

    def answer(requests, now_ns):
        for request in requests:
            status = int(station.status[request])
            ended_ns = {SERVED: now_ns, EXPIRED: int(station.room.deadline_ns[request])}
            found[request] = (status, start_ns.pop(request, -1), ended_ns.get(status, -1))

    while True:
        arrival_ns = int(workload.arrival_ns[came]) if came < len(workload) else NEVER
        running_ns = running[0][0] if running else NEVER
        now_ns = min(arrival_ns, running_ns, station.next_ns, station.expiry_ns)
        if now_ns == NEVER:
            return found, station
        done = []
        while running and running[0][0] == now_ns:
            done.append(heappop(running))
        answer(station.settle(now_ns, done), now_ns)
        comers = []
        while came < len(workload) and workload.arrival_ns[came] == now_ns:
            comers.append(
                Comer(now_ns, int(workload.length[came]), int(tiers[came]), int(patience[came]))
            )
            came += 1
        answer(station.take_in(now_ns, comers), now_ns)
        for batch in station.dispatch(now_ns):
            start_ns.update(dict.fromkeys(batch.members, now_ns))
            heappush(running, (now_ns + times(batch), batch.server))
        found |= dict.fromkeys(station.shed, (EXPIRED, -1, now_ns))


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """Rows that are used again and again, and rings that grow."""
    monkeypatch.setattr(endless, "ROWS", 16)
    monkeypatch.setattr(endless, "RECORDS", 8)


def open_runs(kind, requests=100, seeds=RUNS_PER_POLICY):
    for seed in range(seeds):
        run = random_run(seed, kind, requests=requests)
        if run.workload.closed is None and run.workload.until_ns == NEVER:
            yield run._replace(service=replace(run.service, capacity=min(run.service.capacity, 40)))


@pytest.mark.parametrize("kind", POLICIES)
def test_an_endless_station_makes_the_batches_of_one_that_ends(kind):
    for run in open_runs(kind):
        trace = live.run(*run, VirtualWorld(run.workload, DrawnTimes(run.service)))
        found, _ = endlessly(*run)
        for request in range(len(trace)):
            expected = (trace.status[request], trace.start_ns[request], trace.finish_ns[request])
            assert found.get(request, (UNFINISHED, -1, -1)) == expected


def test_those_runs_give_up_are_refused_use_rows_again_and_grow():
    statuses, grown, again = set(), 0, 0
    for run in open_runs(None, seeds=40):
        found, station = endlessly(*run)
        statuses |= {one[0] for one in found.values()}
        grown += len(station.owner) > 16
        again += len(run.workload) > len(station.owner)
    assert statuses >= {SERVED, REJECTED, EXPIRED}
    assert grown >= 3
    assert again >= 5


def one_server(capacity=4):
    table_ns = np.array([[[2 * MS], [3 * MS]]])
    return Service(table_ns, np.array([1]), capacity=capacity)


def one_after_the_other(station, turns, timeout_ns):
    """Each comes when the one before is done; yields the instants."""
    for turn in range(turns):
        now_ns = turn * 2 * MS
        station.settle(now_ns, [(now_ns, 0)] if station.busy else [])
        station.take_in(now_ns, [Comer(now_ns, 1, timeout_ns=timeout_ns(turn))])
        assert len(list(station.dispatch(now_ns))) == 1
        yield now_ns


def test_a_deadline_of_who_had_the_row_before_is_not_the_new_owners():
    station = EndlessStation(Greedy(), one_server())
    # the first 16 could have waited for the length of 20 turns, and their rows have new owners then

    def patience_ns(turn):
        return 40 * MS if turn < 16 else NEVER

    now_ns = list(one_after_the_other(station, 19, patience_ns))[-1]
    station.take_in(now_ns, [Comer(now_ns, 1)] * 3)
    assert station.waiting == 3
    for later_ns in range(now_ns, 100 * MS, MS):
        assert station.settle(later_ns) == []
    assert station.waiting == 3
    assert station.expiry_ns == NEVER


class FirstTier(NamedTuple):
    """Serves nobody else."""

    def lanes(self):
        return 2

    def lane_of(self, length, tier):
        return tier

    def decide(self, view):
        return fire(view, 0, 1) if view.waiting[0] else wait()


def test_what_is_kept_of_the_past_is_bounded():
    station = EndlessStation(FirstTier(), one_server(), (Tier("first"), Tier("never")))
    # its deadline is the next one, so that those of all who come later stand behind it
    station.take_in(0, [Comer(0, 1, tier=1, timeout_ns=10**14)])
    records = deadlines = 0
    for _ in one_after_the_other(station, 3000, lambda turn: 10**15):
        records = max(records, len(station.records))
        deadlines = max(deadlines, len(station._impatient))
    assert station.arrived == 3001
    assert records <= 8
    assert 1000 < deadlines <= 1024 + 2 * 3
    assert len(station.owner) == 4096  # the first one still has its row


def test_a_full_queue_refuses():
    station = EndlessStation(Greedy(), one_server(capacity=2))
    assert station.take_in(0, [Comer(0, 1)] * 5) == [2, 3, 4]
    assert station.waiting == 2
    assert station.status[[0, 1, 2]].tolist() == [UNFINISHED, UNFINISHED, REJECTED]


def test_who_needs_the_row_of_one_that_still_waits_is_refused_once_the_ring_may_not_grow(
    monkeypatch,
):
    monkeypatch.setattr(endless, "ROWS_MOST", 16)
    station = EndlessStation(FirstTier(), one_server(capacity=9), (Tier("first"), Tier("never")))
    assert station.take_in(0, [Comer(0, 1, tier=1)]) == []
    assert len(list(one_after_the_other(station, 15, lambda turn: NEVER))) == 15
    assert station.settle(30 * MS, [(30 * MS, 0)]) == [15]
    assert station.take_in(30 * MS, [Comer(30 * MS, 1)] * 2) == [16]
    assert station.waiting == 2


def changed(policies, run, at):
    """What becomes of a run whose policy is another one from some request on."""
    station = EndlessStation(policies[0], run.service, run.workload.tiers)
    times, running, ended, alive = DrawnTimes(run.service), [], [], {}

    def end(requests):
        ended.extend(alive.pop(one) for one in requests)

    def go_on(now_ns):
        for batch in station.dispatch(now_ns):
            heappush(running, (now_ns + times(batch), batch.server))
        end(station.shed)

    for came in range(len(run.workload)):
        arrival_ns = int(run.workload.arrival_ns[came])
        while running and running[0][0] <= arrival_ns:
            now_ns, server = heappop(running)
            end(station.settle(now_ns, [(now_ns, server)]))
            go_on(now_ns)
        if came == at:
            new_of = station.change(policies[1])
            alive = {new_of[old]: who for old, who in alive.items()}
            assert sorted(alive) == list(range(len(alive))) == sorted(new_of.values())
            assert [alive[one] for one in sorted(alive)] == sorted(alive.values())
        end(station.settle(arrival_ns))
        alive[station.arrived] = came
        end(station.take_in(arrival_ns, [Comer(arrival_ns, int(run.workload.length[came]))]))
        go_on(arrival_ns)
    return station, ended, alive


@pytest.mark.parametrize(
    "kinds",
    [
        ("greedy", "length_bucketed"),
        ("length_bucketed", "aimd"),
        ("rate_aware", "rate_aware"),
        ("sealed_batches", "greedy"),
        ("greedy", "nearest_lengths"),
    ],
)
def test_a_policy_is_changed_and_nobody_is_lost(kinds):
    busy = 0
    for run in open_runs(kinds[0], seeds=12):
        other = random_run(3, kinds[1]).policy
        try:
            station, ended, alive = changed((run.policy, other), run, len(run.workload) // 2)
        except ValueError:  # the other one does not fit this service
            continue
        assert sorted([*ended, *alive.values()]) == list(range(len(run.workload)))
        assert station.waiting + station.in_service == len(alive)
        assert station.queues[0].policy.__class__ is other.__class__
        busy += bool(alive)
    assert busy


def test_a_new_policy_is_asked_with_ids_that_begin_anew():
    station = EndlessStation(FirstTier(), one_server(), (Tier("first"), Tier("never")))
    for _ in one_after_the_other(station, 30, lambda turn: NEVER):
        pass
    station.take_in(58 * MS, [Comer(58 * MS, 1, tier=1, timeout_ns=90 * MS)])
    assert station.change(Greedy()) == {29: 0, 30: 1}
    assert (station.arrived, station.waiting, station.in_service) == (2, 1, 1)
    assert station.expiry_ns == 148 * MS
    assert station.settle(60 * MS, [(60 * MS, 0)]) == [0]
    assert [batch.members for batch in station.dispatch(60 * MS)] == [(1,)]


def test_a_policy_that_does_not_fit_changes_nothing():
    station = EndlessStation(Greedy(), one_server())
    station.take_in(0, [Comer(0, 1)] * 2)
    with pytest.raises(ValueError, match="batch_size"):
        station.change(Static(99))
    assert isinstance(station.queues[0].policy, Greedy)
    assert [batch.members for batch in station.dispatch(0)] == [(0, 1)]
