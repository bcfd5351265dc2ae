"""From measured windows to figures beside their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.rerun import run_name
from policies.contract import FloatArray, IntArray

from .contract import Wish
from .figures_of_window import figures_of
from .fitting import Stream, sent_of
from .outcome import TOLERANCE, Cell, Reading, Shapes, Trial
from .predict import DRAWS, Forecast, simulated
from .rig import Window
from .trial import Campaign, Measured, Variant

SENT_DRAWS = 3
"""Of the second, diagnostic column, which has no interval."""
SHARES: FloatArray = np.concatenate(
    [np.linspace(0.0, 0.9, 91), 1.0 - np.geomspace(0.1, 0.001, 41)[1:]]
)
"""float64 (131,): shares of requests at which a distribution is kept, denser in the tail."""
LOW, HIGH = 0.05, 0.95


def judged(campaign: Campaign, seconds: float) -> Trial:
    """Predict every window that counts, and lay measured and predicted side by side."""
    cells: list[Cell] = []
    shapes: list[Shapes] = []
    for variant in campaign.variants:
        windows = list(variant.counting())
        for load in dict.fromkeys(each.load for each in windows):
            campaign.progress(f"{variant.name}: predicting", campaign.steps, campaign.steps)
            here = [each for each in windows if each.load == load]
            draws = [_forecasts(variant, each, place) for place, each in enumerate(here)]
            cells += _cells(variant, load, here, draws, campaign.plan.seed)
            shapes.append(_shapes(variant, load, here, draws))
    return Trial(
        scenario=facts_of(campaign),
        stack=_stack(campaign),
        variants={each.name: _about(each) for each in campaign.variants},
        floor=tuple(campaign.floors),
        readings=tuple(_readings(campaign.variants)),
        cells=tuple(cells),
        shapes=tuple(shapes),
        seconds=seconds,
        interrupted=campaign.interrupted,
    )


def _forecasts(variant: Variant, measured: Measured, place: int) -> list[Forecast]:
    """Draws of one window."""
    return [
        simulated(
            variant.ruling, variant.wish.costs, variant.around[measured.repeat], measured.workload,
            np.random.default_rng((place, draw)), past=measured.window.before,
        )
        for draw in range(DRAWS)
    ]  # fmt: skip


def _cells(
    variant: Variant, load: float | None, here: Sequence[Measured],
    draws: Sequence[Sequence[Forecast]], seed: int,
) -> list[Cell]:  # fmt: skip
    """Every figure of a variant at a load."""
    measured = [measured_figures(each.window) for each in here]
    on_sent = [
        [
            simulated(
                variant.ruling, variant.wish.costs, variant.around[each.repeat], each.workload,
                np.random.default_rng((seed, place, draw)),
                sent_of(Stream(each.workload, each.window)), each.window.before,
            ).figures
            for draw in range(SENT_DRAWS)
        ]
        for place, each in enumerate(here)
    ]  # fmt: skip
    found = []
    for figure in TOLERANCE:
        of_draws = [[one.figures[figure] for one in window] for window in draws]
        low, high = np.quantile(np.concatenate(of_draws), (LOW, HIGH)).tolist()
        found.append(
            Cell(
                variant.name, load, figure,
                tuple(one[figure] for one in measured),
                tuple(float(np.median(one)) for one in of_draws),
                low, high,
                tuple(float(np.median([d[figure] for d in one])) for one in on_sent),
            )
        )  # fmt: skip
    return found


def measured_figures(window: Window) -> dict[str, float]:
    """Figures of a window as it was served."""
    good = window.good
    return figures_of(
        (window.done_ns - window.planned_ns)[good],
        (window.end_ns[window.batch] - window.sent_ns)[good],
        window.size,
        window.planned_ns[good],
        len(window),
    )


def _shapes(
    variant: Variant, load: float | None, here: Sequence[Measured],
    draws: Sequence[Sequence[Forecast]],
) -> Shapes:  # fmt: skip
    latency_ns = [(w.done_ns - w.planned_ns)[w.good] for w in (each.window for each in here)]
    drawn = [one for window in draws for one in window]
    sizes = [each.window.size for each in here]
    most = max(int(each.max()) for each in (*sizes, *(one.size for one in drawn)))
    return Shapes(
        variant.name, load, tuple(SHARES.tolist()),
        _quantiles_ms(latency_ns), _quantiles_ms([one.latency_ns for one in drawn]),
        _shares(sizes, most), _shares([one.size for one in drawn], most),
    )  # fmt: skip


def _quantiles_ms(latency_ns: Sequence[IntArray]) -> tuple[float, ...]:
    return tuple((np.quantile(np.concatenate(latency_ns), SHARES) / 1e6).tolist())


def _shares(sizes: Sequence[IntArray], most: int) -> tuple[float, ...]:
    """Share of the batches by size, from 1 to the largest."""
    counts = np.bincount(np.concatenate(sizes), minlength=most + 1)[1:]
    return tuple((counts / counts.sum()).tolist())


def _readings(variants: Sequence[Variant]) -> list[Reading]:
    return [
        Reading(
            variant.name, each.load, each.repeat, each.attempt, each.condition,
            measured_figures(each.window),
        )
        for variant in variants
        for each in variant.measured
    ]  # fmt: skip


def _about(variant: Variant) -> dict[str, object]:
    wish: Wish = variant.wish
    return {
        "words": variant.words,
        "bare": wish.bare,
        "policy": dict(variant.ruling.table),
        "servers": variant.ruling.servers,
        "notes": list(variant.ruling.notes),
        "overheads": None if variant.overheads is None else variant.overheads.to_dict(),
        "against_profile": None if variant.against is None else variant.against.to_dict(),
        "windows_took": variant.windows_took,
    }


def _stack(campaign: Campaign) -> dict[str, object]:
    row = campaign.row
    return {
        "name": row.name,
        "title": row.title,
        "needs": list(row.needs),
        "timer": row.timer,
        "before_other_processes": campaign.urgent,
    }


def facts_of(campaign: Campaign) -> dict[str, Any]:
    """What a reader should know of the scenario and where the setting is from."""
    scenario, real = campaign.asked.scenario, campaign.asked.wish.real
    return {
        "name": scenario.name,
        "hash": scenario.hash,
        "source": campaign.asked.source,
        "run": run_name(campaign.folder),
        "policy": campaign.asked.name,
        "model": None if real is None else str(real),
        "servers": campaign.asked.wish.servers,
        "rate_max_per_s": scenario.rate_max_per_s,
        "window_s": campaign.plan.window_ns / 1e9,
        "repeats": campaign.plan.repeats,
    }
