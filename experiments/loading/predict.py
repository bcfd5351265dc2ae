"""What the simulator says of a window: its very requests, and the client's floor on top.

1. The requests are those that are sent, at the instants that are planned for them.
2. Service times are the scenario's, with their noise; several draws of it give an interval.
3. The floor (:mod:`.floor`) comes on top: to every batch its turnaround, to the latency of every
   request one that was seen where nothing had to be done.  The policy knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.scenario import Scenario
from policies.contract import NEVER, Policy
from sim import kernel
from sim import trace as traces
from sim.service import Service
from sim.workload import Workload

from .floor import Floor
from .seen import EXPIRED, FAILED, REJECTED, SERVED, Seen

DRAWS = 8
"""Of the luck of the servers, for each window."""
FATE_OF: Mapping[int, int] = {
    traces.SERVED: SERVED, traces.REJECTED: REJECTED, traces.EXPIRED: EXPIRED,
    traces.UNFINISHED: FAILED, traces.LOST: FAILED,
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """What decides at the server, as the simulator has it."""

    name: str
    policy: Policy
    """Not bound."""
    table: Mapping[str, Any]
    """As a scenario writes it."""
    capacity: int | None = None
    """Requests that may wait; None: the scenario's."""
    told: bool = False
    """Whether the server said so itself."""

    def service(self, scenario: Scenario, draw: int) -> Service:
        """What serves, with one draw of its luck."""
        service = scenario.draw(draw)[1]
        if self.capacity is not None and self.capacity < NEVER:
            service = replace(service, capacity=self.capacity)
        return service


def simulated(rule: Rule, scenario: Scenario, workload: Workload, floor: Floor, draw: int) -> Seen:
    """One draw of a window.

    Args:
        rule: what decides.
        scenario: says what batches take.
        workload: the window's requests.
        floor: what the client and the hand-over of batches cost.
        draw: the number of the draw.

    Raises:
        PolicyError: the policy broke its contract, or does not fit the scenario.
    """
    trace = _run(rule.policy, workload, rule.service(scenario, draw), floor)
    fate = np.array([FATE_OF[k] for k in range(len(FATE_OF))], dtype=np.int8)[trace.status]
    served = trace.status == traces.SERVED
    latency = np.where(trace.finish_ns >= 0, trace.finish_ns - trace.arrival_ns, 0)
    if len(floor.rest_ns):
        latency = latency + np.random.default_rng(draw).choice(floor.rest_ns, len(latency))
    batch = np.where(served, trace.batch, 0).astype(np.int64)
    took = np.append(trace.batch_finish_ns - trace.batch_start_ns, -1)
    size = np.append(trace.batch_size.astype(np.int64), -1)
    place = np.where(served, batch, len(took) - 1)
    return Seen(
        tier=trace.tier,
        fate=fate,
        latency_ns=latency,
        wait_ns=np.where(served, trace.start_ns - trace.arrival_ns, -1),
        service_ns=took[place],
        size=size[place],
    )


def _run(policy: Policy, workload: Workload, service: Service, floor: Floor) -> traces.Trace:
    """Simulate, each batch longer by its turnaround, of which the policy knows nothing."""
    more_ns = floor.turnaround_ns(service.service_ns.shape[1])
    slower = replace(service, service_ns=service.service_ns + more_ns[np.newaxis, :, np.newaxis])
    kinds, _ = service.policies(policy, workload.tiers)
    if len(kinds) > 1 or service.stages is not None:
        return kernel.run(policy, workload, slower)
    return kernel.run_bound(kinds[0], workload, slower)


__all__ = ["DRAWS", "Rule", "simulated"]
