"""From raw calls to a profile, and how well that profile predicts what it has not seen.

1. Medians by cell of the grid calls; of a grid with holes (limits of memory, an interruption) the
   largest full part.
2. The jitter is theirs: the profile keeps the grid calls, :mod:`profiles.noise` reads them.
3. The autocorrelation is that of the steady series: AR(1) of the log, estimated on normal scores by
   rank, which a log does not change, and pooled over the series by their pairs.
4. What a user must know of the circumstances stands among the defects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .calls import Call, samples
from .forms import costs
from .grid import Point, complete_part
from .latency import FloatArray, Profile, Samples, from_samples
from .measure import Measured
from .metadata import Metadata, ProfileError
from .noise import ENOUGH_PAIRS, lag1_of
from .plan import SAMPLES_LEAST

About = dict[str, str | int | float]
BUSY = 0.5
"""Load average beside the model's own threads from which a machine counts as loaded."""
SLOWED = 1.1
"""Paced over back-to-back time from which a user must know it: at low load calls are paced."""
LOG_SD_OF_MEDIAN = 1.2533
"""Standard error of a median over that of a mean, for normal noise: sqrt(pi / 2)."""


class Predicted(NamedTuple):
    """One hold-out shape."""

    batch_size: int
    length: int
    measured_ns: float
    profile_ns: float
    samples: int

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.profile_ns / self.measured_ns - 1.0


class HoldOut(NamedTuple):
    """The profile against the medians of shapes off the grid."""

    shapes: tuple[Predicted, ...]
    median_error: float
    worst_error: float
    noise_error: float
    """The median error that too few calls alone would give a perfect profile."""


def distilled(
    found: Measured, about: About, length_unit: str, *, name: str, command: str, when: str
) -> Profile:
    """The profile that the calls give.

    Raises:
        ProfileError: no grid call was made.
    """
    calls = _grid_samples(found)
    if not len(calls):
        raise ProfileError(f"profile {name}: no shape of the grid was measured")
    metadata = _metadata(found, about, calls, command=command, when=when)
    profile = from_samples(name, calls, length_unit, metadata)
    return replace(profile, lag1=steady_lag1(found.calls))


def steady_lag1(calls: Sequence[Call]) -> float | None:
    """Lag-1 autocorrelation of the steady series, pooled; None where they are too short."""
    correlations, pairs = [], []
    for number in sorted({call.round for call in calls if call.kind == "steady"}):
        series = [c.wall_ns for c in calls if c.kind == "steady" and c.round == number]
        if len(series) > ENOUGH_PAIRS:
            correlations.append(lag1_of(np.array(series, dtype=np.float64)))
            pairs.append(len(series) - 1)
    return round(float(np.average(correlations, weights=pairs)), 4) if pairs else None


def held_out(profile: Profile, found: Measured) -> HoldOut | None:
    """How far the profile is from what was measured off the grid; None without such shapes."""
    return predicted(profile, [call for call in found.calls if found.fits(*call[:2])])


def predicted(profile: Profile, raw: Iterable[Call], form: str | None = None) -> HoldOut | None:
    """Hold-out calls against what a form of the profile predicts; None without such calls.

    Args:
        profile: made of the grid calls.
        raw: all calls.
        form: one of :data:`profiles.forms.FORMS`; by default the profile's own.
    """
    calls, model = samples(raw, "holdout"), costs(profile, form)
    shapes = []
    for size, length in sorted(
        set(zip(calls.batch_size.tolist(), calls.length.tolist(), strict=True))
    ):
        if size > profile.largest_batch or length > profile.longest:
            continue
        here = calls.latency_ns[(calls.batch_size == size) & (calls.length == length)]
        expected = model.latency_ns(size, length)
        shapes.append(Predicted(size, length, float(np.median(here)), expected, len(here)))
    if not shapes:
        return None
    errors = np.abs([shape.error for shape in shapes])
    # Interpolating halfway between two medians halves their variance.
    variance = 1.0 / np.array([s.samples for s in shapes]) + 0.5 / _usual_samples(profile)
    spread = LOG_SD_OF_MEDIAN * _log_spread(profile) * np.sqrt(variance)
    noise = 0.6745 * float(np.median(spread))  # the median of |z| is 0.6745
    return HoldOut(tuple(shapes), float(np.median(errors)), float(errors.max()), noise)


def paced_ratio(found: Measured) -> dict[int, float]:
    """Paced calls over back-to-back calls of the same shapes, by gap in ns: medians."""
    ratios: dict[int, list[float]] = {}
    for series in found.plan.series[: found.series_done]:
        shape = (series.batch_size, series.length)
        steady = [c.wall_ns for c in found.calls if c.kind == "steady" and c[:2] == shape]
        paced = [
            call.wall_ns
            for call in found.calls
            if call.kind == "paced" and call[:2] == shape and call.gap_ns == series.gap_ns
        ]
        if series.gap_ns and paced and steady:
            ratio = float(np.median(paced) / np.median(steady))
            ratios.setdefault(series.gap_ns, []).append(ratio)
    return {gap: float(np.median(values)) for gap, values in ratios.items()}


def median_load(found: Measured) -> float | None:
    """Load average over the rounds."""
    seen = [c.load_average for c in found.conditions if c.load_average is not None]
    return float(np.median(seen)) if seen else None


def _usual_samples(profile: Profile) -> float:
    """Median number of calls of a cell of the grid."""
    assert profile.samples is not None
    cells = np.stack((profile.samples.batch_size, profile.samples.length))
    return float(np.median(np.unique(cells, axis=1, return_counts=True)[1]))


def _log_spread(profile: Profile) -> float:
    """Robust standard deviation of the log of the calls around their medians."""
    assert profile.samples is not None
    rows = np.searchsorted(profile.batch_size, profile.samples.batch_size)
    columns = np.searchsorted(profile.length, profile.samples.length)
    logs: FloatArray = np.log(profile.samples.latency_ns / profile.latency_ns[rows, columns])
    low, high = np.quantile(logs, (0.25, 0.75))
    return float(high - low) / 1.349


def _grid_samples(found: Measured) -> Samples:
    """The grid calls of the largest full grid that fits into memory."""
    calls = [c for c in found.calls if c.kind == "grid" and found.fits(*c[:2])]
    cells = dict.fromkeys((call.batch_size, call.length) for call in calls)
    keep = {p[1:3] for p in complete_part([Point(0, *cell, ()) for cell in cells])} if cells else ()
    return samples(call for call in calls if call[:2] in keep)


def _metadata(
    found: Measured, about: About, calls: Samples, *, command: str, when: str
) -> Metadata:
    """What ran, on what, how it was timed, and what to mistrust."""
    known = {key: str(value) for key, value in about.items()}
    mode = known.get("mode", "eager")
    known.setdefault("device_name", known.get("device", "not stated"))
    _, counts = np.unique(np.stack((calls.batch_size, calls.length)), axis=1, return_counts=True)
    kinds = {kind: sum(call.kind == kind for call in found.calls) for kind in ("warmup", "steady")}
    named = ("model", "device_name", "precision", "framework")
    model, device, precision, framework = (known.pop(key, "not stated") for key in named)
    return Metadata(
        model=model,
        device=device,
        precision=precision,
        framework=f"{framework}, {mode}",
        execution="eager" if mode == "eager" else "engine",
        timed="wall clock around collating with a mask, copy to the device, forward, copy back and "
        "synchronising; batches full of the longest length",
        licence="not stated",
        measured=when,
        samples=f"{len(calls)} grid calls, {counts.min()} to {counts.max()} a cell, in "
        f"{found.rounds_done} rounds of random order; {kinds['steady']} steady calls",
        warm_up=f"{kinds['warmup']} calls, {found.plan.warming.calls} of each new shape, discarded",
        command=command,
        versions=known,
        defects=tuple(_defects(found, known, int(counts.min()))),
    )


def _defects(found: Measured, known: dict[str, str], least: int) -> list[str]:
    """What a user of the figures must know."""
    defects = []
    load, threads = median_load(found), int(known.get("threads", "1"))
    if load is not None and load > threads + BUSY:
        defects.append(
            f"the machine was loaded (load average {load:.1f} beside {threads} of the model), so "
            f"times and jitter may be high"
        )
    for gap_ns, ratio in paced_ratio(found).items():
        if ratio > SLOWED:
            defects.append(f"calls after {gap_ns / 1e6:.0f} ms idle take {ratio:.2f} times as long")
    for size, length in found.limits:
        defects.append(f"batch size {size}, length {length} does not fit into memory")
    if found.stopped:
        done, planned = found.rounds_done, found.plan.rounds
        defects.append(f"stopped after {done} of {planned} rounds: {found.stopped}")
    if least < SAMPLES_LEAST:
        defects.append(f"some cells have only {least} samples")
    return defects + list(found.plan.dropped)
