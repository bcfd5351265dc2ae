"""What a report says of rules of continuous batching on a live engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .amounts import Facts, count
from .charts import Axis, Chart, Guide, Mark, Series, drawn
from .elements import Markup, element, folded, paragraph
from .found import Run
from .looks import looks_of
from .of_policies import gallery
from .of_tokens import parameters_table
from .of_validation import PLACES, curve_marks, mean_of, measured, number, signed
from .tables import Row, Table, facts, written

STATISTICS = {
    "ttft_ms.mean": "first token, mean, ms",
    "ttft_ms.p50": "first token, p50, ms",
    "ttft_ms.p99": "first token, p99, ms",
    "latency_ms.mean": "latency, mean, ms",
    "latency_ms.p50": "latency, p50, ms",
    "latency_ms.p99": "latency, p99, ms",
    "tpot_ms.mean": "a token after the first, ms",
    "itl_ms.p99": "gap between tokens, p99, ms",
    "output_tokens_per_s": "tokens/s",
    "busy": "busy, %",
    "mean_sequences": "batch",
    "iterations": "iterations",
}
UNITS = {
    "fixed_ns": (1e6, "ms an iteration"),
    "prefill_token_ns": (1e3, "us a prompt token"),
    "sequence_ns": (1e3, "us a sequence"),
    "context_token_ns": (1.0, "ns a token of context"),
    "pair_ns": (1.0, "ns a pair of query and key"),
}
"""Coefficients of the formula: what they are divided by, and their words."""
TIMES = {"ttft": "Time to the first token", "latency": "Latency"}
NOTE = (
    "Measured: mean over the windows, ± half of their range. Errors: predicted over measured. A "
    "promise: within 10 % (tokens/s 5 %), or inside the range of the windows. A stall is an "
    "iteration of more than twice its usual time; without them, windows and calibration alike."
)


def validated(run: Run) -> Iterator[Markup | None]:
    """Tables and charts of every load; then how it was measured."""
    found = run.result
    yield element("h3", "Simulated against live")
    if found["no_claim"]:
        yield paragraph(found["no_claim"], "warning")
    yield paragraph(device_words(found))
    cells = [cell for cell in found["cells"] if cell["measured"] is not None]
    yield written(against_table([c for c in cells if c["target"] is not None], "Promises"))
    yield gallery(
        *(distribution_chart(found, which, load) for load in loads(found) for which in TIMES),
        predicted_chart(cells),
    )
    yield written(against_table(cells, "Every statistic, measured and predicted", fold=True))
    yield folded("Every window", written(windows_table(found)), open_=False)
    yield calibration(found)
    yield written(parameters_table({k: {"parameters": v} for k, v in found["policies"].items()}))


def device_words(found: Facts) -> str:
    """What was measured, and how its replays went."""
    device = found["device"]
    known = [str(device[key]) for key in ("device_name", "title") if device.get(key)]
    rates = ", ".join(f"{rate:.3g}/s at load {at}" for at, rate in found["rates_per_s"].items())
    return (
        f"Measured on {'; '.join(known)}. Requests: {rates}. Replays that are exact, iteration by "
        f"iteration: {found['replays_exact']}."
    )


def loads(found: Facts) -> list[float]:
    """Loads with windows that count."""
    return list(dict.fromkeys(cell["load"] for cell in found["cells"]))


def against_table(cells: Sequence[Facts], title: str, *, fold: bool = False) -> Table:
    """One row a load, rule and statistic."""
    rows = []
    for cell in cells:
        name = str(cell["statistic"])
        times = 100.0 if name == "busy" else 1.0
        known = cell["a_priori"]
        kept = {True: "kept", False: "missed", None: "-"}[cell["kept"]]
        rows.append(Row([
            f"{cell['load']:g}", cell["rule"], STATISTICS.get(name, name),
            measured(cell, times), number(known["value"], times),
            f"{number(known['low'], times)} to {number(known['high'], times)}",
            signed(cell["a_priori_error"]), signed(cell["drift_corrected_error"]),
            signed(cell["without_stalls_error"]), kept,
        ], "bad" if cell["kept"] is False else None))  # fmt: skip
    heads = ["load", "policy", "statistic", "measured", "predicted", "interval of 90 %", "error",
             "error with drift", "error without stalls", "promise"]  # fmt: skip
    return Table(title, heads, rows, left=3, note=NOTE, words=("promise",), fold=fold)


def predicted_chart(cells: Sequence[Facts]) -> Markup | None:
    """Predicted against measured times to the first token and latencies, on a line of equals."""
    kept = [cell for cell in cells if cell["statistic"] in
            ("ttft_ms.p50", "ttft_ms.p99", "latency_ms.p50", "latency_ms.p99")]  # fmt: skip
    look = looks_of(dict.fromkeys(cell["rule"] for cell in kept))
    series = [
        Series(rule, [pair(c) for c in kept if c["rule"] == rule], look[rule], line=False,
               band=False)
        for rule in look
    ]  # fmt: skip
    ends = [value for cell in kept for value in (cell["measured"], cell["a_priori"]["value"])]
    if not ends:
        return None
    low, high = min(ends) / 1.3, max(ends) * 1.3
    path = [low * (high / low) ** (k / 299) for k in range(300)]
    guides = [Guide(tuple((x, times * x) for x in path)) for times in (0.9, 1.0, 1.1)]
    return drawn(Chart(
        "Predicted against measured: first token and latency", series,
        Axis("measured, ms", log=True), Axis("predicted, ms", log=True), guides,
        note="Rings: p50, dots: p99. Bars: intervals of 90 %. Lines: equal, and 10 % off.",
    ))  # fmt: skip


def pair(cell: Facts) -> Mark:
    """One statistic of one rule at one load."""
    known, name = cell["a_priori"], str(cell["statistic"])
    where = f"{cell['rule']}, {STATISTICS[name].removesuffix(', ms')}, load {cell['load']:g}"
    tip = f"{where}: measured {measured(cell, 1.0)} ms, predicted {number(known['value'], 1.0)} ms"
    return Mark(cell["measured"], known["value"], f"{tip} ({signed(cell['a_priori_error'])})",
                known["low"], known["high"], hollow=name.endswith("p50"))  # fmt: skip


def distribution_chart(found: Facts, which: str, load: float) -> Markup | None:
    """Times by the share that is slower: windows dotted, the prediction as a shade."""
    curves = [one for one in found["curves"] if (one["which"], one["load"]) == (which, load)]
    look = looks_of(dict.fromkeys(one["policy"] for one in found["curves"]))
    series = []
    for one in curves:
        name = one["policy"]
        shade = curve_marks(one["predicted"], f"{name}, predicted", one)
        series.append(Series(f"{name}, predicted", shade, look[name], dots=False))
        live = curve_marks(mean_of(one["live"]), f"{name}, live")
        series.append(Series(f"{name}, live", live, look[name]._replace(dashes="1.5 3"),
                             dots=False))  # fmt: skip
    return drawn(Chart(
        f"{TIMES[which]}, live and predicted at load {load:g}", series,
        Axis("requests that are not slower", log=False, places=PLACES), Axis("ms"),
        note="Shades: where 90 % of simulated windows are. Dotted: the mean of the live windows.",
    ))  # fmt: skip


def windows_table(found: Facts) -> Table:
    """Every window, whether it counts or not."""
    rows = [
        Row([
            f"{one['load']:g}", one["rule"], str(one["round"] + 1), count(one["requests"]),
            *(number(one.get(name), 100.0 if name == "busy" else 1.0) for name in STATISTICS),
            number(one["drift"], 1.0), count(one["stalls"]), number(one["stall_most"], 1.0),
            number(one["lag_ms_p99"], 1.0), one["rejected"] or "accepted",
        ], "bad" if one["rejected"] else None)
        for one in found["windows"]
    ]  # fmt: skip
    heads = ["load", "policy", "round", "requests", *STATISTICS.values(), "drift", "stalls",
             "longest, times", "lateness p99, ms", "accepted"]  # fmt: skip
    return Table("Windows", heads, rows, left=2, words=("accepted",))


def calibration(found: Facts) -> Markup | None:
    """What the prediction knows."""
    known = found["calibration"]
    form, noise, calls = known["formula_ns"], known["noise"], known["calls"]
    parts = [f"{form[key] / times:.4g} {words}" for key, (times, words) in UNITS.items()
             if form.get(key)]  # fmt: skip
    return folded("Calibration", facts({
        "Formula": ", ".join(parts),
        "Iterations measured": f"{count(calls['grid'])} of the grid, {count(calls['holdout'])} off "
        f"it, {count(calls['steady'])} steady",
        "Error off the grid": f"{100 * known['held_out_error_median']:.2g} % in the median, "
        f"{100 * known['held_out_error_max']:.2g} % at most",
        "Noise": ", ".join(f"{name} {value:.3g}" for name, value in noise.items()),
        "One iteration and the next": f"correlation {known['lag1']:.2g}",
        "Blocks": ", ".join(f"{factor:.3f}" for factor in known["block_factors"]),
    }, "calibration"))  # fmt: skip
