"""What a trial says in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.wording import joined

from .outcome import DEFAULT, TUNED, relative

if TYPE_CHECKING:
    from .outcome import Cell, Trial

NAMES = {
    "mean_batch": "mean batch",
    "throughput_per_s": "throughput, per s",
    "server_mean_ms": "in server: mean, ms",
    "server_p50_ms": "p50, ms",
    "server_p90_ms": "p90, ms",
    "server_p99_ms": "p99, ms",
    "client_mean_ms": "client: mean, ms",
    "client_p50_ms": "p50, ms",
    "client_p90_ms": "p90, ms",
    "client_p99_ms": "p99, ms",
}
"""Heads of rows; percentiles stand below the mean of their side."""

WON_BY = "client_p99_ms"
"""What default and tuned are compared by, beside the mean."""
BEHIND = 0.05
"""So much more throughput predicted than measured is a server that does not keep up."""
SAME = 0.02
"""A difference that is no gain."""


def verdict_of(found: Trial) -> str:
    """How many figures are inside, which are not, and what tuning won."""
    if not found.cells:
        return "nothing was measured"
    return "\n".join([_counted(found), *_behind(found), *_won(found)])


def _counted(found: Trial) -> str:
    cells = found.cells
    inside = sum(each.inside for each in cells)
    words = f"{inside} of {len(cells)} figures are inside"
    outside = [each for each in cells if not each.inside]
    if outside:
        words += f"; outside: {joined([_named(found, each) for each in outside[:6]])}"
        if len(outside) > 6:
            words += f", and {len(outside) - 6} more"
    stalled = _stalled(found)
    if stalled:
        many = "window" if stalled == 1 else "windows"
        words += f". In {stalled} {many} that count the machine stalled by more than 5 ms"
    return words + "."


def _behind(found: Trial) -> list[str]:
    """Loads at which a server answered fewer than the model and the policy let it."""
    lines = []
    for cell in found.cells:
        if cell.figure == "throughput_per_s" and cell.error > BEHIND and not cell.inside:
            whose = f" of {cell.variant}" if len(found.variants) > 1 else ""
            where = at(cell.load).strip().capitalize()
            lines.append(
                f"{where + ' the' if where else 'The'} server{whose} answered "
                f"{cell.measured_mean:.0f} requests per second where {cell.predicted_mean:.0f} "
                "were expected: more come than its HTTP front takes on this machine, and the other "
                "figures of that load are of its queue. Give a lower load, or a slower model."
            )
    return lines


def _named(found: Trial, cell: Cell) -> str:
    """``client p99 of tuned at load 0.8 (-12 %)``."""
    figure = cell.figure.removesuffix("_ms").replace("_per_s", "").replace("_", " ")
    whose = f" of {cell.variant}" if len(found.variants) > 1 else ""
    return f"{figure}{whose}{at(cell.load)} ({100 * cell.error:+.0f} %)"


def at(load: float | None) -> str:
    """`` at load 0.6``, or nothing."""
    return "" if load is None else f" at load {load:g}"


def _stalled(found: Trial) -> int:
    """Windows that count although the machine stalled: every try did."""
    best: dict[tuple[str, float | None, int], bool] = {}
    for each in found.readings:
        key = (each.variant, each.load, each.repeat)
        best[key] = best.get(key, True) and each.condition.stalled
    return sum(best.values())


def _won(found: Trial) -> list[str]:
    """What the tuned setting won against the default, measured, and as it was predicted."""
    loads = [load for load in found.loads_of(TUNED) if load in found.loads_of(DEFAULT)]
    lines = []
    for load in loads:
        tuned, default = (found.cell(each, load, WON_BY) for each in (TUNED, DEFAULT))
        measured = relative(tuned.measured_mean, default.measured_mean)
        predicted = relative(tuned.predicted_mean, default.predicted_mean)
        where = at(load).strip().capitalize()
        lines.append(
            f"{where + ' the' if where else 'The'} setting {_change(measured)}; predicted: "
            f"{_change(predicted, 'it')}."
        )
    return lines


def _change(share: float, what: str = "the default's p99") -> str:
    """``cuts the default's p99 by 23 %``, or raises it, or leaves it."""
    if abs(share) < SAME:
        return f"leaves {what} within 2 %"
    return f"{'cuts' if share < 0 else 'raises'} {what} by {100 * abs(share):.0f} %"
