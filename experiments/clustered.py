"""The table ``service.cluster`` made into clusters: routers are built, profiles brought together.

1. Profiles of one cluster are tabulated on the union of their lengths, up to the shortest of their
   longest, and up to the smallest of their largest batches.
2. What is said of the whole (loads, useful work, what a shared queue's rules know) is from the
   harmonic mean of the tables over the servers.  At each batch size its rate is the mean of
   theirs; where their best sizes differ the sum of their best rates is a little higher (1 % for an
   A100 and an L4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from policies.autoscalers import AUTOSCALERS
from policies.contract import FloatArray, IntArray
from policies.routers import ROUTERS
from policies.routing import bind_router
from profiles.latency import Profile
from profiles.noise import noise_table
from sim.cluster import Cluster, OnlyQueue
from sim.service import Noise

from .coming_and_going import Comings, comings_of
from .costs import DRAWS_MAX, correlated, profile_costs
from .resolve import KeyedError, blaming, place_of
from .rules import ParameterError, build_rule
from .schema import Spec
from .schema_arrivals import Closed
from .schema_service import NoNoise, ProfileNoise

KEY = "service.cluster"


@dataclass(frozen=True)
class Plan:
    """What is the same in every replication; a scenario's ``cluster``."""

    router: Any
    """Not bound; None where all share one queue."""
    instances: int
    instances_per_gpu: int
    slowdown: FloatArray
    profiles: tuple[Profile, ...] = ()
    """The service's own and the others; empty where all replicas have the service's."""
    replicas: tuple[int, ...] = ()
    """How many replicas each of the others has."""
    service_ns: IntArray | None = None
    """int64 (profiles, 1, largest batch, edges)."""
    length_edges: IntArray | None = None
    comings: Comings | None = None
    """What lets replicas come and go; None: all are always there."""

    def speed(self, servers: int) -> float:
        """How many servers without neighbours on their GPU could do as much."""
        return self.cluster(servers, np.zeros(1)).speed

    def words(self, servers: int) -> str:
        """What stands there, in words."""
        count = servers // self.instances
        told = f"{count} replica{'' if count == 1 else 's'}"
        if self.instances > 1:
            told += f" of {self.instances} instances"
        if self.router is not None:
            told += f", each with its own queue, behind a {kind_of(self.router)} router"
        else:
            told += " on one queue"
        if self.instances_per_gpu > 1:
            full = self.slowdown[-1]
            told += f", {self.instances_per_gpu} instances a GPU ({full:g} times slower together)"
        others = zip(self.profiles[1:], self.replicas, strict=True)
        told += "".join(f", {many} of them with {profile.name}" for profile, many in others)
        if self.comings is not None and self.comings.scaler is not None:
            scaler = self.comings.scaler
            told += f", {scaler.min_replicas} to {scaler.max_replicas} by {kind_of(scaler)}"
        if self.comings is not None and self.comings.table.outages is not None:
            told += ", which fail"
        return told

    def mean_ns(self, servers: int) -> IntArray:
        """int64 (1, largest batch, edges): the table whose rate is the mean of the servers'."""
        assert self.service_ns is not None, "only where profiles differ"
        each = np.bincount(self.cluster(servers, np.zeros(1)).profiles)
        return harmonic(self.service_ns, tuple(each.tolist()))

    def cut(self, largest: int) -> Plan:
        """The same with smaller batches."""
        if self.service_ns is None:
            return self
        return replace(self, service_ns=np.ascontiguousarray(self.service_ns[:, :, :largest]))

    def cluster(self, servers: int, route_u: FloatArray) -> Cluster:
        """The cluster of so many servers; the last replica may have fewer instances.

        Raises:
            KeyedError: there are too few replicas for the router or the profiles.
        """
        place = np.arange(servers)
        count = -(-servers // self.instances)
        own = self.router is not None and count > 1
        given: dict[str, Any] = {}
        if self.service_ns is not None:
            first = count - sum(self.replicas)
            if first < 1:
                raise KeyedError(
                    "service.servers",
                    f"service.servers = {servers} must be above {sum(self.replicas)}, the "
                    f"replicas of {KEY}.others",
                )
            each = (first, *self.replicas)
            given = {
                "profile_of": np.repeat(np.arange(len(each)), each),
                "service_ns": self.service_ns,
                "class_of_size": self._classes(),
            }
        return Cluster(
            place // self.instances,
            own_queues=own,
            router=self._bound(count) if own else OnlyQueue(),
            route_u=route_u,
            gpu_of=place // self.instances_per_gpu,
            slowdown=self.slowdown,
            **given,
        )

    def _bound(self, replicas: int) -> Any:
        try:
            return bind_router(self.router, replicas)
        except ValueError as error:
            raise KeyedError(f"{KEY}.router", f"{KEY}.router: {error}") from error

    def _classes(self) -> IntArray:
        """Rows of the joined quantile table: each profile's own come after those before it."""
        assert self.service_ns is not None, "only where profiles differ"
        largest, rows, before = self.service_ns.shape[2], [], 0
        for profile in self.profiles:
            table = noise_table(profile)
            rows.append(table.class_of_size[: largest + 1] + before)
            before += len(table.quantiles)
        return np.stack(rows)

    def noise(
        self, kind: Any, servers: int, batches: int, rng: np.random.Generator
    ) -> Noise | None:
        """Measured noise of servers with different profiles; None for every other kind."""
        if self.service_ns is None or not isinstance(kind, ProfileNoise):
            return None
        tables = [noise_table(profile) for profile in self.profiles]
        shape = (servers, min(batches, DRAWS_MAX))
        scores = rng.standard_normal(shape, dtype=np.float32)
        which = self.cluster(servers, np.zeros(1)).profiles
        rows = [correlated(scores[k : k + 1], tables[p].lag1)[0] for k, p in enumerate(which)]
        quantiles = np.concatenate([table.quantiles for table in tables])
        return Noise(np.stack(rows)[np.newaxis], quantiles, self._classes()[0])


def kind_of(rule: Any) -> str:
    """The word that chooses a router or an autoscaler."""
    kinds = {**ROUTERS, **AUTOSCALERS}
    return next(kind for kind, cls in kinds.items() if isinstance(rule, cls))


def plan_of(spec: Spec, folder: Path, profile: Profile | None) -> Plan | None:
    """The plan of a scenario; None where it has no cluster.

    Raises:
        KeyedError: a router or a profile is not there, or the numbers do not fit together.
    """
    table = spec.service.cluster
    if table is None:
        return None
    plan = Plan(_router(table.router), table.instances, table.instances_per_gpu, _slowdown(spec))
    if table.others is not None:
        plan = _mixed(spec, folder, profile, plan)
    if spec.service.servers % table.instances:
        raise KeyedError(
            "service.servers",
            f"service.servers = {spec.service.servers} must be a multiple of {KEY}.instances = "
            f"{table.instances}",
        )
    replicas = plan.cluster(spec.service.servers, np.zeros(1)).replicas
    closed = isinstance(spec.workload.arrivals, Closed)
    return replace(plan, comings=comings_of(table, replicas, closed=closed))


def _router(table: Mapping[str, Any] | None) -> Any:
    if table is None:
        return None
    try:
        return build_rule(table, ROUTERS, "router")
    except ParameterError as error:
        raise KeyedError(
            f"{KEY}.router.{error.key}", f"{KEY}.router.{error.key} {error}"
        ) from error


def _slowdown(spec: Spec) -> FloatArray:
    table = spec.service.cluster
    assert table is not None, "asked only where there is one"
    given = tuple(float(factor) for factor in table.slowdown or ())
    if len(given) != table.instances_per_gpu - 1:
        raise KeyedError(
            f"{KEY}.slowdown",
            f"{KEY}.slowdown has {len(given)} factors, but {KEY}.instances_per_gpu = "
            f"{table.instances_per_gpu} needs {table.instances_per_gpu - 1}: how many times as "
            "long a batch takes where 2, 3, ... instances run (measured values lie between 1.3 "
            "and 1.5 for 2)",
        )
    return np.array([1.0, 1.0, *given])


def _mixed(spec: Spec, folder: Path, profile: Profile | None, plan: Plan) -> Plan:
    """The plan with the profiles of the others."""
    import profiles

    table = spec.service.cluster
    assert table is not None, "asked only where there is one"
    assert table.others is not None, "asked only where there are others"
    key = f"{KEY}.others"
    if profile is None:
        raise KeyedError(key, f"{key} needs service.profile instead of service.model")
    if not isinstance(spec.service.noise, NoNoise | ProfileNoise | None):
        raise KeyedError(
            "service.noise", f'service.noise must be "profile" or "none" where {key} are given'
        )
    found, replicas = [profile], []
    for place, group in enumerate(table.others):
        with blaming(f"{key}.{place}.profile"):
            found.append(profiles.load(place_of(group.profile, folder)))
        if found[-1].length_unit != profile.length_unit:
            raise KeyedError(
                f"{key}.{place}.profile",
                f"{key}.{place}.profile = {group.profile} is in {found[-1].length_unit}, but "
                f"service.profile in {profile.length_unit}",
            )
        if found[-1].longest < profile.longest:
            raise KeyedError(
                f"{key}.{place}.profile",
                f"{key}.{place}.profile = {group.profile} knows lengths up to "
                f"{found[-1].longest}, but service.profile up to {profile.longest}",
            )
        replicas.append(group.replicas)
    if sum(replicas) * table.instances >= spec.service.servers:
        raise KeyedError(
            key,
            f"{key} have {sum(replicas)} replicas of {table.instances} each, but service.servers ="
            f" {spec.service.servers} counts all of them, and at least one of service.profile",
        )
    joined, edges = joined_tables(found, spec.service.latency)
    return replace(
        plan,
        profiles=tuple(found),
        replicas=tuple(replicas),
        service_ns=joined,
        length_edges=edges,
    )


def joined_tables(found: list[Profile], form: Any) -> tuple[IntArray, IntArray]:
    """Tables of several profiles on one grid (rule 1).

    Returns:
        int64 (profiles, 1, largest batch, edges) and int64 (edges,).
    """
    tables = [profile_costs(profile, form) for profile in found]
    longest = min(int(edges[-1]) for _, edges in tables)
    largest = min(table.shape[1] for table, _ in tables)
    edges = np.unique(np.concatenate([edges[edges <= longest] for _, edges in tables]))
    joined = [[np.interp(edges, own, row) for row in table[0, :largest]] for table, own in tables]
    return np.rint(np.array(joined)).astype(np.int64)[:, np.newaxis], edges


def harmonic(service_ns: IntArray, servers: tuple[int, ...]) -> IntArray:
    """The table whose rate is the mean of the servers' (rule 2).

    Args:
        service_ns: int64 (profiles, models, largest batch, edges).
        servers: how many have each profile.

    Returns:
        int64 (models, largest batch, edges).
    """
    weight = np.array(servers, dtype=np.float64)[:, np.newaxis, np.newaxis, np.newaxis]
    mean = weight.sum() / (weight / service_ns).sum(axis=0)
    rounded: IntArray = np.rint(mean).astype(np.int64)
    return rounded
