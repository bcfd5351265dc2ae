"""What a comparison says, in plain words: who wins, what ties, what a wait costs, what is unstable.

1. A difference inside its interval is a tie, and is called one.
2. A policy that cannot keep up is named, with how much is missing; its latency is not quoted.
3. Busy is not load: both are said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .outcome import judged_by, leaders
from .sequence_words import by_sequences
from .stage_words import by_stages
from .stretched import of_few
from .wording import amount, joined, settings_text, whole_run, with_interval

if TYPE_CHECKING:
    from .outcome import Outcome
    from .results import Comparison, Sweep

GREEDY = "greedy"


def verdict_of(found: Comparison) -> str:
    """The sentences, most important first."""
    if found.best is None:
        sentences = [
            *unstable(found.outcomes), *by_stages(found), *by_sequences(found), load_and_busy(found)
        ]  # fmt: skip
        return " ".join(sentences).strip()
    sentences = [
        winner(found),
        *costs(found),
        *targets(found.outcomes),
        *spare(found),
        *unstable(found.outcomes),
        *by_stages(found),
        *by_sequences(found),
        load_and_busy(found),
        *short_runs(found.outcomes),
        of_few(found.scenario),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def winner(found: Comparison) -> str:
    """Who has the lowest p99, ties included."""
    measure = judged_by(found.outcomes)
    what = "p99" if measure == "p99" else "mean latency"
    best = found.outcome(str(found.best))
    amount = with_interval(best.estimate(f"latency_ms.{measure}"))
    if len(found.outcomes) == 1:
        return f"{best.policy} has a {what} of {amount} ms."
    tied = found.tied
    if len(tied) == 1:
        return f"{best.policy} has the lowest {what} ({amount} ms)."
    everyone = [o.policy for o in found.outcomes if o.stable]
    if len(tied) == len(everyone):
        return f"All stable policies tie for the lowest {what} ({amount} ms)."
    return f"{joined(tied)} tie for the lowest {what} ({amount} ms)."


def costs(found: Comparison) -> list[str]:
    """What the winner saves and the slower ones pay, against greedy where it is stable."""
    greedy = next((o for o in found.outcomes if o.policy == GREEDY and o.stable), None)
    against = GREEDY if greedy is not None else str(found.best)
    return [*saved(found, against), *paid(found, against)]


def saved(found: Comparison, against: str) -> list[str]:
    """What the winner saves, where it is not the one compared with."""
    measures = dict.fromkeys(("mean", judged_by(found.outcomes)))
    gaps = [found.difference(str(found.best), against, m) for m in measures]
    parts = [
        f"{amount(-gap.ms.value)} ms of {words(gap.measure)}"
        for gap in gaps
        if gap is not None and gap.ms.verdict == "lower" and gap.ms.value is not None
    ]
    who = "It" if len(found.tied) == 1 else found.best
    return [f"{who} saves {joined(parts)} against {against}."] if parts else []


def paid(found: Comparison, against: str) -> list[str]:
    """What waiting and other rules cost on average; baselines are not blamed."""
    parts: list[str] = []
    for outcome in found.outcomes:
        gap = found.difference(outcome.policy, against, "mean")
        if outcome.baseline or gap is None or gap.ms.verdict != "higher" or gap.ms.value is None:
            continue
        verb, unit = ("", "") if parts else (" costs", " of mean latency")
        parts.append(f"{subject(outcome)}{verb} {amount(gap.ms.value)} ms{unit}")
    return [f"Against {against}, {joined(parts)}."] if parts else []


def words(measure: str) -> str:
    """A measure as a reader says it."""
    return "mean latency" if measure == "mean" else measure


def subject(outcome: Outcome) -> str:
    """``the 5 ms wait of triton_like`` where there is a wait, else the name."""
    wait = waited_ms(outcome.parameters)
    return outcome.policy if wait is None else f"the {wait:g} ms wait of {outcome.policy}"


def waited_ms(parameters: Mapping[str, Any]) -> float | None:
    """The longest wait that a policy's parameters allow, in ms."""
    wait = parameters.get("max_wait_ms")
    return float(wait) if isinstance(wait, (int, float)) and wait > 0 else None


def targets(outcomes: Sequence[Outcome]) -> list[str]:
    """Who meets the SLO, where there is one."""
    steady = [o for o in outcomes if o.stable and o.slo_ms is not None]
    if not steady:
        return []
    met = [o.policy for o in steady if o.slo_met]
    target = f"{steady[0].slo_ms:g} ms"
    if len(outcomes) == 1:
        return [f"It {'meets' if met else 'misses'} the SLO of {target}."]
    if len(met) == len(steady):
        return [f"Every stable policy meets the SLO of {target}."]
    if not met:
        return [f"No policy meets the SLO of {target}."]
    verb = "meets" if len(met) == 1 else "meet"
    return [f"Only {joined(met)} {verb} the SLO of {target}."]


def spare(found: Comparison) -> list[str]:
    """What each backlog gets of the capacity that the others leave: the most within the SLO."""
    said = []
    for name, bound in found.scenario.get("backlogs", {}).items():
        steady = [o for o in found.outcomes if o.stable]
        good = [o for o in steady if o.slo_ms is None or o.slo_met] or steady
        best = max(good, key=lambda o: o.measures.group(name).throughput_per_s.value or 0.0)
        group = best.measures.group(name)
        share = group.share_of_bound
        of_bound = "" if share is None else f", {with_interval(share.scaled(100.0))} % of"
        within = " within the SLO" if any(o.slo_ms is not None and o.slo_met for o in good) else ""
        said.append(
            f"{name} gets most{within} under {best.policy}: "
            f"{with_interval(group.throughput_per_s)}/s{of_bound} the {bound['bound_per_s']:.4g}/s "
            f"that no rule can exceed, {bound['formula']}."
        )
    return said


def unstable(outcomes: Sequence[Outcome]) -> list[str]:
    """Who cannot keep up, and by how much."""
    missing = []
    rate, there = 0.0, ""
    for outcome in outcomes:
        found = outcome.measures.stability
        if found is None or found.stable or found.rate_per_s is None:
            continue
        rate = found.rate_per_s
        there = f" beside the backlog of {found.beside}" if found.beside else ""
        most = found.saturation_per_s or 0.0
        missing.append(f"{outcome.policy} ({most:,.0f}/s, {over(found.excess)})")
    if not missing:
        return []
    verb = "is" if len(missing) == 1 else "are"
    pronoun = "it" if len(missing) == 1 else "each"
    arriving = f"{rate:,.0f} requests/s arrive, more than {pronoun} can serve{there}"
    return [f"{joined(missing)} {verb} unstable: {arriving}."]


def over(excess: float) -> str:
    """How much too much arrives."""
    if not math.isfinite(excess):
        return "it serves none"
    return f"{100 * excess:.0f} % too many" if excess >= 0.01 else "just too many"


def load_and_busy(found: Comparison) -> str:
    """Load and busy, which are not the same."""
    load = found.scenario.get("load")
    best = found.outcome(found.best or found.outcomes[0].policy)
    busy = best.value("utilisation")
    if load is None or busy is None:
        return ""
    text = (
        f"The load is {load:.2g} of the largest possible rate; under {best.policy} the servers are"
    )
    return f"{text} {100 * busy:.3g} % busy."


def short_runs(outcomes: Sequence[Outcome]) -> list[str]:
    """How many requests the p99 would need."""
    needs = [
        n.needs
        for o in outcomes
        if o.stable and (n := o.estimate("latency_ms.p99")).value is None and n.needs
    ]
    if not needs:
        return []
    total = whole_run(max(needs))
    return [f"A p99 needs {total:,} requests: --set workload.requests={total}."]


def sweep_verdict(sweep: Sweep) -> str:
    """Who leads where, ties included, and where each policy is unstable."""
    places = [settings_text(step.settings) for step in sweep.steps]
    measures = {judged_by(step.outcomes) for step in sweep.steps}
    what = "mean latency" if "mean" in measures else "p99"
    won: dict[tuple[str, ...], list[str]] = {}
    lost: dict[tuple[str, ...], list[str]] = {}
    for place, step in zip(places, sweep.steps, strict=True):
        if first := leaders(step.outcomes):
            won.setdefault(tuple(sorted(first)), []).append(place)
        if unstable_here := tuple(o.policy for o in step.outcomes if not o.stable):
            lost.setdefault(unstable_here, []).append(place)
    grid = len(sweep.keys) > 1
    said = [f"Lowest {what} at {spread(at, places, grid)}: {tied(who)}." for who, at in won.items()]
    said += [f"Unstable at {spread(at, places, grid)}: {joined(who)}." for who, at in lost.items()]
    return " ".join(said)


def tied(names: Sequence[str]) -> str:
    """Names that lead together."""
    return f"{joined(tuple(names))}{' tie' if len(names) > 1 else ''}"


def spread(at: Sequence[str], places: Sequence[str], grid: bool) -> str:
    """Places in words: neighbours as ``load 0.1 to load 0.4``; of a grid only how many."""
    if grid:
        return f"{len(at)} of {len(places)} steps"
    numbers = [places.index(place) for place in at]
    if len(at) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{at[0]} to {at[-1]}"
    return joined(tuple(at))
