"""The result of a validation: what was measured and predicted, and what may be claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from experiments.plain import dumps, plain
from profiles.noise import NoiseTable

from .calibration import Calibration
from .cells import Cell, Match, numbers
from .claims import Coverage, Ranking, coverage, no_claim, rankings
from .summary import STATISTICS
from .verdict import verdict_of
from .windows import Condition

if TYPE_CHECKING:
    import pandas as pd

    from .views import ValidationPlots


def calibration_facts(calibration: Calibration, jitter: NoiseTable) -> dict[str, Any]:
    """What a reader should know of a calibration, as plain data."""
    profile = calibration.profile
    calls = 0 if profile.samples is None else len(profile.samples)
    return {
        "profile": profile.name,
        "batch_sizes": profile.batch_size.tolist(),
        "lengths": profile.length.tolist(),
        "length_unit": profile.length_unit,
        "latency_ns": profile.latency_ns.tolist(),
        "calls": calls,
        "lag1": jitter.lag1,
        "idling": calibration.idling._asdict(),
        "block_factors": list(calibration.block_factors),
        "server_factors": list(calibration.server_factors),
        "drift_sd": calibration.drift_sd,
    }


@dataclass(frozen=True)
class Reading:
    """What is kept of one window, accepted or not."""

    policy: str
    load: float | None
    round: int
    attempt: int
    condition: Condition
    requests: int
    drift: float | None
    """What its batches took over what the calibration expects; None where none ran."""
    values: Mapping[str, float]
    """Its statistics."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Reading:
        """Back from plain data."""
        known = dict(data)
        condition = Condition(**known.pop("condition"))
        values = known.pop("values")
        named = dict(zip(values, numbers(values.values()), strict=True))
        return cls(condition=condition, values=named, **known)


@dataclass(frozen=True, repr=False)
class Validation:
    """A live run held against the simulator; made by :func:`experiments.validation.judged`."""

    scenario: Mapping[str, Any]
    device: Mapping[str, Any]
    calibration: Mapping[str, Any]
    readings: tuple[Reading, ...]
    """One a window, in the order of the run."""
    matches: tuple[Match, ...]
    """One a load and policy with accepted windows."""
    replications: int
    seconds: float

    @property
    def stopped(self) -> str:
        """Why the live run ended early; empty where it did not, or was interrupted."""
        return "" if self.interrupted else str(self.scenario.get("stopped", ""))

    @property
    def interrupted(self) -> bool:
        """Whether it was ended by hand."""
        return self.scenario.get("stopped") == "interrupted"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every statistic of every match."""
        return tuple(cell for match in self.matches for cell in match.cells)

    @property
    def loads(self) -> tuple[float | None, ...]:
        """Loads with accepted windows."""
        return tuple(dict.fromkeys(match.load for match in self.matches))

    @property
    def policies(self) -> tuple[str, ...]:
        """Policies with accepted windows."""
        return tuple(dict.fromkeys(match.policy for match in self.matches))

    @property
    def tiers(self) -> tuple[str, ...]:
        """Most urgent first; none where there is one."""
        return self.matches[0].tiers if self.matches else ()

    def match(self, policy: str, load: float | None) -> Match:
        """One policy at one load."""
        for one in self.matches:
            if (one.policy, one.load) == (policy, load):
                return one
        raise KeyError(f"no accepted window of {policy!r} at load {load}")

    @property
    def accepted(self) -> int:
        """How many windows count."""
        return sum(one.condition.accepted for one in self.readings)

    @property
    def no_claim(self) -> str:
        """Why nothing is claimed; empty where something is."""
        return no_claim([one.condition for one in self.readings])

    @cached_property
    def coverage(self) -> Coverage | None:
        """Live figures inside their intervals."""
        return coverage(self.matches)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """The policies in their order, measured and predicted."""
        return tuple(rankings(self.matches))

    @cached_property
    def verdict(self) -> str:
        """What may be claimed."""
        return verdict_of(self)

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``; :meth:`of` reads it."""
        covered = self.coverage
        found: dict[str, Any] = plain(
            {
                "scenario": self.scenario,
                "device": self.device,
                "calibration": self.calibration,
                "verdict": self.verdict,
                "no_claim": self.no_claim,
                "seconds": round(self.seconds, 3),
                "replications": self.replications,
                "coverage": None if covered is None else covered._asdict(),
                "rankings": [
                    asdict(one) | {"best_predicted": one.best_predicted} for one in self.rankings
                ],
                "windows": [asdict(one) for one in self.readings],
                "cells": [one.to_dict() for one in self.cells],
                "matches": [one.to_dict() for one in self.matches],
            }
        )
        return found

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Validation:
        """Back from :meth:`to_dict`; what follows from the windows is worked out anew."""
        cells = [Cell.of(one) for one in data["cells"]]
        size = len(STATISTICS)
        return cls(
            scenario=data["scenario"],
            device=data["device"],
            calibration=data["calibration"],
            readings=tuple(Reading.of(one) for one in data["windows"]),
            matches=tuple(
                Match.of(one, tuple(cells[size * place : size * (place + 1)]))
                for place, one in enumerate(data["matches"])
            ),
            replications=data["replications"],
            seconds=data["seconds"],
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a load, policy and statistic, of all requests and then of each tier.

        Where every window was rejected there is no row.
        """
        import pandas as pd

        own = [cell for match in self.matches for cell in match.tier_cells]
        rows = [[value(cell) for value in OF_FRAME.values()] for cell in (*self.cells, *own)]
        return pd.DataFrame(rows, columns=list(OF_FRAME))

    @property
    def plot(self) -> ValidationPlots:
        """Figures: ``ecdf``, ``calibration``, ``batch_sizes``."""
        from .views import ValidationPlots

        return ValidationPlots(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scenario['name']}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .views import html_of

        return html_of(self)


OF_FRAME: dict[str, Callable[[Cell], Any]] = {
    "load": lambda cell: cell.load,
    "policy": lambda cell: cell.policy,
    "tier": lambda cell: cell.tier or "all",
    "statistic": lambda cell: cell.statistic,
    "windows": lambda cell: len(cell.live),
    "measured": lambda cell: cell.measured,
    "spread": lambda cell: cell.spread,
    "replay_error": lambda cell: cell.replay_error,
    "a_priori": lambda cell: cell.predicted,
    "low": lambda cell: cell.low,
    "high": lambda cell: cell.high,
    "a_priori_error": lambda cell: cell.error,
    "inside": lambda cell: cell.inside,
    "drift_corrected_error": lambda cell: cell.corrected_error,
}
"""Columns of :meth:`Validation.to_frame`."""
