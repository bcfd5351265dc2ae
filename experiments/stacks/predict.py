"""What the simulator says of a window before it is run: the stack's own policy, with its overheads.

1. The requests are those of the window, at the instants that were planned for them; each comes in
   later by a drawn way in.
2. A batch keeps its server for what the model was asked to take, a drawn overshoot, the turnaround
   by its size and a drawn rest of the turnaround.
3. Latency in the server ends with the model; the client's has a drawn way out beside it.
4. A policy that learns begins with what it has learned of the server's batches until then, and its
   server pauses as it did.

All draws are from the calibration.  Several draws of one window give the interval of its figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.export.setting import Costs
from policies.contract import IntArray
from sim import model
from sim.service import Service
from sim.service_times import Batch
from sim.trace import SERVED
from sim.workload import Workload

from .calibrate import Overheads, cost_ns
from .contract import Ruling
from .figures_of_window import Figures, figures_of
from .learned import Past, learns, run_after
from .pauses import Pauses, pauses_of
from .rulings import policy_of

DRAWS = 8
"""Of each window."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """One draw of one window: R requests were served, in M batches."""

    latency_ns: IntArray
    """int64 (R,): from the planned instant to the answer."""
    in_server_ns: IntArray
    """int64 (R,): from sending to the end of the model."""
    size: IntArray
    """int64 (M,)."""
    figures: Figures


class StackTimes:
    """How long batches keep a server, and when the model in them ends."""

    def __init__(
        self,
        costs: Costs,
        overheads: Overheads,
        rng: np.random.Generator,
        pauses: Pauses = Pauses(),  # noqa: B008 - it cannot change
    ) -> None:
        self.costs, self.overheads, self.rng, self.pauses = costs, overheads, rng, pauses
        self.model_ns: list[int] = []
        """From the start of each batch to the end of its model."""

    def __call__(self, batch: Batch) -> int:
        """Turnaround, model and rest."""
        cost, size = self.overheads, len(batch.members)
        until_ns = cost.before_ns(size) + cost_ns(self.costs, size, batch.longest)
        until_ns += int(self.rng.choice(cost.overshoot_ns)) + self.pauses.draw(size, self.rng)
        self.model_ns.append(max(1, until_ns))
        rest_ns = int(self.rng.choice(cost.turnaround_ns))
        return self.model_ns[-1] + cost.after_ns(size) + rest_ns


def simulated(
    ruling: Ruling,
    costs: Costs,
    overheads: Overheads,
    workload: Workload,
    rng: np.random.Generator,
    sent_ns: IntArray | None = None,
    past: Past | None = None,
) -> Forecast:
    """Simulate a window once.

    Args:
        ruling: the policy that is the stack.
        costs: of the model.
        overheads: of the stack.
        workload: the window's requests.
        rng: draws the luck.
        sent_ns: int64 (N,), when they were really sent; by default as planned.
        past: of the server, before the first was due; by default it is new.
    """
    went_ns = workload.arrival_ns if sent_ns is None else sent_ns
    arrival_ns = went_ns + rng.choice(overheads.enter_ns, len(workload))
    order = np.argsort(arrival_ns, kind="stable")
    here = Workload(
        workload.length[order],
        arrival_ns[order],
        timeout_ns=workload.timeout_ns[order] if len(workload.timeout_ns) else workload.timeout_ns,
        tiers=workload.tiers[:1],
        length_unit=workload.length_unit,
    )
    service = Service(costs.service_ns[np.newaxis], costs.length_edges, ruling.servers)
    policy = policy_of(ruling)
    if past is not None and learns(policy):
        times = StackTimes(costs, overheads, rng, pauses_of(past, costs))
        past = past.at(int(workload.arrival_ns[0]))
        trace = run_after(past, overheads.usual_enter_ns, policy, here, service, times)
    else:
        times = StackTimes(costs, overheads, rng)
        trace = model.run(policy, here, service, times=times)
    served = np.flatnonzero(trace.status == SERVED)
    batch = trace.batch[served].astype(np.int64)
    ended = trace.batch_start_ns + np.array(times.model_ns, dtype=np.int64)
    leave = _leave(overheads, trace.batch_size[batch].astype(np.int64), rng)
    planned_ns = workload.arrival_ns[order][served]
    in_server_ns = ended[batch] - went_ns[order][served]
    latency_ns = ended[batch] + leave - planned_ns
    size = trace.batch_size.astype(np.int64)
    figures = figures_of(latency_ns, in_server_ns, size, planned_ns, len(workload))
    return Forecast(latency_ns, in_server_ns, size, figures)


def _leave(overheads: Overheads, size: IntArray, rng: np.random.Generator) -> IntArray:
    """int64 (R,): a way out for each request, by the size of its batch."""
    found = np.zeros(len(size), dtype=np.int64)
    for each in np.unique(size).tolist():
        mine = size == each
        found[mine] = rng.choice(overheads.leave_of(each), int(mine.sum()))
    return found
