"""Replicas that fail, start cold and are scaled: keys of ``service.cluster`` made ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.autoscalers import AUTOSCALERS
from policies.contract import NEVER, IntArray
from sim.changes import FixedSize
from sim.cluster import Cluster

from .resolve import KeyedError
from .rules import ParameterError, build_rule
from .schema_cluster import Cluster as Table
from .schema_cluster import FailedAt
from .units import ms_to_ns, s_to_ns

KEY = "service.cluster"


@dataclass(frozen=True)
class Comings:
    """What lets replicas come and go in every replication."""

    table: Table
    scaler: Any
    """Bound to the replicas; None without an autoscaler."""

    @property
    def initial(self) -> int:
        """Replicas that are ready at the start."""
        if self.scaler is None:
            return NEVER
        return int(self.table.initial_replicas or self.scaler.min_replicas)

    def applied(self, cluster: Cluster, rng: np.random.Generator, last_ns: int) -> Cluster:
        """A cluster whose replicas come and go.

        Args:
            cluster: as it stands.
            rng: what outages at random are drawn from.
            last_ns: the last arrival; nobody fails later.
        """
        return replace(
            cluster,
            outages_ns=self._outages_ns(cluster.replicas, rng, last_ns),
            loses=self.table.on_failure == "lose",
            scaler=FixedSize() if self.scaler is None else self.scaler,
            cold_start_ns=ms_to_ns(self.table.cold_start_ms),
            initial=self.initial,
        )

    def _outages_ns(self, replicas: int, rng: np.random.Generator, last_ns: int) -> IntArray:
        """int64 (replicas, outages, 2), NEVER behind the last."""
        table = self.table.outages
        each: list[list[tuple[int, int]]] = [[] for _ in range(replicas)]
        if isinstance(table, tuple):
            for one in sorted(table, key=lambda one: one.at_s):
                at_ns = s_to_ns(one.at_s)
                each[one.replica].append((at_ns, at_ns + s_to_ns(one.lasts_s)))
        elif table is not None:
            mean_s = (float(table.every_s), float(table.lasts_s))
            each = [_at_random(rng, *mean_s, last_ns) for _ in range(replicas)]
        made = np.full((replicas, max(map(len, each)), 2), NEVER)
        for rows, own in zip(made, each, strict=True):
            rows[: len(own)] = own or rows[:0]
        return made


def _at_random(
    rng: np.random.Generator, every_s: float, lasts_s: float, last_ns: int
) -> list[tuple[int, int]]:
    """Outages of one replica: exponential times between them, and an exponential repair."""
    found: list[tuple[int, int]] = []
    at_s = 0.0
    while True:
        at_s += rng.exponential(every_s)
        if at_s * 1e9 > last_ns:
            return found
        until_s = at_s + rng.exponential(lasts_s)
        found.append((round(at_s * 1e9), max(round(until_s * 1e9), round(at_s * 1e9) + 1)))
        at_s = until_s


def comings_of(table: Table, replicas: int, *, closed: bool) -> Comings | None:
    """What a table says of replicas that come and go; None where they stay.

    Raises:
        KeyedError: the numbers do not fit together.
    """
    scaler = None if table.autoscaler is None else _scaler(table.autoscaler, replicas)
    if scaler is None:
        for key in ("initial_replicas", "cold_start_ms"):
            if getattr(table, key):
                raise KeyedError(
                    f"{KEY}.{key}",
                    f"{KEY}.{key} needs {KEY}.autoscaler: without one all replicas are ready",
                )
    elif closed:
        raise KeyedError(
            f"{KEY}.autoscaler",
            f"{KEY}.autoscaler needs open arrivals, but the clients of a closed loop never stop",
        )
    first = table.initial_replicas
    if scaler is not None and first is not None and first > replicas:
        raise KeyedError(
            f"{KEY}.initial_replicas",
            f"{KEY}.initial_replicas = {first} must be at most {replicas}, all there are",
        )
    for place, one in enumerate(table.outages if isinstance(table.outages, tuple) else ()):
        _check_outage(place, one, replicas)
    if scaler is None and table.outages is None:
        return None
    return Comings(table, scaler)


def _check_outage(place: int, one: FailedAt, replicas: int) -> None:
    if one.replica >= replicas:
        key = f"{KEY}.outages.{place}.replica"
        raise KeyedError(key, f"{key} = {one.replica} must be below {replicas}, the replicas")


def _scaler(table: Mapping[str, Any], replicas: int) -> Any:
    key = f"{KEY}.autoscaler"
    try:
        made = build_rule({"max_replicas": replicas, **table}, AUTOSCALERS, "autoscaler")
    except ParameterError as error:
        raise KeyedError(f"{key}.{error.key}", f"{key}.{error.key} {error}") from error
    try:
        return made.bind(replicas)
    except ValueError as error:
        raise KeyedError(key, f"{key}: {error}") from error
