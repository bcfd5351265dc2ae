"""The simulator against the live device: what was measured, what was predicted, how far apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from experiments.wording import decimals, shown_half

from .amounts import Facts, count
from .charts import Axis, Chart, Guide, Mark, Series, drawn
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .scales import thinned
from .tables import Row, Table, written

STATISTICS = {
    "mean": "mean, ms", "p50": "p50, ms", "p90": "p90, ms", "p95": "p95, ms", "p99": "p99, ms",
    "mean_batch": "mean batch", "busy": "busy, %", "throughput_per_s": "served, /s",
    "lost": "not served",
}  # fmt: skip

LATENCIES = ("mean", "p50", "p99")
"""Statistics of the first table."""

NEAR = 0.1
"""Half of the band along the line where predicted is measured."""

ERRORS = (
    "Measured: mean over the windows, ± half of their range. Errors: predicted over measured. The "
    "replay is fed the service times that were measured; the prediction knows the calibration."
)

PLACES = ((0.0, "0"), (math.log10(2), "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"))
"""Ticks of a distribution, in decades of the requests that are slower."""

POINTS = 44
"""Of one distribution: out of the 131 shares that a result keeps."""


def validated(run: Run) -> Iterator[Markup | None]:
    """Tables and charts of every load; then how it was measured."""
    found = run.result
    yield element("h3", "Simulated against live")
    if found["no_claim"]:
        yield paragraph(found["no_claim"], "warning")
    device = found["device"]
    known = [str(device[key]) for key in ("device_name", "model") if device.get(key)]
    yield paragraph(f"Measured on {'; model '.join(known)}.")
    cells = [cell for cell in found["cells"] if cell["measured"] is not None]
    yield written(latency_table(cells))
    yield written(against_table(cells))
    own = [c for m in found["matches"] for c in m.get("tier_cells") or ()
           if c["measured"] is not None]  # fmt: skip
    yield written(against_table(own, "Each tier, measured and predicted"))
    yield gallery(
        predicted_chart(found), *(distribution_chart(found, load) for load in loads(found))
    )
    yield written(rankings_table(found))
    yield folded("Every window", written(windows_table(found)), open_=False)
    yield calibration(found)


def loads(found: Facts) -> list[float | None]:
    """Loads with accepted windows."""
    return list(dict.fromkeys(match["load"] for match in found["matches"]))


def latency_table(cells: Sequence[Facts]) -> Table:
    """One row a load and policy: what was measured, what was predicted, and the error."""
    known = {(cell["load"], cell["policy"], cell["statistic"]): cell for cell in cells}
    rows = []
    for load, policy in dict.fromkeys((cell["load"], cell["policy"]) for cell in cells):
        parts: list[str] = []
        for name in LATENCIES:
            cell = known.get((load, policy, name))
            parts += ["-"] * 3 if cell is None else [
                measured(cell, 1.0), number(cell["a_priori"]["value"], 1.0),
                signed(cell["a_priori_error"]) + ("" if cell["is_inside"] else " !"),
            ]  # fmt: skip
        rows.append(Row([load_words(load), policy, *parts]))
    heads = [f"{name}, {what}" for name in LATENCIES for what in ("ms", "predicted", "error")]
    return Table("Latency, measured and predicted", ["load", "policy", *heads], rows, left=2,
                 note="! the measured mean is outside of the interval of 90 %.")  # fmt: skip


def against_table(
    cells: Sequence[Facts], title: str = "Every statistic, measured and predicted"
) -> Table:
    """One row a load, policy and statistic."""
    tiers = any(cell.get("tier") for cell in cells)
    rows = []
    for cell in cells:
        name = str(cell["statistic"])
        times = 100.0 if name == "busy" else 1.0
        known = cell["a_priori"]
        rows.append(Row([
            load_words(cell["load"]), cell["policy"], *tier_cell(cell, tiers=tiers),
            STATISTICS.get(name, name),
            measured(cell, times), number(known["value"], times),
            f"{number(known['low'], times)} to {number(known['high'], times)}",
            signed(cell["a_priori_error"]), signed(cell["replay_error"]),
            signed(cell["drift_corrected_error"]), "yes" if cell["is_inside"] else "no",
        ], None if cell["is_inside"] else "bad"))  # fmt: skip
    heads = ["load", "policy", *(["tier"] if tiers else []), "statistic", "measured", "predicted",
             "interval of 90 %", "error", "error of the replay", "error with drift",
             "inside"]  # fmt: skip
    return Table(title, heads, rows, left=4 if tiers else 3, note=ERRORS, words=("inside",),
                 fold=True)  # fmt: skip


def tier_cell(cell: Facts, *, tiers: bool) -> list[str]:
    """Whose a cell is, where there are tiers."""
    return [str(cell.get("tier") or "all")] if tiers else []


def load_words(load: float | None) -> str:
    """A load, or a dash."""
    return "-" if load is None else f"{load:g}"


def measured(cell: Facts, times: float) -> str:
    """``12.34 ± 0.05``."""
    value, spread = times * cell["measured"], cell["spread"]
    half = 0.0 if spread is None else abs(value) * spread
    if not half:
        return f"{value:.4g}"
    digits = decimals(value, half)
    return f"{value:.{digits}f} ± {shown_half(half, digits):.{digits}f}"


def number(value: float | None, times: float) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{times * value:.4g}"


def signed(error: float | None) -> str:
    """``+4.1 %``, or a dash."""
    return "-" if error is None else f"{round(100 * error, 1) + 0.0:+.1f} %"


def predicted_chart(found: Facts) -> Markup | None:
    """Predicted against measured p50 (rings) and p99 (dots), every load and policy."""
    cells = [c for c in found["cells"] if c["statistic"] in {"p50", "p99"}
             and c["measured"] is not None and c["a_priori"]["value"] is not None]  # fmt: skip
    names = list(dict.fromkeys(cell["policy"] for cell in cells))
    look = looks_of(names)
    series = [
        Series(name, [pair(c) for c in cells if c["policy"] == name], look[name], line=False,
               band=False)
        for name in names
    ]  # fmt: skip
    values = [mark.x for one in series for mark in one.marks]
    line = (min(values, default=1.0) / 2, max(values, default=1.0) * 2)
    guides = [
        Guide(tuple((x, times * x) for x in spread(*line)), words)
        for times, words in ((1.0, ""), (1 - NEAR, ""), (1 + NEAR, ""))
    ]
    return drawn(Chart(
        "Predicted against measured latency", series,
        Axis("measured, ms", log=True), Axis("predicted, ms", log=True),
        guides, note="Rings: p50, dots: p99. Bars: intervals of 90 %. Lines: equal, and 10 % off.",
    ))  # fmt: skip


def spread(low: float, high: float, count: int = 300) -> list[float]:
    """Values of equal ratios, so that a line stays one on any axis."""
    return [low * (high / low) ** (k / (count - 1)) for k in range(count)]


def pair(cell: Facts) -> Mark:
    """One statistic of one policy at one load."""
    known = cell["a_priori"]
    where = f"{cell['policy']}, {cell['statistic']}, load {load_words(cell['load'])}"
    tip = f"{where}: measured {measured(cell, 1.0)} ms, predicted {number(known['value'], 1.0)} ms"
    return Mark(cell["measured"], known["value"], f"{tip} ({signed(cell['a_priori_error'])})",
                known["low"], known["high"], hollow=cell["statistic"] == "p50")  # fmt: skip


def distribution_chart(found: Facts, load: float | None) -> Markup | None:
    """Latency by the share that is slower: windows as thin marks, the prediction as a shade."""
    matches = [m for m in found["matches"] if m["load"] == load and len(m["curves"]["predicted"])]
    look = looks_of(dict.fromkeys(m["policy"] for m in found["matches"]))
    series = []
    for match in matches:
        curves, name = match["curves"], match["policy"]
        predicted = curve_marks(curves["predicted"], f"{name}, predicted", curves)
        series.append(Series(f"{name}, predicted", predicted, look[name], dots=False))
        live = mean_of(curves["live"])
        series.append(Series(f"{name}, live", curve_marks(live, f"{name}, live"),
                             look[name]._replace(dashes="1.5 3"), dots=False))  # fmt: skip
    where = "" if load is None else f" at load {load:g}"
    return drawn(Chart(
        f"Latency, live and predicted{where}", series, Axis("requests that are not slower",
        log=False, places=PLACES), Axis("latency, ms"),
        note="Shades: where 90 % of simulated windows are. Dotted: the mean of the live windows.",
    ))  # fmt: skip


def mean_of(curves: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean of the windows at each share."""
    return [
        None if None in column or not column else sum(filter(None, column)) / len(column)
        for column in zip(*curves, strict=True)
    ]


def curve_marks(curve: Sequence[float | None], name: str, ends: Facts | None = None) -> list[Mark]:
    """Some of the shares that a result keeps."""
    from experiments.validation.summary import SHARES

    marks = []
    for place in thinned(len(curve), POINTS):
        value, slower = curve[place], 1.0 - float(SHARES[place])
        if value is None:
            continue
        low, high = (None, None) if ends is None else (ends["low"][place], ends["high"][place])
        tip = f"{name}: {100 * (1 - slower):.4g} % within {value:.4g} ms"
        marks.append(Mark(-math.log10(slower), value, tip, low, high))
    return marks


def rankings_table(found: Facts) -> Table:
    """The order of the policies, measured and predicted."""
    rows = [
        Row([load_words(one["load"]), one["statistic"], " < ".join(one["measured"]),
             " < ".join(one["predicted"]), "yes" if one["best_predicted"] else "no",
             "yes" if one["tie"] else "", signed(one["ratio_error"])])
        for one in found["rankings"]
    ]  # fmt: skip
    heads = ["load", "by", "measured, best first", "predicted", "same best", "tie",
             "largest error of a ratio"]  # fmt: skip
    return Table("Order of the policies", heads, rows, left=4, words=("same best", "tie"))


def windows_table(found: Facts) -> Table:
    """Every window, accepted or not."""
    rows = []
    for one in found["windows"]:
        condition, values = one["condition"], one["values"]
        rows.append(Row([
            load_words(one["load"]), one["policy"], str(one["round"] + 1), count(one["requests"]),
            *(number(values.get(s), 100.0 if s == "busy" else 1.0) for s in STATISTICS),
            number(one["drift"], 1.0), number(condition.get("lag_ms_p99"), 1.0),
            condition.get("rejected") or "accepted",
        ], "bad" if condition.get("rejected") else None))  # fmt: skip
    heads = ["load", "policy", "round", "requests", *STATISTICS.values(), "drift",
             "lateness p99, ms", "accepted"]  # fmt: skip
    return Table("Windows", heads, rows, left=2, words=("accepted",))


def calibration(found: Facts) -> Markup | None:
    """What the prediction knows."""
    known = found["calibration"]
    rows = [
        Row([str(length), *(f"{row[place] / 1e6:.4g}" for row in known["latency_ns"])])
        for place, length in enumerate(known["lengths"])
    ]
    heads = [f"length, {known['length_unit']}", *(f"batch {size}" for size in known["batch_sizes"])]
    title = f"Calibration: median service time, ms, of {count(known['calls'])} calls"
    return folded("Calibration", written(Table(title, heads, rows)))
