"""What ``capacity`` says: in sentences, and in the cells of its tables.

1. Policies whose difference lies inside its interval tie, and are said to.
2. Where no rate meets the SLOs, it is said how near the policy came, or that no policy can: one
   request alone takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .stretched import of_few
from .wording import amount, hundred, joined

if TYPE_CHECKING:
    from .capacities import Capacities, Capacity
    from .capacity_rate import Limit

HEAD = ("policy", "capacity, /s", "interval", "% of possible", "p there, ms", "busy, %", "limit")


def verdict_of(found: Capacities) -> str:
    """The sentences, most important first."""
    sentences = [
        *winner(found),
        *behind(found),
        *held(found),
        *offered(found),
        *begins(found.capacities),
        *by_stability(found.capacities),
        *without(found.capacities),
        *too_short(found.capacities),
        *fleets(found),
        of_few(found.scenario),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def objective(found: Capacities) -> str:
    """The SLOs in words: ``p99 <= 20 ms`` or ``every SLO``."""
    return found.targets[0].text if len(found.targets) == 1 else "every SLO"


def winner(found: Capacities) -> list[str]:
    """Who takes most, ties included."""
    if found.best is None:
        return []
    best = found.of(found.best)
    rate = f"{per_second(best.value)}/s ({interval(best.limit)})"
    share = f"{hundred(found.share(best))} % of the largest possible rate"
    if len(found.capacities) == 1:
        return [f"{best.policy} takes {rate} with {objective(found)}, {share}."]
    if len(found.tied) == 1:
        return [f"{best.policy} takes the most with {objective(found)}: {rate}, {share}."]
    names = joined(found.tied)
    return [f"{names} tie for the most with {objective(found)}: {best.policy} {rate}, {share}."]


def behind(found: Capacities) -> list[str]:
    """How much less the others take."""
    best = None if found.best is None else found.of(found.best).value
    less = [
        (one.value, one.policy)
        for one in found.capacities
        if one.value is not None and one.policy not in found.tied
    ]
    if not less or not best:
        return []
    parts = [
        f"{name} {amount(100 * (1 - value / best))} %" for value, name in sorted(less, reverse=True)
    ]
    return [f"Less: {joined(parts)}."]


def held(found: Capacities) -> list[str]:
    """How many sequences are open at a time at those rates."""
    rate, there = (found.scenario.get(key) for key in ("offered_rate_per_s", "open_sequences"))
    if not rate or not there or found.best is None:
        return []
    others = [one for one in found.capacities if one.value and one.policy not in found.tied]
    parts = [
        f"{one.value / rate * there:.0f} under {one.policy}"
        for one in (found.of(found.best), *others)
        if one.value is not None
    ]
    return [f"Sequences that are open at a time then: {joined(parts)}."]


def offered(found: Capacities) -> list[str]:
    """Who surely meets the SLOs at the rate of the scenario."""
    rate = found.scenario.get("offered_rate_per_s")
    known = [one for one in found.capacities if one.limit.needs is None]
    if rate is None or not known:
        return []
    sure = [
        one.policy
        for one in known
        if one.limit.low is not None
        and one.limit.from_per_s is not None
        and one.limit.from_per_s <= rate <= one.limit.low
    ]
    arriving = f"At the scenario's own {per_second(rate)}/s"
    if len(sure) == len(known):
        return [f"{arriving} every policy surely meets it."] if len(known) > 1 else []
    if not sure:
        return [f"{arriving} no policy surely meets it."]
    return [f"{arriving} only {joined(sure)} surely {'meet' if len(sure) > 1 else 'meets'} it."]


def begins(found: Sequence[Capacity]) -> list[str]:
    """Who misses the SLOs at low rates."""
    late = [f"{one.policy} below {per_second(start)}/s" for one in found if (start := begin(one))]
    return [f"Slow arrivals miss it: {joined(late)}."] if late else []


def begin(found: Capacity) -> float:
    """The rate from which on a policy meets the SLOs."""
    return found.limit.from_per_s or 0.0


def by_stability(found: Sequence[Capacity]) -> list[str]:
    """Whom the SLO does not limit."""
    names = [one.policy for one in found if one.limit.bound == "stability"]
    if not names:
        return []
    stages = dict.fromkeys(one.limit.stage for one in found if one.limit.stage)
    why = f": {joined(list(stages))} can do no more" if stages else ""
    return [f"What limits {joined(names)} is stability, not the SLO{why}."]


def without(found: Sequence[Capacity]) -> list[str]:
    """Who meets the SLOs at no rate, and why."""
    none = [one for one in found if one.limit.bound == "nothing"]
    if not none:
        return []
    one = none[0].limit
    if len(none) == len(found) and too_slow_alone(one):
        alone = f"p{one.percentile:g} <= {one.slo_ms:g} ms"
        if one.alone_ms == float("inf"):
            return [f"No rate meets {alone}: too many requests are refused, whatever arrives."]
        takes = f"one request alone takes {one.alone_ms:.3g} ms"
        return [f"No rate meets {alone} of {one.tier}: {takes} (p{one.percentile:g})."]
    return [no_rate(each) for each in none]


def too_slow_alone(limit: Limit) -> bool:
    """Whether a request that has the server for itself misses the SLO."""
    return None not in (limit.alone_ms, limit.slo_ms) and limit.alone_ms > limit.slo_ms  # type: ignore[operator]


def no_rate(found: Capacity) -> str:
    """How near a policy came that meets the SLOs at no rate."""
    limit = found.limit
    if limit.tail_ms is None or limit.tail_at_per_s is None:
        return f"{found.policy} serves nothing that arrives, so that no rate meets it."
    if limit.tail_ms == float("inf"):
        return f"{found.policy} meets it at no rate: it loses too many requests at every one."
    return (
        f"{found.policy} meets it at no rate: the lowest p{limit.percentile:g} of {limit.tier} is "
        f"{limit.tail_ms:.3g} ms, at {per_second(limit.tail_at_per_s)}/s."
    )


def too_short(found: Sequence[Capacity]) -> list[str]:
    """How many requests the percentile needs."""
    needs = [one.limit.needs for one in found if one.limit.needs is not None]
    if not needs:
        return []
    return [f"That needs {max(needs):,} requests: --set workload.requests={max(needs)}."]


def fleets(found: Capacities) -> list[str]:
    """The servers that the given rate needs."""
    counted = [one for one in found.capacities if one.fleet is not None and not one.fleet.needs]
    if found.rate_per_s is None or not counted:
        return []
    by_count: dict[int, list[str]] = {}
    for one in counted:
        if one.fleet is not None and one.fleet.servers is not None:
            by_count.setdefault(one.fleet.servers, []).append(one.policy)
    parts = [
        f"{joined(names)} {'need' if len(names) > 1 else 'needs'} {servers_text(count)}"
        for count, names in sorted(by_count.items())
    ]
    fleet = counted[0].fleet
    assert fleet is not None, "those counted have one"
    lost = [one.policy for one in counted if one.fleet is not None and one.fleet.servers is None]
    if lost:
        verb = "do" if len(lost) > 1 else "does"
        parts.append(f"{joined(lost)} {verb} not meet it with up to {servers_text(fleet.most)}")
    text = f"At {per_second(found.rate_per_s)}/s {'; '.join(parts)}."
    return [f"{text} No policy can do with fewer than {fleet.least}."]


def servers_text(count: int) -> str:
    """``1 server``, ``3 servers``."""
    return "1 server" if count == 1 else f"{count} servers"


def per_second(rate: float | None) -> str:
    """A rate with four digits or more, and nothing as 0."""
    if rate is None:
        return "-"
    if rate == 0.0:
        return "0"
    return f"{rate:,.0f}" if rate >= 999.5 else f"{rate:#.4g}"


def interval(limit: Limit) -> str:
    """``2,287 to 2,337``."""
    if limit.low is None or limit.high is None:
        return ""
    return f"{per_second(limit.low)} to {per_second(limit.high)}"


def limit_text(found: Capacities, limit: Limit) -> str:
    """What ends a policy's rates: the tier whose SLO it is, where there are several."""
    if limit.bound == "slo":
        return "SLO" if len(found.targets) == 1 else str(limit.tier)
    return {"stability": "stability", "nothing": "no rate"}.get(limit.bound, "too short")


def cells(found: Capacities, one: Capacity) -> list[str]:
    """A policy's row: name, rate, interval, share, percentile there, busy there, limit."""
    limit = one.limit
    busy = None if one.outcome is None else one.outcome.value("utilisation")
    met = limit.value is not None
    if not met:
        rate = f"needs {limit.needs:,}" if limit.needs else "none"
        return [one.policy, rate, "", "", "", "", limit_text(found, limit)]
    tail = "-" if limit.tail_ms is None else f"{limit.tail_ms:.4g}"
    return [
        one.policy,
        per_second(limit.value),
        interval(limit),
        hundred(found.share(one)),
        tail,
        hundred(busy),
        limit_text(found, limit),
    ]
