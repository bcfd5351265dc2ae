"""The kernel of one policy class: its own methods compiled into the event loop.

Inlined, a question to a rule costs 2 ns; through a function pointer it costs 60 to 350 ns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from numba.extending import overload

from policies.contract import View

from .answer import NO_SUCH_LANE
from .cache import cache_folder, code_digest, compile_kept, kernel_digest
from .steps import advance, ask_next, complete_next, look, obey, open_round
from .steps_queue import arrive, begin, expire
from .system import System


def decide(policy: Any, view: View) -> int:
    """Ask the rule; compiled, this is the class's own ``decide``."""
    return int(policy.decide(view))


def observe(policy: Any, view: View) -> None:
    """Show a completed batch; compiled, this is the class's own ``observe`` if it has one."""
    policy.observe(view)


def lane_of(policy: Any, length: int, tier: int) -> int:
    """Lane of an arrival; compiled, this is the class's own ``lane_of`` if it has one."""
    return int(policy.lane_of(length, tier))


UNCOUNTED: Any = {"_nrt": False}
"""No reference counts: the arrays outlive the run, and counting costs ten times the run."""


@overload(decide, strict=False, jit_options=UNCOUNTED)
def _decide(policy: Any, *_: Any) -> Any:
    return policy.instance_class.decide


@overload(observe, strict=False, jit_options=UNCOUNTED)
def _observe(policy: Any, *_: Any) -> Any:
    return getattr(policy.instance_class, "observe", nothing_to_observe)


@overload(lane_of, strict=False, jit_options=UNCOUNTED)
def _lane_of(policy: Any, *_: Any) -> Any:
    return getattr(policy.instance_class, "lane_of", only_lane)


def nothing_to_observe(policy: Any, view: View) -> None:
    """What rules without ``observe`` do."""


def only_lane(policy: Any, length: int, tier: int) -> int:
    """Where rules without ``lane_of`` put everyone."""
    return 0


def simulate(policy: Any, system: System) -> None:
    """Run until no event remains or the policy breaks the contract; fills the columns."""
    for request in range(system.fates.shape[0]):
        lane = lane_of(policy, system.length[request], system.tier[request])
        if lane < 0 or lane >= system.lanes.shape[1]:
            system.count.fault = NO_SUCH_LANE
            return
        system.fates[request].lane = lane
    begin(system)
    while advance(system):
        expire(system)
        while complete_next(system):
            observe(policy, look(system))
        arrive(system)
        open_round(system)
        while ask_next(system):
            obey(system, decide(policy, look(system)))


@cache
def compiled(policy_class: type) -> Callable[[Any, System], None]:
    """The kernel of a policy class; it compiles, or is read from disk, at its first call."""
    methods = (getattr(policy_class, name, None) for name in ("decide", "observe", "lane_of"))
    parts = [kernel_digest(), policy_class.__module__, policy_class.__qualname__]
    parts += [code_digest(own) for own in methods if own is not None]
    name = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    folder = cache_folder() / f"{policy_class.__name__}-{name}"
    return compile_kept(simulate, folder, no_cfunc_wrapper=True, **UNCOUNTED)
