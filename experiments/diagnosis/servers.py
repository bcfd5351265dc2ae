"""How the servers of a world stand together: one more of them, one queue for all, another router.

Which replica a recorded request went to is kept as its route: a router that draws at random goes
there again when it is given the draw that leads there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.contract import NEVER, IntArray
from policies.routers import AtRandom
from sim.cluster import alone

from .world import World


def with_servers(world: World, servers: int) -> World:
    """The same world with more servers like the first; each of them on a GPU of its own."""
    service, group = world.service, world.service.cluster
    if group is not None:
        more = servers - service.servers
        replicas = group.replicas + np.arange(more)
        group = replace(
            group,
            replica_of=np.append(group.replica_of, replicas),
            gpu_of=np.append(group.gpus, group.gpus.max() + 1 + np.arange(more)),
            profile_of=_more(group.profile_of, more),
            outages_ns=_never(group.outages_ns, more),
        )
    changed = replace(service, servers=servers, cluster=group)
    return replace(world, service=changed, route=_rerouted(world.route, service.servers, servers))


def _rerouted(route: IntArray | None, servers: int, most: int) -> IntArray | None:
    """Recorded routes, of which new servers get their fair share; the others stay."""
    if route is None:
        return None
    rng = np.random.Generator(np.random.PCG64(7))
    drawn = rng.integers(0, most, len(route))
    return np.where(drawn >= servers, drawn, route)


def _more(profile_of: IntArray, more: int) -> IntArray:
    """Profiles of replicas like the first; none where all have the same."""
    return np.append(profile_of, np.repeat(profile_of[:1], more)) if len(profile_of) else profile_of


def _never(outages_ns: IntArray, more: int) -> IntArray:
    """Outages of replicas, with more of those that never fail; none where nobody does."""
    if not outages_ns.size:
        return outages_ns
    return np.append(outages_ns, np.full((more, *outages_ns.shape[1:]), NEVER), axis=0)


def always_there(world: World) -> World:
    """All replicas are ready from beginning to end."""
    assert world.service.cluster is not None, "only clusters have replicas that come and go"
    changed = world.service.cluster.steady()
    return replace(world, service=replace(world.service, cluster=changed))


def started_at_once(world: World) -> World:
    """Replicas serve as soon as the autoscaler asks for them."""
    assert world.service.cluster is not None, "only clusters have replicas that come and go"
    changed = replace(world.service.cluster, cold_start_ns=0)
    return replace(world, service=replace(world.service, cluster=changed))


def on_one_queue(world: World) -> World:
    """All servers take from one queue."""
    group = world.service.cluster
    if group is None:
        return world
    changed = replace(group, own_queues=False)
    return replace(world, service=replace(world.service, cluster=changed), route=None)


def with_router(world: World, router: object) -> World:
    """Another router in front of the replicas."""
    assert world.service.cluster is not None, "only clusters have routers"
    changed = replace(world.service.cluster, router=router)
    return replace(world, service=replace(world.service, cluster=changed), route=None)


def on_own_gpus(world: World) -> World:
    """Every server has a GPU of its own."""
    group = world.service.cluster
    if group is None:
        return world
    changed = replace(group, gpu_of=np.zeros(0, dtype=np.int64))
    return replace(world, service=replace(world.service, cluster=changed))


def as_routed(world: World, route: IntArray) -> World:
    """Every server has a queue of its own, and requests join the one that they joined."""
    group = replace(alone(world.service.servers), own_queues=True, router=AtRandom())
    return replace(world, service=replace(world.service, cluster=group), route=route)
