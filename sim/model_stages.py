"""The SimPy model of a station between CPU stages: requests are processes that hold a worker.

It queues without :mod:`sim.tandem`, which the kernel uses: a stage is SimPy's own FIFO resource,
and all stages live in the time of the one environment.  A request gets its number at the station
when it comes to the GPU's queue, so the station's columns are written as it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter

import numpy as np
import simpy

from policies.contract import NEVER, IntArray, Policy

from .model import Events, Model
from .service import Service
from .service_times import ServiceTimes
from .stages import Stage, Stages, StageTimes, open_stages
from .station import Station
from .tandem import joined, limits_ns, through
from .trace import SERVED, Trace
from .workload import Workload

FIFO = itemgetter(0)


class StagedModel(Model):
    """A station, workers before it and workers behind it, in SimPy's time."""

    def __init__(
        self, policy: Policy, workload: Workload, service: Service, times: ServiceTimes
    ) -> None:
        self.requests = workload
        self.stages = open_stages(service.stages, workload.closed is not None)
        self.order: list[int] = []
        """The request at each place of the GPU's queue."""
        total = len(workload)
        self.pre_start_ns, self.queued_ns = np.full(total, -1), np.full(total, -1)
        self.post_start_ns, self.finish_ns = np.full(total, -1), np.full(total, -1)
        blank = _blank(workload, self.stages)
        super().__init__(Station(policy, blank, replace(service, stages=None)), times)

    def trace(self) -> Trace:
        """What happened to everybody."""
        times = StageTimes.of(self.stages, self.pre_start_ns, self.queued_ns, self.post_start_ns)
        order = np.array(self.order, dtype=np.int64)
        inner = self.station.trace()
        return joined(self.requests, inner, order, times, self.finish_ns)

    # the life of a request

    def _open_arrivals(self) -> Events:
        self.pre_workers = _workers(self.env, self.stages.pre)
        self.post_workers = _workers(self.env, self.stages.post)
        self.pre_ns = _took(self.stages.pre, self.requests)
        self.post_ns = _took(self.stages.post, self.requests)
        for request, arrival_ns in enumerate(self.requests.arrival_ns.tolist()):
            if arrival_ns > self.now_ns:
                yield self.env.timeout(arrival_ns - self.now_ns)
            self.env.process(self._preprocess(request))

    def _preprocess(self, request: int) -> Events:
        if self.pre_workers is None:
            self.pre_start_ns[request] = self.now_ns
        else:
            with self.pre_workers.request() as worker:
                yield worker
                self.pre_start_ns[request] = self.now_ns
                yield self.env.timeout(int(self.pre_ns[request]))
        self.queued_ns[request] = self.now_ns
        if self._patience_left(request) > 0:
            self.noted_arrivals.append((request, None))
            self._ask_for_tick()

    def _postprocess(self, request: int) -> Events:
        if self.post_workers is None:
            self.post_start_ns[request] = self.now_ns
        else:
            with self.post_workers.request() as worker:
                yield worker
                self.post_start_ns[request] = self.now_ns
                yield self.env.timeout(int(self.post_ns[request]))
        self.finish_ns[request] = self.now_ns

    def _patience_left(self, request: int) -> int:
        timeouts = self.requests.timeout_ns
        if not len(timeouts) or timeouts[request] == NEVER:
            return NEVER
        return int(timeouts[request]) - (self.now_ns - int(self.requests.arrival_ns[request]))

    # what the station is told, and what it says

    def _admit(self) -> None:
        """Write the columns of those who now come to the queue, in id order, then let them in."""
        station, room = self.station, self.station.room
        noted = sorted(self.noted_arrivals, key=FIFO)
        for place, (request, _) in enumerate(noted, start=station.arrived):
            self.order.append(request)
            station.workload.length[place] = room.length[place] = self.requests.length[request]
            if len(self.requests.tier):
                station.workload.tier[place] = room.tier[place] = self.requests.tier[request]
            if len(self.requests.timeout_ns):
                station.workload.timeout_ns[place] = self._patience_left(request)
            station.workload.arrival_ns[request] = self.now_ns
        super()._admit()

    def _answer(self, requests: Iterable[int]) -> None:
        """Those whose batch has ended go on, at one instant in id order."""
        done = [self.order[place] for place in requests if self.station.status[place] == SERVED]
        for request in sorted(done):
            self.env.process(self._postprocess(request))


def run_staged(policy: Policy, workload: Workload, service: Service, times: ServiceTimes) -> Trace:
    """Simulate a service with stages until no event remains.

    Args:
        policy: any policy; it is bound to the service first.
        workload: who arrives when; an open one.
        service: has stages.
        times: how long each batch takes.

    Raises:
        WorkloadError: the workload is a closed loop.
        PolicyError: the policy broke the contract.
    """
    model = StagedModel(policy, workload, service, times)
    model.env.run()
    return model.trace()


def _blank(workload: Workload, stages: Stages) -> Workload:
    """As many requests as will come to the queue in time, of which nothing else is known yet.

    How many that are is all that is taken from the recursion: autoscalers end with the arrivals.
    """
    _, queued_ns = through(stages.pre, workload.arrival_ns, np.arange(len(workload)), workload)
    coming = np.count_nonzero(queued_ns < limits_ns(workload))
    columns = ("length", "tier", "timeout_ns")
    blank = {name: np.zeros_like(getattr(workload, name)[:coming]) for name in columns}
    return replace(workload, **blank, arrival_ns=np.zeros_like(workload.arrival_ns))


def _workers(env: simpy.Environment, stage: Stage | None) -> simpy.Resource | None:
    return None if stage is None else simpy.Resource(env, capacity=stage.workers)


def _took(stage: Stage | None, workload: Workload) -> IntArray:
    if stage is None:
        return np.zeros(0, dtype=np.int64)
    return stage.service_ns(workload.length)
