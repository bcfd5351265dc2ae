"""Policies on a live device under LoadGen: its percentiles and verdict beside an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import ScenarioError
from experiments.parallel import Progress
from experiments.plain import dumps, plain
from experiments.scenario import Scenario
from experiments.validation.asking import Asked
from experiments.validation.preparing import cap_of
from experiments.validation.rig import Rig
from experiments.validation.shapes import quantile_lengths
from policies.contract import NEVER, Policy
from profiles.measure import quiet_memory
from profiles.runner import ModelError
from sim import live
from sim.metrics import measure
from sim.service import Service
from sim.worker import Opening, WorkerError
from sim.workload import Workload

from .early_stopping import EarlyStopping, least_queries, percentile_of
from .load import JudgedWorld, LoadGen
from .process import Job

PERCENTILES = (50.0, 90.0, 99.0)


@dataclass(frozen=True)
class Verdict:
    """One policy under LoadGen."""

    policy: str
    rate_per_s: float
    load: float
    """Share of the largest possible rate."""
    latency_ms: dict[str, float]
    """By LoadGen's clock, from the scheduled instant, and by its definition."""
    own_latency_ms: dict[str, float]
    """The same percentiles of this project's record of the run, from the instant of issue."""
    stopping: EarlyStopping
    """Rebuilt from LoadGen's count of late queries."""
    valid: bool
    """What LoadGen says."""
    stopped_early: bool
    """Whether LoadGen's early stopping is satisfied."""
    within: dict[str, Any]
    """Share of the requests that keep the target, with its interval of 95 %, by sections."""
    log: dict[str, Any]
    """Results of LoadGen's own log, by key."""
    failed: int = 0
    """Queries that were answered with a refusal or an error, which LoadGen does not know."""


@dataclass(frozen=True)
class Judgement:
    """What LoadGen says of a scenario's policies."""

    scenario: str
    service: str
    target_ms: float
    percentile: float
    verdicts: tuple[Verdict, ...]
    interrupted: bool = False
    """Whether it was ended by hand; the verdicts before stand."""

    @property
    def verdict(self) -> str:
        """A sentence for each policy."""
        from .shown import sentences

        return "\n".join(sentences(self))

    @property
    def several(self) -> bool:
        """Whether there is more than one load."""
        return len({verdict.load for verdict in self.verdicts}) > 1

    def to_dict(self) -> dict[str, Any]:
        """As plain data; :meth:`of` reads it."""
        found: dict[str, Any] = plain({**asdict(self), "verdict": self.verdict})
        for one, verdict in zip(found["verdicts"], self.verdicts, strict=True):
            one["stopping"] = {**verdict.stopping._asdict(), "more": verdict.stopping.more}
        return found

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Judgement:
        """Back from :meth:`to_dict`."""
        verdicts = []
        for each in data["verdicts"]:
            counts = {name: each["stopping"][name] for name in EarlyStopping._fields}
            verdicts.append(Verdict(**{**each, "stopping": EarlyStopping(**counts)}))
        plain_ = {name: data[name] for name in ("scenario", "service", "target_ms", "percentile")}
        return cls(**plain_, verdicts=tuple(verdicts), interrupted=data["interrupted"])

    def to_json(self) -> str:
        """The text of ``result.json``."""
        return dumps(self.to_dict())


def check_judged(asked: Asked) -> None:
    """Refuse what LoadGen does not know.

    Raises:
        ScenarioError: the scenario has no one target, or requests that are not answered; or the
            package is missing.
    """
    check_scenario(asked.scenario)


def check_scenario(scenario: Scenario) -> None:
    """As :func:`check_judged`, of a scenario.

    Raises:
        ScenarioError: LoadGen does not know its kind; or the package is missing.
    """
    for problem in _problems(scenario):
        raise ScenarioError(f"scenario {scenario.name} {problem}")
    if find_spec("mlperf_loadgen") is None:
        raise ScenarioError(
            "--judge mlperf needs mlcommons-loadgen, which is not installed: pip install "
            "'batchwright[loadgen]'"
        )


def _problems(scenario: Scenario) -> Iterator[str]:
    tiers = scenario.tiers
    if len(tiers) > 1:
        yield f"has {len(tiers)} tiers; MLPerf's server scenario has one stream of queries"
    if tiers[0].slo_ns == NEVER:
        yield "has no target; give slo = { percentile = 99, ms = ... } in [[workload.tiers]]"
    if scenario.offered_rate_per_s is None or not scenario.offered_rate_per_s < float("inf"):
        yield "has no arrival rate; LoadGen's queries are Poisson at the rate of the scenario"
    workload, service = scenario.draw()
    if service.capacity != NEVER or service.longest_admitted < int(workload.length.max()):
        yield "refuses requests, which LoadGen does not know: every query has an answer"
    if len(workload.timeout_ns) and int(workload.timeout_ns.min()) < NEVER:
        yield "has requests that give up, which LoadGen does not know: every query has an answer"


def judge(
    asked: Asked,
    opening: Opening,
    loads: tuple[float, ...],
    window_ns: int,
    folder: Path,
    progress: Progress,
) -> Judgement:
    """Run every policy at every load under LoadGen, on servers that stay open.

    Raises:
        ModelError: the device, or LoadGen, failed.
        KeyboardInterrupt: before the first verdict.
    """
    scenario = asked.scenario
    service = scenario.draw()[1]
    found: list[Verdict] = []
    interrupted = False
    steps = [(load, name) for load in loads or (None,) for name in asked.policies]
    try:
        with Rig(opening, service, spins=False) as rig:
            progress("warming up", 0, len(steps))
            rig.warm_up(_shapes(scenario, asked))
            for step, (load, name) in enumerate(steps, 1):
                progress(f"{name} under LoadGen", step, len(steps))
                rate = scenario.offered_rate_per_s or 0.0
                rate = rate if load is None else load * scenario.rate_max_per_s
                logs = folder / "mlperf" / (name if load is None else f"{name}-load-{load:g}")
                logs.mkdir(parents=True)
                job = job_of(scenario, rate, window_ns, logs)
                found.append(_verdict(scenario, asked.policies[name], name, job, rig, service))
    except WorkerError as error:
        raise ModelError(str(error)) from error
    except KeyboardInterrupt:
        if not found:
            raise
        interrupted = True
    tier = scenario.tiers[0]
    served = scenario.profile.name if scenario.profile else "a model"
    many = f"{scenario.servers} server{'' if scenario.servers == 1 else 's'}"
    return Judgement(
        scenario.name, f"{served}, {many}", tier.slo_ns / 1e6, tier.percentile, tuple(found),
        interrupted,
    )  # fmt: skip


def _shapes(scenario: Scenario, asked: Asked) -> list[tuple[int, int]]:
    """What is called before anything counts: sizes that double, at lengths that occur."""
    edges, pool = scenario.length_edges, scenario.draw()[0].length.astype(np.int64)
    lengths = quantile_lengths(np.clip(pool, edges[0], edges[-1]), int(edges[-1]))
    largest = cap_of(asked.policies.values(), scenario.service_ns.shape[1])
    sizes = sorted({*(2**power for power in range(largest.bit_length())), largest})
    return [(size, length) for size in sizes for length in lengths]


def job_of(scenario: Scenario, rate_per_s: float, window_ns: int, folder: Path) -> Job:
    """The test of a window at a rate."""
    tier = scenario.tiers[0]
    queries = max(1, round(rate_per_s * window_ns / 1e9))
    return Job(
        rate_per_s, queries, tier.slo_ns, tier.percentile, scenario.seeds.arrivals, str(folder)
    )


def _verdict(
    scenario: Scenario, policy: Policy, name: str, job: Job, rig: Rig, service: Service
) -> Verdict:
    """One policy under one test."""
    drawn = scenario.draw()[0]
    lengths = np.resize(drawn.length, job.queries)
    load = LoadGen(job)
    try:
        workload = Workload(lengths, tiers=scenario.tiers, length_unit=drawn.length_unit)
        with quiet_memory():
            world = JudgedWorld(workload, service, rig.workers, load)
            trace = live.run(policy, workload, service, world)
        log = load.result()
    finally:
        load.close()
    own_ns = trace.finish_ns - trace.arrival_ns
    late = int(log["result_overlatency_query_count"])
    stopping = EarlyStopping(job.queries, late, least_queries(late, job.percentile))
    attained = measure(trace, service).overall.slo_attainment
    return Verdict(
        name, job.rate_per_s, job.rate_per_s / scenario.rate_max_per_s,
        {key_of(p): log[f"result_{p:.2f}_percentile_latency_ns"] / 1e6 for p in PERCENTILES},
        {key_of(p): percentile_of(own_ns, p) / 1e6 for p in PERCENTILES},
        stopping, log["result_validity"] == "VALID", bool(log["early_stopping_met"]),
        {} if attained is None else attained.to_json(),
        results_of(log),
    )  # fmt: skip


def results_of(log: dict[str, Any]) -> dict[str, Any]:
    """What a log says of the whole test."""
    return {key: value for key, value in log.items() if key.startswith(("result_", "early_"))}


def key_of(percentile: float) -> str:
    """``p99``."""
    return f"p{percentile:g}"
