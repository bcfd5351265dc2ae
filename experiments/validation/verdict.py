"""What a validation says, in plain words; see the rules of :mod:`.claims`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from experiments.wording import joined

from .claims import (
    A_PRIORI,
    BUSY_MOST,
    RATIO_GATE,
    REPLAY_GATE,
    TIERS,
    Coverage,
    Ranking,
    Worst,
    no_claim,
    widest_spread,
    worst_a_priori,
    worst_corrected,
    worst_of_tiers,
    worst_replay,
)
from .summary import REPLAYED

if TYPE_CHECKING:
    from .cells import Cell, Match
    from .result import Validation

NUMBER = re.compile(r"\d+(?:\.\d+)?")
WORDS = {
    "mean_batch": "mean batch",
    "busy": "busy share",
    "throughput_per_s": "throughput",
    "lost": "lost requests",
}
"""Statistics whose name is not their word."""


def verdict_of(found: Validation) -> str:
    """The sentences, most important first."""
    reason = no_claim([one.condition for one in found.readings])
    if reason:
        why = _reasons(found)
        return f"No claim: {reason}{': ' if why else ''}{why}."
    sentences = [
        *_replay(found),
        *_a_priori(found),
        *_tiers(found),
        *_coverage(found.coverage),
        *_ranking(found.rankings),
        *_spread(found),
        *_busy(found),
        *_rejected(found),
    ]
    return " ".join(sentences)


def said(statistic: str) -> str:
    """The word for a statistic."""
    return WORDS.get(statistic, statistic)


def at(load: float | None) -> str:
    """``at load 0.4``."""
    return "in the closed loop" if load is None else f"at load {load:g}"


def percent(share: float) -> str:
    """``12 %``, ``1.2 %``, and ``0.1 %`` for whatever is less; without a sign."""
    value = max(100 * abs(share), 0.1)
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def _where(cell: Cell) -> str:
    return f"{said(cell.statistic)} of {cell.policy} {at(cell.load)}"


def _replay(found: Validation) -> Iterator[str]:
    """The simulator's logic."""
    worst = worst_replay(found.matches, REPLAYED)
    if worst is None:
        return
    listed = joined([said(name) for name in REPLAYED])
    if abs(worst.error) <= REPLAY_GATE:
        yield (
            f"Fed the measured service times, the simulator is within {percent(worst.error)} of "
            f"the {listed} of every window that is at most {BUSY_MOST:g} busy (gate: "
            f"{percent(REPLAY_GATE)})."
        )
    else:
        yield (
            f"Fed the measured service times, the simulator is {percent(worst.error)} "
            f"{_side(worst.error)} in the {_where(worst.cell)}, more than the gate of "
            f"{percent(REPLAY_GATE)}: its logic and that of the live run differ."
        )


def _side(error: float) -> str:
    return "too high" if error > 0 else "too low"


def _a_priori(found: Validation) -> Iterator[str]:
    """Predictions from the calibration alone, and what drift explains of their errors."""
    worst = {name: worst_a_priori(found.matches, name) for name in A_PRIORI}
    known = {name: one for name, one in worst.items() if one is not None}
    if not known:
        return
    parts = [f"{said(name)} to within {percent(one.error)}" for name, one in known.items()]
    leading = "From the calibration, at the level read beside each window,"
    yield f"{leading} it predicts their {joined(parts)}."
    corrected = {name: worst_corrected(found.matches, name) for name in ("mean", "p99")}
    better = [
        f"{percent(one.error)} in the {said(name)}"
        for name, one in corrected.items()
        if one is not None and name in known and abs(one.error) < abs(known[name].error)
    ]
    if better:
        yield f"With each window's drift of service times that becomes {joined(better)}."


def _tiers(found: Validation) -> Iterator[str]:
    """What was predicted of single tiers."""
    worst = {name: worst_of_tiers(found.matches, name) for name in TIERS}
    known = {name: one for name, one in worst.items() if one is not None}
    if known:
        parts = [f"{said(name)} to within {percent(one.error)}" for name, one in known.items()]
        yield f"Of each of the {len(found.tiers)} tiers it predicts the {joined(parts)}."


def _coverage(found: Coverage | None) -> Iterator[str]:
    if found is not None:
        yield (
            f"{found.inside} of {found.total} live figures ({100 * found.share:.0f} %; "
            f"{100 * found.low:.0f} to {100 * found.high:.0f} %, were they independent) are inside "
            "their intervals of 90 %."
        )


def _ranking(rankings: Sequence[Ranking]) -> Iterator[str]:
    """Whether the best policy was predicted."""
    if not rankings:
        return
    missed = [one for one in rankings if not one.best_predicted]
    if not missed:
        yield "The best policy is the predicted one, by mean and by p99, at every load."
    for one in missed:
        yield (
            f"By {one.statistic} {at(one.load)}, {one.measured[0]} was best and "
            f"{one.predicted[0]} was predicted."
        )
    worst = max(rankings, key=lambda one: one.ratio_error)
    off, where = percent(worst.ratio_error), f"{worst.statistic} {at(worst.load)}"
    if worst.ratio_error <= RATIO_GATE:
        yield f"Ratios between policies are predicted to within {off} ({where})."
    else:
        limit = percent(RATIO_GATE)
        yield f"Ratios between policies are off by up to {off} ({where}), more than {limit}."


def _spread(found: Validation) -> Iterator[str]:
    """How far live runs differ from each other."""
    parts = [
        f"± {percent(spread)} in the {said(name)}"
        for name in ("mean", "p99")
        if (spread := widest_spread(found.matches, name)) is not None
    ]
    if parts:
        yield f"Rounds of the same requests differ by up to {joined(parts)}."


def _busy(found: Validation) -> Iterator[str]:
    """What was seen where no error is claimed."""
    above = [one for one in found.matches if one.busy > BUSY_MOST]
    if not above:
        return
    replays = _known(match.cell(name).replay_error for match in above for name in REPLAYED)
    seen = [
        f"{percent(max(errors))} in the {said(name)}"
        for name in ("mean", "p99")
        if (errors := _known(match.cell(name).error for match in above))
    ]
    moves = max(_known(one.sensitivity for one in above), default=0.0)
    claim = f"No error is claimed above {BUSY_MOST:g} busy ({_listed(above)})"
    if not seen:
        yield f"{claim}: nobody was served there."
        return
    yield (
        f"{claim}, where 1 % more service "
        f"time moves the mean by up to {percent(moves / 100)}; seen were up to "
        f"{percent(max(replays, default=0.0))} in a replay, and {joined(seen)} from the "
        "calibration alone."
    )


def _known(errors: Iterable[float | None]) -> list[float]:
    return [abs(error) for error in errors if error is not None and math.isfinite(error)]


def _listed(matches: Sequence[Match]) -> str:
    """``greedy at load 0.2 and 0.4, snap at load 0.4``."""
    loads: dict[str, list[str]] = {}
    for one in matches:
        loads.setdefault(one.policy, []).append("" if one.load is None else f"{one.load:g}")
    parts = [
        f"{name} at load {joined(found)}" if all(found) else name for name, found in loads.items()
    ]
    return ", ".join(parts)


def _rejected(found: Validation) -> Iterator[str]:
    """Who was rejected and why."""
    total = len(found.readings)
    count = total - found.accepted
    if count:
        verb = "was" if count == 1 else "were"
        yield f"{count} of {total} windows {verb} rejected: {_reasons(found)}."


def _reasons(found: Validation) -> str:
    """Why windows were rejected; reasons that differ in their numbers alone are one."""
    alike: dict[str, list[list[str]]] = {}
    for one in found.readings:
        if one.condition.rejected:
            words = NUMBER.sub("{}", one.condition.rejected)
            alike.setdefault(words, []).append(NUMBER.findall(one.condition.rejected))
    parts = []
    for words, found_numbers in alike.items():
        ranges = [_range(column) for column in zip(*found_numbers, strict=True)]
        text, many = words.format(*ranges), len(found_numbers)
        parts.append(f"{many} x {text}" if many > 1 else text)
    return "; ".join(parts)


def _range(numbers: Iterable[str]) -> str:
    """``1.3 to 4``, or the one number that they all are."""
    known = sorted(set(numbers), key=float)
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"


__all__ = ["Worst", "at", "percent", "said", "verdict_of"]
