"""Rules of iterations on a live engine, and what the simulator said of them beforehand.

Three things are told of every window.  *Replay*: the simulator is fed the times that the window's
iterations took, and must give the same iterations.  *A priori*: it knows the calibration alone,
formula, grid and noise; each replication begins elsewhere in the noise and has one drift of the
whole engine, and the point is the median of the replications.  *Drift-corrected*: as before, but
slowed as a whole by what the windows' iterations took over what the calibration expects of them.

An a-priori prediction keeps its promise where it is within the target of the mean over the windows,
or within the range of the windows themselves: two live runs of the same requests differ, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plain import dumps, plain
from policies.iteration.contract import Rule
from profiles.steps import StepForm, StepProfile
from sim.iteration.serving import Serving
from sim.iteration.workload import TokenWorkload

from .validation_curves import Curves
from .validation_predict import TokenCell
from .validation_windows import STALLED, LiveWindow

if TYPE_CHECKING:
    from .validation_views import TokenValidationPlots

KIND = "iterations-validation"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class LivePlan:
    """What to run."""

    loads: tuple[float, ...] = (0.4, 0.6)
    """Shares of the most that any of the rules serves when requests never run out; empty: the
    rate at which they come anyway."""
    rounds: int = 3
    window_s: float = 30.0
    replications: int = 100
    seed: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class TokenValidation:
    """Live windows beside their predictions."""

    profile: StepProfile
    """The calibration, of all blocks."""
    block_factors: tuple[float, ...]
    serving: Serving
    """What the rules were bound to live."""
    rules: Mapping[str, Rule]
    workloads: Mapping[float, TokenWorkload]
    windows: tuple[LiveWindow, ...]
    """Rejected ones included."""
    cells: tuple[TokenCell, ...]
    curves: tuple[Curves, ...]
    """Distributions, of each load and rule that has a window that counts."""
    replays: tuple[bool, ...]
    """Of each window that counts, whether its replay is exact."""
    plan: LivePlan
    device: Mapping[str, Any]
    scenario: Mapping[str, Any] = field(default_factory=dict)
    """Name, hash and whatever else is known; plain data."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The rules as scenario files write them."""
    seconds: float = 0.0
    stopped: str = ""
    """Why it ended early; empty: it did not."""

    @property
    def interrupted(self) -> bool:
        """Whether it was ended by hand."""
        return self.stopped == INTERRUPTED

    @property
    def counted(self) -> tuple[LiveWindow, ...]:
        """Windows that were not rejected."""
        return tuple(window for window in self.windows if not window.rejected)

    @property
    def kept(self) -> bool:
        """Whether every promise is kept and every replay is exact."""
        return (
            not self.no_claim
            and all(self.replays)
            and all(cell.kept is not False for cell in self.cells)
        )

    @property
    def no_claim(self) -> str:
        """Why nothing is claimed; empty where something is."""
        rejected = len(self.windows) - len(self.counted)
        if 2 * rejected > len(self.windows):
            return f"{rejected} of {len(self.windows)} windows were rejected, more than half"
        return ""

    @property
    def loads(self) -> tuple[float, ...]:
        """Loads with windows that count."""
        return tuple(dict.fromkeys(cell.load for cell in self.cells))

    @property
    def policies(self) -> tuple[str, ...]:
        """Rules with windows that count."""
        return tuple(dict.fromkeys(cell.rule for cell in self.cells))

    @cached_property
    def form(self) -> StepForm:
        """The calibrated formula and grid."""
        return self.profile.form()

    @cached_property
    def stalls_calibrated(self) -> int:
        """How many of the calibration's steady calls stalled."""
        noise = self.profile.noise()
        return int((noise > STALLED * np.median(noise)).sum())

    def cell(self, rule: str, load: float, statistic: str) -> TokenCell:
        """One statistic of one rule at one load."""
        for cell in self.cells:
            if (cell.rule, cell.load, cell.statistic) == (rule, load, statistic):
                return cell
        raise KeyError(f"no window of {rule!r} at load {load} that counts has a {statistic}")

    @cached_property
    def verdict(self) -> str:
        """What may be claimed."""
        from .validation_words import verdict_of

        return verdict_of(self)

    def to_json(self) -> str:
        """One JSON object; NaN never appears."""
        return dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to ``result.json``."""
        found: dict[str, Any] = plain(
            {
                "kind": KIND,
                "scenario": self.scenario,
                "verdict": self.verdict,
                "no_claim": self.no_claim,
                "kept": self.kept,
                "seconds": round(self.seconds, 3),
                "stopped": self.stopped,
                "interrupted": self.interrupted,
                "device": self.device,
                "engine": self.serving.engine._asdict(),
                "policies": {name: self._table(name) for name in self.rules},
                "plan": {**self.plan.__dict__, "loads": list(self.workloads)},
                "rates_per_s": {
                    f"{load:g}": len(work) / (float(work.arrival_ns[-1]) / 1e9)
                    for load, work in self.workloads.items()
                },
                "calibration": self._calibration(),
                "windows": [window.to_dict(self.form) for window in self.windows],
                "replays_exact": f"{sum(self.replays)} of {len(self.counted)}",
                "cells": [cell.to_dict() for cell in self.cells],
                "curves": [one.to_dict() for one in self.curves],
            }
        )
        return found

    def _table(self, name: str) -> dict[str, Any]:
        rule = self.rules[name]
        if name in self.tables:
            return dict(self.tables[name])
        return {"kind": type(rule).__name__, **rule._asdict()}  # type: ignore[attr-defined]

    def _calibration(self) -> dict[str, Any]:
        form, held = self.form, self.profile.held_out()
        noise = self.profile.noise()
        errors = [abs(one.error) for one in held] or [float("nan")]
        return {
            "formula_ns": dict(zip(StepForm._fields[:5], form[:5], strict=True)),
            "calls": self.profile.counts(),
            "held_out_error_median": float(np.median(errors)),
            "held_out_error_max": float(np.max(errors)),
            "noise": {
                f"p{share:g}": float(np.quantile(noise, share / 100))
                for share in (1, 10, 50, 90, 99)
            },
            "lag1": self.profile.lag1,
            "stalls": self.stalls_calibrated,
            "block_factors": list(self.block_factors),
        }

    @property
    def plot(self) -> TokenValidationPlots:
        """Figures: ``ttft``, ``latency``, ``predicted``."""
        from .validation_views import TokenValidationPlots

        return TokenValidationPlots(self)

    def __repr__(self) -> str:
        return f"<TokenValidation of {self.scenario.get('name', 'rules')}: {self.verdict}>"

    def _repr_html_(self) -> str:
        from .validation_views import html_of

        return html_of(self)
