"""How a sweep over a scenario with an ``[engine]`` is shown: tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text

from experiments.figures import owner, save
from experiments.plots import legend_right
from experiments.plots_sweep import axis_name
from experiments.style import figure, looks, plain_ticks, styled
from experiments.terminal import table
from experiments.wording import percent, shown, with_interval

from .outcome import TokenOutcome, ties
from .sweep import STATISTICS, TokenSweep, rules_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Console
    from rich.table import Table

FAR = 5.0
"""Times that differ by more than that are drawn on a log axis."""


def shown_statistics(found: TokenSweep) -> list[str]:
    """What the panels of a figure show."""
    first = "slo_attainment" if found.promised else "latency_ms.mean"
    return [first, "ttft_ms.mean", "tpot_ms.mean"]


def against(found: TokenSweep, key: str) -> list[Axes]:
    """Three panels against a swept key, one line a rule; the other keys stand at their first."""
    with styled():
        panels = list(figure(12.8, 4.0).subplots(1, 3, sharex=True))
        for axes, statistic in zip(panels, shown_statistics(found), strict=True):
            _panel(axes, found, key, statistic)
        fixed = {k: found.steps[0].settings[k] for k in found.keys if k != key}
        at = ", ".join(f"{k.rpartition('.')[2]} {shown(v)}" for k, v in fixed.items())
        panels[0].set_title(f"{found.scenario['name']}{f' at {at}' if at else ''}", loc="left")
        legend_right(panels[-1], "policy")
        return panels


def _panel(axes: Axes, found: TokenSweep, key: str, statistic: str) -> None:
    """One statistic; times are missing where a rule is unstable."""
    share = statistic == "slo_attainment"
    scale = 100.0 if share else 1.0
    values: list[float] = []
    for name, look in looks(found.policies).items():
        points = [p for p in found.line(key, name, statistic) if p.value is not None]
        x = [p.x for p in points]
        y = scale * np.array([p.value for p in points], dtype=float)
        values += y.tolist()
        half = scale * np.array([p.half_width or 0.0 for p in points], dtype=float)
        axes.plot(x, y, marker="o", markersize=3.2, label=name, **look)
        low = y - half if share else np.maximum(y - half, 0.02 * y)
        axes.fill_between(x, low, y + half, color=look["color"], alpha=0.16, linewidth=0)
    axes.set_xlabel(axis_name(key).rpartition(".")[2] or key)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylabel(STATISTICS[statistic])
    if share:
        axes.set_ylim(-2, 102)
    elif values and max(values) > FAR * min(values):
        axes.set_yscale("log")
        plain_ticks(axes, "y")


def write_figures(found: TokenSweep, folder: Path) -> list[str]:
    """A figure for each key whose values are numbers; returns the names of the files."""
    written: list[str] = []
    for key in found.keys:
        if len({step.settings[key] for step in found.steps}) > 1 and found.is_numeric(key):
            drawn = owner(against(found, key)[0])
            written += save(drawn, folder / f"against-{key.rpartition('.')[2]}")
    return written


def step_table(found: TokenSweep, statistic: str) -> Table:
    """One row a step, one column a rule; the best and its ties are bold."""
    heads = [broken(key.rpartition(".")[2]) for key in found.keys]
    names = found.policies
    drawn = table(*heads, *(broken(name) for name in names), left=len(heads))
    for step in found.steps:
        first = ties(rules_of(step)) if len(step.outcomes) > 1 else ()
        by_name = {o.policy: o for o in rules_of(step)}
        cells = [_cell(by_name.get(name), statistic, first) for name in names]
        drawn.add_row(*(shown(step.settings[key]) for key in found.keys), *cells)
    return drawn


def _cell(outcome: TokenOutcome | None, statistic: str, first: tuple[str, ...]) -> Text:
    if outcome is None:
        return Text("")
    if not outcome.stable:
        return Text("unstable", style="red")
    value = outcome.value(statistic)
    if value is None:
        return Text("too few", style="dim")
    said = f"{100 * value:.1f}" if statistic == "slo_attainment" else f"{value:.4g}"
    return Text(said, style="bold green" if outcome.policy in first else "")


def broken(name: str) -> str:
    """A long name over several lines, broken behind its underscores."""
    lines = [""]
    for part in name.split("_"):
        if lines[-1] and len(lines[-1]) + len(part) > 10:
            lines.append("")
        lines[-1] += f"{part}_"
    return "\n".join(lines)[:-1]


def print_sweep(screen: Console, found: TokenSweep) -> None:
    """The tables and the verdict."""
    facts = found.scenario
    screen.print(
        f"[bold]{facts['name']}[/bold]   {facts['service']}, {facts['requests']:,} requests"
    )
    for statistic in shown_statistics(found):
        screen.print(Text(f"\n{STATISTICS[statistic]}", style="italic"))
        screen.print(step_table(found, statistic))
    if any(len(step.outcomes) > 1 for step in found.steps):
        screen.print(Text("bold: the best, and those that cannot be told from it", style="dim"))
    if found.verdict:
        screen.print(f"\n{found.verdict}")


def html_of(found: TokenSweep) -> str:
    """A table and the verdict."""
    from experiments.views import table as html_table

    head = (*found.keys, "policy", "within targets", "TTFT, ms", "TPOT, ms", "latency, ms")
    rows = []
    for step in found.steps:
        for o in rules_of(step):
            times = ("ttft_ms.mean", "tpot_ms.mean", "latency_ms.mean")
            cells = [with_interval(o.estimate(name)) if o.stable else "unstable" for name in times]
            at = [shown(step.settings[key]) for key in found.keys]
            rows.append([*at, o.policy, percent(o.value("slo_attainment")), *cells])
    return html_table(head, rows, found.verdict)
