"""Wrong systems that the check of the oracles rejects, at the number of requests that it uses.

A service 2 % too long or too even, a timer that starts late or lasts 2 % too long, a queue that
serves the youngest first, a server too many.
"""

from dataclasses import replace

import numpy as np
from oracle_runs import MS, ORACLES, Run, deviations, run_scenario, run_system

from experiments.config import load_scenario
from policies import SizeOrTimeout


def rejected(run, name, *figures):
    """The figures among those given that the check of an oracle rejects."""
    found = deviations(run, ORACLES[name], figures)
    return [key for key, value in found.items() if abs(value) > 1]


def test_a_service_that_is_two_percent_longer_is_rejected():
    model = "service.model={ base_ms = 1.02, max_batch_size = 1"
    noisy = f"{model}, noise = {{ kind = 'gamma', cv = 1 }} }}"
    assert rejected(run_scenario("mm1", noisy), "mm1", "mean_wait", "mean_latency", "p_wait")
    assert rejected(run_scenario("md1", f"{model} }}"), "md1", "mean_wait", "p90_wait", "p_wait")
    slow = ("service.model.base_ms=2.04", "service.model.per_request_ms=0.357")
    figures = ("mean_latency", "p50_latency", "p90_latency", "mean_batch")
    assert rejected(run_scenario("greedy", *slow), "greedy_lam1.2", *figures) == list(figures)


def test_a_service_that_varies_less_is_rejected():
    calm = "service.model.noise.cv=0.9"
    assert rejected(run_scenario("mm1", calm), "mm1", "mean_wait", "p99_wait")
    assert rejected(run_scenario("mm1_abandon", calm), "mm1_abandon", "p_abandon", "mean_wait_all")


def test_a_timer_that_starts_when_the_server_is_idle_is_rejected():
    workload, service = load_scenario("timeout_single").draw()
    late = run_system(SizeOrTimeout(8, 4 * MS, from_idle=True), workload, service)
    figures = ("mean_latency", "mean_batch", "utilisation")
    assert rejected(late, "timeout_single_1.2_8_4.0", *figures) == list(figures)


def test_a_timer_that_is_two_percent_too_long_is_rejected():
    late = run_scenario("timeout_single", "policies.size_or_timeout.max_wait_ms=4.08")
    assert rejected(late, "timeout_single_1.2_8_4.0", "mean_latency", "mean_batch")


def youngest_first(trace):
    """The services of a run of single requests, given to the youngest who waits each time."""
    batch = np.empty(len(trace), dtype=np.int32)
    waiting, arrived = [], 0
    arrival = trace.arrival_ns.tolist()
    for place, start in enumerate(trace.batch_start_ns.tolist()):
        while arrived < len(arrival) and arrival[arrived] <= start:
            waiting.append(arrived)
            arrived += 1
        batch[waiting.pop()] = place
    start, finish = trace.batch_start_ns[batch], trace.batch_finish_ns[batch]
    return replace(trace, batch=batch, start_ns=start, finish_ns=finish)


def test_a_queue_that_serves_the_youngest_first_is_rejected():
    fifo = run_scenario("mm1")
    lifo = Run(youngest_first(fifo.trace), fifo.service)
    figures = ("mean_wait", "mean_number", "utilisation", "p_wait", "p50_latency", "p99_latency")
    assert rejected(lifo, "mm1", *figures) == ["p50_latency", "p99_latency"]


def test_one_server_more_is_rejected():
    assert rejected(run_scenario("mmc4", "service.servers=5"), "mmc4", "mean_wait", "p_wait")
