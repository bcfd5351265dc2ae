"""A load test on the terminal, at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from experiments.terminal import table
from experiments.wording import decimals, hundred, settings_text, shown_half

from .outcome import ALL
from .seen import FIGURES, PARTS
from .words import at, verdict_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from .outcome import Cell, Loaded

NAMES = {
    "mean_ms": "mean, ms",
    "p50_ms": "p50, ms",
    "p90_ms": "p90, ms",
    "p99_ms": "p99, ms",
    "mean_batch": "mean batch",
    "wait_mean_ms": "wait: mean, ms",
    "wait_p99_ms": "wait: p99, ms",
    "service_mean_ms": "batch: mean, ms",
    "rest_p50_ms": "rest: p50, ms",
    "rest_p99_ms": "rest: p99, ms",
}
"""Heads of rows."""
REFUSED = {
    "rejected": "429\n%", "expired": "504\n%", "unavailable": "503\n%", "failed": "failed\n%",
}  # fmt: skip


def loaded_tables(found: Loaded) -> Iterator[RenderableType]:
    """Everything to print, in order."""
    yield Text(headline(found))
    yield figures_table(found)
    yield Text(legend(found), style="dim")
    yield fates_table(found)
    if found.rule is not None:
        yield Text(floor_line(found), style="dim")
    yield Text(verdict_of(found))


def headline(found: Loaded) -> str:
    """What was sent where, and what is predicted."""
    scenario, target = found.scenario, found.target
    kind = "binary" if target["binary"] else "JSON"
    windows = "1 window" if scenario["repeats"] == 1 else f"{scenario['repeats']} windows"
    first = (
        f"{scenario['name']} to {target['url']}, model {target['model']}, {kind}, {windows} of "
        f"{scenario['window_s']:.3g} s at each load"
    )
    lines = [first]
    if found.rule is not None:
        table_ = {key: value for key, value in found.rule["policy"].items() if key != "kind"}
        numbers = f": {settings_text(table_)}" if table_ else ""
        kept = found.rule["capacity"]
        waits = "" if kept is None else f"; at most {kept:,} requests wait"
        whose = ", as the server says" if found.rule["told_by_server"] else ""
        lines.append(f"simulated with policy {found.rule['name']}{numbers}{waits}{whose}")
    return "\n".join(lines)


def figures_table(found: Loaded) -> Table:
    """One row a figure, tier and load."""
    several = len(found.tiers) > 1
    heads = ("load", *(("tier",) if several else ()), "figure", "measured")
    more = ("predicted", "90 % of draws", "error", "") if found.rule is not None else ()
    drawn = table(*heads, *more, left=3 if several else 2)
    for load in found.loads:
        for tier in found.tiers:
            first = True
            for figure in (*FIGURES, *PARTS):
                cell = found.cell(load, tier, figure)
                if cell.measured_mean != cell.measured_mean:
                    continue
                lead = [_load(load) if first and tier == ALL else ""]
                lead += [tier if first else ""] if several else []
                drawn.add_row(*lead, NAMES[figure], measured_text(cell), *_predicted(cell))
                first = False
        drawn.add_section()
    return drawn


def _load(load: float | None) -> str:
    return "own" if load is None else f"{load:g}"


def _predicted(cell: Cell) -> list[Text | str]:
    """What stands beside a measured figure."""
    if cell.predicted_mean is None or cell.low is None or cell.high is None:
        return []
    error = "" if cell.error is None else f"{100 * cell.error:+.1f} %"
    mark: Text | str = ""
    if cell.near is not None:
        mark = Text("near", style="green") if cell.near else Text("OFF", style="red")
    return [
        number(cell.predicted_mean), f"{number(cell.low)} to {number(cell.high)}", error, mark
    ]  # fmt: skip


def number(value: float) -> str:
    """Four digits, and no exponent above them."""
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:,.0f}"


def measured_text(cell: Cell) -> str:
    """The mean of the windows with half of their range."""
    if not cell.spread:
        return number(cell.measured_mean)
    digits = decimals(cell.measured_mean, cell.spread)
    return f"{cell.measured_mean:.{digits}f} ± {shown_half(cell.spread, digits):.{digits}f}"


def legend(found: Loaded) -> str:
    """What the columns mean."""
    lines = ["± half the range of the windows; latency from the planned instant to the answer"]
    if found.rule is not None:
        lines.append("near: mean, p50 and mean batch within 5 %, p90 and p99 within 10 %")
    if any(each.figure == PARTS[0] and each.measured_mean == each.measured_mean
           for each in found.cells):  # fmt: skip
        lines.append("rest: latency less wait and batch, which the answers tell: HTTP, and between")
    return "\n".join(lines)


def fates_table(found: Loaded) -> Table:
    """Who was served, by load and tier; refusals of a kind that there was none of are left out."""
    several, predicted = len(found.tiers) > 1, found.rule is not None
    kinds = {
        name: words
        for name, words in REFUSED.items()
        if name == "rejected" or any(each.counts[name] for each in found.fates)
    }
    heads = ["load", *(["tier"] if several else []), "offered\nper s", "served\nper s",
             *kinds.values(), "within\nSLO, %", "of the\nserved"]  # fmt: skip
    drawn = table(*heads, *(["predicted\n429, %", "predicted\nwithin, %"] if predicted else []),
                  left=2 if several else 1)  # fmt: skip
    for load in found.loads:
        for tier in found.tiers:
            fate = found.fate(load, tier)
            lead = [_load(load) if tier == ALL else "", *([tier] if several else [])]
            shares = [hundred(fate.share(name)) for name in kinds]
            more = []
            if predicted:
                more = [hundred(fate.predicted.get("rejected")), hundred(fate.predicted_within)]
            drawn.add_row(
                *lead, f"{fate.offered_per_s:.4g}", f"{fate.served_per_s:.4g}", *shares,
                _within(fate.within), hundred(fate.within_accepted), *more,
                style="red" if fate.kept is False else "",
            )  # fmt: skip
    return drawn


def _within(ends: Mapping[str, Any]) -> str:
    """A share with half of its interval."""
    value = ends.get("value")
    if value is None:
        return "-"
    if ends.get("low") is None:
        return f"{100 * value:.2f}"
    half = 100 * (ends["high"] - ends["low"]) / 2
    return f"{100 * value:.2f} ± {half:.2f}"


def floor_line(found: Loaded) -> str:
    """What the client alone costs."""
    kinds = {
        "live": "the server's health",
        "server": "a server whose model takes exactly the profile's time",
        "address": "a server whose model takes no time",
    }
    if not found.floors or found.floors[0]["kind"] == "none":
        return "no floor is added to the predictions"
    parts = [
        f"{each['p50_ms']:.2f} and {each['p99_ms']:.2f} ms{at(each['load'])}"
        for each in found.floors
    ]
    against = kinds[found.floors[0]["kind"]]
    turns = [
        f"{each['turnaround_ms'][0]:.2f} to {each['turnaround_ms'][-1]:.2f}"
        for each in found.floors
        if any(each["turnaround_ms"])
    ]
    most = len(found.floors[0]["turnaround_ms"])
    batches = f"; batches of 1 to {most} cost {', '.join(turns)} ms beside their model"
    batches = batches if turns else ""
    return f"floor, in the predictions: {against}, p50 and p99: {', '.join(parts)}{batches}"


__all__ = ["loaded_tables"]
