"""What is said of a profile's measured memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profiles.memory import MemoryModel, Peaks, fitted_memory, load_peaks, memory_path, overshoot

from .memory import GIB, MIB, gib


def memory_facts(name: str | Path) -> dict[str, Any] | None:
    """The model of a profile's measured memory as plain data; None where none was measured.

    Raises:
        ProfileError: the file with it is broken.
    """
    path = memory_path(name)
    if path is None:
        return None
    peaks = load_peaks(path)
    model = fitted_memory(peaks)
    return {
        "fixed_gib": model.fixed / GIB,
        "per_request_mib": model.per_request / MIB,
        "per_length_mib": model.per_length / MIB,
        "per_length_squared_mib": model.per_square / MIB,
        "shapes": len(peaks.bytes),
        "overshoot": overshoot(model, peaks),
        "did_not_fit": [list(shape) for shape in peaks.limits],
        "text": _words(model, peaks),
    }


def _words(model: MemoryModel, peaks: Peaks) -> str:
    each = [
        f"{gib(amount)} {unit}"
        for amount, unit in (
            (model.per_request, "a request"),
            (1000 * model.per_length, "per 1,000 of padded length"),
            (1e6 * model.per_square, "per request and square of 1,000 of length"),
        )
        if amount > 0
    ]
    text = " + ".join([gib(model.fixed), *each])
    text += f"   (at most {100 * overshoot(model, peaks):.0f} % above what was measured)"
    if peaks.limits:
        shapes = ", ".join(f"{size} x {length}" for size, length in peaks.limits)
        text += f"; did not fit: {shapes}"
    return text
