"""One setting of a stack as it was run: its windows, and the calibration around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sim.workload import Workload

from .calibrate import Overheads, overheads_of
from .conditions import Condition, condition_of
from .contract import OwnBatches, Ruling, Wish
from .fitting import Stream, fitted
from .model_fit import Against, against_profile, time_over
from .rig import Window

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Measured:
    """One window that was driven."""

    load: float | None
    repeat: int
    attempt: int
    workload: Workload
    window: Window
    condition: Condition


@dataclass
class Variant:
    """One setting of the stack, as it was run."""

    name: str
    wish: Wish
    words: str
    ruling: Ruling
    overheads: Overheads | None = None
    """Of the whole calibration."""
    against: Against | None = None
    """What the real model takes here by what its profile says; the wish's costs are then that."""
    windows_took: float | None = None
    """Time of the real model in the windows that count, over what was calibrated."""
    around: dict[int, Overheads] = field(default_factory=dict)
    """By repeat: of the parts of the calibration before and after its windows."""
    bursts: list[Window] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    own: tuple[OwnBatches, ...] = ()
    measured: list[Measured] = field(default_factory=list)

    def condition_of(self, window: Window) -> Condition:
        """How late sleepers woke up in a window."""
        return condition_of(window, self.wish.costs, real=self.wish.real is not None)

    def counting(self) -> Iterator[Measured]:
        """Windows that count: of each kind the last that did not stall, or the least disturbed."""
        kinds = dict.fromkeys((each.load, each.repeat) for each in self.measured)
        for kind in kinds:
            tries = [each for each in self.measured if (each.load, each.repeat) == kind]
            yield min(tries, key=lambda each: each.condition.worst_ms)

    def calibrate(self) -> None:
        """What the calibration says, of all its parts and of those around each window."""
        if self.wish.real is not None:
            self._fit_model()
        self.overheads = _overheads(self, self.bursts, self.streams)
        for repeat in {each.repeat for each in self.measured}:
            parts = slice(repeat, repeat + 2)
            near = _overheads(self, self.bursts[parts], self.streams[parts])
            near_by = [each.window for each in self.streams[parts]]
            calm = any(not self.condition_of(each).stalled for each in near_by)
            self.around[repeat] = near if calm and not near.thin else self.overheads

    def _fit_model(self) -> None:
        """Take what the real model takes here for what it costs."""
        parts = [*self.bursts, *(each.window for each in self.streams)]
        self.against = against_profile(_calm(self, parts, parts), self.wish.costs)
        self.wish = replace(self.wish, costs=self.against.costs(self.wish.costs))
        counting = [each.window for each in self.counting()]
        self.windows_took = time_over(counting, self.wish.costs)


def _overheads(variant: Variant, bursts_: Sequence[Window], streams: Sequence[Stream]) -> Overheads:
    """What the parts of a calibration say in which the machine did not stall."""
    costs = variant.wish.costs
    calm = _calm(variant, streams, [each.window for each in streams])
    parts = [*_calm(variant, bursts_, bursts_), *(each.window for each in calm)]
    found = overheads_of(parts, variant.ruling, costs, variant.own)
    return fitted(found, variant.ruling, costs, calm)


def _calm(variant: Variant, parts: Sequence[Part], windows: Sequence[Window]) -> list[Part]:
    """Those whose windows did not stall; all where each did."""
    stalled = [variant.condition_of(each).stalled for each in windows]
    return [part for part, bad in zip(parts, stalled, strict=True) if not bad] or list(parts)
