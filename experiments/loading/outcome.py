"""What a load test found: figures measured and predicted, who was refused, who kept the SLO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from experiments.plain import dumps, plain

ALL = "all"
"""Of the requests of all tiers."""

TOLERANCE = {"mean_ms": 0.05, "p50_ms": 0.05, "p90_ms": 0.10, "p99_ms": 0.10, "mean_batch": 0.05}
"""How far a prediction may be off the measured mean."""


@dataclass(frozen=True)
class Cell:
    """One figure of one tier at one load."""

    load: float | None
    tier: str
    figure: str
    measured: tuple[float, ...]
    """One a window; NaN where nobody was served, or the server does not say."""
    predicted: tuple[float, ...] = ()
    """Of the same windows: the median of the draws; empty without a prediction."""
    low: float | None = None
    high: float | None = None
    """Where 90 % of the draws of all windows are."""

    @property
    def measured_mean(self) -> float:
        """Over the windows."""
        return sum(self.measured) / len(self.measured)

    @property
    def predicted_mean(self) -> float | None:
        """Over the windows."""
        return sum(self.predicted) / len(self.predicted) if self.predicted else None

    @property
    def spread(self) -> float:
        """Half the range of the windows."""
        return (max(self.measured) - min(self.measured)) / 2

    @property
    def error(self) -> float | None:
        """Predicted over measured, less 1; None where either is not known."""
        predicted, measured = self.predicted_mean, self.measured_mean
        if predicted is None or not measured or math.isnan(measured) or math.isnan(predicted):
            return None
        return predicted / measured - 1

    @property
    def near(self) -> bool | None:
        """Whether the prediction is within the tolerance; None where there is none to hold."""
        allowed, error = TOLERANCE.get(self.figure), self.error
        return None if allowed is None or error is None else abs(error) <= allowed


@dataclass(frozen=True)
class Fate:
    """What became of the requests of one tier at one load, after the warm-up."""

    load: float | None
    tier: str
    offered_per_s: float
    served_per_s: float
    counts: Mapping[str, int]
    """By :data:`.seen.FATES`."""
    predicted: Mapping[str, float]
    """Shares of the same in the simulation; empty without one."""
    told_ms: Mapping[str, float | None]
    """``p50`` and ``p99`` of the time until a refused request was told so."""
    slo_ms: float | None
    percentile: float
    within: Mapping[str, Any]
    """Share of all requests that kept the SLO, with its interval; empty without an SLO."""
    within_accepted: float | None
    """Of those that were served."""
    predicted_within: float | None

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def share(self, fate: str) -> float:
        """Of the requests."""
        return self.counts[fate] / self.requests if self.requests else math.nan

    @property
    def kept(self) -> bool | None:
        """Whether the SLO was kept; None without one."""
        value = self.within.get("value")
        return None if value is None else bool(value >= self.percentile / 100.0)


@dataclass(frozen=True)
class Reading:
    """One window, as it was driven."""

    load: float | None
    repeat: int
    attempt: int
    requests: int
    late_ms_p99: float
    late_ms_max: float
    rejected: str


@dataclass(frozen=True)
class Shape:
    """Distribution of latency at one load, of its windows together."""

    load: float | None
    shares: tuple[float, ...]
    measured_ms: tuple[float, ...]
    predicted_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """The result of ``batchwright load``."""

    scenario: Mapping[str, Any]
    target: Mapping[str, Any]
    rule: Mapping[str, Any] | None
    """What was simulated: name, policy, capacity; None: nothing."""
    floors: tuple[Mapping[str, Any], ...]
    readings: tuple[Reading, ...]
    cells: tuple[Cell, ...]
    estimates: tuple[Mapping[str, Any], ...]
    """By load and tier: percentiles of all windows with intervals of sections, or how many requests
    that takes."""
    fates: tuple[Fate, ...]
    shapes: tuple[Shape, ...]
    interrupted: bool = False

    @property
    def loads(self) -> tuple[float | None, ...]:
        """At which there is a window."""
        return tuple(dict.fromkeys(each.load for each in self.cells))

    @property
    def tiers(self) -> tuple[str, ...]:
        """All of them first."""
        return tuple(dict.fromkeys(each.tier for each in self.cells))

    def cell(self, load: float | None, tier: str, figure: str) -> Cell:
        """One figure.

        Raises:
            KeyError: there is none.
        """
        return {(each.load, each.tier, each.figure): each for each in self.cells}[
            load, tier, figure
        ]

    def fate(self, load: float | None, tier: str) -> Fate:
        """Who was served.

        Raises:
            KeyError: there is no such tier, or load.
        """
        return {(each.load, each.tier): each for each in self.fates}[load, tier]

    @property
    def missed(self) -> tuple[Fate, ...]:
        """Tiers that did not keep their SLO."""
        return tuple(each for each in self.fates if each.kept is False)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        from .words import verdict_of

        found: dict[str, Any] = plain(asdict(self))
        for table, cell in zip(found["cells"], self.cells, strict=True):
            table |= {
                "measured_mean": finite(cell.measured_mean),
                "predicted_mean": finite(cell.predicted_mean),
                "error": cell.error, "near": cell.near,
                "measured": [finite(value) for value in cell.measured],
                "predicted": [finite(value) for value in cell.predicted],
                "low": finite(cell.low), "high": finite(cell.high),
            }  # fmt: skip
        for table, fate in zip(found["fates"], self.fates, strict=True):
            table |= {"requests": fate.requests, "kept": fate.kept}
        return {**found, "verdict": verdict_of(self)}

    def to_json(self) -> str:
        """The text of ``result.json``."""
        return dumps(self.to_dict())

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Loaded:
        """Back from plain data."""
        return cls(
            data["scenario"], data["target"], data["rule"], tuple(data["floors"]),
            tuple(_back(Reading, one) for one in data["readings"]),
            tuple(_back(Cell, one) for one in data["cells"]), tuple(data["estimates"]),
            tuple(_back(Fate, one) for one in data["fates"]),
            tuple(_back(Shape, one) for one in data["shapes"]), data["interrupted"],
        )  # fmt: skip


def finite(value: float | None) -> float | None:
    """What JSON can say of a number."""
    return None if value is None or not math.isfinite(value) else value


def _back(kind: Any, data: Mapping[str, Any]) -> Any:
    """A row from plain data: lists are tuples, and numbers that are not there NaN."""
    found = {}
    for name in kind.__dataclass_fields__:
        value = data[name]
        if isinstance(value, list):
            value = tuple(math.nan if one is None else one for one in value)
        found[name] = value
    return kind(**found)


__all__ = ["ALL", "TOLERANCE", "Cell", "Fate", "Loaded", "Reading", "Shape", "finite"]
