"""What each change is worth: a table of remedies, found by simulating them.

A remedy is one function of :mod:`experiments.diagnosis.changes` and one row; of the worlds that it
gives the best is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from experiments.parallel import Progress, nothing
from sim.intervals import Difference

from . import changes
from .changes import Change
from .gain import difference, per_second
from .look import Look
from .world import play


class Remedy(NamedTuple):
    """One row of the table."""

    name: str
    """As JSON calls it."""
    tries: Callable[[Look], Iterator[Change]]
    elsewhere: bool = False
    """Whether it is not in the hands of whoever runs the service."""


@dataclass(frozen=True)
class Gain:
    """A remedy and what it is worth."""

    name: str
    what: str
    value_ms: float
    """The judged percentile after it."""
    gain: Difference
    """Of it, in ms, paired: negative where latency falls."""
    share: float
    """Of the percentile that goes away; negative where it grows."""
    per_s: float
    """Requests served per second."""
    lost: float
    """Share of the judged requests that are not served."""
    served_ms: float
    """The percentile of those that are served."""
    elsewhere: bool
    """Whether it is not in the hands of whoever runs the service."""


REMEDIES = (
    Remedy("larger_batch", changes.larger_batch),
    Remedy("smaller_batch", changes.smaller_batch),
    Remedy("shorter_wait", changes.shorter_wait),
    Remedy("longer_wait", changes.longer_wait),
    Remedy("buckets", changes.buckets),
    Remedy("priority", changes.priority),
    Remedy("another_server", changes.another_server),
    Remedy("one_queue", changes.one_queue),
    Remedy("own_gpus", changes.own_gpus),
    Remedy("faster_pre", changes.faster_pre),
    Remedy("more_pre", changes.more_pre),
    Remedy("more_post", changes.more_post),
    Remedy("faster_post", changes.faster_post),
    Remedy("shed", changes.shed),
    Remedy("smooth", changes.smooth, elsewhere=True),
    Remedy("quiet", changes.quiet, elsewhere=True),
    Remedy("warm", changes.warm),
    Remedy("keep_replicas", changes.keep_replicas),
    Remedy("repair", changes.repair, elsewhere=True),
    Remedy("more_memory", changes.more_memory),
)


def gains(look: Look, tell: Progress = nothing) -> list[Gain]:
    """What each remedy is worth, the best first; those that cannot be tried are left out."""
    found = []
    for place, remedy in enumerate(REMEDIES):
        tell(f"remedy: {remedy.name}", place, len(REMEDIES))
        tried = [_gain(look, remedy, change) for change in remedy.tries(look)]
        if tried:
            found.append(best_of(look, tried))
    return sorted(found, key=lambda one: one.value_ms)


def best_of(look: Look, tried: list[Gain]) -> Gain:
    """Of those within the target the one that serves most, else the one with the least latency."""
    within = [one for one in tried if one.value_ms * 1e6 <= look.target_ns]
    if within:
        return min(within, key=lambda one: (-round(one.per_s, 1), one.value_ms))
    return min(tried, key=lambda one: one.value_ms)


def _gain(look: Look, remedy: Remedy, change: Change) -> Gain:
    played = play(change.world)
    judged = look.judged
    value_ns = judged.value_ns(played)
    return Gain(
        name=remedy.name,
        what=change.words,
        value_ms=value_ns / 1e6,
        gain=difference(judged.estimate(played), look.base, look.model_error),
        share=1.0 - value_ns / look.base_ns if look.base_ns > 0 else 0.0,
        per_s=per_second(played),
        lost=judged.lost_share(played),
        served_ms=judged.value_ns(played, served=True) / 1e6,
        elsewhere=remedy.elsewhere,
    )
