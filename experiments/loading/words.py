"""What a load test says in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.wording import joined, percent

from .outcome import ALL

if TYPE_CHECKING:
    from .outcome import Fate, Loaded

P99 = "p99_ms"
MUCH = 0.001
"""Share of requests whose refusal or failure is worth a sentence."""


def at(load: float | None) -> str:
    """`` at load 0.6``, or nothing."""
    return "" if load is None else f" at load {load:g}"


def verdict_of(found: Loaded) -> str:
    """How far off the predictions are, who kept the SLO, and what to mind."""
    lines = [*_predicted(found), *_slos(found), *_refused(found), *_late(found)]
    return "\n".join(lines) or "nothing was measured"


def _predicted(found: Loaded) -> list[str]:
    """The p99 of every load and tier against its prediction."""
    if found.rule is None:
        return [
            "Nothing is predicted: name the server's rule with --policy, as the scenario has it."
        ]
    cells = [each for each in found.cells if each.figure == P99 and each.error is not None]
    if not cells:
        return []
    outside = [each for each in cells if not each.near]
    words = f"p99 is within 10 % of its prediction in {len(cells) - len(outside)} of {len(cells)}"
    if outside:
        named = [
            f"{'' if each.tier == ALL else each.tier}{at(each.load)} "
            f"({100 * (each.error or 0.0):+.0f} %)".strip()
            for each in outside
        ]
        words += f"; not {joined(named)}"
    return [f"{words}."]


def _slos(found: Loaded) -> list[str]:
    """Which tiers kept their SLO."""
    lines = []
    for fate in found.fates:
        if fate.kept is None or fate.slo_ms is None:
            continue
        who = "The SLO" if fate.tier == ALL else f"The SLO of {fate.tier}"
        value = float(fate.within["value"])
        verb = "is kept" if fate.kept else "is missed"
        target = f"{fate.percentile:g} % within {fate.slo_ms:g} ms"
        lines.append(f"{who}{at(fate.load)} {verb}: {percent(value)} where {target} is wanted.")
    return lines


def _refused(found: Loaded) -> list[str]:
    """Loads at which requests were refused or failed."""
    lines = []
    for fate in found.fates:
        if fate.tier != ALL:
            continue
        gone = [
            f"{percent(fate.share(name))} {words}"
            for name, words in (
                ("rejected", "found the queue full (429)"), ("expired", "waited too long (504)"),
                ("unavailable", "were let go (503)"), ("failed", "failed"),
            )
            if fate.share(name) >= MUCH
        ]  # fmt: skip
        if gone:
            lines.append(f"Of the requests{at(fate.load)} {joined(gone)}{_told(fate)}.")
    return lines


def _told(fate: Fate) -> str:
    p50, p99 = fate.told_ms["p50"], fate.told_ms["p99"]
    if p50 is None or p99 is None:
        return ""
    return f"; they were told so within {p50:.3g} ms (median), {p99:.3g} ms (p99)"


def _late(found: Loaded) -> list[str]:
    """Windows that stand although the generator was late: every try was."""
    tries: dict[tuple[float | None, int], list[str]] = {}
    for each in found.readings:
        tries.setdefault((each.load, each.repeat), []).append(each.rejected)
    bad = [reasons[-1] for reasons in tries.values() if all(reasons)]
    if not bad:
        return []
    many = "One window" if len(bad) == 1 else f"{len(bad)} windows"
    told = (
        f"{many} had no try in which the generator kept to its plan ({bad[0]}): this machine is "
        "too busy for these figures."
    )
    return [told]


__all__ = ["at", "verdict_of"]
