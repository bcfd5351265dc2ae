"""What the simulator says of a load beforehand, and the cells in which it is held to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.contract import FloatArray
from policies.iteration.contract import Rule
from profiles.steps import StepForm, StepProfile, medians
from sim.iteration import kernel
from sim.iteration.serving import Serving
from sim.iteration.trace import TokenTrace
from sim.iteration.workload import TokenWorkload
from sim.streams import stream

from .validation_windows import STALLED, STATISTICS, LiveWindow, summary_of

LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class TokenCell:
    """One statistic of one rule at one load."""

    load: float
    rule: str
    statistic: str
    live: tuple[float, ...]
    """One a window that counts."""
    predicted: float
    low: float
    high: float
    corrected: float
    calm: tuple[float, ...] = ()
    """One a window, without its stalls."""
    calm_predicted: float = float("nan")
    """From a calibration without its stalls."""

    @property
    def measured(self) -> float:
        """Mean over the windows."""
        return float(np.mean(self.live))

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted / self.measured - 1.0

    @property
    def spread(self) -> float:
        """Half of the range of the windows, over their mean."""
        return (max(self.live) - min(self.live)) / 2.0 / self.measured

    @property
    def calmed(self) -> float:
        """Mean over the windows, without their stalls."""
        return float(np.mean(self.calm)) if self.calm else self.measured

    @property
    def calm_error(self) -> float:
        """The error that is left where neither windows nor calibration stall."""
        return self.calm_predicted / self.calmed - 1.0

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where nothing is promised."""
        target = STATISTICS[self.statistic]
        if target is None:
            return None
        return abs(self.error) <= target or min(self.live) <= self.predicted <= max(self.live)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "load": self.load,
            "rule": self.rule,
            "statistic": self.statistic,
            "measured": self.measured,
            "live": list(self.live),
            "spread": self.spread,
            "a_priori": {"value": self.predicted, "low": self.low, "high": self.high},
            "a_priori_error": self.error,
            "drift_corrected": self.corrected,
            "drift_corrected_error": self.corrected / self.measured - 1.0,
            "without_stalls": {"measured": self.calmed, "predicted": self.calm_predicted},
            "without_stalls_error": self.calm_error,
            "target": STATISTICS[self.statistic],
            "kept": self.kept,
        }


def pooled(profiles: Sequence[StepProfile]) -> StepProfile:
    """All blocks of a calibration as one profile; a block of another grid is left out."""
    first = profiles[0]
    same = [
        one
        for one in profiles
        if one.step_ns.shape == first.step_ns.shape
        and all(
            np.array_equal(getattr(one, axis), getattr(first, axis))
            for axis in ("prefill", "sequences", "context")
        )
    ]
    calls = [
        call._replace(number=call.number + 1_000 * block)
        for block, one in enumerate(same)
        for call in one.calls
    ]
    axes = (first.prefill.tolist(), first.sequences.tolist(), first.context.tolist())
    return replace(first, step_ns=medians(calls, axes, first.prompt_tokens), calls=tuple(calls))


def block_factor(profile: StepProfile, form: StepForm) -> float:
    """How slow a block was: the median of its calls over the pooled profile."""
    calls = [call for call in profile.calls if call.kind == "grid"]
    return float(np.median([call.wall_ns / form.step_ns(call.work) for call in calls]))


def replications(noise: FloatArray, spread: float, count: int, seed: int) -> list[FloatArray]:
    """The luck of each: the noise from some place on, and one drift."""
    found = []
    for number in range(count):
        rng = stream(seed, "service", number)
        drift = float(np.exp(spread * stream(seed, "drift", number).standard_normal()))
        found.append(np.roll(noise, int(rng.integers(len(noise)))) * drift)
    return found


def calm_noise(noise: FloatArray) -> FloatArray:
    """The same without stalls: those take as long as usual."""
    usual = float(np.median(noise))
    return np.where(noise > STALLED * usual, usual, noise)


def predicted(
    rule: Rule, workload: TokenWorkload, serving: Serving, luck: Sequence[FloatArray]
) -> list[TokenTrace]:
    """All replications."""
    return [kernel.run(rule, workload, replace(serving, noise=one)) for one in luck]


def statistics_of(runs: Sequence[TokenTrace]) -> dict[str, FloatArray]:
    """Of all replications, float64 (replications,) by name."""
    found = [summary_of(run) for run in runs]
    return {name: np.array([run[name] for run in found]) for name in STATISTICS}


def cells_of(
    load: float,
    rule: str,
    windows: Sequence[LiveWindow],
    forecast: Mapping[str, FloatArray],
    slowed: Mapping[str, FloatArray],
    calm: Sequence[Mapping[str, float]],
    calm_forecast: Mapping[str, FloatArray],
) -> list[TokenCell]:
    """One cell a statistic.

    Args:
        load: of the windows.
        rule: its name.
        windows: that count.
        forecast: of all replications.
        slowed: drift-corrected.
        calm: of each window without its stalls.
        calm_forecast: of all replications of a calibration without its stalls.
    """
    live = [summary_of(window.trace) for window in windows]
    return [
        TokenCell(
            load,
            rule,
            name,
            tuple(one[name] for one in live),
            float(np.median(forecast[name])),
            float(np.quantile(forecast[name], LOW)),
            float(np.quantile(forecast[name], HIGH)),
            float(np.median(slowed[name])),
            tuple(one[name] for one in calm),
            float(np.median(calm_forecast[name])),
        )
        for name in STATISTICS
    ]
