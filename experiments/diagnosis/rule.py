"""Which batching rule a service follows, from what it was seen to do.

1. The largest batch seen is taken for the limit.
2. Batches that started on a server that had been idle since before their oldest request came show
   the timer: the usual time for which such a request was held.  Where it is next to nothing, the
   rule does not wait.
3. The timer may run from the oldest request (Triton) or only while the server is idle (Ray Serve):
   batches whose oldest request came while the server was busy tell which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policies.size_or_timeout import SizeOrTimeout

from .seen import Seen

ENOUGH = 8
"""Batches that show a timer; with fewer there is nothing to see."""
NOTHING = 0.02
"""A wait of less than this share of a usual batch's time is none."""
MOSTLY_FULL = 0.98
"""Share of full batches from which a rule is taken to wait for a full batch."""


class Rule(NamedTuple):
    """A rule, and how it was found in words."""

    policy: SizeOrTimeout
    words: str


def inferred(seen: Seen) -> Rule:
    """The size-or-timeout rule that fits best what was seen."""
    cap = int(seen.batch_size.max())
    full = seen.batch_size >= cap
    usual = float(np.median(seen.took_ns))
    fresh = (seen.oldest_ns > seen.idle_since_ns) & ~full
    held = (seen.batch_start_ns - seen.oldest_ns)[fresh]
    if cap > 1 and full.mean() >= MOSTLY_FULL:
        longest = int((seen.batch_start_ns - seen.oldest_ns).max())
        return Rule(SizeOrTimeout(cap, 2 * longest), f"full batches of {cap} only")
    if len(held) < ENOUGH or np.median(held) < NOTHING * usual:
        return Rule(SizeOrTimeout(cap, 0), f"at most {cap} a batch, without a wait")
    wait_ns = int(np.median(held))
    from_idle = _runs_from_idle(seen, full, wait_ns)
    after = " of an idle server" if from_idle else ""
    words = f"at most {cap} a batch, and a wait of {wait_ns / 1e6:.3g} ms{after}"
    return Rule(SizeOrTimeout(cap, wait_ns, 0, from_idle), words)


def _runs_from_idle(seen: Seen, full: np.ndarray, wait_ns: int) -> bool:
    """Whether a server that became idle beside waiting requests still waits its whole time."""
    late = (seen.oldest_ns <= seen.idle_since_ns) & ~full
    waited = (seen.batch_start_ns - seen.idle_since_ns)[late]
    if len(waited) < ENOUGH:
        return False
    return bool(np.median(waited) > 0.9 * wait_ns)
