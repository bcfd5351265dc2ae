"""A validation on the terminal, at most 100 columns: tables by load, conditions, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from experiments.terminal import table
from experiments.tune.shown import WIDTH, shortened
from experiments.wording import decimals, shown_half

from .claims import BUSY_MOST, REPLAY_GATE
from .summary import REPLAYED
from .verdict import at

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from .cells import Cell, Match
    from .result import Reading, Validation

COLUMNS = {
    "mean": "mean, ms",
    "p50": "p50, ms",
    "p90": "p90, ms",
    "p99": "p99, ms",
    "mean_batch": "mean\nbatch",
    "busy": "busy\n%",
}
"""Heads by statistic."""

ROWS = ("replay", "a priori", "with drift")
"""What stands under the measured values of a policy: errors."""

ROOM, SHORTEST = 24, 12
"""Characters of a policy's name that are shown, as many as fit."""

LEGEND = "± half the range of the rounds   errors: predicted over measured"
OUTSIDE = "! outside the 90 % interval"


def validation_tables(found: Validation, width: int = WIDTH) -> list[RenderableType]:
    """Everything to print, in order.

    Args:
        found: to show.
        width: columns of the terminal; never more than 100 are used.
    """
    shown: list[RenderableType] = [load_table(found, load, width) for load in found.loads]
    if shown:
        marked = any(not found_cell.is_inside for found_cell in _shown_cells(found))
        shown.append(Text(LEGEND + ("   " + OUTSIDE if marked else ""), style="dim"))
    shown += [Text(line) for line in lost(found)]
    shown.append(Text(conditions(found.readings)))
    shown.append(Text(found.verdict))
    return shown


def _shown_cells(found: Validation) -> Iterator[Cell]:
    for match in found.matches:
        yield from (match.cell(name) for name in COLUMNS)


def load_table(found: Validation, load: float | None, width: int = WIDTH) -> Table:
    """The policies at one load: measured values, and the errors of the three predictions.

    Names are shortened in their middle until the table fits.
    """
    matches = [one for one in found.matches if one.load == load]
    console = Console(width=10_000)
    for room in range(ROOM, SHORTEST - 1, -1):
        drawn = _table(matches, load, room)
        if Measurement.get(console, console.options, drawn).maximum <= min(width, WIDTH):
            break
    return drawn


def _table(matches: Sequence[Match], load: float | None, room: int) -> Table:
    """With so many characters of a policy's name."""
    rounds = max(len(one.drift) for one in matches)
    title = f"{at(load)}, {rounds} round{'s' * (rounds != 1)}"
    drawn = table("policy", *COLUMNS.values(), title=title[0].upper() + title[1:])
    names = shortened([one.policy for one in matches], room)
    for match, name in zip(matches, names, strict=True):
        cells = [match.cell(statistic) for statistic in COLUMNS]
        drawn.add_row(Text(name, style="bold"), *map(measured, cells))
        drawn.add_row(Text(f"  {ROWS[0]}"), *(replay_error(match, cell) for cell in cells))
        drawn.add_row(Text(f"  {ROWS[1]}"), *map(a_priori_error, cells))
        drawn.add_row(
            Text(f"  {ROWS[2]}", style="dim"),
            *(Text(signed(cell.corrected_error), style="dim") for cell in cells),
            end_section=match is not matches[-1],
        )
    return drawn


def measured(cell: Cell) -> str:
    """``12.34 ± 0.05``: the mean over windows and half of their range."""
    times = 100.0 if cell.statistic == "busy" else 1.0
    value, spread = times * cell.measured, cell.spread
    half = None if spread is None else abs(value) * spread
    if not half:
        return f"{value:.4g}"
    digits = decimals(value, half)
    return f"{value:.{digits}f} ± {shown_half(half, digits):.{digits}f}"


def replay_error(match: Match, cell: Cell) -> Text:
    """Of the worst window; red where the gate applies and is missed."""
    worst = cell.replay_error
    gated = cell.statistic in REPLAYED and match.busy <= BUSY_MOST
    missed = gated and worst is not None and abs(worst) > REPLAY_GATE
    return Text(signed(worst), style="bold red" if missed else "")


def a_priori_error(cell: Cell) -> Text:
    """Marked where the measured mean is outside the interval."""
    if cell.is_inside:
        return Text(signed(cell.error))
    return Text(f"! {signed(cell.error)}", style="yellow")


def signed(error: float | None) -> str:
    """``+4.1 %``, or a dash."""
    return "-" if error is None else f"{100 * error + 0.0:+.1f} %"


def lost(found: Validation) -> Iterator[str]:
    """Requests that were not served, where there are any: a mean over windows, and as predicted."""
    cells = [match.cell("lost") for match in found.matches]
    parts = [
        f"{cell.policy} {at(cell.load)} {cell.measured:g} (predicted {cell.predicted:g})"
        for cell in cells
        if cell.measured or cell.predicted
    ]
    if parts:
        yield f"Requests not served: {', '.join(parts)}."


def conditions(readings: Sequence[Reading]) -> str:
    """How the windows were measured, in one line."""
    kept = [one for one in readings if one.condition.accepted]
    parts = [f"{len(kept)} of {len(readings)} windows accepted"]
    if kept:
        lag = max(one.condition.lag_ms_p99 for one in kept)
        late = max(one.condition.late_ms_p99 for one in kept)
        drift = [one.drift for one in kept if one.drift is not None]
        ends = (min(drift), max(drift))
        parts += [
            f"requests up to {lag:.2g} ms late, timers {late:.2g} ms (p99)",
            f"drift {' to '.join(dict.fromkeys(f'{end:.2f}' for end in ends))}",
        ]
    return "; ".join(parts) + "."
