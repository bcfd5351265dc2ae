"""What a trial found: each figure measured and predicted, and whether that is inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from experiments.plain import dumps, plain

from .conditions import Condition

if TYPE_CHECKING:
    import pandas as pd

TUNED, DEFAULT = "tuned", "default"
"""Variants: the setting that was asked for, and the stack with nothing set."""

TOLERANCE = {
    "mean_batch": 0.05,
    "throughput_per_s": 0.05,
    "server_mean_ms": 0.05,
    "server_p50_ms": 0.05,
    "server_p90_ms": 0.10,
    "server_p99_ms": 0.10,
    "client_mean_ms": 0.05,
    "client_p50_ms": 0.05,
    "client_p90_ms": 0.10,
    "client_p99_ms": 0.10,
}
"""How far a prediction may be off the measured mean; further out it may still be in the spread."""


@dataclass(frozen=True)
class Cell:
    """One figure of one variant at one load."""

    variant: str
    load: float | None
    figure: str
    measured: tuple[float, ...]
    """One a window."""
    predicted: tuple[float, ...]
    """Of the same windows' planned requests: the median of the draws."""
    low: float
    high: float
    """Where 90 % of the draws of all windows are."""
    on_sent: tuple[float, ...]
    """Of the same windows' requests as they were really sent."""

    @property
    def measured_mean(self) -> float:
        """Over the windows."""
        return mean(self.measured)

    @property
    def predicted_mean(self) -> float:
        """Over the windows."""
        return mean(self.predicted)

    @property
    def spread(self) -> float:
        """Half the range of the windows."""
        return (max(self.measured) - min(self.measured)) / 2

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return relative(self.predicted_mean, self.measured_mean)

    @property
    def error_on_sent(self) -> float:
        """As ``error``, of the requests as they were sent."""
        return relative(mean(self.on_sent), self.measured_mean)

    @property
    def near(self) -> bool:
        """Whether the prediction is within the tolerance."""
        return abs(self.error) <= TOLERANCE[self.figure]

    @property
    def inside(self) -> bool:
        """Whether it is, or lies in the spread of the windows."""
        spread = min(self.measured) <= self.predicted_mean <= max(self.measured)
        return self.near or (len(self.measured) > 1 and spread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        derived = ("measured_mean", "predicted_mean", "spread", "error", "error_on_sent", "inside")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Cell:
        """Back from plain data."""
        return cls(
            data["variant"], data["load"], data["figure"],
            tuple(data["measured"]), tuple(data["predicted"]), data["low"], data["high"],
            tuple(data["on_sent"]),
        )  # fmt: skip


def mean(values: tuple[float, ...]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


def relative(value: float, base: float) -> float:
    """How far a value is off a base, as a share of it."""
    return value / base - 1 if base else math.nan


@dataclass(frozen=True)
class Shapes:
    """Distributions of one variant at one load, of its windows together."""

    variant: str
    load: float | None
    shares: tuple[float, ...]
    measured_ms: tuple[float, ...]
    """Client latency that these shares of the requests are within."""
    predicted_ms: tuple[float, ...]
    measured_sizes: tuple[float, ...]
    """Share of the batches by size, from 1."""
    predicted_sizes: tuple[float, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Shapes:
        """Back from plain data."""
        columns = ("shares", "measured_ms", "predicted_ms", "measured_sizes", "predicted_sizes")
        return cls(data["variant"], data["load"], *(tuple(data[name]) for name in columns))


@dataclass(frozen=True)
class Reading:
    """What is kept of one window, whether it counts or not."""

    variant: str
    load: float | None
    repeat: int
    attempt: int
    condition: Condition
    figures: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Trial:
    """A stack's real server held against the simulator."""

    scenario: Mapping[str, Any]
    """Name, hash, source of the setting, servers."""
    stack: Mapping[str, Any]
    """Name, title, packages, timer, whether it ran before all other processes."""
    variants: Mapping[str, Mapping[str, Any]]
    """By variant: its policy as a scenario's table, words, notes, overheads."""
    floor: tuple[Mapping[str, float | None], ...]
    """One a load: what the client alone costs."""
    readings: tuple[Reading, ...]
    cells: tuple[Cell, ...]
    shapes: tuple[Shapes, ...]
    seconds: float
    interrupted: bool = False

    def cell(self, variant: str, load: float | None, figure: str) -> Cell:
        """One figure."""
        for each in self.cells:
            if (each.variant, each.load, each.figure) == (variant, load, figure):
                return each
        raise KeyError(f"no {figure} of {variant} at load {load}")

    @property
    def loads(self) -> tuple[float | None, ...]:
        """Loads with windows that count, in the order of the trial."""
        return tuple(dict.fromkeys(each.load for each in self.cells))

    def loads_of(self, variant: str) -> tuple[float | None, ...]:
        """As ``loads``, of one variant."""
        return tuple(dict.fromkeys(each.load for each in self.cells if each.variant == variant))

    @property
    def verdict(self) -> str:
        """How many figures are inside, and which are not."""
        from .words import verdict_of

        return verdict_of(self)

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``; :meth:`of` reads it."""
        found: dict[str, Any] = plain(
            {
                "scenario": self.scenario,
                "stack": self.stack,
                "variants": self.variants,
                "verdict": self.verdict,
                "interrupted": self.interrupted,
                "seconds": round(self.seconds, 3),
                "floor": list(self.floor),
                "cells": [each.to_dict() for each in self.cells],
                "shapes": [asdict(each) for each in self.shapes],
                "windows": [asdict(each) for each in self.readings],
            }
        )
        return found

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Trial:
        """Back from :meth:`to_dict`."""
        return cls(
            scenario=data["scenario"],
            stack=data["stack"],
            variants=data["variants"],
            floor=tuple(data["floor"]),
            readings=tuple(
                Reading(**{**each, "condition": Condition(**each["condition"])})
                for each in data["windows"]
            ),
            cells=tuple(map(Cell.of, data["cells"])),
            shapes=tuple(map(Shapes.of, data["shapes"])),
            seconds=data["seconds"],
            interrupted=data["interrupted"],
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a variant, load and figure."""
        import pandas as pd

        return pd.DataFrame([each.to_dict() for each in self.cells], columns=list(COLUMNS))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"


COLUMNS: dict[str, Callable[[Cell], Any]] = {
    "variant": lambda cell: cell.variant,
    "load": lambda cell: cell.load,
    "figure": lambda cell: cell.figure,
    "measured_mean": lambda cell: cell.measured_mean,
    "spread": lambda cell: cell.spread,
    "predicted_mean": lambda cell: cell.predicted_mean,
    "low": lambda cell: cell.low,
    "high": lambda cell: cell.high,
    "error": lambda cell: cell.error,
    "error_on_sent": lambda cell: cell.error_on_sent,
    "inside": lambda cell: cell.inside,
}
"""Columns of :meth:`Trial.to_frame`."""
