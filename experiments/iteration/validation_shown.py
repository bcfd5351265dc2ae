"""A live run of iterations on the terminal, at most 100 columns: tables, conditions, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from experiments.terminal import table
from experiments.tune.shown import WIDTH, shortened
from experiments.validation.shown import signed, unclaimed
from experiments.wording import decimals, shown_half

from .validation_windows import STATISTICS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from .validation import TokenValidation
    from .validation_predict import TokenCell

COLUMNS = {
    "ttft_ms.mean": "first token\nmean, ms",
    "ttft_ms.p50": "\np50, ms",
    "ttft_ms.p99": "\np99, ms",
    "latency_ms.mean": "latency\nmean, ms",
    "latency_ms.p50": "\np50, ms",
    "output_tokens_per_s": "tokens\n/s",
}
ROOM, SHORTEST = 20, 12
"""Characters of a rule's name that are shown, as many as fit."""
LEGEND = "± half the range of the rounds   errors: predicted over measured"
MISSED = "! a promise that is missed"


def print_validation(screen: Console, found: TokenValidation) -> None:
    """Everything, in order."""
    for part in validation_tables(found, screen.width):
        screen.print(part)


def validation_tables(found: TokenValidation, width: int = WIDTH) -> list[RenderableType]:
    """Everything to print, in order."""
    shown: list[RenderableType] = [heading(found) + "\n"]
    if found.loads:
        if found.no_claim:
            shown.append(Text(unclaimed(found.no_claim), style="bold"))
        shown += [load_table(found, load, width) for load in found.loads]
        marks = "   " + MISSED if any(cell.kept is False for cell in found.cells) else ""
        shown.append(Text(LEGEND + marks, style="dim"))
    shown += [Text(line) for line in conditions(found)]
    shown.append(Text(f"\n{found.verdict}"))
    return shown


def heading(found: TokenValidation) -> str:
    """What ran on what."""
    name, device = found.scenario.get("name", "rules"), found.device
    rates = [
        f"{len(work) / (float(work.arrival_ns[-1]) / 1e9):.3g}/s (load {load:g})"
        for load, work in found.workloads.items()
    ]
    where = device.get("device_name") or device.get("model", "")
    if device.get("model") != "emulated":
        where = f"{device.get('model')} on {where}"
    return f"[bold]{name}[/bold]   {where}, {' and '.join(rates)}"


def load_table(found: TokenValidation, load: float, width: int = WIDTH) -> Table:
    """The rules at one load: measured values, and the errors of the predictions."""
    rules = [name for name in found.policies if any(
        (cell.rule, cell.load) == (name, load) for cell in found.cells)]  # fmt: skip
    return _table(found, load, rules, SHORTEST if width < WIDTH else ROOM)


def _table(found: TokenValidation, load: float, rules: Sequence[str], room: int) -> Table:
    windows = max(len(found.cell(name, load, "ttft_ms.mean").live) for name in rules)
    title = f"At load {load:g}, {windows} round{'s' * (windows != 1)}"
    drawn = table("policy", *COLUMNS.values(), title=title)
    for name, short in zip(rules, shortened(list(rules), room), strict=True):
        cells = [found.cell(name, load, statistic) for statistic in COLUMNS]
        last = name == rules[-1]
        drawn.add_row(Text(short, style="bold"), *map(measured, cells))
        drawn.add_row(Text("  a priori"), *map(a_priori, cells))
        rest = [("  with drift", [cell.corrected / cell.measured - 1.0 for cell in cells])]
        if stalled(found, name, load):
            errors = [cell.calm_error for cell in cells]
            rest.append(("  without stalls", errors))
        for place, (words, errors) in enumerate(rest):
            drawn.add_row(
                Text(words, style="dim"),
                *(Text(signed(error), style="dim") for error in errors),
                end_section=place == len(rest) - 1 and not last,
            )
    return drawn


def stalled(found: TokenValidation, rule: str, load: float) -> bool:
    """Whether any iteration of the windows stalled, or of the calibration."""
    mine = [one for one in found.counted if (one.rule, one.load) == (rule, load)]
    return found.stalls_calibrated > 0 or any(len(one.stalls(found.form)) for one in mine)


def measured(cell: TokenCell) -> str:
    """``12.34 ± 0.05``: the mean over windows and half of their range."""
    half = cell.measured * cell.spread
    if not half:
        return f"{cell.measured:.4g}"
    digits = decimals(cell.measured, half)
    return f"{cell.measured:.{digits}f} ± {shown_half(half, digits):.{digits}f}"


def a_priori(cell: TokenCell) -> Text:
    """Marked where a promise is missed; what is not promised is dim."""
    if cell.kept is False:
        return Text(f"! {signed(cell.error)}", style="yellow")
    return Text(signed(cell.error), style="" if STATISTICS[cell.statistic] is not None else "dim")


def conditions(found: TokenValidation) -> Iterator[str]:
    """How the windows were measured."""
    counted = found.counted
    parts = [f"{len(counted)} of {len(found.windows)} windows accepted"]
    if counted:
        drift = [one.drift(found.form) for one in counted]
        ends = dict.fromkeys(f"{end:.2f}" for end in (min(drift), max(drift)))
        parts += [
            f"{sum(found.replays)} of {len(found.replays)} replays exact",
            f"requests up to {max(one.lag_ms_p99 for one in counted):.2g} ms late (p99)",
            f"drift {' to '.join(ends)}",
        ]
    yield "; ".join(parts) + "."
    left_out = float(found.scenario.get("left_out", 0.0))
    if left_out:
        yield f"{left_out:.1%} of the requests are too long for the engine, and were left out."
