"""Batches that a stack made of given arrivals, and those that a rule makes of them here."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from record_batches import CASES, ask, is_installed

from experiments.rules import build_policy
from policies.contract import FIRE, NEVER, bind
from policies.example_view import Waiting, example_view
from sim import kernel, model
from sim.service import Service
from sim.workload import Workload

FOLDER = Path(__file__).parent / "data" / "stacks"


def recorded(stack: str) -> dict:
    """The cases of a stack with its batches."""
    return json.loads((FOLDER / f"{stack}.json").read_text())["cases"]


def wait_ms(case):
    """The wait of a case, exactly."""
    return Decimal(case["wait_ns"]) / 10**6


def simulated(case, table, servers: int = 1, driver=kernel):
    """Start in ns, size and first request of each batch, in order of their starts."""
    arrival_ns = np.array(case["arrival_ns"], dtype=np.int64)
    service = Service(np.array(case["service_ns"]).reshape(1, -1, 1), np.array([1]), servers)
    policy = bind(build_policy(table), service.service_ns[0], service.length_edges, servers=servers)
    workload = Workload(np.ones(len(arrival_ns), dtype=np.int32), arrival_ns)
    trace = driver.run(policy, workload, service)
    firsts = np.full(len(trace.batch_size), len(arrival_ns))
    served = np.flatnonzero(trace.batch >= 0)
    np.minimum.at(firsts, trace.batch[served], served)
    columns = (trace.batch_start_ns, trace.batch_size, firsts)
    return np.stack(columns, axis=1).tolist()


def both_drivers(case, table, servers: int = 1):
    """The batches of a rule, which are the same in the model and in the kernel."""
    found = simulated(case, table, servers)
    assert simulated(case, table, servers, model) == found
    return found


def alike(cases, table_of) -> set[str]:
    """The names of the cases in which a rule forms the recorded batches."""
    return {
        name
        for name, case in cases.items()
        if simulated(case, table_of(case), case.get("at_a_time", 1)) == case["batches"]
    }


def share_of_next_batches(case, table, margin_ns: int) -> float:
    """The share of batches that a rule would have formed from the state of the one server.

    Those have the same size, and start no earlier than the rule says and no later than a margin.
    """
    service_ns = np.array(case["service_ns"]).reshape(-1, 1)
    policy = bind(build_policy(table), service_ns, np.array([1]))
    arrivals = sorted(case["arrival_ns"])
    taken = idle_ns = good = 0
    for (start_ns, size, _), took_ns in zip(case["batches"], case["took_ns"], strict=True):
        due_ns, planned = next_batch(policy, arrivals[taken:], idle_ns)
        good += size == planned and 0 <= start_ns - due_ns <= margin_ns
        taken, idle_ns = taken + size, start_ns + took_ns
    return good / len(case["batches"])


def next_batch(policy, arrivals, idle_ns: int) -> tuple[int, int]:
    """Start and size of the batch that a rule forms on a server that is idle from an instant on."""
    now_ns = max(idle_ns, arrivals[0])
    while True:
        here = [Waiting(each) for each in arrivals[:64] if each <= now_ns]
        view = example_view(now_ns, here, idle_since_ns=idle_ns)
        answer = policy.decide(view)
        if answer == FIRE:
            return now_ns, int(view.take.sum())
        coming = arrivals[len(here)] if len(here) < len(arrivals) else NEVER
        now_ns = min(answer, coming)


def check_the_installed(stack: str) -> None:
    """The stack that is installed here forms the batches that were recorded; skips without it."""
    if not is_installed(stack):
        pytest.skip(f"{stack} is not installed: make test-stack-{stack} runs this beside it")
    cases = recorded(stack)
    given = list(CASES[stack]().values())
    assert [{k: v for k, v in each.items() if k != "batches"} for each in cases.values()] == given
    found = ask(stack, given)
    for (name, case), batches in zip(cases.items(), found, strict=True):
        assert batches == case["batches"], name
