"""The compiled event loop, its fourth part: how many replicas there are (:mod:`sim.changes`)."""

from __future__ import annotations

from policies.contract import NEVER
from policies.scaling import ScaleView, held

from .cache import compiled_piece as piece
from .changes import LEAVING, OFF, READY, STARTING
from .steps_cluster import has_nothing, plan_change, serves_from_now, show, show_available
from .system import STATE, UNTIL_NS, System


@piece
def ticks(system: System) -> bool:
    """Whether the autoscaler is to be asked now."""
    count, replicas = system.count, system.replicas
    if count.tick_ns > count.now_ns:
        return False
    if count.arrived == system.arrival_ns.shape[0]:
        count.tick_ns = NEVER
        return False
    count.tick_ns += system.scaling.interval_ns
    for replica in range(replicas.shape[1]):
        if replicas[STATE, replica] == LEAVING and has_nothing(system, replica):
            replicas[STATE, replica] = OFF
            show(system, replica)
    return True


@piece
def in_state(system: System, state: int) -> int:
    """How many replicas are in a state."""
    found = 0
    for replica in range(system.replicas.shape[1]):
        found += 1 if system.replicas[STATE, replica] == state else 0
    return found


@piece
def look_at_all(system: System) -> ScaleView:
    """The view of an autoscaler."""
    count = system.count
    return ScaleView(
        count.now_ns,
        in_state(system, READY),
        in_state(system, STARTING),
        count.ongoing,
        float(count.ongoing_ns),
        count.arrived,
        system.scale_memory,
    )


@piece
def rescale(system: System, target: int) -> None:
    """Start replicas or let some go."""
    scaling = system.scaling
    wanted = held(target, scaling.min_replicas, scaling.max_replicas)
    more = wanted - in_state(system, READY) - in_state(system, STARTING)
    fewer = -more
    count = system.replicas.shape[1]
    for replica in range(count):
        if more > 0 and system.replicas[STATE, replica] == LEAVING:
            more -= 1
            system.replicas[STATE, replica] = READY
            show(system, replica)
    for replica in range(count):
        if more > 0 and system.replicas[STATE, replica] == OFF:
            more -= 1
            start_replica(system, replica)
    for replica in range(count - 1, -1, -1):
        if fewer > 0 and system.replicas[STATE, replica] == STARTING:
            fewer -= 1
            system.replicas[STATE, replica] = OFF
            system.replicas[UNTIL_NS, replica] = NEVER
            show(system, replica)
    for replica in range(count - 1, -1, -1):
        if fewer > 0 and system.replicas[STATE, replica] == READY:
            fewer -= 1
            leaves = not has_nothing(system, replica)
            system.replicas[STATE, replica] = LEAVING if leaves else OFF
            show(system, replica)
    show_available(system)


@piece
def start_replica(system: System, replica: int) -> None:
    """One that was off starts; without a cold start it is ready at once."""
    cold_start_ns = system.scaling.cold_start_ns
    if cold_start_ns == 0:
        serves_from_now(system, replica)
        return
    system.replicas[STATE, replica] = STARTING
    system.replicas[UNTIL_NS, replica] = system.count.now_ns + cold_start_ns


@piece
def write_down(system: System) -> None:
    """Note how many replicas there are, where that is new, and when to look again."""
    count, log = system.count, system.log
    ready, starting = in_state(system, READY), in_state(system, STARTING)
    last = count.logged - 1
    if ready != log[last, 1] or starting != log[last, 2]:
        log[count.logged, 0] = count.now_ns
        log[count.logged, 1] = ready
        log[count.logged, 2] = starting
        count.logged += 1
    plan_change(system)
