"""What an autoscaler sees, and what it may answer: how many replicas there should be.

An autoscaler is a :class:`typing.NamedTuple` of numbers with one pure method, ``target(view)``.
The SimPy model, the compiled kernel and the live server all call that same method.

1. ``target`` reads nothing but its own fields and the view, and writes nothing but
   ``view.memory``.
2. It is asked every ``interval_ns`` while requests are still to arrive, after the completions and
   before the arrivals of that instant.
3. Its answer is held between ``min_replicas`` and ``max_replicas``: whatever it says.
4. It compiles: numbers, comparisons and loops over the view, no arrays of its own.

An autoscaler class has the fields ``interval_ns``, ``min_replicas`` and ``max_replicas``, and the
property ``memory_slots``.  It may define ``bind(self, replicas)``, which checks its numbers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .contract import FloatArray, shared


class ScaleView(NamedTuple):
    """A cluster at one instant."""

    now_ns: int
    ready: int
    """Replicas that take requests."""
    starting: int
    """Replicas that were started and do not serve yet."""
    ongoing: int
    """Requests that wait or are in service."""
    ongoing_ns: float
    """Integral of the ongoing requests over time, since 0."""
    arrived: int
    """Requests that arrived up to now, refused ones included."""
    memory: FloatArray
    """(memory_slots,) the rule's own state; zero at the start of a run."""


class Autoscaler(Protocol):
    """What every autoscaler has."""

    @property
    def interval_ns(self) -> int:
        """How often it is asked."""
        ...

    @property
    def min_replicas(self) -> int:
        """As many there are at least."""
        ...

    @property
    def max_replicas(self) -> int:
        """As many there are at most."""
        ...

    @property
    def memory_slots(self) -> int:
        """How many float64 cells of ``view.memory`` it uses."""
        ...

    def target(self, view: ScaleView, /) -> int:
        """How many replicas there should be, ready and starting."""
        ...


@shared
def held(target: int, least: int, most: int) -> int:
    """A target within its limits."""
    return min(max(target, least), most)


@shared
def remember(memory: FloatArray, first: int, slots: int, tick: int, value: float) -> None:
    """Write the value of a tick into a ring of cells."""
    memory[first + tick % slots] = value


@shared
def mean_since(
    memory: FloatArray, first: int, slots: int, tick: int, back: int, interval_ns: int
) -> float:
    """Mean over the last ``back`` ticks of what a ring holds the integral of.

    Before so many ticks have passed it is the mean since the start.

    Args:
        memory: with the integral at each tick, in a ring.
        first: the ring's first cell.
        slots: how many cells it has, more than ``back``.
        tick: the present one, already written; the first is 1, at the end of the first interval.
        back: how far to look back.
        interval_ns: between two ticks.
    """
    now = memory[first + tick % slots]
    if tick <= back:
        return float(now / (tick * interval_ns))
    return float((now - memory[first + (tick - back) % slots]) / (back * interval_ns))
