"""What is said of a measurement: the plan before it, and how good it is after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profiles.campaign import Campaign
    from profiles.distil import HoldOut
    from profiles.plan import Plan

UNITS = {"tokens": "tokens", "audio_ms": "ms of audio"}
GOOD = 0.05
"""Median hold-out error up to which a grid is called fine enough."""


def plan_sentences(plan: Plan, unit: str) -> list[str]:
    """What will be done and how long it takes."""
    grid = [cell for cell in plan.cells if cell.kind == "grid"]
    off = [cell for cell in plan.cells if cell.kind == "holdout"]
    counts = [cell.samples for cell in grid]
    sizes, lengths = plan.sizes(), plan.lengths()
    named = f"1 to {sizes[-1]}" if len(sizes) == sizes[-1] else ", ".join(map(str, sizes))
    first = (
        f"plan: batch sizes {named} x lengths {', '.join(map(str, lengths))} {UNITS[unit]}: "
        f"{len(grid)} cells, {min(counts)} to {max(counts)} calls each in {plan.rounds} rounds of "
        f"random order, and {len(off)} shapes off the grid"
    )
    lines = [first]
    steady = sum(series.calls for series in plan.series if series.kind == "steady")
    paced = sum(series.calls for series in plan.series if series.kind == "paced")
    if plan.series:
        lines.append(f"      then {steady:,} steady calls for noise, {paced} paced ones")
    lines += [f"      {words}" for words in plan.dropped]
    return [*lines, f"      about {duration(plan.expected_ns)}"]


def outcome_facts(campaign: Campaign) -> dict[str, object]:
    """Name to words, for the terminal."""
    from profiles.distil import median_load, paced_ratio

    found, profile = campaign.found, campaign.profile
    paced = ", ".join(
        f"x {ratio:.2f} after {gap / 1e6:.0f} ms idle" for gap, ratio in paced_ratio(found).items()
    )
    load = median_load(found)
    peak = max(found.peak_bytes.values(), default=None)
    return {
        "hold-out": hold_out_words(campaign.hold_out),
        "steady": "not measured" if profile.lag1 is None else f"lag-1 {profile.lag1:.2f}",
        "paced": paced or "not measured",
        "memory": memory_words(found.limits, peak),
        "load": "not known" if load is None else f"{load:.1f} (median of the rounds)",
        "took": duration(campaign.took_ns),
    }


def hold_out_words(hold_out: HoldOut | None) -> str:
    """Whether the grid suffices."""
    if hold_out is None:
        return "not measured: nothing lies between the points of this grid"
    worst = max(hold_out.shapes, key=lambda shape: abs(shape.error))
    words = (
        f"the profile is off by {100 * hold_out.median_error:.1f} % in the median of "
        f"{len(hold_out.shapes)} shapes, {100 * hold_out.worst_error:.1f} % at worst (batch size "
        f"{worst.batch_size}, length {worst.length}); noise alone gives about "
        f"{100 * hold_out.noise_error:.1f} %"
    )
    if hold_out.median_error > max(GOOD, 2.0 * hold_out.noise_error):
        words += "; `batchwright profile check` says where to measure more"
    return words


def memory_words(limits: list[tuple[int, int]], peak: int | None) -> str:
    """Limits and peak, where known."""
    words = [f"no room for batch size {size}, length {length}" for size, length in limits]
    if peak is not None:
        words.append(f"at most {peak / 2**20:,.0f} MiB")
    return "; ".join(words) or "no limit met"


def outcome_data(campaign: Campaign) -> dict[str, Any]:
    """What the measurement says of itself, as plain data."""
    from profiles.distil import median_load, paced_ratio

    found, hold_out, plan = campaign.found, campaign.hold_out, campaign.found.plan
    return {
        "plan": {"rounds": plan.rounds, "cells": len(plan.cells),
                 "expected_s": plan.expected_ns / 1e9, "dropped": list(plan.dropped)},
        "rounds_done": found.rounds_done,
        "stopped": found.stopped,
        "hold_out": None if hold_out is None else {
            "median_error": hold_out.median_error, "worst_error": hold_out.worst_error,
            "noise_error": hold_out.noise_error,
            "shapes": [{**shape._asdict(), "error": shape.error} for shape in hold_out.shapes]},
        "lag1": campaign.profile.lag1,
        "paced": [{"gap_ms": gap / 1e6, "ratio": r} for gap, r in paced_ratio(found).items()],
        "limits": [{"batch_size": size, "length": length} for size, length in found.limits],
        "peak_bytes": [{"batch_size": size, "length": length, "bytes": peak}
                       for (size, length), peak in found.peak_bytes.items()],
        "load_average": median_load(found),
        "took_s": campaign.took_ns / 1e9,
    }  # fmt: skip


def duration(ns: float) -> str:
    """``95 s``, or ``4.2 min`` from two minutes on."""
    seconds = ns / 1e9
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
