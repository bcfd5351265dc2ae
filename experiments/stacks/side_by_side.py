"""Several trials side by side: rows of what was measured, predicted and won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from experiments.wording import decimals, shown_half

from . import STACKS
from .outcome import DEFAULT, TUNED, Cell, Trial
from .shown import number

SHOWN = {
    "mean_batch": "mean batch",
    "server_p50_ms": "in server p50, ms",
    "server_p99_ms": "p99, ms",
}
WON = {"client_mean_ms": "mean", "client_p99_ms": "p99"}


def predicted_rows(trials: Mapping[str, Trial]) -> tuple[list[str], list[list[str]]]:
    """Measured, predicted and the error of it, for each stack, setting and load."""
    head = ["stack", "setting", "load"]
    for words in SHOWN.values():
        head += [words, "predicted", "error, %"]
    return [*head, "figures inside"], list(_rows(trials))


def _rows(trials: Mapping[str, Trial]) -> Iterator[list[str]]:
    for name, trial in trials.items():
        for variant in trial.variants:
            for load in trial.loads:
                cells = {
                    each.figure: each
                    for each in trial.cells
                    if (each.variant, each.load) == (variant, load)
                }
                row = [STACKS[name].title, variant, f"{load:g}"]
                for figure in SHOWN:
                    row += _figures(cells[figure])
                inside = sum(each.inside for each in cells.values())
                yield [*row, f"{inside} of {len(cells)}"]


def _figures(cell: Cell) -> list[str]:
    places = decimals(cell.measured_mean, cell.spread) if cell.spread else 1
    half = f" ± {shown_half(cell.spread, places):.{places}f}" if cell.spread else ""
    error = f"{100 * cell.error:+.1f}{'' if cell.inside else ' (outside)'}"
    return [
        f"{cell.measured_mean:.{places}f}{half}",
        f"{cell.predicted_mean:.{places}f}",
        error,
    ]


def won_rows(trials: Mapping[str, Trial]) -> tuple[list[str], list[list[str]]]:
    """What the setting changes of the default's client latency, measured and predicted."""
    head = ["stack", "load"]
    for words in WON.values():
        head += [f"{words}: default, ms", "tuned", "change", "predicted change"]
    rows = []
    for name, trial in trials.items():
        if DEFAULT not in trial.variants:
            continue
        for load in trial.loads:
            row = [STACKS[name].title, f"{load:g}"]
            for figure in WON:
                default, tuned = (_cell(trial, each, load, figure) for each in (DEFAULT, TUNED))
                row += [
                    number(default.measured_mean),
                    number(tuned.measured_mean),
                    f"{100 * (tuned.measured_mean / default.measured_mean - 1):+.0f} %",
                    f"{100 * (tuned.predicted_mean / default.predicted_mean - 1):+.0f} %",
                ]
            rows.append(row)
    return head, rows


def _cell(trial: Trial, variant: str, load: float | None, figure: str) -> Cell:
    (found,) = (
        each
        for each in trial.cells
        if (each.variant, each.load, each.figure) == (variant, load, figure)
    )
    return found
