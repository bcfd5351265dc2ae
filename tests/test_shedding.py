"""Rules that let requests go unserved, and BentoML's dispatcher, which does."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from random_runs import MS, random_run
from stack_batches import recorded, simulated

from policies import Cork
from policies.contract import PolicyError, View, fire, shed, wait_until
from policies.testing import check_policy
from sim import kernel, live, model
from sim.errors import WorkloadError
from sim.service import Service
from sim.service_times import DrawnTimes
from sim.stability import assess
from sim.trace import EXPIRED, SERVED, Trace
from sim.virtual import VirtualWorld
from sim.workload import ClosedLoop, Workload


def lived(policy, workload, service):
    return live.run(policy, workload, service, VirtualWorld(workload, DrawnTimes(service)))


drivers = pytest.mark.parametrize("run", [kernel.run, model.run, lived])


def requests(*arrival_ms, **more):
    arrival_ns = (np.array(arrival_ms) * MS).astype(np.int64)
    return Workload(np.ones(len(arrival_ms), dtype=np.int32), arrival_ns, **more)


TEN_MS = Service(np.full((1, 4, 1), 10 * MS), np.array([1]))


class AtMostTwo(NamedTuple):
    """Serves one at a time, and sheds the oldest of more than two that wait."""

    @property
    def sheds(self) -> bool:
        return True

    def decide(self, view: View) -> int:
        if view.waiting[0] > 2:
            return shed(view, 0, view.waiting[0] - 2)
        if view.server < 0:
            return wait_until(view.now_ns + 10**12)
        return fire(view, 0, 1)


@drivers
def test_the_oldest_are_shed_while_the_server_is_busy(run):
    workload = requests(0, 1, 2, 3, 4, 15)
    trace = run(AtMostTwo(), workload, TEN_MS)
    assert trace.status.tolist() == [SERVED, EXPIRED, EXPIRED, SERVED, SERVED, SERVED]
    assert (trace.finish_ns / MS).tolist() == [10, 3, 4, 20, 30, 40]
    assert trace.sheds
    trace.check(TEN_MS, workload)


@drivers
def test_who_is_shed_at_its_arrival_was_there_for_no_time(run):
    trace = run(AtMostTwo(), requests(0, 0, 0, 0), TEN_MS)
    assert trace.status.tolist() == [EXPIRED, EXPIRED, SERVED, SERVED]
    assert trace.finish_ns[:2].tolist() == [0, 0]
    trace.check(TEN_MS)


@drivers
def test_shedding_and_patience_are_told_apart_by_the_instant(run):
    patience = np.array([50, 5, 50, 50]) * MS
    workload = requests(0, 1, 7, 8, timeout_ns=patience)
    trace = run(AtMostTwo(), workload, TEN_MS)
    assert trace.status.tolist() == [SERVED, EXPIRED, SERVED, SERVED]
    assert trace.finish_ns[1] == 6 * MS
    trace.check(TEN_MS, workload)
    with pytest.raises(AssertionError, match=r"^invariant 13, request 1: nobody gives up without"):
        replace(trace, sheds=False).check(TEN_MS, requests(0, 1, 7, 8))


def test_a_saved_trace_says_that_requests_were_shed(tmp_path):
    trace = kernel.run(AtMostTwo(), requests(0, 0, 0, 0), TEN_MS)
    assert Trace.load(trace.save(tmp_path, "csv")).equals(trace)


class Unsaid(NamedTuple):
    """Sheds without saying that it does."""

    def decide(self, view: View) -> int:
        return shed(view, 0, 1)


class ShedsNobody(AtMostTwo):
    def decide(self, view: View) -> int:
        return shed(view, 0, 0)


class FiresAnyway(AtMostTwo):
    def decide(self, view: View) -> int:
        return fire(view, 0, 1)


@drivers
@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Unsaid(), r"Unsaid sheds requests without saying so; give it `sheds = True` \(rule 6\)"),
        (ShedsNobody(), r"ShedsNobody shed nobody; `shed` needs a count of at least 1 \(rule 6\)"),
        (FiresAnyway(), r"FiresAnyway fired while every server is busy, and it does not seal"),
    ],
)
def test_a_rule_that_sheds_as_it_may_not_is_blamed(run, policy, sentence):
    with pytest.raises(PolicyError, match=sentence):
        run(policy, requests(0, 1), TEN_MS)


def test_the_suite_holds_rules_that_shed_to_the_contract():
    check_policy(AtMostTwo(), compiled=False)
    for policy, rule in ((Unsaid(), 6), (ShedsNobody(), 6), (FiresAnyway(), 5)):
        with pytest.raises(PolicyError, match=f"^rule {rule}: "):
            check_policy(policy, compiled=False)


@pytest.mark.parametrize("run", [kernel.run, model.run])
def test_a_rule_that_sheds_is_refused_in_front_of_a_closed_loop(run):
    loop = ClosedLoop(np.full((2, 1), MS))
    workload = Workload(np.ones(4, dtype=np.int32), closed=loop)
    with pytest.raises(WorkloadError, match="Cork sheds requests, which needs open arrivals, not"):
        run(Cork(), workload, TEN_MS)


def test_random_runs_shed_serve_and_let_give_up():
    status = [kernel.run(*random_run(seed, "cork")).status for seed in range(30)]
    counts = np.bincount(np.concatenate(status), minlength=3)
    assert min(counts[SERVED], counts[EXPIRED]) > 300


def test_a_rule_that_sheds_is_stable_by_construction_above_what_it_can_serve():
    arrival_ns = np.arange(4000) * 2 * MS  # 500/s, and 400/s can be served
    workload = Workload(np.ones(4000, dtype=np.int32), arrival_ns)
    found = assess(Cork(4, 200 * MS), workload, TEN_MS, kernel.run)
    assert found.message.startswith(
        "stable by construction, the policy lets requests go unserved: 500.0 requests/s arrive, "
        "this policy can serve 400"
    )
    trace = kernel.run(Cork(4, 200 * MS), workload, TEN_MS)
    assert 500 < np.count_nonzero(trace.status == EXPIRED) < 1500


CASES = recorded("bentoml")


def corked(case):
    return {
        "kind": "cork",
        "max_batch_size": case["max_batch_size"],
        "max_latency_ms": case["max_latency_ms"],
    }


@pytest.mark.parametrize("name", [name for name in CASES if "bound 1000" in name])
def test_cork_forms_the_batches_that_bentomls_dispatcher_was_recorded_to_form(name):
    assert simulated(CASES[name], corked(CASES[name])) == CASES[name]["batches"]


def test_where_it_sheds_cork_is_bentomls_dispatcher_up_to_a_tie_of_its_event_loop():
    """Batches of 9 ms end when the dispatcher looks; which comes first is the loop's matter."""
    (case,) = (case for name, case in CASES.items() if "bound 40" in name)
    found = simulated(case, corked(case))
    assert found[:81] == case["batches"][:81]
    assert len(found) == len(case["batches"])
    served = [sum(size for _, size, _ in batches) for batches in (found, case["batches"])]
    assert served[0] == pytest.approx(served[1], rel=0.01)
    assert served[1] < len(case["arrival_ns"])


def test_another_decay_than_bentomls_is_noticed(monkeypatch):
    (case,) = (case for name, case in CASES.items() if "200 per" in name)
    monkeypatch.setattr("policies.cork.DECAY", 0.9)
    assert simulated(case, corked(case), driver=model) != case["batches"]
