"""What slots let through: a sequence keeps its own for as long as it is open, however idle it is.

By Little's law (Operations Research 9, 1961) so many sequences begin per second at most as there
are slots, divided by the time that one holds its slot: from its first request to its last, and the
idle time after it where it never says that it ends.  Where requests have to wait it is longer; that
is the batches' own limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray, Policy
from policies.sticky import max_idle_ns, slots

from .sequences import Sequences, is_seated
from .service import Service
from .workload import Workload

SLOTS = "the number of slots"
"""What keeps up no longer, in words."""


def slot_limit_per_s(policy: Policy, workload: Workload, service: Service) -> float:
    """Requests per second that slots let through; infinite where there are none.

    Args:
        policy: not yet bound.
        workload: open.
        service: how many servers hold slots, and its largest batch.
    """
    if not is_seated(policy, workload.sequences):
        return np.inf
    assert workload.sequences is not None
    bound = service.policies(policy, workload.tiers)[0][0]
    held_ns = float(holds_ns(workload, max_idle_ns(bound)).mean())
    each = len(workload) / workload.sequences.count
    seats = slots(bound) * service.servers
    return seats * each * 1e9 / held_ns if held_ns > 0.0 else np.inf


def holds_ns(workload: Workload, max_idle_ns: int) -> FloatArray:
    """How long each sequence holds a slot if nothing ever waits, float64 (sequences,)."""
    sequences = workload.sequences
    assert sequences is not None
    first, last, says = ends_of(sequences)
    idle_ns = np.where(says, 0.0, float(max_idle_ns))
    span_ns = (workload.arrival_ns[last] - workload.arrival_ns[first]).astype(np.float64)
    found: FloatArray = span_ns + idle_ns
    return found


def ends_of(sequences: Sequences) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """First and last request of each sequence, int64 (sequences,), and whether that says so."""
    ids = np.arange(len(sequences.of))
    first, last = np.zeros((2, sequences.count), dtype=np.int64)
    last[sequences.of] = ids
    first[sequences.of[::-1]] = ids[::-1]
    return first, last, sequences.ends[last] != 0
