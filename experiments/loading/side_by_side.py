"""Load tests side by side: rows of what was measured and predicted, and of refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.wording import decimals, shown_half

from .outcome import ALL, Cell, Loaded
from .shown import number

SHOWN = {"p50_ms": "p50, ms", "p90_ms": "p90, ms", "p99_ms": "p99, ms", "mean_batch": "mean batch"}
TOOLS = {"ours": "`batchwright load`", "k6": "k6", "locust": "Locust"}


def predicted_rows(tests: Mapping[str, Loaded]) -> tuple[list[str], list[list[str]]]:
    """Measured, predicted and the error of it, for each test, load and tier."""
    head = ["scenario", "load", "tier"]
    for words in SHOWN.values():
        head += [words, "predicted", "error, %"]
    return head, list(_rows(tests))


def _rows(tests: Mapping[str, Loaded]) -> Iterator[list[str]]:
    for name, test in tests.items():
        for load in test.loads:
            for tier in test.tiers:
                row = [name, f"{load:g}", tier]
                for figure in SHOWN:
                    row += _figures(test.cell(load, tier, figure))
                yield row


def _figures(cell: Cell) -> list[str]:
    places = decimals(cell.measured_mean, cell.spread) if cell.spread else 1
    half = f" ± {shown_half(cell.spread, places):.{places}f}" if cell.spread else ""
    off = "" if cell.near else " (off)"
    error = "" if cell.error is None else f"{100 * cell.error:+.1f}{off}"
    predicted = cell.predicted_mean
    shown = "" if predicted is None else f"{predicted:.{places}f}" if places else number(predicted)
    return [f"{cell.measured_mean:.{places}f}{half}", shown, error]


def refused_rows(test: Loaded) -> tuple[list[str], list[list[str]]]:
    """What becomes of requests at loads beyond what can be served."""
    head = ["load", "offered, per s", "served, per s", "429, %", "predicted", "told so: p50, ms",
            "p99, ms", "served within the SLO, %", "their p99, ms", "predicted"]  # fmt: skip
    rows = []
    for load in test.loads:
        fate, p99 = test.fate(load, ALL), test.cell(load, ALL, "p99_ms")
        within = fate.within_accepted
        rows.append([
            f"{load:g}", f"{fate.offered_per_s:,.0f}", f"{fate.served_per_s:,.0f}",
            f"{100 * fate.share('rejected'):.1f}", f"{100 * fate.predicted['rejected']:.1f}",
            _ms(fate.told_ms["p50"]), _ms(fate.told_ms["p99"]),
            "" if within is None else f"{100 * within:.1f}",
            number(p99.measured_mean), number(p99.predicted_mean or 0.0),
        ])  # fmt: skip
    return head, rows


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def tool_rows(found: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The same window, sent by several generators."""
    head = ["sent by", "requests", "mean, ms", "p50, ms", "p90, ms", "p99, ms", "late: p50, ms",
            "p99, ms"]  # fmt: skip
    rows = [
        [
            TOOLS[name], f"{one['requests']:,}",
            *(f"{one[key]:.1f}" for key in ("mean_ms", "p50_ms", "p90_ms", "p99_ms")),
            *(f"{one['late_ms'][key]:.2f}" for key in ("p50_ms", "p99_ms")),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    return head, rows


__all__ = ["predicted_rows", "refused_rows", "tool_rows"]
