"""A stack's real server against the simulator: figures, distributions, and what tuning won."""

from __future__ import annotations

import math
from collections.abc import Iterator

from experiments.stacks.outcome import DEFAULT, TUNED, Cell, Shapes, Trial, relative
from experiments.stacks.shown import measured_text, overheads_line, policy_line
from experiments.stacks.words import NAMES

from .charts import Axis, Chart, Mark, Series, drawn
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .of_validation import PLACES, POINTS, load_words, signed
from .scales import thinned
from .tables import Row, Table, written

SIDES = {"server": "in the server", "client": "at the client"}


def tried(run: Run) -> Iterator[Markup | None]:
    """What was run, every figure, the distributions, and how it was calibrated."""
    found = Trial.of(run.result)
    yield element("h3", f"{found.stack['title']} against the simulator")
    for variant, about in found.variants.items():
        yield paragraph(f"{variant}: {about['words']}; {policy_line(found, variant)}.")
        yield written(figures_table(found, variant))
    if {TUNED, DEFAULT} <= found.variants.keys():
        yield written(won_table(found))
    charts = [chart for each in found.shapes for chart in (latency_chart(each), sizes_chart(each))]
    yield gallery(*charts)
    yield folded("Every window", written(windows_table(found)), open_=False)
    for variant in found.variants:
        yield paragraph(f"{variant}: {overheads_line(found, variant)}.")


def figures_table(found: Trial, variant: str) -> Table:
    """One row a load and figure."""
    rows = [
        Row([
            load_words(cell.load), figure_words(cell), measured_text(cell),
            f"{cell.predicted_mean:.4g}", f"{cell.low:.4g} to {cell.high:.4g}",
            signed(cell.error), signed(cell.error_on_sent), "yes" if cell.inside else "no",
        ], None if cell.inside else "bad")
        for cell in found.cells
        if cell.variant == variant
    ]  # fmt: skip
    heads = ["load", "figure", "measured", "predicted", "interval of 90 %", "error",
             "error on the sent arrivals", "inside"]  # fmt: skip
    note = "Measured: mean of the windows, ± half of their range. Errors: predicted over measured."
    return Table(f"Figures of {variant}", heads, rows, left=2, note=note, words=("inside",))


def figure_words(cell: Cell) -> str:
    """``p99 at the client, ms``."""
    side, _, rest = cell.figure.partition("_")
    if side not in SIDES:
        return NAMES[cell.figure]
    return f"{rest.removesuffix('_ms')} {SIDES[side]}, ms"


def won_table(found: Trial) -> Table:
    """What the setting changes of the default, measured and predicted."""
    rows = []
    for load in found.loads_of(TUNED):
        if load not in found.loads_of(DEFAULT):
            continue
        for figure in ("client_mean_ms", "client_p50_ms", "client_p99_ms"):
            default, tuned = (found.cell(each, load, figure) for each in (DEFAULT, TUNED))
            rows.append(Row([
                load_words(load), figure_words(tuned),
                measured_text(default), measured_text(tuned),
                signed(relative(tuned.measured_mean, default.measured_mean)),
                signed(relative(tuned.predicted_mean, default.predicted_mean)),
            ]))  # fmt: skip
    heads = ["load", "figure", "default", "tuned", "change", "predicted change"]
    return Table("The setting against the default", heads, rows, left=2)


def latency_chart(shapes: Shapes) -> Markup | None:
    """Latency at the client by the share of the requests that is not slower."""
    look = looks_of([shapes.variant])[shapes.variant]
    series = [
        Series("predicted", _curve(shapes, shapes.predicted_ms, "predicted"), look, dots=False),
        Series("measured", _curve(shapes, shapes.measured_ms, "measured"),
               look._replace(dashes="1.5 3"), dots=False),
    ]  # fmt: skip
    return drawn(Chart(
        f"Latency at the client, {_where(shapes)}", series,
        Axis("requests that are not slower", log=False, places=PLACES), Axis("latency, ms"),
    ))  # fmt: skip


def sizes_chart(shapes: Shapes) -> Markup | None:
    """Share of the batches by size."""
    look = looks_of([shapes.variant])[shapes.variant]
    series = []
    for name, shares in (
        ("predicted", shapes.predicted_sizes),
        ("measured", shapes.measured_sizes),
    ):
        marks = [
            Mark(size, 100 * share, f"{name}: {100 * share:.3g} % of the batches have {size}",
                 hollow=name == "measured")
            for size, share in enumerate(shares, 1)
        ]  # fmt: skip
        dashes = "1.5 3" if name == "measured" else look.dashes
        series.append(Series(name, marks, look._replace(dashes=dashes)))
    return drawn(Chart(
        f"Batch sizes, {_where(shapes)}", series,
        Axis("requests in a batch", log=False), Axis("share of the batches, %", zero=True),
    ))  # fmt: skip


def _where(shapes: Shapes) -> str:
    return shapes.variant + ("" if shapes.load is None else f" at load {shapes.load:g}")


def _curve(shapes: Shapes, latency_ms: tuple[float, ...], name: str) -> list[Mark]:
    """Some of the shares that a result keeps."""
    marks = []
    for place in thinned(len(latency_ms), POINTS):
        slower = 1.0 - shapes.shares[place]
        tip = f"{name}: {100 * (1 - slower):.4g} % within {latency_ms[place]:.4g} ms"
        marks.append(Mark(-math.log10(slower), latency_ms[place], tip))
    return marks


def windows_table(found: Trial) -> Table:
    """Every window, and how late sleepers woke up in it."""
    rows = []
    for each in found.readings:
        late = each.condition
        rows.append(Row([
            load_words(each.load), each.variant, str(each.repeat + 1), str(each.attempt + 1),
            *(f"{each.figures[figure]:.4g}" for figure in NAMES),
            f"{late.sent_late_ms:.3g}", f"{late.model_late_ms:.3g}",
        ], "bad" if late.stalled else None))  # fmt: skip
    figures = [figure.removesuffix("_ms").replace("_", " ") for figure in NAMES]
    heads = ["load", "setting", "window", "try", *figures, "sent late, ms", "model late, ms"]
    return Table("Windows", heads, rows, left=2)
