"""What tiers get, as rows of words: for the terminal and for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .wording import hundred, with_interval

if TYPE_CHECKING:
    from sim.measures import Group

    from .outcome import Outcome
    from .results import Result


class TierRows(NamedTuple):
    """One row a policy and tier."""

    head: tuple[str, ...]
    rows: list[list[str]]


def tier_rows(found: Result) -> TierRows | None:
    """What each tier gets under each policy; None where there is one tier."""
    if all(len(o.measures.tiers) < 2 for o in found.outcomes):
        return None
    always = bool(found.scenario.get("backlogs"))
    counts = ("served",) if always else ("served", "rejected", "expired")
    more = ("rate, /s", "of bound\n%") if always else ()
    rows = []
    for outcome in found.outcomes:
        for tier in outcome.measures.tiers:
            attained = tier.slo_attainment
            rates = (with_interval(tier.throughput_per_s), of_bound(outcome, tier))
            rows.append([
                outcome.policy,
                tier.name,
                *(f"{getattr(tier, name):,}" for name in counts),
                tail_of(outcome, tier),
                hundred(None if attained is None else attained.value),
                *(rates if always else ()),
            ])  # fmt: skip
    return TierRows(("policy", "tier", *counts, "p99, ms", "SLO %", *more), rows)


def tail_of(outcome: Outcome, tier: Group) -> str:
    """A tier's p99; a backlog has none."""
    if tier.share_of_bound is not None:
        return "-"
    return with_interval(tier.latency_ms["p99"]) if outcome.stable else "unstable"


def of_bound(outcome: Outcome, tier: Group) -> str:
    """A backlog's share of what is possible, in per cent, where the others are served."""
    found = tier.share_of_bound
    return "" if found is None or not outcome.stable else with_interval(found.scaled(100.0))
