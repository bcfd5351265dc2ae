"""From measured windows to figures beside their predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from policies.contract import NEVER, FloatArray, Tier
from sim.intervals import percentiles, ratio
from sim.sections import SECTIONS

from .driving import Driven, kinds
from .floor import Floor
from .outcome import ALL, Cell, Fate, Loaded, Reading, Shape, finite
from .predict import DRAWS, simulated
from .seen import FATES, FIGURES, PARTS, PERCENTILES, SERVED, Seen
from .window import Window

LOW, HIGH = 0.05, 0.95
SHARES: FloatArray = np.concatenate(
    [np.linspace(0.0, 0.9, 91), 1.0 - np.geomspace(0.1, 0.001, 41)[1:]]
)
"""float64 (131,): shares of requests at which a distribution is kept, denser in the tail."""
MS = 1e-6

Draws = Sequence[Sequence[Seen]]
"""By window, then by draw; empty without a prediction."""
Tell = Callable[[float | None], None]


def judged(driven: Driven, tell: Tell = lambda _load: None) -> Loaded:
    """Predict every window that counts, and lay measured and predicted side by side.

    Args:
        driven: what was measured.
        tell: called with each load before its windows are simulated.

    Raises:
        PolicyError: the rule does not fit the scenario.
    """
    cells: list[Cell] = []
    fates: list[Fate] = []
    estimates: list[Mapping[str, Any]] = []
    shapes: list[Shape] = []
    for load, windows in kinds(driven):
        tell(load)
        draws = predictions(driven, load, windows)
        for name, tier in groups(driven.target.scenario.tiers):
            cells += _cells(load, name, tier, windows, draws)
            fates.append(_fate(driven, load, name, tier, windows, draws))
            estimates.append({"load": load, "tier": name, **_estimates(windows, tier)})
        shapes.append(_shape(load, windows, draws))
    return Loaded(
        _scenario(driven), _target(driven), _rule(driven),
        tuple(driven.floor_of(load).to_dict() for load, _ in kinds(driven)),
        tuple(_reading(each) for each in driven.windows),
        tuple(cells), tuple(estimates), tuple(fates), tuple(shapes), driven.interrupted,
    )  # fmt: skip


def groups(tiers: Sequence[Tier]) -> Iterator[tuple[str, int | None]]:
    """All requests, and each tier where there are several."""
    yield ALL, None
    if len(tiers) > 1:
        yield from ((tier.name, place) for place, tier in enumerate(tiers))


def predictions(driven: Driven, load: float | None, windows: Sequence[Window]) -> Draws:
    """Draws of every window; the floor is that of its load."""
    rule = driven.target.rule
    if rule is None:
        return []
    floor: Floor = driven.floor_of(load)
    return [
        [
            simulated(rule, driven.scenarios[load], each.workload, floor,
                      each.repeat * DRAWS + draw)
            for draw in range(DRAWS)
        ]
        for each in windows
    ]  # fmt: skip


def _cells(
    load: float | None, name: str, tier: int | None, windows: Sequence[Window], draws: Draws
) -> list[Cell]:
    """Every figure of a tier at a load."""
    measured = [each.seen.figures(tier) for each in windows]
    drawn = [[each.figures(tier) for each in window] for window in draws]
    found = []
    for figure in (*FIGURES, *PARTS):
        values = tuple(each[figure] for each in measured)
        if not drawn:
            found.append(Cell(load, name, figure, values))
            continue
        of_draws = [[each[figure] for each in window] for window in drawn]
        low, high = np.quantile(np.concatenate(of_draws), (LOW, HIGH)).tolist()
        medians = tuple(float(np.median(each)) for each in of_draws)
        found.append(Cell(load, name, figure, values, medians, low, high))
    return found


def _fate(
    driven: Driven, load: float | None, name: str, tier: int | None,
    windows: Sequence[Window], draws: Draws,
) -> Fate:  # fmt: skip
    """Who was served, and within the SLO."""
    tiers = driven.target.scenario.tiers
    counts = {fate: sum(each.seen.counts(tier)[fate] for each in windows) for fate in FATES}
    span_s = sum(_span_s(each) for each in windows)
    mine = tiers if tier is None else (tiers[tier],)
    bound = [each for each in mine if each.slo_ns < NEVER]
    one = bound[0] if len(bound) == 1 and len(mine) == 1 else None
    predicted = [each for window in draws for each in window]
    return Fate(
        load, name, sum(counts.values()) / span_s, counts["served"] / span_s, counts,
        _mean_shares(predicted, tier), _told(windows, tier),
        None if one is None else one.slo_ns * MS,
        100.0 if one is None else one.percentile,
        {} if one is None else _within(windows, tier, one.slo_ns).to_json(),
        None if one is None else _accepted([each.seen for each in windows], tier, one.slo_ns),
        None if one is None or not predicted else _kept_share(predicted, tier, one.slo_ns),
    )  # fmt: skip


def _span_s(window: Window) -> float:
    """Of the requests that count."""
    planned = window.answers.planned_ns[window.seen.kept()]
    return max(1, int(planned[-1] - planned[0])) / 1e9


def _mean_shares(predicted: Sequence[Seen], tier: int | None) -> dict[str, float]:
    if not predicted:
        return {}
    counts = [each.counts(tier) for each in predicted]
    total = sum(sum(each.values()) for each in counts)
    return {fate: sum(each[fate] for each in counts) / max(1, total) for fate in FATES}


def _told(windows: Sequence[Window], tier: int | None) -> dict[str, float | None]:
    """How long refusals took, of those that were sent in time or not: from sending on."""
    found = []
    for each in windows:
        who = each.seen.kept(tier) & (each.seen.fate != SERVED) & (each.answers.done_ns >= 0)
        found.append((each.answers.done_ns - each.answers.sent_ns)[who])
    values = np.concatenate(found) * MS
    if not len(values):
        return {"p50": None, "p99": None}
    p50, p99 = np.quantile(values, (0.5, 0.99)).tolist()
    return {"p50": p50, "p99": p99}


def _within(windows: Sequence[Window], tier: int | None, slo_ns: int) -> Any:
    """Share of the requests that kept the SLO, by sections of the windows."""
    met, asked = [], []
    for each in windows:
        good = each.seen.kept(tier)
        late = (each.seen.fate != SERVED) | (each.seen.latency_ns > slo_ns)
        kept = np.flatnonzero(good)
        for part in np.array_split(kept, -(-SECTIONS // len(windows))):
            met.append(int((~late[part]).sum()))
            asked.append(len(part))
    counts = np.array(asked)
    return ratio(np.array(met), counts, counts, (0.0, 1.0))


def _accepted(seen: Sequence[Seen], tier: int | None, slo_ns: int) -> float | None:
    """Share of the served that kept the SLO."""
    latency = np.concatenate([each.served_ns(tier) for each in seen])
    return float((latency <= slo_ns).mean()) if len(latency) else None


def _kept_share(predicted: Sequence[Seen], tier: int | None, slo_ns: int) -> float:
    """Share of all requests that keep the SLO in the simulation."""
    good = sum(int((each.served_ns(tier) <= slo_ns).sum()) for each in predicted)
    return good / max(1, sum(int(each.kept(tier).sum()) for each in predicted))


def _estimates(windows: Sequence[Window], tier: int | None) -> dict[str, Any]:
    """Percentiles of all windows, in ms, by the rules of :mod:`sim.intervals`."""
    parts = [
        part
        for each in windows
        for part in np.array_split(each.seen.served_ns(tier), -(-SECTIONS // len(windows)))
    ]
    cuts = np.append(0, np.cumsum([len(part) for part in parts]))
    found = percentiles(np.concatenate(parts), cuts, list(PERCENTILES.values()))
    names = [f"{name}_ms" for name in PERCENTILES]
    return {
        name: one.scaled(MS).to_json() for name, one in zip(names, found, strict=True)
    }  # fmt: skip


def _shape(load: float | None, windows: Sequence[Window], draws: Draws) -> Shape:
    measured = np.concatenate([each.seen.served_ns() for each in windows])
    predicted = [each.served_ns() for window in draws for each in window]
    return Shape(
        load, tuple(SHARES.tolist()), _quantiles_ms(measured),
        _quantiles_ms(np.concatenate(predicted)) if predicted else (),
    )  # fmt: skip


def _quantiles_ms(latency_ns: Any) -> tuple[float, ...]:
    return tuple((np.quantile(latency_ns, SHARES) * MS).tolist()) if len(latency_ns) else ()


def _reading(window: Window) -> Reading:
    condition = window.condition
    return Reading(
        window.load, window.repeat, window.attempt, len(window.workload), condition.late_ms_p99,
        condition.late_ms_max, condition.rejected,
    )  # fmt: skip


def _scenario(driven: Driven) -> dict[str, Any]:
    scenario, wanted = driven.target.scenario, driven.wanted
    spans = [each.workload.arrival_ns for each in driven.windows]
    return {
        "name": scenario.name, "hash": scenario.hash, "servers": scenario.servers,
        "rate_max_per_s": scenario.rate_max_per_s, "repeats": wanted.repeats, "seed": wanted.seed,
        "window_s": max(finite((each[-1] - each[0]) / 1e9) or 0.0 for each in spans),
        "offered": [
            {"load": load, "rate_per_s": here.offered_rate_per_s, "share": here.load}
            for load, here in driven.scenarios.items()
        ],
    }  # fmt: skip


def _target(driven: Driven) -> dict[str, Any]:
    target = driven.target
    return {
        "url": target.endpoint.url, "model": target.model.name, "ours": target.model.ours,
        "inputs": [one._asdict() for one in target.model.inputs], "binary": target.binary,
    }  # fmt: skip


def _rule(driven: Driven) -> dict[str, Any] | None:
    rule = driven.target.rule
    if rule is None:
        return None
    known = None if rule.capacity is None or rule.capacity >= NEVER else rule.capacity
    return {
        "name": rule.name, "policy": dict(rule.table), "capacity": known,
        "told_by_server": rule.told,
    }  # fmt: skip


__all__ = ["groups", "judged", "predictions"]
