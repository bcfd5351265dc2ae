"""A trial whose figures are set by hand."""

from __future__ import annotations

from experiments.stacks.conditions import Condition
from experiments.stacks.outcome import TOLERANCE, Cell, Reading, Shapes, Trial

ABOUT = {
    "words": "a setting",
    "bare": False,
    "policy": {"kind": "greedy", "max_batch_size": 8},
    "servers": 1,
    "notes": [],
    "overheads": {
        "enter_ms": 0.3, "turnaround_ms": 0.4, "per_request_ms": 0.05, "overshoot_ms": 0.03,
        "leave_ms": 0.5, "thin": False, "samples": {}, "own_batch_ms": {},
    },
}  # fmt: skip


def cell(measured, predicted, figure="client_p50_ms", variant="tuned", load=0.6):
    return Cell(variant, load, figure, tuple(measured), tuple(predicted), 9.0, 11.0, (10.0,))


def trial(scale=None, variants=("tuned", "default"), stalled=0.1, words="a setting"):
    """Every figure measured as 10 (default 12); ``scale`` by figure is what predictions are off."""
    cells = tuple(
        cell([base], [base * (scale or {}).get(figure, 1.0)], figure, variant, load)
        for variant, base in zip(variants, (10.0, 12.0), strict=False)
        for load in (0.3, 0.6)
        for figure in TOLERANCE
    )
    shapes = tuple(
        Shapes(
            variant, load, (0.0, 0.5, 0.9), (1.0, 2.0, 3.0), (1.0, 2.0, 3.5), (0.5, 0.5),
            (1.0, 0.0),
        )
        for variant in variants
        for load in (0.3, 0.6)
    )  # fmt: skip
    return Trial(
        {
            "name": "small", "source": "run small/tune-1", "servers": 1, "repeats": 1,
            "window_s": 1.0, "policy": "greedy",
        },
        {
            "name": "triton", "title": "NVIDIA Triton", "needs": ["nvidia-pytriton==0.7.0"],
            "timer": "", "before_other_processes": False,
        },
        dict.fromkeys(variants, ABOUT),
        ({"load": 0.3, "p50_ms": 0.1, "p99_ms": 0.2},),
        tuple(
            Reading(variant, load, 0, 0, Condition(stalled, 0.1), dict.fromkeys(TOLERANCE, 2.0))
            for variant in variants
            for load in (0.3, 0.6)
        ),
        cells,
        shapes,
        1.0,
    )  # fmt: skip
