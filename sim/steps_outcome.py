"""What a compiled run did, as columns of requests."""

from __future__ import annotations

from policies.contract import IntArray

from .cache import compiled_entry
from .system import Outcome, Records
from .trace import EXPIRED, LOST, SERVED


@compiled_entry
def write_outcome(
    fates: Records,
    batches: Records,
    deadline_ns: IntArray,
    lost_ns: IntArray,
    shed_ns: IntArray,
    outcome: Outcome,
) -> None:
    """Fill the columns of requests from their fates and batches."""
    for request in range(outcome.batch.shape[0]):
        fate = fates[request]
        outcome.lane[request] = fate.lane
        outcome.batch[request] = fate.batch if fate.status == SERVED else -1
        outcome.status[request] = fate.status
        outcome.server[request] = -1
        outcome.start_ns[request] = -1
        outcome.finish_ns[request] = -1
        if fate.status == SERVED:
            record = batches[fate.batch]
            outcome.server[request] = record.server
            outcome.start_ns[request] = record.start_ns
            outcome.finish_ns[request] = record.finish_ns
        elif fate.status == EXPIRED:
            outcome.finish_ns[request] = deadline_ns[request]
            if shed_ns.shape[0] > 0 and shed_ns[request] >= 0:
                outcome.finish_ns[request] = shed_ns[request]
        elif fate.status == LOST:
            outcome.finish_ns[request] = lost_ns[request]
