"""The kernel's slots: what sticky rules have compiled into the event loop, and no others."""

from __future__ import annotations

from typing import Any

from numba.core.types import UniTuple
from numba.extending import overload

from .cache import compiled_piece as piece
from .steps import obey
from .steps_sequences import arrive, is_seated, obey_seated, plan_idle, time_out, vacate
from .system import System

INLINED: Any = {"_nrt": False, "forceinline": True}
"""What is called at every instant."""


def is_sticky(policies: Any) -> bool:
    """Whether the class of a policy, or of many, keeps sequences on slots."""
    one = policies.dtype if isinstance(policies, UniTuple) else policies
    return hasattr(one.instance_class, "slots")


def act_seated(policies: Any, system: System, answer: int) -> None:
    """Start a batch, or wait, where requests may belong to sequences."""
    if is_seated(system):
        obey_seated(system, answer)
    else:
        obey(system, answer)


def leave_slots(policies: Any, system: System) -> None:
    """Sequences that were idle for too long lose their slots."""
    raise NotImplementedError("compiled code only")


@overload(leave_slots, strict=False, jit_options=INLINED)
def _leave_slots(policies: Any, system: Any) -> Any:
    return some_leave if is_sticky(policies) else nobody_sits


def nobody_sits(policies: Any, system: System) -> None:
    """Where there are no slots."""


def some_leave(policies: Any, system: System) -> None:
    """Where there are."""
    if is_seated(system):
        time_out(system)


def next_of_sequences(policies: Any, system: System) -> None:
    """The sequences of the batch that is done send their next requests into the queue."""
    raise NotImplementedError("compiled code only")


@overload(next_of_sequences, strict=False, jit_options=INLINED)
def _next_of_sequences(policies: Any, system: Any) -> Any:
    return some_go_on if is_sticky(policies) else nobody_sits


def some_go_on(policies: Any, system: System) -> None:
    """Where there are slots."""
    if is_seated(system):
        vacate(system)


def plan(policies: Any, system: System) -> None:
    """Say when a sequence times out next."""
    raise NotImplementedError("compiled code only")


@overload(plan, strict=False, jit_options=INLINED)
def _plan(policies: Any, system: Any) -> Any:
    return plan_time_out if is_sticky(policies) else nobody_sits


def plan_time_out(policies: Any, system: System) -> None:
    """Where there are slots."""
    if is_seated(system):
        plan_idle(system)


@piece
def in_line(system: System) -> bool:
    """Let the arrival at hand in where requests belong to sequences; False where they do not."""
    if not is_seated(system):
        return False
    arrive(system)
    return True
