"""A server over HTTP against the simulator: figures, who was refused, distributions, windows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from experiments.loading.outcome import ALL, Cell, Fate, Loaded, Shape
from experiments.loading.seen import FIGURES, PARTS
from experiments.loading.shown import NAMES, floor_line, headline, measured_text, number

from .charts import Axis, Chart, Mark, Series, drawn
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .of_validation import PLACES, POINTS, load_words, signed
from .scales import thinned
from .tables import Row, Table, written


def loaded(run: Run) -> Iterator[Markup | None]:
    """What was sent where, every figure, refusals, distributions, and the windows."""
    found = Loaded.of(run.result)
    yield element("h3", f"{found.target['url']} against the simulator")
    yield paragraph(f"{headline(found)}.".replace("\n", "; "))
    yield written(figures_table(found))
    yield written(fates_table(found))
    yield gallery(*(latency_chart(each) for each in found.shapes))
    yield folded("Every window", written(windows_table(found)), open_=False)
    if found.rule is not None:
        yield paragraph(f"{floor_line(found)}.")


def figures_table(found: Loaded) -> Table:
    """One row a load, tier and figure."""
    rows = []
    for load in found.loads:
        for tier in found.tiers:
            for figure in (*FIGURES, *PARTS):
                cell = found.cell(load, tier, figure)
                if not math.isnan(cell.measured_mean):
                    rows.append(Row(_cells(cell), "bad" if cell.near is False else None))
    heads = ["load", "tier", "figure", "measured", "predicted", "90 % of draws", "error", "near"]
    note = (
        "Measured: mean of the windows, ± half of their range. Near: mean, p50 and mean batch "
        "within 5 %, p90 and p99 within 10 %."
    )
    return Table("Figures over HTTP", heads, rows, left=3, note=note, words=("near",))


def _cells(cell: Cell) -> list[str]:
    shown = [load_words(cell.load), cell.tier, NAMES[cell.figure], measured_text(cell)]
    if cell.predicted_mean is None or cell.low is None or cell.high is None:
        return [*shown, "-", "-", "-", "-"]
    error = "-" if cell.error is None else signed(cell.error)
    near = "-" if cell.near is None else "yes" if cell.near else "no"
    return [
        *shown, number(cell.predicted_mean), f"{number(cell.low)} to {number(cell.high)}", error,
        near,
    ]  # fmt: skip


def fates_table(found: Loaded) -> Table:
    """Who was served, by load and tier."""
    heads = [
        "load", "tier", "offered, per s", "served, per s", "429, %", "504, %", "503, %",
        "failed, %", "within the SLO, %", "of the served, %", "told so within, ms",
    ]  # fmt: skip
    rows = [
        Row(_fate(found.fate(load, tier)), "bad" if found.fate(load, tier).kept is False else None)
        for load in found.loads
        for tier in found.tiers
    ]
    note = "Told so within: until half of the refused knew it."
    return Table("Who was served", heads, rows, left=2, note=note)


def _fate(fate: Fate) -> list[str]:
    shares = [
        _percent(fate.share(name)) for name in ("rejected", "expired", "unavailable", "failed")
    ]
    told = fate.told_ms["p50"]
    return [
        load_words(fate.load), fate.tier, f"{fate.offered_per_s:.4g}", f"{fate.served_per_s:.4g}",
        *shares, _percent(fate.within.get("value")), _percent(fate.within_accepted),
        "-" if told is None else f"{told:.3g}",
    ]  # fmt: skip


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def latency_chart(shape: Shape) -> Markup | None:
    """Latency by the share of the requests that is not slower."""
    if not shape.measured_ms:
        return None
    look = looks_of([ALL])[ALL]
    series = [
        Series("measured", _curve(shape, shape.measured_ms, "measured"),
               look._replace(dashes="1.5 3"), dots=False)
    ]  # fmt: skip
    if shape.predicted_ms:
        predicted = _curve(shape, shape.predicted_ms, "predicted")
        series.insert(0, Series("predicted", predicted, look, dots=False))
    where = "" if shape.load is None else f" at load {shape.load:g}"
    return drawn(Chart(
        f"Latency over HTTP{where}", series,
        Axis("requests that are not slower", log=False, places=PLACES), Axis("latency, ms"),
    ))  # fmt: skip


def _curve(shape: Shape, latency_ms: tuple[float, ...], name: str) -> list[Mark]:
    """Some of the shares that a result keeps."""
    marks = []
    for place in thinned(len(latency_ms), POINTS):
        slower = 1.0 - shape.shares[place]
        tip = f"{name}: {100 * (1 - slower):.4g} % within {latency_ms[place]:.4g} ms"
        marks.append(Mark(-math.log10(slower), latency_ms[place], tip))
    return marks


def windows_table(found: Loaded) -> Table:
    """Every window, and how late the generator was in it."""
    rows = [
        Row([
            load_words(each.load), str(each.repeat + 1), str(each.attempt + 1),
            f"{each.requests:,}", f"{each.late_ms_p99:.3g}", f"{each.late_ms_max:.3g}",
            each.rejected or "-",
        ], "bad" if each.rejected else None)
        for each in found.readings
    ]  # fmt: skip
    heads = ["load", "window", "try", "requests", "late p99, ms", "latest, ms", "does not count"]
    return Table("Windows", heads, rows, left=1, words=("does not count",))


__all__ = ["loaded"]
