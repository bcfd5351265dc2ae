"""What the capacity of rules of continuous batching says: sentences, and cells of tables.

1. Rules whose difference lies inside its interval tie, and are said to.
2. Where no rate keeps what is promised, it is said how near the rule came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from experiments.capacity_words import interval, per_second
from experiments.stretched import of_few
from experiments.terminal import table
from experiments.wording import amount, hundred, joined, percent

from .capacity_rate import WORDS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .capacities import TokenCapacities, TokenCapacity
    from .capacity_rate import Promise

HEAD = ("policy", "capacity, /s", "interval", "% of most", "tokens/s", "TTFT, ms", "TPOT, ms",
        "limit")  # fmt: skip


def verdict_of(found: TokenCapacities) -> str:
    """The sentences, most important first."""
    sentences = [
        *_winner(found),
        *_behind(found),
        *_offered(found),
        *_limits(found),
        *_without(found),
        *_too_short(found),
        *_replicas(found),
        of_few(found.scenario),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def promise(found: TokenCapacities) -> str:
    """What has to hold, in words: ``95 % with TTFT <= 1000 ms and TPOT <= 80 ms``."""
    if not found.promises:
        return "no targets: what is served at most"
    if len(found.promises) > 1:
        return "every tier's promise kept"
    return promise_text(found.promises[0])


def promise_text(one: Promise) -> str:
    """What a tier is promised."""
    limits = [
        f"{word} <= {getattr(one.targets, f'{name}_ns') / 1e6:g} ms"
        for name, word in WORDS.items()
        if getattr(one.targets, f"{name}_ns") < 2**62
    ]
    return f"{one.targets.percent:g} % with {joined(limits)}"


def _winner(found: TokenCapacities) -> list[str]:
    if found.best is None:
        return []
    best = found.of(found.best)
    rate = f"{per_second(best.value)} requests/s ({interval(best.limit)})"
    if best.tokens_per_s is not None:
        rate += f", {best.tokens_per_s:,.0f} tokens/s"
    what = f"with {promise(found)}" if found.promises else "when requests never run out"
    if len(found.capacities) == 1:
        return [f"{best.policy} takes {rate} {what}."]
    if len(found.tied) == 1:
        return [f"{best.policy} takes the most {what}: {rate}."]
    others = joined(found.tied[1:])
    return [f"{best.policy} takes the most {what}: {rate}; {others} cannot be told from it."]


def _behind(found: TokenCapacities) -> list[str]:
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


def _offered(found: TokenCapacities) -> list[str]:
    """Who surely keeps what is promised at the scenario's own rate."""
    rate = found.scenario["offered_rate_per_s"]
    known = [one for one in found.capacities if one.limit.needs is None]
    if not found.promises or not known:
        return []
    sure = [one.policy for one in known if one.limit.low is not None and rate <= one.limit.low]
    own = f"At the scenario's own {per_second(rate)}/s"
    if len(sure) == len(known):
        return [f"{own} every policy surely keeps it."] if len(known) > 1 else []
    if not sure:
        who = "no policy" if len(known) > 1 else f"{known[0].policy} does not"
        return [f"{own} {who} surely keep{'s' if len(known) > 1 else ''} it."]
    return [f"{own} only {joined(sure)} surely {'keep' if len(sure) > 1 else 'keeps'} it."]


def _limits(found: TokenCapacities) -> list[str]:
    """What ends the rates of whom."""
    if not found.promises:
        return []
    who: dict[str, list[str]] = {}
    for one in found.capacities:
        if one.value is not None:
            who.setdefault(one.limited_by, []).append(one.policy)
    words = {
        "ttft": "the time to the first token",
        "tpot": "the time per token",
        "latency": "the latency",
        "saturation": "saturation, not the targets",
    }
    if len(who) == 1 and len(found.capacities) > 1:
        return [f"What ends all rates is {words[next(iter(who))]}."]
    parts = [f"{words[name]} ({joined(names)})" for name, names in who.items()]
    return [f"What ends the rates is {joined(parts)}."] if parts else []


def _without(found: TokenCapacities) -> list[str]:
    """Who keeps what is promised at no rate, and how near each came."""
    said = []
    for one in found.capacities:
        if one.limit.bound != "nothing":
            continue
        near = nearest(one)
        how = f": at most {near[0]} are within the targets, at {near[1]}/s" if near else ""
        said.append(f"{one.policy} keeps it at no rate{how}.")
    return said


def nearest(one: TokenCapacity) -> tuple[str, str] | None:
    """The best share of the tier that is worst off, and its rate."""
    course = one.course
    if not course.rates or not course.shares:
        return None
    lowest = [min(each[k].value for each in course.shares.values()) for k in _places(course.rates)]
    best = max(lowest)
    return percent(best), per_second(course.rates[lowest.index(best)])


def _places(rates: Sequence[float]) -> range:
    return range(len(rates))


def _too_short(found: TokenCapacities) -> list[str]:
    needs = [one.limit.needs for one in found.capacities if one.limit.needs is not None]
    if not needs:
        return []
    return [f"That needs {max(needs):,} requests: --set workload.requests={max(needs)}."]


def _replicas(found: TokenCapacities) -> list[str]:
    """The replicas that the given rate needs."""
    counted = [one for one in found.capacities if one.fleet is not None and not one.fleet.needs]
    if found.rate_per_s is None or not counted:
        return []
    by_count: dict[int, list[str]] = {}
    lost = []
    for one in counted:
        assert one.fleet is not None, "those counted have one"
        if one.fleet.servers is None:
            lost.append(one.policy)
        else:
            by_count.setdefault(one.fleet.servers, []).append(one.policy)
    parts = [
        f"{joined(names)} {'need' if len(names) > 1 else 'needs'} {replicas_text(count)}"
        for count, names in sorted(by_count.items())
    ]
    if lost:
        assert counted[0].fleet is not None, "those counted have one"
        most = replicas_text(counted[0].fleet.most)
        parts.append(
            f"{joined(lost)} {'do' if len(lost) > 1 else 'does'} not keep it with up to {most}"
        )
    at = f"At {per_second(found.rate_per_s)}/s, split evenly at random (each replica has a thinned"
    return [f"{at} stream), {'; '.join(parts)}."]


def replicas_text(count: int) -> str:
    """``1 replica``, ``3 replicas``."""
    return "1 replica" if count == 1 else f"{count} replicas"


def limit_text(found: TokenCapacities, one: TokenCapacity) -> str:
    """What ends a rule's rates: a target, of the tier where there are several, or saturation."""
    if one.limit.needs is not None:
        return "too short"
    if one.value is None:
        return "no rate"
    word = WORDS.get(one.limited_by, one.limited_by)
    several = len(found.promises) > 1 and one.limit.tier is not None
    return f"{one.limit.tier} {word}" if several else word


def cells(found: TokenCapacities, one: TokenCapacity) -> list[str]:
    """A rule's row."""
    limit = one.limit
    if limit.value is None:
        rate = f"needs {limit.needs:,}" if limit.needs else "none"
        return [one.policy, rate, "", "", "", "", "", limit_text(found, one)]
    times = ["-", "-"]
    if one.outcome is not None and one.outcome.stable:
        known = (one.outcome.value(f"{name}_ms.mean") for name in ("ttft", "tpot"))
        times = ["-" if value is None else f"{value:.4g}" for value in known]
    tokens = "-" if one.tokens_per_s is None else f"{one.tokens_per_s:,.0f}"
    share = hundred(limit.value / limit.saturation_per_s)
    return [
        one.policy,
        per_second(limit.value),
        interval(limit),
        share,
        tokens,
        *times,
        limit_text(found, one),
    ]


def print_capacities(screen: Console, found: TokenCapacities) -> None:
    """The tables and the verdict."""
    from .terminal import heading as heading_of_tokens

    screen.print(heading_of_tokens(found))  # type: ignore[arg-type]
    screen.print(rate_table(found))
    screen.print(legend(found))
    if found.rate_per_s is not None:
        rate = per_second(found.rate_per_s)
        screen.print(f"\nfewest replicas for {rate}/s with {promise(found)}", style="italic")
        screen.print(replica_table(found))
    screen.print(f"\n{found.verdict}")


def rate_table(found: TokenCapacities) -> Table:
    """One row a rule; the best is bold and starred, ties are marked."""
    drawn = table(
        "policy",
        "capacity\nper s",
        "interval\n95 %",
        "of most\n%",
        "tokens\n/s",
        "TTFT\nmean, ms",
        "TPOT\nmean, ms",
        "limit",
        title=f"largest rate with {promise(found)}"
        if found.promises
        else "no targets: the largest rate that is served",
    )
    for one in found.capacities:
        best = one.policy == found.best and len(found.capacities) > 1
        mark = " *" if best else " =" if one.policy in found.tied[1:] else ""
        style = "bold green" if best else "green" if mark else ""
        name, *row = cells(found, one)
        drawn.add_row(name + mark, *row, style=style if one.value is not None else "red")
    return drawn


def legend(found: TokenCapacities) -> Text:
    """What the marks and columns mean."""
    words = "of most: of what the policy serves when requests never run out"
    if found.best is not None and len(found.capacities) > 1:
        tie = "   = tie with it" if len(found.tied) > 1 else ""
        words = f"* takes the most{tie}   {words}"
    return Text(words, style="dim")


def replica_table(found: TokenCapacities) -> Table:
    """One row a rule: the replicas that the given rate needs."""
    drawn = table("policy", "replicas", "each, per s", "at least")
    for one in found.capacities:
        fleet = one.fleet
        if fleet is None:
            continue
        if fleet.servers is None:
            many = f"needs {fleet.needs:,} requests" if fleet.needs else f"> {fleet.most}"
            drawn.add_row(one.policy, many, "", str(fleet.least))
            continue
        each = per_second(fleet.rate_per_s / fleet.servers)
        drawn.add_row(one.policy, str(fleet.servers), each, str(fleet.least))
    return drawn


__all__ = ["HEAD", "cells", "print_capacities", "verdict_of"]
