"""Validations as one table for a page of text: what was measured, and how far predictions were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.wording import decimals, shown_half

from .summary import REPLAYED

if TYPE_CHECKING:
    from .cells import Match
    from .result import Validation

COLUMNS = (
    "policy", "load", "busy", "mean, ms", "p99, ms", "replay", "mean", "p50", "p99", "batch",
)  # fmt: skip
PREDICTED = ("mean", "p50", "p99", "mean_batch")


def markdown_table(found: Mapping[str, Validation]) -> str:
    """One row a device, policy and load.

    Args:
        found: by the name of the device and model.
    """
    lines = [
        f"| model | {' | '.join(COLUMNS)} |",
        "|" + "---|" * (1 + len(COLUMNS)),
    ]
    for name, validation in found.items():
        lines += [f"| {name} | {' | '.join(_row(match))} |" for match in validation.matches]
    return "\n".join(lines)


def _row(match: Match) -> list[str]:
    load = "" if match.load is None else f"{match.load:.2g}"
    errors = [match.cell(name).replay_error for name in REPLAYED]
    worst = max((abs(one) for one in errors if one is not None), default=None)
    return [
        match.policy,
        load,
        f"{100 * match.busy:.0f} %",
        _measured(match, "mean"),
        _measured(match, "p99"),
        "" if worst is None else f"{100 * worst:.1f} %",
        *(_signed(match.cell(name).error) for name in PREDICTED),
    ]


def _measured(match: Match, statistic: str) -> str:
    """The mean over the rounds and half of their range."""
    cell = match.cell(statistic)
    if not cell.spread:
        return f"{cell.measured:.3g}"
    half = cell.spread * cell.measured
    places = decimals(cell.measured, half)
    return f"{cell.measured:.{places}f} ± {shown_half(half, places):.{places}f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"
