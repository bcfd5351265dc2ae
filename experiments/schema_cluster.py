"""Tables of a scenario file: how the servers stand together, under ``service.cluster``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator

from .sentences import wrong
from .tables import Table
from .values import Count, Text, positives


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
