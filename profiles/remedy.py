"""What to measure more of, where a profile is too coarse or too noisy."""

from __future__ import annotations

from typing import NamedTuple

from .check import Check, Gap
from .latency import Profile
from .plan import all_sizes

WORST = 3
"""Gaps that are named: after these the next check finds others."""
TIDY = {"tokens": 8, "audio_ms": 100}
"""A new length is a multiple of this where the gap has room: round numbers are easier to read."""


class Remedy(NamedTuple):
    """What would make a profile better."""

    gaps: tuple[Gap, ...]
    """The worst ones that are above the bound."""
    lengths: tuple[int, ...]
    """Lengths to measure beside those of the profile."""
    sizes: tuple[int, ...]
    """Batch sizes to measure beside those of the profile."""
    times_budget: float
    """The time that it takes, over that of the measurement so far; at least 1."""


def remedy_of(check: Check) -> Remedy | None:
    """What to measure more of; None where the profile is fine."""
    if check.within:
        return None
    if check.mostly_noise:
        noise = check.used.by_noise or 0.0
        return Remedy((), (), (), max(2.0, (noise / (check.bound / 2.0)) ** 2))
    known = [gap for gap in check.gaps if gap.error > 0.0]
    above = [gap for gap in known if gap.error > check.bound] or known[:1]
    named = tuple(above[:WORST])
    unit = check.profile.length_unit
    lengths = sorted({_middle(gap, TIDY[unit]) for gap in named if gap.axis == "length"})
    sizes = sorted({_middle(gap, 1) for gap in named if gap.axis == "batch_size"})
    rows, columns = check.profile.latency_ns.shape
    larger = (rows + len(sizes)) * (columns + len(lengths)) / (rows * columns)
    # A plan gives up batch sizes by halves, so it takes about twice the time to get some back.
    larger = max(larger, 2.0) if sizes else larger
    return Remedy(named, tuple(lengths), tuple(sizes), larger)


def gave_up_sizes(profile: Profile) -> bool:
    """Whether a measurement left out batch sizes to fit its budget, so that more time adds some."""
    return bool(set(all_sizes(profile.largest_batch)) - set(profile.batch_size.tolist()))


def _middle(gap: Gap, tidy: int) -> int:
    """The middle of a gap, rounded where that does not move it far."""
    middle = (gap.below + gap.above) // 2
    return middle // tidy * tidy if gap.above - gap.below >= 4 * tidy else middle
