"""Offline work in the gaps that interactive requests leave, in batches that never block for long.

Rules of this module:

1. A server is *open* while it is idle, and while it is expected to be idle again within
   ``max_block_ns``.  An offline batch is *long* if it takes more than that.
2. Of ``S`` servers, ``reserved * S`` stay open to interactive work.  Long batches run on the rest,
   ``(1 - reserved) * S``: as many at once as that has whole servers, and one more for the share of
   the time that its fraction says.
3. Times are the profile's, without noise, at the longest length in the batch.
"""

from __future__ import annotations

from math import floor
from typing import NamedTuple

import numpy as np

from .contract import (
    FIRE,
    NEVER,
    NO_EDGES,
    NO_TABLE,
    IntArray,
    Tier,
    View,
    fire,
    shared,
    wait_until,
)
from .parameters import (
    NO_VALUES,
    interactive_tiers,
    one_per_lane,
    require,
    whole_boundaries,
    within,
)
from .planning import longest_of_first, planned_ns
from .space import Buckets, Real, Size, Space, Time
from .tier_lanes import oldest_of_tier, sizes_within, tier_lane

ROUNDING = 1e-9
"""``(1 - 0.9) * 10`` is one server, not 0.9999999999999998."""

LENDING = 1.0
"""In a server's cell of ``view.memory``: its batch is a long one that a fraction pays for."""


class Headroom(NamedTuple):
    """Serve interactive tiers at once; offline batches block them for a budget of time at most.

    Interactive requests go first, the most urgent tier first, without waiting, up to
    ``max_batch_size``.  When none waits, an idle server takes offline requests: of the sizes whose
    time is within ``max_block_ns`` the one with most requests per second.  So an interactive
    request that arrives just after an offline batch has started waits at most ``max_block_ns`` for
    offline work.  It waits longer only for interactive work, or where noise makes a batch slower
    than the profile says.

    ``reserved`` is the share of the servers for which that holds; the rest runs offline batches of
    any time.  Of ``S`` servers ``(1 - reserved) * S`` may be given away: as many long batches at
    once as that has whole servers, and for its fraction one more during that share of the time (a
    long batch of 150 ms at a fraction of 0.2 is the last one for 750 ms).  Of 4 servers with
    ``reserved = 0.5``, two are open within ``max_block_ns`` whenever an offline batch has started;
    one server with ``reserved = 0.9`` runs long batches for a tenth of the time.  A server whose
    batch is expected to end within ``max_block_ns`` is open, whatever it runs, so that long batches
    may follow one another in turn.  With ``max_block_ms = 0`` every offline batch is long: offline
    work then has ``1 - reserved`` of the servers' time at most.  With ``reserved = 1``, an offline
    request that alone takes longer than ``max_block_ms`` goes alone, so that nobody starves.

    Interactive are the tiers with an SLO, or tier 0 where none has one, unless ``interactive``
    names them.  ``max_fill_ms`` lets less urgent requests of the same length bucket fill up an
    interactive batch, as long as the whole batch takes no more than that.  With ``boundaries`` a
    batch holds one length bucket; in a tier the one whose oldest request arrived first goes.
    """

    max_block_ns: int
    reserved: float = 1.0
    """Share of the servers that stay open to interactive work."""
    max_batch_size: IntArray = NO_VALUES
    """int64 (tiers,); one value stands for all, none for the profile's largest batch."""
    max_fill_ns: int = 0
    """Longest time of an interactive batch that is filled up; 0 fills none."""
    interactive: IntArray = NO_VALUES
    """int64: numbers of the interactive tiers, 0 the first."""
    boundaries: IntArray = NO_VALUES
    """int64 (buckets - 1,), increasing, in the unit of the profile's lengths."""
    servers: int = 1
    """How many share the queue, from ``bind``."""
    service_ns: IntArray = NO_TABLE
    length_edges: IntArray = NO_EDGES

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Time("max_block_ms", low=1.0),
            Real("reserved", 0.0, 1.0),
            Size("max_batch_size", tiers=True),
            Time("max_fill_ms", zero=True),
            Buckets("boundaries"),
        )

    @property
    def memory_slots(self) -> int:
        """What each server runs, and when the next long batch of the fraction may start."""
        return self.servers + 1

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> Headroom:
        """Check the parameters, take the profile, and find the interactive tiers."""
        require(0.0 <= self.reserved <= 1.0, "0 <= reserved <= 1", reserved=self.reserved)
        all_of_it = (1.0 - self.reserved) * servers < ROUNDING
        largest = service_ns.shape[0]
        return Headroom(
            max_block_ns=within("max_block_ns", self.max_block_ns, 0),
            reserved=1.0 if all_of_it else float(self.reserved),
            max_batch_size=one_per_lane(
                "max_batch_size", self.max_batch_size, len(tiers), 1, largest, largest, "tier"
            ),
            max_fill_ns=within("max_fill_ns", self.max_fill_ns, 0),
            interactive=interactive_tiers(self.interactive, tiers),
            boundaries=whole_boundaries(self.boundaries),
            servers=servers,
            service_ns=service_ns.copy(),
            length_edges=length_edges.copy(),
        )

    def within_memory(self, length: IntArray, most: IntArray) -> Headroom:
        """Sizes that fit whatever the lengths."""
        return self._replace(max_batch_size=sizes_within(self.max_batch_size, most))

    def lanes(self) -> int:
        """One for each tier and bucket; tiers are known once it is bound."""
        return len(self.max_batch_size) * (len(self.boundaries) + 1)

    def lane_of(self, length: int, tier: int) -> int:
        """The lane of tier and bucket."""
        return tier_lane(self.boundaries, length, tier)

    def observe(self, view: View) -> None:
        """A long batch that a fraction paid for puts the next one off."""
        if view.memory[view.server] == LENDING:
            began_ns = view.now_ns - view.finished_service_ns
            share = fraction(self.reserved, self.servers)
            view.memory[self.servers] = began_ns + np.rint(view.finished_service_ns / share)
        view.memory[view.server] = 0.0

    def decide(self, view: View) -> int:
        """Fire interactive requests, or an offline batch that blocks for short enough."""
        buckets = self.boundaries.shape[0] + 1
        lane = first_lane(view, self.interactive, True, buckets)
        if lane >= 0:
            view.memory[view.server] = 0.0
            most = self.max_batch_size[lane // buckets]
            return fire_filled(
                view, lane, buckets, most, self.max_fill_ns, self.service_ns, self.length_edges
            )
        lane = first_lane(view, self.interactive, False, buckets)
        most = min(view.waiting[lane], self.max_batch_size[lane // buckets])
        opens_ns, lends = long_opens_ns(view, self.reserved, self.max_block_ns)
        limit_ns = NEVER if opens_ns <= view.now_ns else self.max_block_ns
        size = best_size(view, lane, most, limit_ns, self.service_ns, self.length_edges)
        if size == 0 and self.reserved < 1.0:
            return wait_until(opens_ns)
        size = max(size, 1)
        longest = longest_of_first(view, lane, size)
        time_ns = planned_ns(self.service_ns, self.length_edges, size, longest)
        is_long = time_ns > self.max_block_ns
        view.memory[view.server] = LENDING if lends and is_long else 0.0
        return fire(view, lane, size)


@shared
def first_lane(view: View, interactive: IntArray, wanted: bool, buckets: int) -> int:
    """Oldest lane of the most urgent tier that waits among the interactive ones, or the others."""
    for tier in range(view.waiting.shape[0] // buckets):
        is_interactive = False
        for own in interactive:
            if own == tier:
                is_interactive = True
        if is_interactive == wanted:
            lane = oldest_of_tier(view, tier, buckets)
            if lane >= 0:
                return lane
    return -1


@shared
def given_away(reserved: float, servers: int) -> int:
    """How many whole servers may run long batches at once."""
    return floor((1.0 - reserved) * servers + ROUNDING)


@shared
def fraction(reserved: float, servers: int) -> float:
    """For which share of the time one more server may; 0 where the servers come out even."""
    rest = (1.0 - reserved) * servers - given_away(reserved, servers)
    return rest if rest > ROUNDING else 0.0


@shared
def long_opens_ns(view: View, reserved: float, max_block_ns: int) -> tuple[int, bool]:
    """When a long batch may start on the server at hand, and whether a fraction pays for it.

    An instant up to now: at once.  NEVER: an event has to happen first.
    """
    whole = given_away(reserved, view.servers)
    closed = 0
    lent = False
    closed_lent = False
    first_ns = NEVER
    for server in range(view.servers):
        if view.busy_since_ns[server] < 0:
            continue
        opens_ns = view.expected_finish_ns[server] - max_block_ns
        lends = view.memory[server] == LENDING
        lent = lent or lends
        if opens_ns > view.now_ns:
            closed += 1
            closed_lent = closed_lent or lends
            first_ns = min(first_ns, opens_ns)
    if closed - int(closed_lent) < whole:
        return view.now_ns, False
    if closed <= whole and not lent and fraction(reserved, view.servers) > 0.0:
        resumes_ns = int(view.memory[view.servers])
        if resumes_ns <= view.now_ns:
            return view.now_ns, True
        first_ns = min(first_ns, resumes_ns)
    return first_ns, False


@shared
def best_size(
    view: View, lane: int, most: int, limit_ns: int, service_ns: IntArray, length_edges: IntArray
) -> int:
    """The size up to ``most`` with most requests per second within ``limit_ns``; 0: none is."""
    best = 0
    best_ns = 1
    longest = 0
    request = view.head[lane]
    for size in range(1, most + 1):
        longest = max(longest, int(view.length[request]))
        size_ns = planned_ns(service_ns, length_edges, size, longest)
        if size_ns <= limit_ns and size * best_ns >= best * size_ns:
            best = size
            best_ns = size_ns
        request = view.next[request]
    return best


@shared
def fire_filled(
    view: View,
    lane: int,
    buckets: int,
    most: int,
    limit_ns: int,
    service_ns: IntArray,
    length_edges: IntArray,
) -> int:
    """Fire a lane, filled up with less urgent tiers of its bucket while it keeps the limit."""
    size = min(view.waiting[lane], most)
    view.take[lane] = size
    longest = longest_of_first(view, lane, size)
    for other in range(lane + buckets, view.waiting.shape[0], buckets):
        request = view.head[other]
        for _ in range(min(view.waiting[other], most - size)):
            longer = max(longest, int(view.length[request]))
            if planned_ns(service_ns, length_edges, size + 1, longer) > limit_ns:
                break
            longest = longer
            size += 1
            view.take[other] += 1
            request = view.next[request]
    return FIRE
