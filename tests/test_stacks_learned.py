"""A server that has learned goes on where its log ends."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.export.setting import Costs
from experiments.stacks.calibrate import Overheads
from experiments.stacks.contract import Ruling
from experiments.stacks.learned import Past, at_once, learns, remembered, run_after
from experiments.stacks.model_files import Logged
from experiments.stacks.predict import simulated
from policies.cork import LOOK_NS, WAITED, Cork
from policies.greedy import Greedy
from sim import model
from sim.model import Model
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.station import Station
from sim.workload import Workload

MS = 1_000_000
SERVICE = Service((np.array([24, 28, 36, 36, 52, 52, 52, 52]) * MS).reshape(1, 8, 1), np.array([1]))
CORK = Cork(8, 1_000 * MS)


class Times(DrawnTimes):
    """Durations as the profile has them."""

    def __init__(self, rest_ns=0):
        super().__init__(SERVICE)
        self.model_ns, self.rest_ns = [], rest_ns

    def __call__(self, batch):
        self.model_ns.append(super().__call__(batch))
        return self.model_ns[-1] + self.rest_ns


def workload(*instants):
    arrival_ns = np.concatenate(instants).astype(np.int64)
    return Workload(np.ones(len(arrival_ns), dtype=np.int32), arrival_ns)


def poisson(rate_per_s, seconds, seed=0):
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, int(rate_per_s * seconds))
    return np.cumsum(gaps).astype(np.int64)


def past_of(trace, now_ns):
    """The log of a simulated server up to an instant."""
    firsts = np.full(len(trace.batch_size), 2**62)
    served = trace.batch >= 0
    np.minimum.at(firsts, trace.batch[served], trace.arrival_ns[served])
    end_ns = np.zeros(len(firsts), dtype=np.int64)
    end_ns[trace.batch[served]] = trace.finish_ns[served]
    done = end_ns < now_ns
    columns = (firsts, trace.batch_start_ns, end_ns)
    size = trace.batch_size[done].astype(np.int64)
    return Past(*(each[done] - now_ns for each in columns), size, np.ones_like(size))


def memory_after(arrivals):
    """The memory of the rule in a simulation."""
    station = Station(CORK, workload(arrivals), SERVICE)
    Model(station, DrawnTimes(SERVICE)).env.run()
    return station.queues[0].memory, station.trace()


@pytest.mark.parametrize("seconds", [0.2, 2, 20])
def test_a_log_tells_all_that_the_rule_has_learned(seconds):
    memory, trace = memory_after(poisson(80, seconds))
    now_ns = int(trace.finish_ns.max()) + 1
    found = remembered(past_of(trace, now_ns).at(now_ns), 0, CORK)
    learned = [cell for cell in range(len(memory)) if cell not in (LOOK_NS, WAITED)]
    assert found[learned].tolist() == pytest.approx(memory[learned].tolist(), rel=1e-12)
    assert np.count_nonzero(found) > 10


def test_a_server_with_a_past_goes_on_as_if_it_had_never_been_stopped():
    before, after = poisson(80, 20), poisson(60, 10, seed=1)
    start_ns = int(before[-1]) + 3_000 * MS
    whole = model.run(CORK, workload(before, after + start_ns), SERVICE)
    past = past_of(whole, start_ns)
    assert 0 < len(past.size) < len(whole.batch_size)
    found = run_after(past, 0, CORK, workload(after), SERVICE, Times())
    later = whole.batch_start_ns >= start_ns
    assert (found.batch_start_ns + start_ns).tolist() == whole.batch_start_ns[later].tolist()
    assert found.batch_size.tolist() == whole.batch_size[later].tolist()
    new = model.run(CORK, workload(after), SERVICE)
    assert new.batch_size.tolist() != found.batch_size.tolist()


def test_the_way_in_is_no_part_of_the_wait():
    _, trace = memory_after(poisson(80, 20))
    past = past_of(trace, int(trace.finish_ns.max()) + 1)
    logged = past._replace(first_sent_ns=past.first_sent_ns - 5 * MS)
    assert remembered(logged, 5 * MS, CORK).tolist() == remembered(past, 0, CORK).tolist()
    assert remembered(logged, 0, CORK).tolist() != remembered(past, 0, CORK).tolist()


def test_the_rule_learns_the_time_of_the_model_and_not_that_of_the_answers():
    rest_ns, told = 6 * MS, []

    class Told(Cork):
        def observe(self, view):
            told.append(view.finished_service_ns)
            super().observe(view)

    times = Times(rest_ns)
    found = run_after(Past(), 0, Told(8, 1_000 * MS), workload(poisson(80, 5)), SERVICE, times)
    assert told == times.model_ns
    took_ns = found.finish_ns - found.batch_start_ns[found.batch]
    assert (took_ns == np.array(told)[found.batch] + rest_ns).all()


def test_batches_that_only_waited_for_the_one_before_are_told_from_those_that_waited_on():
    instants = workload(poisson(80, 20))
    trace = model.run(CORK, instants, SERVICE)
    assert (trace.batch >= 0).all()
    now = past_of(trace, 2**61).at(2**61)
    found = at_once(Past(), now, instants.arrival_ns, trace.batch.astype(np.int64), CORK)
    behind_ns = now.begin_ns[1:] - now.end_ns[:-1]
    assert 0.2 < found.mean() < 0.8
    assert (behind_ns[found[1:]] <= MS).all()  # the dispatcher looks once a ms
    later = behind_ns[~found[1:]]
    assert (later > 0).all()
    assert later.max() > 10 * MS


def test_a_log_is_read_up_to_an_instant():
    batches = [
        Logged(70, 90, (3, 4), 1), Logged(10, 30, (1, 0), 1), Logged(40, 60, (2,), 1)
    ]  # fmt: skip
    sent_ns, length = np.array([5, 1, 20, 33, 44]), np.array([7, 9, 8, 8, 8])
    past = Past.of(batches, sent_ns, length, now_ns=65)
    assert [each.tolist() for each in past] == [[-64, -45], [-55, -25], [-35, -5], [2, 1], [9, 8]]
    assert Past.of(batches, sent_ns, length, now_ns=0).size.tolist() == []


def test_only_rules_that_learn_ask_for_the_past():
    assert learns(CORK)
    assert not learns(Greedy(8))
    nothing = np.zeros(1, dtype=np.int64)
    overheads = Overheads(nothing, nothing, 0.0, nothing, {1: nothing})
    costs = Costs(SERVICE.service_ns[0], SERVICE.length_edges, np.array([1]), np.array([1.0]))
    _, trace = memory_after(poisson(150, 20))
    past = past_of(trace, int(trace.finish_ns.max()) + 1)

    def sizes(table, past):
        ruling, rng = Ruling(table, 1), np.random.default_rng(0)
        here = workload(poisson(60, 5, seed=1))
        return simulated(ruling, costs, overheads, here, rng, past=past).size.tolist()

    cork = {"kind": "cork", "max_batch_size": 8, "max_latency_ms": 1000}
    greedy = {"kind": "greedy", "max_batch_size": 8}
    assert sizes(cork, past) != sizes(cork, None) == sizes(cork, Past())
    assert sizes(greedy, past) == sizes(greedy, None)
