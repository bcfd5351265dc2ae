"""How the servers of a recorded window stood together, as plain values and back.

Only what a live run can have: each server is on a device of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.contract import IntArray
from policies.routers import ROUTERS
from sim.cluster import Cluster, OnlyQueue

ONE_QUEUE = "none"
"""The router where there is nothing to choose."""


def plain_cluster(cluster: Cluster | None, requests: int) -> dict[str, Any] | None:
    """A cluster as plain values.

    Args:
        cluster: of the window.
        requests: of the window, which say how much of its routers' luck is used.
    """
    if cluster is None:
        return None
    kinds = {cls: kind for kind, cls in ROUTERS.items()}
    given = cluster.router._asdict()
    return {
        "replica_of": cluster.replica_of,
        "own_queues": cluster.own_queues,
        "router": {
            "kind": kinds.get(type(cluster.router), ONE_QUEUE),
            **{name: np.asarray(value).tolist() for name, value in given.items()},
        },
        "route_u": cluster.route_u[: max(1, requests)],
        "profile_of": cluster.profile_of,
        "service_ns": cluster.service_ns,
        "class_of_size": cluster.class_of_size,
    }


def cluster_of(found: Mapping[str, Any] | None) -> Cluster | None:
    """Back from :func:`plain_cluster`."""
    if found is None:
        return None
    given = dict(found["router"])
    cls = ROUTERS.get(given.pop("kind"), OnlyQueue)
    fields = {
        name: np.array(value, dtype=np.int64) if isinstance(value, list) else value
        for name, value in given.items()
    }
    return Cluster(
        np.array(found["replica_of"], dtype=np.int64),
        own_queues=bool(found["own_queues"]),
        router=cls(**fields),
        route_u=np.array(found["route_u"], dtype=np.float64),
        profile_of=np.array(found["profile_of"], dtype=np.int64),
        service_ns=_tables(found["service_ns"]),
        class_of_size=np.array(found["class_of_size"], dtype=np.int64),
    )


def _tables(found: list[Any]) -> IntArray:
    """Service times by profile; JSON keeps no shape of what is empty."""
    tables = np.array(found, dtype=np.int64)
    return tables if tables.size else np.zeros((0, 0, 0, 0), dtype=np.int64)
