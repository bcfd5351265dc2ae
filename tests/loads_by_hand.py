"""Load tests that never were: windows of a server that is the simulator, or slower than that."""

from __future__ import annotations

import numpy as np

from experiments.loading.asking import Wanted, at_load, drawn, scenario_of
from experiments.loading.driving import Driven, Target
from experiments.loading.endpoint import Endpoint, Input, Model
from experiments.loading.floor import Floor
from experiments.loading.predict import Rule, simulated
from experiments.loading.sending import Answers
from experiments.loading.window import Window, condition_of

MS = 1_000_000
NO_FLOOR = Floor(None, "none", np.zeros(0, dtype=np.int64))
SCENARIO = """
name = "small"
[workload]
requests = 2000
arrivals = { process = "poisson", rate_per_s = 300.0 }
lengths = { distribution = "uniform", min = 10, max = 300 }
[[workload.tiers]]
name = "all"
slo = { percentile = 99, ms = 40.0 }
[service]
model = { base_ms = 4.0, per_request_ms = 1.0, per_length_ms = 0.001, max_batch_size = 8 }
noise = { kind = "gamma", cv = 0.2 }
[policies.waits]
kind = "size_or_timeout"
max_batch_size = 4
max_wait_ms = 3.0
"""


def scenario_in(file, text=SCENARIO):
    """The scenario, written into a file, with windows of 2,000 requests."""
    file.write_text(text)
    return at_load(scenario_of(str(file), ()), None, Wanted(requests=2000))


def rule_of(scenario, **more):
    table = scenario.to_dict()["scenario"]["policies"]["waits"]
    return Rule("waits", scenario.policies["waits"], table, **more)


def driven_of(scenario, rule, latency_of=None, repeats=2):
    """What a server does that is exactly the simulator's, or faster or slower than that."""
    model = Model("small", (Input("input_ids", "INT64", (1, -1)),), True, True)
    target = Target("small", (), scenario, Endpoint("127.0.0.1", 8000, ""), model, rule)
    driven = Driven(target, Wanted(repeats=repeats), {None: scenario})
    driven.floors.append(NO_FLOOR)
    for repeat in range(repeats):
        workload = drawn(scenario, repeat)
        exact = simulated(rule_of(scenario), scenario, workload, NO_FLOOR, repeat * 8)
        latency = exact.latency_ns if latency_of is None else latency_of(exact.latency_ns)
        planned = workload.arrival_ns
        answers = Answers(planned, planned, planned + latency, np.full(len(planned), 200, np.int16))
        condition = condition_of(answers, MS)
        driven.windows.append(
            Window(
                None, repeat, 0, workload, answers, exact._replace(latency_ns=latency), condition
            )
        )
    return driven
