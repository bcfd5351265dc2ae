"""Targets of continuous batching: sequences a second, against SimPy, and hours of a service."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from policies.iteration import RULES
from policies.iteration.contract import Engine, Rule
from policies.iteration.times import StepTimes
from sim.iteration import kernel, model
from sim.iteration.serving import Serving
from sim.iteration.trace import TokenTrace
from sim.iteration.workload import TokenWorkload, workload_of

SERVING = Serving(Engine(256, 40_000, 16, 16_384), StepTimes(8e6, 6e4, 3e4, 30.0, 0.05))
"""Room for 256 sequences of some thousand tokens each."""

OWN: dict[str, dict[str, object]] = {
    "request_level": {"padded": False},
    "prefill_first": {"max_num_batched_tokens": 16_384},
    "sla_tiers": {"step_budget_ns": 600_000_000},
}
"""What a rule needs to be made."""

Driver = Callable[[Rule, TokenWorkload, Serving], TokenTrace]

COLD = """
import time
from policies.iteration import VllmLike
from experiments.bench_iteration import SERVING, backlog
from sim.iteration import kernel
began = time.perf_counter()
kernel.run(VllmLike(), backlog(10), SERVING)
print(time.perf_counter() - began)
"""

HOURS = (("chat", 19_366, 5.53), ("code", 8_819, 2.57))
"""Requests and rate of the conversations and of the code completions of an hour of Azure."""

PUBLISHED = {"chat": "AzureLLMInferenceTrace_conv.csv", "code": "AzureLLMInferenceTrace_code.csv"}
"""The hours themselves, of github.com/Azure/AzurePublicDataset (CC BY 4.0), where the environment
variable AZURE_TRACES names the folder that they are in."""


def iteration_speed() -> list[tuple[str, str, str]]:
    """The kernel with 256 sequences in the batch; against SimPy; an hour of two services."""
    rows = []
    many, few = backlog(20_000), backlog(300)
    for kind in RULES:
        rule: Rule = RULES[kind](**OWN.get(kind, {}))
        kernel.run(rule, few, SERVING)  # compiled
        speed = max(sequence_steps(rule, many) for _ in range(5))
        row = f"kernel, {kind}, 256 sequences", ">= 20 M sequence-steps/s"
        rows.append((*row, f"{speed / 1e6:.0f} M sequence-steps/s"))
        if kind == "vllm_like":
            slow, fast = (sequence_steps(rule, few, driver) for driver in (model.run, kernel.run))
            row = "the same run, vllm_like, against SimPy", ">= 50 times"
            rows.append((*row, f"{fast / slow:.0f} times"))
    rows += [hour(*each) for each in HOURS]
    folder = os.environ.get("AZURE_TRACES")
    if folder:
        rows += [replayed_hour(name, requests, Path(folder)) for name, requests, _ in HOURS]
    return [*rows, compile_time()]


def backlog(requests: int) -> TokenWorkload:
    """Requests that are there nearly at once: lognormal prompts, geometric answers."""
    rng = np.random.default_rng(1)
    prompt = np.clip(rng.lognormal(np.log(1000.0) - 0.5, 1.0, requests), 1, 4000)
    output = np.minimum(rng.geometric(1 / 400, requests), 8000)
    return workload_of(1000 * np.arange(requests), prompt.astype(np.int64), output)


def sequence_steps(rule: Rule, workload: TokenWorkload, run: Driver = kernel.run) -> float:
    """Sequences that decode in an iteration, over all iterations, a second of the computer."""
    began = time.perf_counter()
    trace = run(rule, workload, SERVING)
    spent = time.perf_counter() - began
    return float(trace.steps["sequences"].sum(dtype=np.int64)) / spent


def hour(name: str, requests: int, rate_per_s: float) -> tuple[str, str, str]:
    """Seconds for an hour of a service, once compiled."""
    spent = run_time(name, [f"workload.arrivals.rate_per_s={rate_per_s}"], requests)
    return f"an hour of {name}, {requests:,} requests", "< 5 s", f"{spent:.3f} s"


def replayed_hour(name: str, requests: int, folder: Path) -> tuple[str, str, str]:
    """Seconds for the hour itself, from the file that was published, reading included."""
    arrivals = f'process = "trace", file = "{folder.resolve() / PUBLISHED[name]}"'
    settings = [
        f'workload.arrivals={{{arrivals}, columns = {{arrival_s = "TIMESTAMP"}}}}',
        'workload.prompts={column = "ContextTokens"}',
        'workload.outputs={column = "GeneratedTokens"}',
    ]
    spent = run_time(name, settings, requests)
    return f"{PUBLISHED[name]}, {requests:,} requests", "< 5 s", f"{spent:.3f} s"


def run_time(name: str, settings: list[str], requests: int) -> float:
    """Seconds to read and draw a scenario and to run vllm_like on it, once that is compiled."""
    from .iteration.config import load_scenario

    spent = 0.0
    for _ in range(2):
        began = time.perf_counter()
        scenario = load_scenario(name, [f"workload.requests={requests}", *settings])
        kernel.run(scenario.policies["vllm_like"], *scenario.draw())
        spent = time.perf_counter() - began
    return spent


def compile_time() -> tuple[str, str, str]:
    """A rule's first run in a new process, where nothing was compiled before."""
    from .bench import child

    with tempfile.TemporaryDirectory() as empty:
        spent = float(child(COLD, BATCHWRIGHT_CACHE=empty))
    return "vllm_like, nothing compiled", "< 3 s", f"{spent:.1f} s"
