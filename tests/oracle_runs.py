"""Simulated runs of the systems in ``data/oracles.json``, and the statistics that it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config import load_scenario
from policies.contract import Policy, View, fire
from sim import kernel
from sim.metrics import measure
from sim.sections import cut
from sim.series import mean_queue_depth
from sim.service import Service
from sim.trace import EXPIRED, REJECTED, SERVED, Trace
from sim.workload import Workload

MS = 1_000_000
REQUESTS = 1_000_000

DATA = json.loads((Path(__file__).parent / "data" / "oracles.json").read_text(encoding="utf-8"))
ORACLES = {oracle["id"]: oracle for oracle in DATA["oracles"]}


def holds(name: str, **found: float) -> bool:
    """Assert that figures have all the digits of an oracle; whether they are all of its figures."""
    oracle = ORACLES[name]
    digits = oracle.get("digits", 10)
    for key, value in found.items():
        exact = oracle["expected"][key]
        assert abs(value - exact) <= 6 * 10.0**-digits * abs(exact), (
            f"{name} {key}: {value}, {exact}"
        )
    return sorted(found) == sorted(oracle["expected"])


class StrictPriority(NamedTuple):
    """One lane per tier; the most urgent request goes, alone."""

    tiers: int

    def lanes(self) -> int:
        return self.tiers

    def lane_of(self, length: int, tier: int) -> int:
        return tier

    def decide(self, view: View) -> int:
        lane = 0
        while view.waiting[lane] == 0:
            lane += 1
        return fire(view, lane, 1)


@dataclass(frozen=True)
class Run:
    """One simulated run; times in ms, rates per ms."""

    trace: Trace
    service: Service

    @cached_property
    def overall(self):
        return measure(self.trace, self.service).overall

    @cached_property
    def kept(self):
        """Which requests count: those after the warm-up that ``measure`` leaves out, too."""
        return np.arange(len(self.trace)) >= cut(self.trace).ids[0]

    @cached_property
    def served(self):
        return self.kept & (self.trace.status == SERVED)

    @cached_property
    def wait(self):
        return (self.trace.start_ns - self.trace.arrival_ns)[self.served] / MS

    @cached_property
    def latency(self):
        return (self.trace.finish_ns - self.trace.arrival_ns)[self.served] / MS

    @cached_property
    def queueing(self):
        """Time in the queue of all who were let in, those who gave up included."""
        trace = self.trace
        end = np.where(trace.status == EXPIRED, trace.finish_ns, trace.start_ns)
        return (end - trace.arrival_ns)[self.kept & (trace.status != REJECTED)] / MS

    @cached_property
    def last_ns(self):
        return int(self.trace.arrival_ns[-1])

    def share(self, status):
        return float((self.trace.status[self.kept] == status).mean())

    def batches_until_last(self):
        return int((self.trace.batch_start_ns <= self.last_ns).sum())

    @cached_property
    def left_behind(self):
        """Requests that wait at the end of each batch; arrivals of that instant included."""
        trace = self.trace
        arrived = np.searchsorted(trace.arrival_ns, trace.batch_finish_ns, side="right")
        return arrived - np.cumsum(trace.batch_size)

    def forming(self):
        """Time from the first request of each batch to its start."""
        trace = self.trace
        first = np.append(0, np.cumsum(trace.batch_size)[:-1])
        return (trace.batch_start_ns - trace.arrival_ns[first]) / MS


def statistic(run: Run, name: str, oracle: dict) -> float:
    """The figure of a run that an oracle names."""
    overall, size = run.overall, run.trace.batch_size
    limit = oracle["params"].get("T", 0.0)
    full = oracle["params"].get("B", 0)
    found: dict[str, Callable[[], Any]] = {
        "sd_wait": run.wait.std,
        "p_wait": (run.wait > 0).mean,
        "sigma": (run.wait > 0).mean,
        "p_wait_gt_1": (run.wait > 1).mean,
        "p_wait_zero": (run.wait == 0).mean,
        "p_wait_eq_T": (run.wait == limit).mean,
        "p_wait_gt_half_T": (run.wait > limit / 2).mean,
        "mean_wait_all": run.queueing.mean,
        "mean_queue": lambda: mean_queue_depth(run.trace, np.array([0, run.last_ns])).value[0],
        "p_empty": lambda: 1.0 - overall.utilisation.value,
        "p_loss": lambda: run.share(REJECTED),
        "p_abandon": lambda: run.share(EXPIRED),
        "mean_latency_accepted": lambda: overall.latency_ms["mean"].value,
        "cdf_at_mean": (run.latency <= oracle["expected"].get("mean_latency", 0.0)).mean,
        "mean_number": lambda: overall.mean_number_in_system.value,
        "utilisation": lambda: overall.utilisation.value,
        "throughput": lambda: overall.throughput_per_s.value / 1e3,
        "mean_batch": lambda: overall.mean_batch_size.value,
        "mean_batch_seen_by_request": lambda: (size**2).sum() / size.sum(),
        "batches_per_ms": lambda: run.batches_until_last() / run.last_ns * MS,
        "p_empty_at_departure": (run.left_behind == 0).mean,
        "mean_forming_time": lambda: run.forming().mean(),
        "batch_sd": size.std,
        "p_full": (size == full).mean,
        "p_batch_1": (size == 1).mean,
    }
    if name in found:
        return float(found[name]())
    share, _, column = name.partition("_")
    return float(getattr(overall, f"{column}_ms")[share].value)


def tolerance(oracle: dict, name: str, requests: int) -> float:
    """Relative deviation that a right simulation exceeds in one of 16 000 runs or less."""
    errors = oracle.get("rel_se_per_1e6") or {}
    if name in errors:
        return 4.0 * errors[name] * np.sqrt(1e6 / requests) + 0.001
    return oracle["tolerance"]["value"]


def deviations(run: Run, oracle: dict, names) -> dict[str, float]:
    """Relative deviations over what is tolerated: above 1 in size is a failure."""
    counted = int(run.kept.sum())
    return {
        name: (statistic(run, name, oracle) / oracle["expected"][name] - 1.0)
        / tolerance(oracle, name, counted)
        for name in names
    }


def run_scenario(
    name: str, *overrides: str, policy: str | None = None, replication: int = 0
) -> Run:
    """Run a shipped scenario with one of its policies, by default the first."""
    scenario = load_scenario(name, overrides)
    workload, service = scenario.draw(replication)
    rule = scenario.policies[policy or next(iter(scenario.policies))]
    return Run(kernel.run(rule, workload, service), service)


def run_system(policy: Policy, workload: Workload, service: Service) -> Run:
    """Run a system that no scenario describes."""
    return Run(kernel.run(policy, workload, service), service)
