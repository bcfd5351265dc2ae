"""What tables of judged settings say: columns of plain text, for the terminal and for notebooks.

1. Every figure is judged, on fresh runs.  What an unstable setting has no value for is empty.
2. A gap is the paired difference from the winner in the first objective; inside its interval it is
   a ``tie``.
3. With several loads the objective is its mean over them, and what belongs to one load is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.wording import amount, hundred, signed, with_interval

from .goal import Constraint, Target

if TYPE_CHECKING:
    from .goal import Measure
    from .judging import Judged
    from .result import Tuning


@dataclass(frozen=True)
class Column:
    """A column of a table of judged settings."""

    head: str
    """With line breaks, for the terminal."""
    text: Callable[[Judged], str]
    spare: int = 0
    """Where a table is too wide, the column with the most goes first; 0 stays."""

    @property
    def title(self) -> str:
        """The head in one line."""
        return self.head.replace("\n", " ")


def columns_of(found: Tuning) -> list[Column]:
    """The columns of a tuning, the name first."""
    several = bool(found.judged) and len(found.judged[0].loads) > 1
    rest = _rate_columns() if found.goal.finds_load else _objective_columns(found)
    rest.append(Column("against\nwinner", lambda one: gap(found, one), 1))
    if several:
        rest.append(Column("worst\nregret %", lambda one: worst_regret(found, one), 4))
    elif not found.goal.finds_load:
        rest += [*_limit_columns(found), *_figures(found)]
    if found.goal.constraints and not found.goal.finds_load:
        rest.append(Column("constraints", lambda one: held(found, one), 2))
    rest.append(Column("unstable\nabove load", unstable_above, 3))
    return [Column("setting", lambda one: one.name), *rest]


def _objective_columns(found: Tuning) -> list[Column]:
    """One an objective, with its interval; a backlog's throughput also as a share of the bound."""
    loads = len(found.judged[0].loads) if found.judged else 1
    over = f"\nmean of {loads} loads" if loads > 1 else ""

    def column(k: int, measure: Measure) -> Column:
        below = "" if measure.tier is None else f"\n{measure.tier}"
        return Column(head_of(measure) + (over or below), lambda one: objective(one, k))

    columns = [column(k, measure) for k, measure in enumerate(found.goal.objectives)]
    backlogs = found.scenario.get("backlogs", {}) if loads == 1 else {}
    aimed = dict.fromkeys(one.tier for one in found.goal.objectives)
    return [*columns, *(_of_bound(tier) for tier in aimed if tier in backlogs)]


def _of_bound(tier: str | None) -> Column:
    """What a backlog got of what no rule can exceed."""

    def text(one: Judged) -> str:
        share_of = one.outcomes[0].measures.group(tier).share_of_bound
        if not one.stable or share_of is None:
            return ""
        return with_interval(share_of.scaled(100.0))

    return Column("of bound\n%", text)


def _limit_columns(found: Tuning) -> list[Column]:
    """The percentiles of the tiers' SLOs, where they are no objectives themselves."""

    def column(measure: Measure) -> Column:
        return Column(
            f"{head_of(measure)}\n{measure.tier}",
            lambda one: (
                with_interval(measure.estimate(one.outcomes[0].measures, 1)) if one.stable else ""
            ),
            1,
        )

    have = {(one.name, one.tier) for one in found.goal.objectives}
    targets = (each.measure for each in found.goal.constraints if isinstance(each, Target))
    return [column(m) for m in targets if m.tier is not None and (m.name, m.tier) not in have]


def head_of(measure: Measure) -> str:
    """``p99, ms``: the word with its unit."""
    name = measure.name.replace("_", " ")
    return f"{name}, {measure.word.unit}" if measure.word.unit else name


def objective(one: Judged, k: int) -> str:
    """An objective with its interval."""
    if not one.stable:
        return "unstable" if k == 0 else ""
    return with_interval(one.worth[k])


def _rate_columns() -> list[Column]:
    """Of a goal that finds the largest rate."""
    return [
        Column("rate, /s", rate),
        Column("interval\n95 %", rate_interval),
        Column("limit", bound),
        Column("tail there\nms", tail_there, 5),
    ]


def rate(one: Judged) -> str:
    """The largest rate that was run and meets the SLOs."""
    from experiments.capacity_words import per_second

    limit = one.limit
    if limit is None or limit.value is None:
        return f"needs {limit.needs:,}" if limit is not None and limit.needs else "none"
    return per_second(limit.value)


def rate_interval(one: Judged) -> str:
    """``2,287 to 2,337``."""
    from experiments.capacity_words import interval

    return "" if one.limit is None or one.limit.value is None else interval(one.limit)


def bound(one: Judged) -> str:
    """What ends the rates: the tier whose SLO binds, or stability."""
    if one.limit is None:
        return ""
    if one.limit.bound == "slo":
        return one.limit.tier or "SLO"
    return {"stability": "stability", "nothing": "no rate"}.get(one.limit.bound, "too short")


def tail_there(one: Judged) -> str:
    """The binding tier's percentile at the rate."""
    limit = one.limit
    if limit is None or limit.tail_ms is None or not math.isfinite(limit.tail_ms):
        return ""
    return f"{limit.tail_ms:.4g}"


def gap(found: Tuning, one: Judged) -> str:
    """The paired difference from the winner, with a sign, or ``tie``."""
    if found.winner is None or one is found.winner or not one.stable:
        return ""
    if one.worth[0].value is None or found.winner.worth[0].value is None:
        return ""
    return signed(one.against(found.winner))


def _figures(found: Tuning) -> list[Column]:
    """What belongs to one load, and is not an objective already."""
    have = {one.word.statistic for one in found.goal.objectives if one.tier is None}
    known = [
        ("latency_ms.p99", Column("p99, ms", p99, 4)),
        ("utilisation", Column("busy\n%", lambda one: share(one, "utilisation"), 5)),
        ("mean_batch_size", Column("mean\nbatch", mean_batch, 6)),
    ]
    have |= {"latency_ms.p99"} if all(_no_p99(one) for one in found.judged) else set()
    have |= {"latency_ms.p99"} if found.scenario.get("backlogs") else set()
    return [column for statistic, column in known if statistic not in have]


def _no_p99(one: Judged) -> bool:
    return one.outcomes[0].value("latency_ms.p99") is None


def p99(one: Judged) -> str:
    """With its interval."""
    return with_interval(one.outcomes[0].estimate("latency_ms.p99")) if one.stable else ""


def share(one: Judged, statistic: str) -> str:
    """In per cent."""
    return hundred(one.outcomes[0].value(statistic)) if one.stable else ""


def mean_batch(one: Judged) -> str:
    """The mean size of a batch."""
    value = one.outcomes[0].value("mean_batch_size")
    return "" if value is None or not one.stable else f"{value:.1f}"


def unstable_above(one: Judged) -> str:
    """The load from which on it cannot keep up."""
    return "-" if one.unstable_above is None else f"{one.unstable_above:.2f}"


def worst_regret(found: Tuning, one: Judged) -> str:
    """The largest distance from the best setting of a load, in per cent."""
    each = found.regret.get(one.name)
    if not each or math.isinf(max(each)):
        return ""
    return amount(100 * max(each))


def held(found: Tuning, one: Judged) -> str:
    """``holds``, or the first constraint that is broken and how many more are.

    One whose value is within the limit, but whose confidence bound is not, has a question mark.
    """
    if not one.stable:
        return "unstable"
    broken = [each for each in found.goal.constraints if one.violations.get(each.title, -1.0) > 0.0]
    if not broken:
        return "holds" if one.feasible else joined_short(one.broken)
    more = f" +{len(broken) - 1}" if len(broken) > 1 else ""
    return short(broken[0], one) + more


def joined_short(broken: list[str]) -> str:
    """Constraints by name only, as ``stable``."""
    return broken[0] + (f" +{len(broken) - 1}" if len(broken) > 1 else "")


def short(broken: Constraint | Target, one: Judged) -> str:
    """``p99 > 20 ms``, ``p99 <= 20 ms?``, or ``refused`` where an SLO is missed by refusals."""
    at_most = isinstance(broken, Target) or broken.at_most
    limit = broken.tier.slo_ns / 1e6 if isinstance(broken, Target) else broken.limit
    tier = f" {broken.measure.tier}" if broken.measure.tier else ""
    unit = f" {broken.measure.word.unit}" if broken.measure.word.unit else ""
    name = f"{broken.measure.name}{tier}"
    worst, sure = _worst(broken.measure, one, at_most=at_most)
    over = worst is not None and (worst > limit if at_most else worst < limit)
    if over:
        return f"{name} {'>' if at_most else '<'} {limit:g}{unit}"
    if isinstance(broken, Target) and sure is not None and sure <= limit:
        return f"refused{tier}"
    return f"{name} {'<=' if at_most else '>='} {limit:g}{unit}?"


def _worst(measure: Measure, one: Judged, *, at_most: bool) -> tuple[float | None, float | None]:
    """The worst value and the worst confidence bound over the loads."""
    each = [measure.estimate(o.measures, one.setting.servers) for o in one.outcomes]
    worst = max if at_most else min
    values = [e.value for e in each if e.value is not None]
    bounds = [b for e in each if (b := e.high if at_most else e.low) is not None]
    whole = len(bounds) == len(each)
    return worst(values, default=None), worst(bounds, default=None) if whole else None
