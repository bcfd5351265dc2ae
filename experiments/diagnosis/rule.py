"""Which batching rule a service follows, from what it was seen to do.

1. The largest batch seen is taken for the limit.
2. Batches below it that started on a server that had been idle beside their oldest request show a
   timer; where there are few of them, the rule does not wait.
3. The timer runs from the oldest request (Triton), or from the later of that and the end of the
   batch before (Ray Serve): whichever of the two times differs less between those batches.
4. Where nearly every batch is full, and servers were idle while one filled, the rule waits for full
   batches.
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
SELDOM = 0.02
"""...and at least this share of those that are not full."""
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
    least = NOTHING * float(np.median(seen.took_ns))
    by_age = seen.batch_start_ns - seen.oldest_ns
    by_idle = seen.batch_start_ns - np.maximum(seen.oldest_ns, seen.idle_since_ns)
    held = by_idle > least
    if cap > 1 and full.mean() >= MOSTLY_FULL and np.count_nonzero(held) >= ENOUGH:
        return Rule(SizeOrTimeout(cap, 2 * int(by_age.max())), f"full batches of {cap} only")
    shown = held & ~full
    if np.count_nonzero(shown) < max(ENOUGH, SELDOM * np.count_nonzero(~full)):
        return Rule(SizeOrTimeout(cap, 0), f"at most {cap} a batch, without a wait")
    from_idle = _varies(by_idle[shown]) < 0.5 * _varies(by_age[shown])
    wait_ns = int(np.median((by_idle if from_idle else by_age)[shown]))
    after = " of an idle server" if from_idle else ""
    words = f"at most {cap} a batch, and a wait of {wait_ns / 1e6:.3g} ms{after}"
    return Rule(SizeOrTimeout(cap, wait_ns, 0, from_idle), words)


def _varies(waits: np.ndarray) -> float:
    """How far apart the quartiles are, as a share of the middle; at least a thousandth."""
    low, middle, high = np.quantile(waits, (0.25, 0.5, 0.75))
    return max(0.001, float(high - low) / max(1.0, float(middle)))
