"""A validation on the terminal, at most 100 columns: tables by load, conditions, verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

TIER_COLUMNS = {
    "mean": "mean, ms",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "throughput_per_s": "served\nper s",
}
"""Of a tier of its own; of a backlog there is the last alone."""

ROWS = ("replay", "a priori", "with drift")
"""What stands under the measured values of a policy: errors."""

ROOM, SHORTEST = 24, 12
"""Characters of a policy's name that are shown, as many as fit."""

SHOWN_LEAST = 0.0005
"""A smaller error is shown as none, whatever its interval."""

LEGEND = "± half the range of the rounds   errors: predicted over measured"
OUTSIDE = "! outside the 90 % interval"


def validation_tables(found: Validation, width: int = WIDTH) -> list[RenderableType]:
    """Everything to print, in order.

    Args:
        found: to show.
        width: columns of the terminal; never more than 100 are used.
    """
    shown: list[RenderableType] = []
    if found.loads and found.no_claim:
        shown.append(Text(unclaimed(found.no_claim), style="bold"))
    for load in found.loads:
        shown.append(load_table(found, load, width))
        if found.tiers:
            shown.append(tier_table(found, load, width))
    if shown:
        marked = any("!" in a_priori_error(cell).plain for cell in _shown_cells(found))
        shown.append(Text(LEGEND + ("   " + OUTSIDE if marked else ""), style="dim"))
    shown += [Text(line) for line in lost(found)]
    shown.append(Text(conditions(found.readings)))
    shown += [Text(line) for line in crew(found)]
    shown.append(Text(found.verdict))
    return shown


def unclaimed(reason: str) -> str:
    """What stands before numbers that mean nothing, so that nobody takes them for a result."""
    return f"Nothing is claimed of the numbers below: {reason}.\n"


def _shown_cells(found: Validation) -> Iterator[Cell]:
    for match in found.matches:
        yield from (match.cell(name) for name in COLUMNS)
        yield from (cell for cell in match.tier_cells if cell.statistic in TIER_COLUMNS)


def load_table(found: Validation, load: float | None, width: int = WIDTH) -> Table:
    """The policies at one load: measured values, and the errors of the three predictions.

    Names are shortened in their middle until the table fits.
    """
    matches = [one for one in found.matches if one.load == load]
    return _fitting(lambda room: _table(matches, load, room), width)


def tier_table(found: Validation, load: float | None, width: int = WIDTH) -> Table:
    """The tiers of every policy at one load, as :func:`load_table`."""
    matches = [one for one in found.matches if one.load == load]
    return _fitting(lambda room: _tier_table(matches, load, room), width)


def _fitting(draw: Callable[[int], Table], width: int) -> Table:
    """With as many characters of names as fit."""
    console = Console(width=10_000)
    for room in range(ROOM, SHORTEST - 1, -1):
        drawn = draw(room)
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


def _tier_table(matches: Sequence[Match], load: float | None, room: int) -> Table:
    """A row for each policy and tier, and below it the errors of the predictions."""
    drawn = table("tier", *TIER_COLUMNS.values(), title=f"Tiers {at(load)}")
    for match in matches:
        for tier in match.tiers:
            own = {cell.statistic: cell for cell in match.tier_cells if cell.tier == tier}
            cells = [own.get(statistic) for statistic in TIER_COLUMNS]
            name = ", ".join(shortened([match.policy, tier], room))
            drawn.add_row(Text(name, style="bold"), *(measured(c) if c else "" for c in cells))
            drawn.add_row(
                Text(f"  {ROWS[0]}"), *(replay_error(match, c) if c else "" for c in cells)
            )
            drawn.add_row(
                Text(f"  {ROWS[1]}"),
                *(a_priori_error(c) if c else "" for c in cells),
                end_section=tier == match.tiers[-1] and match is not matches[-1],
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
    nothing = cell.error is not None and abs(cell.error) < SHOWN_LEAST
    if cell.is_inside or nothing:
        return Text(signed(cell.error))
    return Text(f"! {signed(cell.error)}", style="yellow")


def signed(error: float | None) -> str:
    """``+4.1 %``, or a dash."""
    return "-" if error is None else f"{round(100 * error, 1) + 0.0:+.1f} %"


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


def crew(found: Validation) -> Iterator[str]:
    """What has to be known of several servers: whether they are alike, and share cores."""
    factors = found.calibration.get("server_factors") or ()
    if len(factors) > 1:
        ends = " to ".join(dict.fromkeys(f"{end:.2f}" for end in (min(factors), max(factors))))
        yield f"{len(factors)} servers, each at {ends} of the mean of their calibrating calls."
    servers, cores = (found.device.get(key) or 0 for key in ("servers", "server_cores"))
    if cores and servers > cores:
        one = "1 core" if cores == 1 else f"{cores} cores"
        yield (
            f"Caveat: the processes of {servers} servers take turns on {one}; a server that "
            "computes waits for another there, which one that sleeps (emulated) or has a GPU "
            "hardly does."
        )


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
