"""Whether a policy can serve what arrives, and by how much it cannot.

The saturation rate of a policy is what it serves when requests never run out.  It is measured on a
backlog, because it depends on the rule: a small cap, a padded batch or a full batch that never
comes cost throughput that no formula of the profile knows.  CPU stages before and after the GPU
have a limit of their own, the same for every rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.contract import NEVER, FloatArray, Policy, sheds

from .backlog import others_of, places_of, taken, without
from .routed_limit import routed_saturation_per_s
from .sealed_limit import sealed_saturation_per_s
from .sections import overlap
from .sequences import crowd_of
from .service import Service
from .stage_limits import stage_limit
from .trace import SERVED, Trace
from .workload import NO_TIMES, Workload

Driver = Callable[[Policy, Workload, Service], Trace]
"""``sim.kernel.run`` or ``sim.model.run``."""

LEARNT, DRAINED = 0.2, 0.9
"""Shares of the backlog between which throughput is measured: a learning rule has learnt by the
first, and lanes begin to run empty after the second."""


@dataclass(frozen=True)
class Stability:
    """What arrives against what a policy can serve."""

    stable: bool
    rate_per_s: float | None
    """Requests that arrive and are not too long; None in a closed loop."""
    saturation_per_s: float | None
    """Requests that the policy can serve, stages included; None in a closed loop."""
    bounded_by: str = ""
    """What keeps the queue bounded whatever arrives; empty where nothing does."""
    stages_per_s: float = np.inf
    """Requests that the CPU stages let through; no bounded queue helps above it."""
    stage: str = ""
    """The stage that is slower than the GPU under this policy, in words; empty where none is."""
    beside: str = ""
    """The backlogs that are always there, and are not counted."""

    @classmethod
    def judged(cls, rate_per_s: float, saturation_per_s: float, more: Stability) -> Stability:
        """Stability at a rate, where bounds and stages are known from another one."""
        served = bool(more.bounded_by) or rate_per_s < saturation_per_s
        stable = served and rate_per_s < more.stages_per_s
        return replace(
            more, stable=stable, rate_per_s=rate_per_s, saturation_per_s=saturation_per_s
        )

    @property
    def load(self) -> float | None:
        """Arrival rate over saturation rate; None in a closed loop."""
        if self.rate_per_s is None or self.saturation_per_s is None:
            return None
        return self.rate_per_s / self.saturation_per_s if self.saturation_per_s > 0.0 else np.inf

    @property
    def excess(self) -> float:
        """How much more arrives than can be served, as a share of what can; 0 where it can."""
        return 0.0 if self.load is None else max(0.0, self.load - 1.0)

    @property
    def message(self) -> str:
        """One sentence."""
        if self.load is None:
            return f"stable by construction: {self.bounded_by}"
        numbers = (
            f"{self.rate_per_s:.1f} requests/s arrive, "
            f"{self.stage or 'this policy'} can serve {self.saturation_per_s:.1f}/s{self._there} "
            f"(load {self.load:.2f})"
        )
        if self.bounded_by and self.stable:
            return f"stable by construction, {self.bounded_by}: {numbers}"
        return f"{'stable' if self.stable else 'unstable'}: {numbers}"

    @property
    def _there(self) -> str:
        return f" beside the backlog of {self.beside}" if self.beside else ""


def assess(
    policy: Policy,
    workload: Workload,
    service: Service,
    run: Driver,
    *,
    rate_per_s: float | None = None,
    requests: int = 20_000,
) -> Stability:
    """Whether a policy can serve a workload, by a run on a backlog of the same requests.

    Args:
        policy: not yet bound.
        workload: what arrives.
        service: what serves it.
        run: a driver.
        rate_per_s: the arrival rate where it is known; by default that of the drawn arrivals.
        requests: in the backlog.
    """
    if workload.closed is not None:
        return Stability(True, None, None, "in a closed loop clients wait for their answers")
    others = without(workload)
    admitted = others.length <= service.longest_admitted
    if rate_per_s is None:
        rate_per_s = arrival_rate_per_s(others)
    rate_per_s *= float(admitted.mean())
    bounded_by = ""
    limits = service.tier_capacity
    if service.capacity < NEVER or (len(limits) and bool((limits < NEVER).all())):
        bounded_by = "a full queue turns requests away"
    elif len(others.timeout_ns) and bool((others.timeout_ns < NEVER).all()):
        bounded_by = "every request gives up in time"
    elif sheds(policy):
        bounded_by = "the policy lets requests go unserved"
    beside = " and ".join(workload.tiers[place].name for place in places_of(workload.tiers))
    of_gpu = saturation_per_s(policy, workload, replace(service, stages=None), run, requests)
    sealed = sealed_saturation_per_s(policy, workload, _open_to_all(service), run, requests)
    of_gpu = min(of_gpu, sealed)
    limit = stage_limit(others, service, of_gpu)
    stage = limit.name if limit.per_s <= of_gpu else ""
    known = Stability(True, None, None, bounded_by, limit.per_s, stage, beside)
    return Stability.judged(rate_per_s, min(of_gpu, limit.per_s), known)


def arrival_rate_per_s(workload: Workload) -> float:
    """Requests per second between the first arrival and the last; infinite if all come at once."""
    if len(workload.arrival_ns) < 2:
        return 0.0
    lasts_ns = int(workload.arrival_ns[-1] - workload.arrival_ns[0])
    return (len(workload.arrival_ns) - 1) * 1e9 / lasts_ns if lasts_ns else np.inf


def saturation_per_s(
    policy: Policy,
    workload: Workload,
    service: Service,
    run: Driver,
    requests: int = 20_000,
) -> float:
    """Requests per second that a policy serves while requests never run out.

    Where slots hold sequences, all of them are held by sequences whose requests are all there.  Too
    few slots make sequences wait, not the run unstable: who waited long enough has everything
    ready, and needs its slot for a short time only.

    A backlog of the workload's own lengths and tiers arrives within microseconds (1 ns apart, so
    that each request has its age), waits without limit, and is served.  In the middle of that run
    the useful work per second of the servers is measured, and divided by the useful work of a
    mean request: rules that prefer short or urgent requests change the order of the backlog, which
    a plain count of requests would mistake for speed.  CPU stages are left out of that run: what
    they let through is the most that counts.  Behind a router a backlog would say nothing, and
    :mod:`sim.routed_limit` finds the rate.
    """
    if places_of(workload.tiers):
        return _saturation_beside(policy, workload, service, run, requests)
    crowd = backlog(workload, service, requests)
    if len(crowd) == 0:
        return np.inf
    if service.grouping.queues > 1:
        most = 1.0 / load(1.0, service, crowd)
        per_s = routed_saturation_per_s(policy, crowd, _open_to_all(service), run, most)
        return min(per_s, stage_limit(workload, service, per_s).per_s)
    if workload.sequences is not None:
        held = crowd_of(policy, service.servers, len(crowd), service.largest_batch)
        crowd = replace(crowd, sequences=held)
    trace = run(policy, crowd, _open_to_all(service))
    per_s = _pace(trace, service, np.ones(len(crowd), dtype=np.bool_), np.inf)
    return min(per_s, stage_limit(workload, service, per_s).per_s)


def _saturation_beside(
    policy: Policy, workload: Workload, service: Service, run: Driver, requests: int
) -> float:
    """What a policy serves of the tiers that arrive, while neither they nor the backlog run out.

    Both are there from the start, the backlog first, as in the run itself.  What counts ends when
    the first of them is nearly through.
    """
    others = backlog(without(workload), service, requests)
    if len(others) == 0:
        return np.inf
    always = np.flatnonzero(np.isin(workload.tier, places_of(workload.tiers)))
    there = backlog(taken(workload, always), service, requests)
    crowd = replace(
        workload,
        length=np.concatenate([there.length, others.length]),
        tier=np.concatenate([there.tier, others.tier]),
        arrival_ns=np.arange(len(there) + len(others), dtype=np.int64),
        timeout_ns=NO_TIMES,
        until_ns=NEVER,
    )
    trace = run(policy, crowd, _open_to_all(service))
    wanted = np.zeros(len(crowd), dtype=np.bool_)
    wanted[others_of(crowd.tier, crowd.tiers)] = True
    end_ns = min(_nearly_through(trace, wanted), _nearly_through(trace, ~wanted))
    return _pace(trace, service, wanted, end_ns)


def _open_to_all(service: Service) -> Service:
    """The GPU's queue alone, without a limit, and with all replicas there."""
    cluster = None if service.cluster is None else service.cluster.steady()
    return replace(service, capacity=NEVER, tier_capacity=NO_TIMES, stages=None, cluster=cluster)


def _nearly_through(trace: Trace, own: NDArray[np.bool_]) -> float:
    """When a class of the crowd begins to run out; infinite where it never does."""
    finish = np.sort(trace.finish_ns[own & (trace.status == SERVED)])
    last = int(DRAINED * own.sum())
    return float(finish[last]) if last < len(finish) else np.inf


def _pace(trace: Trace, service: Service, wanted: NDArray[np.bool_], end_ns: float) -> float:
    """Mean requests of those wanted per second in the middle of a crowd's run.

    Args:
        trace: the run.
        service: the profile.
        wanted: bool (N,), the requests whose work counts.
        end_ns: what is later does not count.
    """
    served = wanted & (trace.status == SERVED)
    if not served.any():
        return 0.0
    cost = useful_ns(service, trace.length, trace.tier)
    batches = len(trace.batch_size)
    work = np.bincount(trace.batch[served], weights=cost[served], minlength=batches)
    order = np.argsort(trace.batch_finish_ns, kind="stable")
    finish = trace.batch_finish_ns[order]
    size = np.cumsum(trace.batch_size[order])
    if end_ns == np.inf:
        first, last = np.searchsorted(size, [LEARNT * size[-1], DRAINED * size[-1]])
    else:
        last = np.searchsorted(finish, end_ns)
        first = np.searchsorted(size, LEARNT * size[last])
    edges = np.array([finish[first], finish[last]]) if last > first else np.array([0, finish[-1]])
    start, spent = trace.batch_start_ns, trace.batch_finish_ns - trace.batch_start_ns
    done = overlap(start, trace.batch_finish_ns, edges, work / spent)[0]
    return float(done / cost[wanted].mean() * 1e9 / (edges[1] - edges[0]))


def backlog(workload: Workload, service: Service, requests: int) -> Workload:
    """Requests of a workload that are all there from the start.

    They are spread evenly over a longer workload; a shorter one is repeated.
    """
    admitted = np.flatnonzero(workload.length <= service.longest_admitted)
    places = np.arange(requests if len(admitted) else 0)
    if len(admitted) > requests:
        ids = admitted[places * len(admitted) // requests]
    else:
        ids = admitted[places % len(admitted)] if len(places) else admitted
    return replace(
        workload,
        length=workload.length[ids],
        tier=workload.tier[ids] if len(workload.tier) else workload.tier,
        arrival_ns=np.arange(len(ids), dtype=np.int64),
        timeout_ns=NO_TIMES,
        closed=None,
        sequences=None,
    )


def useful_ns(service: Service, length: NDArray[np.int32], tier: NDArray[np.int8]) -> FloatArray:
    """Useful work of each request: its share of an unpadded batch of the best size.

    That is the least ``S(k, length) / k`` over batch sizes k, of its tier's model.

    Args:
        service: the profile.
        length: int32 (N,).
        tier: int8 (N,).

    Returns:
        float64 (N,), ns of one server.
    """
    if len(length) == 0:
        return np.zeros(0)
    shortest = int(length.min())
    there = np.flatnonzero(np.bincount(length - shortest))
    cost = np.empty(there[-1] + 1)
    result = np.empty(len(length))
    for model, table in enumerate(service.service_ns):
        work = np.full(len(there), np.inf)
        for size, row in enumerate(table, start=1):
            alone = np.interp(there + shortest, service.length_edges, row)
            np.minimum(work, alone / size, out=work)
        cost[there] = work
        own = slice(None) if len(service.service_ns) == 1 else tier == model
        result[own] = cost[length[own] - shortest]
    return result


def load(rate_per_s: float, service: Service, workload: Workload) -> float:
    """Useful work that arrives per second, over the seconds of the servers: 1 is the most possible.

    No policy is stable above 1; where a policy becomes unstable is :func:`assess`'s matter.
    """
    tier = workload.tier if len(workload.tier) else np.zeros(len(workload), dtype=np.int8)
    mean_ns = float(useful_ns(service, workload.length, tier).mean())
    return rate_per_s * mean_ns / 1e9 / service.grouping.speed
