"""One policy at one load, live and predicted: a cell for each statistic.

1. ``measured`` is the mean over the accepted windows, and ``spread`` half of the range between
   them over that mean: how far two runs of the same requests differ anyway.
2. A replay is compared window by window; its error is that of the worst window.
3. The interval of an a-priori prediction is for one window: each window's value is held against
   it, and the mean of the windows against the point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .summary import STATISTICS, Distance, error


@dataclass(frozen=True)
class Cell:
    """One statistic of one policy at one load."""

    load: float | None
    policy: str
    statistic: str
    live: tuple[float, ...]
    """One value an accepted window, in order of rounds; latencies in ms."""
    replay: tuple[float, ...]
    """Simulated with each window's own times."""
    predicted: float
    """A priori: the median of the replications."""
    low: float
    high: float
    """A priori: the interval of 90 % for one window."""
    corrected: tuple[float, ...]
    """A priori with each window's drift."""
    tier: str | None = None
    """Whose it is; None: of all requests."""

    @property
    def measured(self) -> float:
        """Mean over the windows."""
        return float(np.mean(self.live))

    @property
    def spread(self) -> float | None:
        """Half of the range between the windows, over their mean; None for one window."""
        if len(self.live) < 2 or self.measured == 0.0:
            return None
        return (max(self.live) - min(self.live)) / 2 / self.measured

    @property
    def replay_errors(self) -> tuple[float | None, ...]:
        """Of each window, signed, over its measured value."""
        return tuple(map(error, self.live, self.replay))

    @property
    def replay_error(self) -> float | None:
        """Of the window where it is largest."""
        known = [one for one in self.replay_errors if one is not None]
        return max(known, key=abs, default=None)

    @property
    def error(self) -> float | None:
        """Of the a-priori point against the mean over the windows."""
        return error(self.measured, self.predicted)

    @property
    def corrected_error(self) -> float | None:
        """Of the mean of the drift-corrected values."""
        return error(self.measured, float(np.mean(self.corrected)))

    @property
    def inside(self) -> int:
        """How many windows are inside the interval."""
        return sum(self.low <= value <= self.high for value in self.live)

    @property
    def is_inside(self) -> bool:
        """Whether the mean over the windows is."""
        return self.low <= self.measured <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what follows from the fields stands beside them for readers."""
        return {
            "load": self.load,
            "policy": self.policy,
            "tier": self.tier,
            "statistic": self.statistic,
            "measured": self.measured,
            "spread": self.spread,
            "live": list(self.live),
            "replay": list(self.replay),
            "replay_error": self.replay_error,
            "a_priori": {"value": self.predicted, "low": self.low, "high": self.high},
            "a_priori_error": self.error,
            "inside": self.inside,
            "is_inside": self.is_inside,
            "drift_corrected": list(self.corrected),
            "drift_corrected_error": self.corrected_error,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Cell:
        """Back from plain data."""
        known = data["a_priori"]
        return cls(
            load=data["load"],
            policy=data["policy"],
            statistic=data["statistic"],
            live=numbers(data["live"]),
            replay=numbers(data["replay"]),
            predicted=number(known["value"]),
            low=number(known["low"]),
            high=number(known["high"]),
            corrected=numbers(data["drift_corrected"]),
            tier=data.get("tier"),
        )


@dataclass(frozen=True)
class Curves:
    """What the figures show; latencies in ms at the shares of :data:`summary.SHARES`."""

    live: tuple[tuple[float, ...], ...]
    """One a window."""
    predicted: tuple[float, ...]
    """Median over the replications."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    batches_live: tuple[float, ...]
    """Share of batches of size 0, 1, 2, ...: mean over the windows."""
    batches_predicted: tuple[float, ...]


@dataclass(frozen=True)
class Match:
    """One policy at one load."""

    load: float | None
    policy: str
    cells: tuple[Cell, ...]
    """One a statistic, in the order of :data:`summary.STATISTICS`."""
    drift: tuple[float, ...]
    """Of each accepted window: what its batches took over what the calibration expects."""
    shared_batches: tuple[float, ...]
    """Share of the replayed batches that the window made too, of the same requests."""
    replay_distance: tuple[Distance, ...]
    """Of each window to its replay."""
    a_priori_distance: tuple[Distance, ...]
    """Of each window to all replications together."""
    live_distance: tuple[Distance, ...]
    """Between every two windows: what sameness looks like."""
    sensitivity: float
    """By how many per cent the predicted mean grows with 1 % more service time."""
    curves: Curves
    tier_cells: tuple[Cell, ...] = ()
    """Of each tier those of :data:`summary.TIERED`; none where there is one tier."""

    @property
    def busy(self) -> float:
        """Measured share of time that servers are busy."""
        return self.cell("busy").measured

    def cell(self, statistic: str) -> Cell:
        """One statistic."""
        return self.cells[STATISTICS.index(statistic)]

    @property
    def tiers(self) -> tuple[str, ...]:
        """Most urgent first; none where there is one."""
        return tuple(dict.fromkeys(str(cell.tier) for cell in self.tier_cells))

    def of_tier(self, tier: str, statistic: str) -> Cell:
        """One statistic of one tier."""
        for cell in self.tier_cells:
            if (cell.tier, cell.statistic) == (tier, statistic):
                return cell
        raise KeyError(f"no {statistic} of tier {tier!r}: there are {', '.join(self.tiers)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the cells of all requests, which stand in a table of their own."""
        return {
            "load": self.load,
            "policy": self.policy,
            "drift": self.drift,
            "shared_batches": self.shared_batches,
            "replay_distance": [asdict(one) for one in self.replay_distance],
            "a_priori_distance": [asdict(one) for one in self.a_priori_distance],
            "live_distance": [asdict(one) for one in self.live_distance],
            "sensitivity": self.sensitivity,
            "curves": asdict(self.curves),
            "tier_cells": [cell.to_dict() for cell in self.tier_cells],
        }

    @classmethod
    def of(cls, data: Mapping[str, Any], cells: tuple[Cell, ...]) -> Match:
        """Back from plain data and the cells of the same policy and load."""
        curves = dict(data["curves"])
        live = tuple(numbers(one) for one in curves.pop("live"))
        return cls(
            load=data["load"],
            policy=data["policy"],
            cells=cells,
            drift=numbers(data["drift"]),
            shared_batches=numbers(data["shared_batches"]),
            replay_distance=_distances(data["replay_distance"]),
            a_priori_distance=_distances(data["a_priori_distance"]),
            live_distance=_distances(data["live_distance"]),
            sensitivity=number(data["sensitivity"]),
            curves=Curves(live=live, **{name: numbers(one) for name, one in curves.items()}),
            tier_cells=tuple(Cell.of(one) for one in data.get("tier_cells", ())),
        )


def number(value: float | None) -> float:
    """JSON's null is NaN."""
    return math.nan if value is None else float(value)


def numbers(values: Iterable[float | None]) -> tuple[float, ...]:
    """Many numbers."""
    return tuple(number(value) for value in values)


def _distances(found: Iterable[Mapping[str, Any]]) -> tuple[Distance, ...]:
    return tuple(Distance(number(one["w1_over_mean"]), number(one["cdf_gap"])) for one in found)
