"""Tables of a scenario file: how the servers stand together, under ``service.cluster``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from .sentences import wrong
from .tables import Table
from .values import Count, Index, Milliseconds, Seconds, Text, one_of, positives


def _named_rule(value: Any) -> Any:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise wrong('a name, as in "least_loaded", or a table with the key kind')
    return value


def _groups(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise wrong("a list of tables, each with profile and replicas")
    return value


Rule = Annotated[dict[str, Any], PlainValidator(_named_rule)]
"""A table with a ``kind``, or the kind alone; :mod:`experiments.rules` builds it."""

Slowdown = Annotated[
    tuple[Decimal, ...], positives(1, "a list of factors: with two on a GPU, with three, ...")
]


class Group(Table):
    """Replicas with a profile of their own."""

    profile: Text = Field(description="the name or path of a profile")
    replicas: Count = Field(description="how many replicas have it")


class FailedAt(Table):
    """One outage of one replica."""

    replica: Index = Field(description="which replica fails, from 0")
    at_s: Seconds = Field(description="when it fails, in seconds")
    lasts_s: Seconds = Field(description="how long it is away, in seconds")


class FailsAtRandom(Table):
    """Outages of every replica, at exponential distances and of exponential length."""

    every_s: Seconds = Field(description="the mean time from a repair to the next failure")
    lasts_s: Seconds = Field(description="the mean time to repair")


def _outages(value: Any) -> Any:
    if isinstance(value, dict):
        return FailsAtRandom.model_validate(value)
    if not isinstance(value, list) or not value:
        raise wrong("a list of tables { replica, at_s, lasts_s }, or { every_s, lasts_s }")
    return tuple(FailedAt.model_validate(one) for one in value)


class Cluster(Table):
    """Replicas of the model: behind a router, on GPUs of their own or together on one."""

    router: Rule | None = None
    """Every replica then has a queue of its own; not given: all share one queue."""
    instances: Count = 1
    """Batches that a replica runs at a time; ``service.servers`` counts the instances of all."""
    instances_per_gpu: Count = 1
    slowdown: Slowdown | None = None
    """How many times as long a batch takes where 2, 3, ... instances of its GPU run.  Required
    where GPUs are shared, since there is no default that holds for all models: from 1 (memory
    copies that overlap) to the number of instances (a GPU that one batch fills)."""
    others: Annotated[tuple[Group, ...] | None, BeforeValidator(_groups)] = None
    """Replicas whose profile is not ``service.profile``; they come last."""
    autoscaler: Rule | None = None
    initial_replicas: Count | None = None
    """Ready at the start; not given: as many as the autoscaler keeps at least."""
    cold_start_ms: Milliseconds = Decimal(0)
    """From the decision to start a replica to its first batch."""
    outages: Annotated[tuple[FailedAt, ...] | FailsAtRandom | None, PlainValidator(_outages)] = None
    on_failure: Annotated[Literal["retry", "lose"], one_of("retry", "lose")] = "retry"
    """What becomes of the requests that a replica has when it fails; routers and proxies retry
    requests whose connection broke before an answer."""
