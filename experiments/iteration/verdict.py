"""What a comparison of rules of continuous batching says, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.stretched import of_few
from experiments.wording import amount, half_width, joined, percent, with_interval
from sim.iteration.metrics import paired_difference

from .outcome import TokenOutcome, judged_by, ties

if TYPE_CHECKING:
    from .results import TokenComparison


def verdict_of(found: TokenComparison) -> str:
    """The winner, by how much, who keeps the objectives, and who cannot keep up."""
    outcomes = found.outcomes
    parts = [*_winner(found), *_promises(outcomes), *_memory(outcomes), *_unstable(found)]
    return " ".join(filter(None, [*parts, of_few(found.scenario)]))


def _winner(found: TokenComparison) -> list[str]:
    outcomes, tied = found.outcomes, ties(found.outcomes)
    if not tied or len(outcomes) == 1:
        return []
    best = found.outcome(tied[0])
    statistic = judged_by(outcomes)
    words, unit = "the lowest mean latency", "ms"
    if statistic == "goodput_per_s":
        words, unit = "the most requests within their targets", "requests/s"
    said = f"{best.policy} has {words} ({with_interval(best.estimate(statistic))} {unit})"
    if len(tied) > 1:
        said += f"; {joined(tied[1:])} cannot be told from it"
    parts = [f"{said}."]
    for name in ("request_level", "prefill_first", "continuous"):
        other = next((o for o in outcomes if o.parameters.get("kind") == name and o.stable), None)
        if other is None or other is best:
            continue
        gap = _saving(best, other)
        if gap:
            parts.append(gap)
    return parts


def _saving(best: TokenOutcome, other: TokenOutcome) -> str:
    """What the best saves of another rule's times, where it is sure."""
    said = []
    for statistic, words in (
        ("ttft_ms.mean", "to the first token"),
        ("tpot_ms.mean", "a token after it"),
        ("latency_ms.mean", "of mean latency"),
    ):
        gap = paired_difference(best.measures, other.measures, statistic)
        if gap.value is None or gap.verdict not in ("lower", "higher") or not half_width(gap):
            continue
        verb = "saves" if gap.verdict == "lower" else "costs"
        said.append(f"{verb} {amount(abs(gap.value))} ms {words}")
    return f"Against {other.policy} it {joined(said)}." if said else ""


def _promises(outcomes: tuple[TokenOutcome, ...]) -> list[str]:
    """Who keeps the objectives."""
    asked = [o for o in outcomes if o.promised]
    if not asked:
        return []
    kept = [o.policy for o in asked if o.kept]
    if len(outcomes) == 1:
        o = outcomes[0]
        share = percent(o.value("slo_attainment"))
        return [f"{o.policy} keeps the targets of {share} of the requests."]
    if len(kept) == len(asked):
        return ["All keep the targets."]
    if not kept:
        best = max(asked, key=lambda o: o.value("slo_attainment") or 0.0)
        share = percent(best.value("slo_attainment"))
        return [f"None keeps the targets of the share that is promised; at most {share} do."]
    return [f"Only {joined(kept)} {'keeps' if len(kept) == 1 else 'keep'} the targets."]


def _memory(outcomes: tuple[TokenOutcome, ...]) -> list[str]:
    """Where memory is what limits."""
    often = [o for o in outcomes if (o.value("preemptions_per_request") or 0.0) > 0.05]
    if not often:
        return []
    worst = max(often, key=lambda o: o.value("preemptions_per_request") or 0.0)
    again = percent(worst.value("recomputed"))
    words = (
        f"Memory is short: under {worst.policy} a request is put back "
        f"{worst.value('preemptions_per_request'):.2g} times, and {again} of the prompt tokens "
        "are computed again."
    )
    return [words]


def _unstable(found: TokenComparison) -> list[str]:
    """Who cannot keep up."""
    offered = found.scenario["offered_rate_per_s"]
    return [
        f"{o.policy} is unstable: it serves {o.measures.saturation_per_s:.3g} requests/s of "
        f"{offered:.3g}."
        for o in found.outcomes
        if not o.stable
    ]
