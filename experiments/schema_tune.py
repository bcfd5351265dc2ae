"""Tables of a scenario file: what a tuner looks for, under ``tune``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from .sentences import broken_rule, choice, wrong
from .tables import Table
from .tune.words import RATES, word_of
from .values import Count, NonNegative, Positive, Text, is_number, one_of

MOST_LOADS = 20


def _word(value: Any) -> str:
    """A word for a measure."""
    if not isinstance(value, str) or word_of(value) is None:
        words = ("p50", "p95", "p99", *RATES)
        raise wrong(choice(value, words) + " (any percentile, as p97.5)")
    return value


Word = Annotated[str, PlainValidator(_word)]


class Aim(Table):
    """What is to be small, or large where more is better."""

    measure: Word = Field(description="what to improve, as p99, mean, busy, energy or capacity")
    tier: Text | None = None


class Limit(Table):
    """What has to hold of a measure, with its confidence bound."""

    measure: Word = Field(description="what is limited, as p99 or padding")
    tier: Text | None = None
    at_most: NonNegative | None = None
    at_least: NonNegative | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise broken_rule("give exactly one of at_most and at_least")
        if self.measure in ("capacity", "cost"):
            raise broken_rule(f"{self.measure} is an objective, not a constraint")
        return self


class Power(Table):
    """What a server draws; published latency profiles do not say."""

    busy_w: Positive = Field(description="watts that a server draws while it runs a batch")
    idle_w: NonNegative = Decimal(0)


class Price(Table):
    """What a server costs."""

    per_server_hour: Positive = Field(description="the price of a server for an hour")
    billed: Annotated[Literal["up", "busy"], one_of("up", "busy")] = "up"
    """For all of the time, or for the time in which it runs batches."""


def _aims(value: Any) -> Any:
    """One aim or a list of them; ``p99`` and ``throughput of offline`` stand for tables."""
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise wrong("a measure as p99, or a list of them")
    return tuple(_aim(item) if isinstance(item, str) else item for item in items)


def _aim(text: str) -> dict[str, str]:
    measure, of, tier = text.partition(" of ")
    return {"measure": measure.strip(), "tier": tier.strip()} if of else {"measure": text}


def _names(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    good = isinstance(items, list | tuple) and items
    if not good or not all(isinstance(item, str) and item.strip() for item in items):
        raise wrong("a list of names of policies or kinds")
    return tuple(dict.fromkeys(items))


def _loads(value: Any) -> tuple[Decimal, ...]:
    right = f"a list of at most {MOST_LOADS} different numbers above 0 and below 1"
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MOST_LOADS:
        raise wrong(right)
    if not all(is_number(x) and 0 < x < 1 for x in value) or len(set(value)) < len(value):
        raise wrong(right)
    return tuple(sorted(Decimal(x) for x in value))


def _servers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise wrong("a list of whole numbers of at least 1")
    if not all(is_number(x) and x == int(x) and 1 <= x <= 4096 for x in value):
        raise wrong("a list of whole numbers from 1 to 4096")
    return tuple(sorted({int(x) for x in value}))


def _space(value: Any) -> dict[str, dict[str, Any]]:
    """``{policy: {axis: value or [low, high]}}``."""
    if not isinstance(value, dict):
        raise wrong("a table for each policy, as size_or_timeout = { max_batch_size = [1, 16] }")
    for table in value.values():
        if not isinstance(table, dict):
            raise wrong(
                "a table for each policy, as size_or_timeout = { max_batch_size = [1, 16] }"
            )
        for bound in table.values():
            ends = bound if isinstance(bound, list | tuple) else [bound]
            good = 1 <= len(ends) <= 2 and all(is_number(end) for end in ends)
            if not good or ends[0] > ends[-1]:
                raise wrong("values or [low, high], as { max_batch_size = [1, 16] }")
    return value


class Tune(Table):
    """What to look for, among which policies, and how long."""

    objective: Annotated[tuple[Aim, ...] | None, BeforeValidator(_aims)] = None
    """By default the throughput of a backlog beside a tier that has an SLO, else the percentile of
    the first tier that has one, else p99."""
    policies: Annotated[tuple[str, ...] | None, PlainValidator(_names)] = None
    """Kinds, or names of the scenario's policies; by default those of the scenario that can be
    tuned, and the baselines."""
    constraints: tuple[Limit, ...] = ()
    slo: bool = True
    """Whether every tier has to meet its SLO."""
    loads: Annotated[tuple[Decimal, ...] | None, PlainValidator(_loads)] = None
    """By default the scenario's own."""
    servers: Annotated[tuple[int, ...] | None, PlainValidator(_servers)] = None
    """Numbers of servers to choose from, at the scenario's rate; by default its own."""
    trials: Count = 500
    """Settings to try, all policies together: ten to twenty seconds at 200,000 requests each."""
    replications: Count = 4
    """Fresh runs that judge the finalists, each as long as the scenario's."""
    power: Power | None = None
    price: Price | None = None
    space: Annotated[dict[str, dict[str, Any]], PlainValidator(_space)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _facts_are_there(self) -> Self:
        words = [aim.measure for aim in self.objective or ()]
        wanted = {*words, *(limit.measure for limit in self.constraints)}
        if "energy" in wanted and self.power is None:
            raise broken_rule("energy needs power = { busy_w = ..., idle_w = ... }")
        if "cost" in wanted and self.price is None:
            raise broken_rule("cost needs price = { per_server_hour = ... }")
        if len({(aim.measure, aim.tier) for aim in self.objective or ()}) < len(words):
            raise broken_rule("every objective may stand once", objective=words)
        if "capacity" in words and (len(words) > 1 or self.loads is not None):
            raise broken_rule("capacity is the only objective, and finds the load itself")
        return self
