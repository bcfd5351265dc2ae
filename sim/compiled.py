"""The kernel of one policy class: its own methods compiled into the event loop.

Inlined, a question to a rule costs 2 ns; through a function pointer it costs 60 to 350 ns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from numba.core.types import UniTuple
from numba.extending import overload

from policies.contract import View
from policies.routing import RouteView
from policies.scaling import ScaleView

from .answer import NO_SUCH_LANE, NO_SUCH_REPLICA, SOUND
from .cache import cache_folder, code_digest, compile_kept, kernel_digest
from .changes import Unchanging
from .cluster import OnlyQueue
from .compiled_slots import (
    act_seated,
    in_line,
    is_sticky,
    leave_slots,
    next_of_sequences,
    plan,
)
from .steps import advance, ask_next, complete_next, obey, open_round
from .steps_cluster import change, join_again, next_orphan
from .steps_queue import admit, begin, expire, next_arrival
from .steps_scaling import look_at_all, rescale, ticks, write_down
from .steps_sealed import ask_next_or_ahead, obey_or_seal
from .steps_views import look, look_around
from .system import AVAILABLE, KIND, System


def decide(policy: Any, view: View) -> int:
    """Ask the rule; compiled, this is the class's own ``decide``."""
    return int(policy.decide(view))


def observe(policy: Any, view: View) -> None:
    """Show a completed batch; compiled, this is the class's own ``observe`` if it has one."""
    policy.observe(view)


def lane_of(policy: Any, length: int, tier: int) -> int:
    """Lane of an arrival; compiled, this is the class's own ``lane_of`` if it has one."""
    return int(policy.lane_of(length, tier))


def route(router: Any, view: RouteView, u: float) -> int:
    """Ask a router; compiled, this is the class's own ``route``."""
    return int(router.route(view, u))


def target(scaler: Any, view: ScaleView) -> int:
    """Ask an autoscaler; compiled, this is the class's own ``target``."""
    return int(scaler.target(view))


def of_kind(policies: Any, kind: int) -> Any:
    """The policy of a kind of queue; compiled, a single one stands for all kinds."""
    return policies[kind] if type(policies) is tuple else policies


UNCOUNTED: Any = {"_nrt": False}
"""No reference counts: the arrays outlive the run, and counting costs ten times the run."""


INLINED: Any = {**UNCOUNTED, "forceinline": True}
"""What is called for every question."""


@overload(decide, strict=False, jit_options=UNCOUNTED)
def _decide(policy: Any, *_: Any) -> Any:
    return policy.instance_class.decide


@overload(observe, strict=False, jit_options=UNCOUNTED)
def _observe(policy: Any, *_: Any) -> Any:
    return getattr(policy.instance_class, "observe", nothing_to_observe)


@overload(lane_of, strict=False, jit_options=UNCOUNTED)
def _lane_of(policy: Any, *_: Any) -> Any:
    return getattr(policy.instance_class, "lane_of", only_lane)


@overload(route, strict=False, jit_options=UNCOUNTED)
def _route(router: Any, *_: Any) -> Any:
    return router.instance_class.route


@overload(target, strict=False, jit_options=UNCOUNTED)
def _target(scaler: Any, *_: Any) -> Any:
    return scaler.instance_class.target


@overload(of_kind, strict=False, jit_options=UNCOUNTED)
def _of_kind(policies: Any, kind: Any) -> Any:
    if isinstance(policies, UniTuple):
        return one_of_many
    return the_only_one


def one_of_many(policies: Any, kind: int) -> Any:
    """Where queues have policies that were bound to different servers."""
    return policies[kind]


def the_only_one(policies: Any, kind: int) -> Any:
    """Where all queues have the same."""
    return policies


def nothing_to_observe(policy: Any, view: View) -> None:
    """What rules without ``observe`` do."""


def only_lane(policy: Any, length: int, tier: int) -> int:
    """Where rules without ``lane_of`` put everyone."""
    return 0


def queue_for(router: Any, system: System) -> int:
    """The queue that the request at hand joins, or finds full."""
    raise NotImplementedError("compiled code only")


@overload(queue_for, strict=False, jit_options=UNCOUNTED)
def _queue_for(router: Any, system: Any) -> Any:
    return the_one_queue if router.instance_class is OnlyQueue else routed_queue


def the_one_queue(router: Any, system: System) -> int:
    """Where there is nothing to choose; nothing of routing is compiled then."""
    return 0


def routed_queue(router: Any, system: System) -> int:
    """What the router says."""
    queues, count = system.queues, system.count
    u = system.route_u[count.request % system.route_u.shape[0]]
    queue = route(router, look_around(system), u)
    if queue < 0 or queue >= queues.shape[1] or queues[AVAILABLE, queue] == 0:
        count.fault = NO_SUCH_REPLICA
        queue = 0
    count.routed += 1
    return queue


def come_and_go(router: Any, scaler: Any, system: System) -> None:
    """Work through the changes of an instant."""
    raise NotImplementedError("compiled code only")


@overload(come_and_go, strict=False, jit_options=UNCOUNTED)
def _come_and_go(router: Any, scaler: Any, system: Any) -> Any:
    return all_stay if scaler.instance_class is Unchanging else some_come_and_go


def all_stay(router: Any, scaler: Any, system: System) -> None:
    """Where replicas never change; nothing of changes is compiled then."""


def some_come_and_go(router: Any, scaler: Any, system: System) -> None:
    """Those that are ready, those that fail with what becomes of their requests, the autoscaler."""
    if change(system):
        while next_orphan(system):
            join_again(system, queue_for(router, system))
        if ticks(system):
            rescale(system, target(scaler, look_at_all(system)))
        write_down(system)


def next_question(policies: Any, system: System) -> bool:
    """Go to the next question; whether there is one."""
    raise NotImplementedError("compiled code only")


@overload(next_question, strict=False, jit_options=INLINED)
def _next_question(policies: Any, system: Any) -> Any:
    return question_or_ahead if _asks_ahead(policies) else question


def act(policies: Any, system: System, answer: int) -> None:
    """Do what the policy answered."""
    raise NotImplementedError("compiled code only")


@overload(act, strict=False, jit_options=INLINED)
def _act(policies: Any, system: Any, answer: Any) -> Any:
    if is_sticky(policies):
        return act_seated
    return act_or_seal if _asks_ahead(policies) else act_now


def _asks_ahead(policies: Any) -> bool:
    """Whether the class of a policy, or of many, may seal batches or shed requests."""
    one = policies.dtype if isinstance(policies, UniTuple) else policies
    said = [getattr(one.instance_class, name, 0) for name in ("seals", "sheds")]
    return any(not isinstance(each, int) or each != 0 for each in said)  # a property may be any


def question(policies: Any, system: System) -> bool:
    """Where batches start as they are formed; nothing of sealed ones is compiled then."""
    return ask_next(system)


def question_or_ahead(policies: Any, system: System) -> bool:
    """Where batches may be formed ahead, or requests shed."""
    return ask_next_or_ahead(system)


def act_now(policies: Any, system: System, answer: int) -> None:
    """Start a batch, or wait."""
    obey(system, answer)


def act_or_seal(policies: Any, system: System, answer: int) -> None:
    """Start a batch, seal one, shed requests, or wait."""
    obey_or_seal(system, answer)


def take_in(policies: Any, router: Any, system: System) -> None:
    """Let the arrival at hand in, or reject it."""
    raise NotImplementedError("compiled code only")


@overload(take_in, strict=False, jit_options=INLINED)
def _take_in(policies: Any, router: Any, system: Any) -> Any:
    return in_sequence if is_sticky(policies) else by_itself


def by_itself(policies: Any, router: Any, system: System) -> None:
    """Where requests belong to no sequences; nothing of slots is compiled then."""
    admit(system, queue_for(router, system))


def in_sequence(policies: Any, router: Any, system: System) -> None:
    """Where they may."""
    if not in_line(system):
        admit(system, queue_for(router, system))


def simulate(policies: Any, router: Any, scaler: Any, system: System) -> None:
    """Run until no event remains or a rule breaks its contract; fills the columns."""
    count, queues = system.count, system.queues
    lanes = system.lanes.shape[1] // queues.shape[1]
    for request in range(system.fates.shape[0]):
        lane = lane_of(of_kind(policies, 0), system.length[request], system.tier[request])
        if lane < 0 or lane >= lanes:
            count.fault = NO_SUCH_LANE
            return
        system.fates[request].lane = lane
    begin(system)
    while advance(system):
        expire(system)
        leave_slots(policies, system)
        while complete_next(system):
            observe(of_kind(policies, queues[KIND, count.queue]), look(system))
            next_of_sequences(policies, system)
        come_and_go(router, scaler, system)
        while next_arrival(system):
            take_in(policies, router, system)
        plan(policies, system)
        if count.fault != SOUND:
            return
        open_round(system)
        while next_question(policies, system):
            policy = of_kind(policies, queues[KIND, count.queue])
            act(policies, system, decide(policy, look(system)))


Kernel = Callable[[Any, Any, Any, System], None]


def compiled(
    policy_class: type, router_class: type = OnlyQueue, scaler_class: type = Unchanging
) -> Kernel:
    """The kernel of a policy class; it compiles, or is read from disk, at its first call."""
    return _compiled(policy_class, router_class, scaler_class)


@cache
def _compiled(policy_class: type, router_class: type, scaler_class: type) -> Kernel:
    methods = [getattr(policy_class, name, None) for name in ("decide", "observe", "lane_of")]
    methods.append(getattr(router_class, "route", None))
    parts = [kernel_digest(), policy_class.__module__, policy_class.__qualname__]
    methods.append(getattr(scaler_class, "target", None))
    for other in (router_class, scaler_class):
        parts += [other.__module__, other.__qualname__]
    parts += [code_digest(own) for own in methods if own is not None]
    parts += [name for name in ("seals", "sheds", "slots") if hasattr(policy_class, name)]
    name = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{policy_class.__name__}-{name}"
    return compile_kept(simulate, folder, no_cfunc_wrapper=True, **UNCOUNTED)
