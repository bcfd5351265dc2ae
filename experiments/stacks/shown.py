"""A trial on the terminal, at most 100 columns: figures by load, batch sizes, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from experiments.terminal import table
from experiments.wording import decimals, shown_half

from .outcome import DEFAULT, TOLERANCE, TUNED, relative
from .words import NAMES, at

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from .outcome import Cell, Shapes, Trial

RARE = 0.0005
SIZES_MOST = 12
"""Columns of batch sizes; more are brought together."""
LEGEND = (
    "± half the range of the windows   interval: 90 % of the draws   error: predicted over measured"
)


def trial_tables(found: Trial) -> Iterator[RenderableType]:
    """Everything to print, in order."""
    yield Text(headline(found))
    for variant in found.variants:
        yield Text(f"\n{variant}: {found.variants[variant]['words']}", style="bold")
        yield Text(policy_line(found, variant))
        yield figures_table(found, variant)
        yield sizes_table([each for each in found.shapes if each.variant == variant])
        yield Text(overheads_line(found, variant), style="dim")
    yield Text(LEGEND, style="dim")
    if {TUNED, DEFAULT} <= found.variants.keys():
        yield won_table(found)
    yield Text(floor_line(found), style="dim")
    yield Text(found.verdict)


def headline(found: Trial) -> str:
    """What was run, where the setting is from."""
    stack, scenario = found.stack, found.scenario
    how = ", before all other processes" if stack["before_other_processes"] else ""
    servers = "1 server" if scenario["servers"] == 1 else f"{scenario['servers']} servers"
    windows = f"{scenario['repeats']} windows of {scenario['window_s']:g} s at each load"
    model = f"\nmodel: {scenario['model']}" if scenario.get("model") else ""
    return (
        f"{stack['title']} ({stack['needs'][0]}) on the loopback{how}\n"
        f"{scenario['source']}\n{servers}, {windows}{model}"
    )


def policy_line(found: Trial, variant: str) -> str:
    """The policy that the stack is, and what that leaves out."""
    about = found.variants[variant]
    table_ = about["policy"]
    numbers = ", ".join(f"{key} = {value}" for key, value in table_.items())
    notes = "".join(f"\nnot simulated: {note}" for note in about["notes"])
    return f"simulated as {numbers}{notes}"


def figures_table(found: Trial, variant: str) -> Table:
    """One row a figure and load."""
    drawn = table("load", "figure", "measured", "predicted", "interval", "error",
                  "error on\nsent", "", left=2)  # fmt: skip
    for load in found.loads_of(variant):
        for place, figure in enumerate(TOLERANCE):
            cell = found.cell(variant, load, figure)
            first = ("" if load is None else f"{load:g}") if place == 0 else ""
            name = NAMES[figure]
            drawn.add_row(
                first, name if ":" in name or not figure.endswith("_ms") else f"  {name}",
                measured_text(cell), number(cell.predicted_mean),
                f"{number(cell.low)} to {number(cell.high)}",
                f"{100 * cell.error:+.1f} %", f"{100 * cell.error_on_sent:+.1f} %",
                Text("inside", style="green") if cell.inside else Text("OUTSIDE", style="red"),
            )  # fmt: skip
        drawn.add_section()
    return drawn


def number(value: float) -> str:
    """Four digits, and no exponent above them."""
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:,.0f}"


def measured_text(cell: Cell) -> str:
    """The mean of the windows with half of their range."""
    if not cell.spread:
        return number(cell.measured_mean)
    digits = decimals(cell.measured_mean, cell.spread)
    return f"{cell.measured_mean:.{digits}f} ± {shown_half(cell.spread, digits):.{digits}f}"


def sizes_table(shapes: list[Shapes]) -> Table:
    """Share of the batches by size, measured above predicted."""
    most = max(_largest(each) for each in shapes)
    groups = grouped(most)
    heads = [f"{low}" if low == high else f"{low}-{high}" for low, high in groups]
    drawn = table("load", "batches of, %", *heads, left=2)
    for each in shapes:
        first = "" if each.load is None else f"{each.load:g}"
        for name, shares in (
            ("measured", each.measured_sizes),
            ("predicted", each.predicted_sizes),
        ):
            cells = [f"{100 * sum(shares[low - 1 : high]):.1f}" for low, high in groups]
            drawn.add_row(first if name == "measured" else "", name, *cells)
    return drawn


def _largest(shapes: Shapes) -> int:
    """The largest size that is not rare."""
    both = (shapes.measured_sizes, shapes.predicted_sizes)
    return max(place for one in both for place, share in enumerate(one, 1) if share > RARE)


def grouped(most: int) -> list[tuple[int, int]]:
    """Sizes 1 to ``most`` in at most :data:`SIZES_MOST` groups, equally wide."""
    wide = -(-most // SIZES_MOST)
    return [(low, min(most, low + wide - 1)) for low in range(1, most + 1, wide)]


def overheads_line(found: Trial, variant: str) -> str:
    """What the calibration found."""
    known = found.variants[variant]["overheads"]
    real = model_text(found.variants[variant])
    over = "rest of the model" if real else "overshoot of sleeps"
    thin = " (FEW SAMPLES: give --calibrate more time)" if known["thin"] else ""
    return (
        f"calibrated, medians in ms: way in {known['enter_ms']:.2f}, between batches "
        f"{known['turnaround_ms']:.2f} and {known['per_request_ms']:.3f} a request, {over} "
        f"{known['overshoot_ms']:.2f}, way out {known['leave_ms']:.2f}{thin}{real}"
    )


def model_text(about: Mapping[str, Any]) -> str:
    """What a real model takes here by what its profile says; nothing of one that sleeps."""
    against = about.get("against_profile")
    if against is None:
        return ""
    share, fixed = against["share"], against["fixed_ms"]
    return (
        f"\nthe model takes {share:.3f} of what its profile says, and {fixed:+.2f} ms a batch; in "
        f"the windows it took {about['windows_took']:.3f} of that"
    )


def won_table(found: Trial) -> Table:
    """What the setting changes of the default, measured and predicted."""
    drawn = table("load", "client, ms", "default", "tuned", "change", "predicted\ndefault",
                  "predicted\ntuned", "predicted\nchange", left=2)  # fmt: skip
    for load in found.loads_of(TUNED):
        if load not in found.loads_of(DEFAULT):
            continue
        for place, figure in enumerate(("client_mean_ms", "client_p50_ms", "client_p99_ms")):
            default, tuned = (found.cell(each, load, figure) for each in (DEFAULT, TUNED))
            drawn.add_row(
                ("" if load is None else f"{load:g}") if place == 0 else "",
                figure.split("_")[1],
                number(default.measured_mean), number(tuned.measured_mean),
                f"{100 * relative(tuned.measured_mean, default.measured_mean):+.0f} %",
                number(default.predicted_mean), number(tuned.predicted_mean),
                f"{100 * relative(tuned.predicted_mean, default.predicted_mean):+.0f} %",
            )  # fmt: skip
    return drawn


def floor_line(found: Trial) -> str:
    """What the client alone costs."""
    parts = [
        f"{each['p50_ms']:.2f} and {each['p99_ms']:.2f} ms{at(each['load'])}"
        for each in found.floor
    ]
    return f"client alone, against a bare server, p50 and p99: {', '.join(parts)}"
