"""A server under LoadGen, over HTTP: its queries are sent at once, whatever became of others.

LoadGen keeps the schedule in a process of its own (:mod:`.process`); here each of its queries
becomes a request, and each answer is told.  A refusal is an answer, too, or LoadGen would wait for
it; but a test with one is not valid.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.loading.asking import Wanted, at_load, drawn
from experiments.loading.bodies import Bodies
from experiments.loading.driving import Target
from experiments.loading.lines import Done, Lines
from experiments.parallel import Progress
from experiments.scenario import Scenario
from experiments.sentences import RunFailed
from policies.contract import IntArray
from sim.intervals import ratio
from sim.sections import SECTIONS, WARM_UP
from sim.timing import fine_timers, now_ns, urgent
from sim.worker import WorkerError
from sim.workload import Workload

from .early_stopping import EarlyStopping, least_queries, percentile_of
from .judging import PERCENTILES, Judgement, Verdict, check_scenario, job_of, key_of, results_of
from .load import LoadGen
from .process import Job

FIRST_CONNECTIONS = 32
PATIENCE_NS = 60 * 10**9
"""Without a query and without an answer."""


class Told(NamedTuple):
    """What became of the queries, in the order of their issue."""

    latency_ns: IntArray
    """int64 (N,): from issue to answer."""
    good: IntArray
    """int64 (N,): 1 where it was answered 200."""


def judge(target: Target, wanted: Wanted, folder: Path, progress: Progress) -> Judgement:
    """Run a test at every load.

    Raises:
        ScenarioError: LoadGen does not know such a scenario, or is not installed.
        RunFailed: LoadGen or the server is gone.
        KeyboardInterrupt: before the first verdict.
    """
    scenario, loads, interrupted = target.scenario, wanted.loads, False
    check_scenario(scenario)
    found: list[Verdict] = []
    try:
        for step, load in enumerate(loads, 1):
            progress("under LoadGen", step, len(loads))
            here = at_load(scenario, load, wanted)
            logs = folder / "mlperf" / ("own" if load is None else f"load-{load:g}")
            logs.mkdir(parents=True)
            job = job_of(here, here.offered_rate_per_s or 0.0, wanted.window_ns, logs)
            found.append(_verdict(target, here, drawn(here, 0, wanted.seed), job))
    except WorkerError as error:
        raise RunFailed(str(error)) from error
    except KeyboardInterrupt:
        if not found:
            raise
        interrupted = True
    tier = scenario.tiers[0]
    service = f"{target.endpoint.url}, model {target.model.name}"
    return Judgement(
        scenario.name, service, tier.slo_ns / 1e6, tier.percentile, tuple(found), interrupted
    )


def _verdict(target: Target, scenario: Scenario, workload: Workload, job: Job) -> Verdict:
    """One test."""
    bodies = Bodies(
        target.endpoint, target.model, scenario.tiers, workload.length_unit,
        int(workload.length.max()), binary=target.binary,
    )  # fmt: skip
    load = LoadGen(job)
    try:
        told = asked(load, workload, bodies, job)
        log = load.result()
    finally:
        load.close()
    late = int(log["result_overlatency_query_count"])
    stopping = EarlyStopping(job.queries, late, least_queries(late, job.percentile))
    failed = int((told.good == 0).sum())
    name = target.model.name if target.rule is None else target.rule.name
    return Verdict(
        name, job.rate_per_s, job.rate_per_s / scenario.rate_max_per_s,
        {key_of(p): log[f"result_{p:.2f}_percentile_latency_ns"] / 1e6 for p in PERCENTILES},
        {key_of(p): percentile_of(told.latency_ns, p) / 1e6 for p in PERCENTILES},
        stopping, log["result_validity"] == "VALID" and not failed,
        bool(log["early_stopping_met"]), within(told, job.target_ns), results_of(log), failed,
    )  # fmt: skip


def within(told: Told, target_ns: int) -> dict[str, object]:
    """Share of the queries within the target, with its interval by sections, after the warm-up."""
    kept = np.arange(len(told.good)) >= int(WARM_UP * len(told.good))
    met = ((told.latency_ns <= target_ns) & (told.good == 1))[kept]
    parts = np.array_split(met, SECTIONS)
    counts = np.array([len(part) for part in parts])
    return ratio(
        np.array([int(part.sum()) for part in parts]), counts, counts, (0.0, 1.0)
    ).to_json()


def asked(load: LoadGen, workload: Workload, bodies: Bodies, job: Job) -> Told:
    """Send every query of a test.

    Raises:
        RunFailed: the server is gone, or nothing happens any more.
        WorkerError: LoadGen has died.
    """
    requests = bodies.requests(workload)
    shared = memoryview(bodies.shared)
    endpoint, wanted = bodies.endpoint, job.queries
    names: list[int] = []
    issued: list[int] = []
    found: dict[int, Done] = {}
    waiting: deque[int] = deque()
    try:
        lines = Lines(endpoint.host, endpoint.port, FIRST_CONNECTIONS)
    except OSError as error:
        raise RunFailed(f"{endpoint.url} cannot be reached: {error.strerror or error}") from error
    fine_timers()
    urgent()
    try:
        load.begin(workload, 0)
        while len(found) < wanted:
            answers = lines.receive(now_ns() + PATIENCE_NS, *load.files())
            if answers is None:
                raise RunFailed(f"nothing came from {endpoint.url} for {PATIENCE_NS // 10**9} s")
            if len(names) < wanted and load.connection.poll(0):
                for one in load.sent(0):
                    waiting.append(len(names))
                    names.append(one.who)
                    issued.append(one.sent_ns)
            while waiting and not lines.full:
                who = waiting.popleft()
                one_request = requests[who % len(requests)]
                lines.send(who, one_request.data, shared[: one_request.shares])
            found |= {one.who: one for one in answers}
            load.answer([names[one.who] for one in answers], 0)
    finally:
        urgent(wanted=False)
        lines.close()
    done = [found[who] for who in range(wanted)]
    return Told(
        np.array([one.instant_ns for one in done]) - np.array(issued),
        np.array([int(one.status == 200) for one in done]),
    )


__all__ = ["Told", "asked", "judge", "within"]
