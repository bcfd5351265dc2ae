"""The oldest request, and those nearest to it in length."""

from __future__ import annotations

from typing import NamedTuple

from .contract import FIRE, IntArray, Tier, View, later, oldest_lane, shared, wait_until
from .parameters import largest_or, within
from .space import Size, Space, Time, Whole


@shared
def equal_lane(length: int, lanes: int, longest: int) -> int:
    """Which of ``lanes`` of equal width up to ``longest`` a length belongs to."""
    return min((max(int(length), 1) - 1) * lanes // longest, lanes - 1)


class NearestLengths(NamedTuple):
    """Fill the batch of the oldest request with the requests that are nearest to it in length.

    The queue is many narrow lanes of equal width in length.  The batch starts in the lane of the
    oldest request and grows to the lanes on both sides, nearest first and the shorter side first
    (it costs no padding), each from its head, until ``max_batch_size`` are taken.

    ``window`` is how many lanes to each side may join; 0 stands for all.  With ``max_wait_ns`` the
    oldest waits that long for a full batch within the window.  The oldest request is in every
    batch, so none starves.
    """

    max_batch_size: int = 0
    max_wait_ns: int = 0
    length_lanes: int = 32
    """Number of lanes; 32 over the profile's lengths waste at most 3 % of the longest inside one.
    """
    window: int = 0
    longest: int = 1
    """Longest length of the profile, from ``bind``."""

    @staticmethod
    def space() -> Space:
        """What may be tuned."""
        return (
            Size("max_batch_size"),
            Time("max_wait_ms", zero=True),
            Whole("length_lanes", 4, 64),
            Whole("window", 1, 64),
        )

    def bind(
        self, service_ns: IntArray, length_edges: IntArray, tiers: tuple[Tier, ...], servers: int
    ) -> NearestLengths:
        """Check the parameters and take the profile's longest length."""
        within("length_lanes", self.length_lanes, 1, 4096)
        within("window", self.window, 0)
        within("max_wait_ns", self.max_wait_ns, 0)
        return self._replace(
            max_batch_size=largest_or(self.max_batch_size, service_ns),
            longest=max(1, int(length_edges[-1])),
        )

    def lanes(self) -> int:
        """As many as asked for."""
        return self.length_lanes

    def lane_of(self, length: int, tier: int) -> int:
        """Lane ``i`` holds the lengths in ``(i, i + 1] * longest / length_lanes``."""
        return equal_lane(length, self.length_lanes, self.longest)

    def decide(self, view: View) -> int:
        """Fire when the window holds a full batch or the oldest has waited long enough."""
        home = oldest_lane(view)
        lanes = view.waiting.shape[0]
        reach = lanes if self.window == 0 else self.window
        due_ns = later(view.oldest_ns[home], self.max_wait_ns)
        if view.now_ns < due_ns:
            within_window = 0
            for lane in range(max(0, home - reach), min(lanes, home + reach + 1)):
                within_window += view.waiting[lane]
            if within_window < self.max_batch_size:
                return wait_until(due_ns)
        room = self.max_batch_size - min(view.waiting[home], self.max_batch_size)
        view.take[home] = self.max_batch_size - room
        for distance in range(1, min(reach, lanes) + 1):
            if room == 0:
                break
            for lane in (home - distance, home + distance):
                if 0 <= lane < lanes:
                    view.take[lane] = min(view.waiting[lane], room)
                    room -= view.take[lane]
        return FIRE
