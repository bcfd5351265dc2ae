"""Charts of what policies did: latencies, shares of time, latency against load."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.plots_sweep import axis_name
from experiments.wording import shown
from sim.intervals import Estimate

from .amounts import PERCENTILES, STATISTICS, Facts, statistic, text
from .charts import Axis, Chart, Guide, Mark, Series, drawn
from .elements import Markup
from .looks import looks_of
from .rows import Line, Lines, lines_drawn

Policies = Mapping[str, Facts]

FAR = 30.0
"""Swept values that differ by more than this factor stand on a log axis."""

BESIDE = 0.06
"""Between the marks of two policies at one word, as a share of the way to the next word."""

WORD = 13
"""Characters of a value that stand below an axis."""

TAILS = {"p50": 0.5, "p90": 0.1, "p95": 0.05, "p99": 0.01, "p999": 0.001}
"""Share of requests that are slower than a percentile."""


def latency_chart(policies: Policies, measure: str, slo_ms: float | None = None) -> Markup | None:
    """A latency of each policy with its interval, lowest first."""
    look = looks_of(policies)
    lines = [
        Line(name, value.value, said(value, " ms"), look[name], value.low, value.high)
        for name, one in policies.items()
        for value in [statistic(one, f"latency_ms.{measure}")]
    ]
    lines.sort(key=lambda one: math.inf if one.value is None else one.value)
    words = "Mean latency" if measure == "mean" else f"{measure} latency"
    judged = measure != "mean" and slo_ms is not None and near(slo_ms, lines)
    target = slo_ms if judged else None
    return lines_drawn(
        Lines(f"{words} of each policy", "ms", lines, target=target,
              target_text="" if target is None else f"SLO {target:g} ms")
    )  # fmt: skip


def near(target: float, lines: Sequence[Line], times: float = 20.0) -> bool:
    """Whether a target does not squeeze the values."""
    known = [one.value for one in lines if one.value]
    return bool(known) and min(known) / times <= target <= max(known) * times


def said(value: Any, unit: str) -> str:
    """A value with its unit, or why there is none."""
    return text(value) + (unit if value.value is not None else "")


def percentile_chart(policies: Policies, slo_ms: float | None = None) -> Markup | None:
    """The distribution of latency by its percentiles, one line a policy."""
    look = looks_of(policies)
    series = [
        Series(name, percentile_marks(name, one), look[name]) for name, one in policies.items()
    ]
    known = {mark.x for one in series for mark in one.marks}
    ticks = ((tail_place(p), PERCENTILES[p]) for p in TAILS)
    x = Axis("percentile", log=False, places=tuple(tick for tick in ticks if tick[0] in known))
    guides = [slo_guide(slo_ms)] if slo_ms is not None and fits(series, slo_ms) else []
    return drawn(Chart("Latency by percentile", series, x, Axis("latency, ms"), guides))


def tail_place(percentile: str) -> float:
    """Where a percentile stands: the decades of the requests that are slower."""
    return -math.log10(TAILS[percentile])


def fits(series: Sequence[Series], slo_ms: float) -> bool:
    """Whether the target is near what is drawn."""
    known = [mark.y for one in series for mark in one.marks if mark.y > 0.0]
    return bool(known) and min(known) / 4 <= slo_ms <= 4 * max(known)


def slo_guide(slo_ms: float) -> Guide:
    """A line at the target."""
    ends = ((-math.inf, slo_ms), (math.inf, slo_ms))
    return Guide(ends, f"SLO {slo_ms:g} ms", alarm=True)


def percentile_marks(name: str, one: Facts) -> list[Mark]:
    """What is known of a policy's percentiles."""
    found = ((p, statistic(one, f"latency_ms.{p}")) for p in TAILS)
    return [
        Mark(tail_place(p), value.value, f"{name}, {PERCENTILES[p]}: {text(value)} ms",
             value.low, value.high)
        for p, value in found
        if value.value is not None
    ]  # fmt: skip


def share_chart(policies: Policies, name: str, title: str) -> Markup | None:
    """A share in per cent as bars, least first; None where it is nothing for all."""
    look = looks_of(policies)
    found = {policy: statistic(one, name) for policy, one in policies.items()}
    if not any(value.value for value in found.values()):
        return None
    lines = [
        Line(policy, value.value, said(value, " %"), look[policy], value.low, value.high)
        for policy, value in found.items()
    ]
    lines.sort(key=lambda one: one.value or 0.0)
    return lines_drawn(Lines(title, STATISTICS[name], lines, bars=True))


def line_charts(sweep: Facts, slo_ms: float | None = None) -> list[Markup | None]:
    """Mean and p99 against each key that varies; of a grid the other keys stand still."""
    steps: Sequence[Facts] = sweep["steps"]
    keys = [key for key in sweep["keys"] if len({str(s["settings"][key]) for s in steps}) > 1]
    return [line_chart(sweep, key, measure, slo_ms) for key in keys for measure in ("mean", "p99")]


def line_chart(sweep: Facts, key: str, measure: str, slo_ms: float | None = None) -> Markup | None:
    """A latency against a key, one line a policy with its interval, broken where it is unstable.

    Where the values are words, they stand side by side and are not joined.
    """
    steps: Sequence[Facts] = sweep["steps"]
    fixed = {k: v for k, v in steps[0]["settings"].items() if k != key}
    along = [step for step in steps if all(step["settings"][k] == v for k, v in fixed.items())]
    names = list(dict.fromkeys(name for step in along for name in step["policies"]))
    look, x = looks_of(names), axis_along(along, key)

    def read(one: Facts) -> Estimate:
        return statistic(one, f"latency_ms.{measure}")

    series = [
        Series(
            name, points(along, key, name, read, BESIDE * (k - (len(names) - 1) / 2), " ms"),
            look[name], line=not x.places, band=not x.places,
        )
        for k, name in enumerate(names)
    ]  # fmt: skip
    where = "".join(f", {k.rpartition('.')[2]} {shown(v)}" for k, v in fixed.items())
    stopped = any(one.get("stable") is False for step in along for one in step["policies"].values())
    lost = "Where a policy is unstable, it has no mark." if x.places else (
        "A line ends where its policy becomes unstable.")  # fmt: skip
    target = measure == "p99" and slo_ms is not None and fits(series, slo_ms)
    return drawn(Chart(
        f"{'Mean' if measure == 'mean' else measure} latency against {short(key)}{where}", series,
        x, Axis(f"{measure} latency, ms"),
        [slo_guide(slo_ms)] if target and slo_ms is not None else (),
        note=lost if stopped else "",
    ))  # fmt: skip


def axis_along(steps: Sequence[Facts], key: str) -> Axis:
    """A key's values as an axis: numbers, or words side by side."""
    values = [step["settings"][key] for step in steps]
    if not all(isinstance(value, int | float) for value in values):
        words = tuple((float(k), str(value)[:WORD]) for k, value in enumerate(values))
        return Axis(axis_name(key), log=False, places=words, room=0.5)
    return Axis(axis_name(key), log=min(values) > 0 and max(values) > FAR * min(values))


def short(key: str) -> str:
    """The last part of a key."""
    return key.rpartition(".")[2].replace("_", " ")


def points(
    steps: Sequence[Facts],
    key: str,
    name: str,
    read: Callable[[Facts], Estimate],
    beside: float = 0.0,
    unit: str = "",
) -> list[Mark]:
    """A policy's points, NaN where it has no value; words are moved aside, so that all are seen."""
    marks = []
    numbers = all(isinstance(step["settings"][key], int | float) for step in steps)
    for place, step in enumerate(steps):
        at = step["settings"][key]
        if name not in step["policies"]:
            continue
        value = read(step["policies"][name])
        y = math.nan if value.value is None else value.value
        tip = f"{name} at {short(key)} {shown(at)}: {text(value)}{unit}"
        marks.append(Mark(float(at) if numbers else place + beside, y, tip, value.low, value.high))
    return sorted(marks, key=lambda mark: mark.x)
