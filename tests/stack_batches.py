"""Batches that a stack made of given arrivals, and those that a rule makes of them here."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from record_batches import CASES, ask, is_installed

from experiments.rules import build_policy
from policies.contract import bind
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
