"""What starts the wait of a policy that is a stack, and how long a server that is free still waits.

========  ================================================================
oldest    from the arrival of the oldest request, also while the server runs
pick      from when the server is free, or the request is there, if later
window    from when the server is free, again and again
sealed    batches are closed while the server runs
learned   how long is known only in the run
none      nothing waits
========  ================================================================
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from policies.collection_window import CollectionWindow
from policies.sealed_batches import SealedBatches
from policies.timer_from_pick import TimerFromPick

from .contract import Ruling
from .learned import learns
from .rulings import policy_of

Kind = Literal["oldest", "pick", "window", "sealed", "learned", "none"]


class Timer(NamedTuple):
    """The wait of a policy."""

    kind: Kind
    wait_ns: int
    """0: none."""
    enough: int
    """So many do not wait."""

    def free_server_waits_ns(self, size: int, age_ns: int) -> int:
        """How long a server that becomes free waits before it starts the batch that it starts.

        Args:
            size: of that batch, whose requests all wait already.
            age_ns: how long the oldest of them has waited.
        """
        if size >= self.enough or self.kind in ("learned", "none"):
            return 0
        if self.kind in ("oldest", "sealed"):
            return max(0, self.wait_ns - age_ns)
        return self.wait_ns


def timer_of(ruling: Ruling) -> Timer:
    """The timer of a policy's table; a kind that is not known waits for nothing."""
    policy = policy_of(ruling)
    if learns(policy):
        return Timer("learned", 0, 1)
    wait_ns = getattr(policy, "max_wait_ns", 0)
    if not isinstance(wait_ns, int) or wait_ns == 0:
        return Timer("none", 0, 1)
    enough = getattr(policy, "min_batch_size", 0) or getattr(policy, "max_batch_size", 0) or 1
    kind: Kind = "oldest"
    if isinstance(policy, CollectionWindow):
        kind = "window"
    elif isinstance(policy, SealedBatches):
        kind = "sealed"
    elif isinstance(policy, TimerFromPick) or getattr(policy, "from_idle", False):
        kind = "pick"
    return Timer(kind, wait_ns, int(enough))
