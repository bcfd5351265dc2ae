"""Priority levels of Triton: one for each tier, with the queue policy that its limits ask for.

A request says its level in the parameter ``priority``; level 1 is the most urgent.  A batch takes
requests level by level until it is full (``PriorityQueue`` in ``scheduler_utils.cc`` of
triton-inference-server/core).  ``priority_queue_policy`` replaces ``default_queue_policy`` for its
level as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.contract import NEVER

from .concession import Concession
from .contract import NotExpressible
from .plan import Plan
from .replicas import TierTraffic
from .rounding import in_ms, in_whole
from .setting import Setting

STALLS = (
    "a Triton with max_queue_size may stop serving for up to 500 ms at a time once that queue is "
    "full"
)


def limits_of(setting: Setting) -> tuple[TierTraffic, ...]:
    """The limits of each level, the time-out of all included."""
    traffic = setting.traffic or (TierTraffic(),) * len(setting.tiers)
    shared = setting.timeout_ns
    return tuple(
        each if shared is None or each.backlog else each._replace(timeout_ns=shared)
        for each in traffic
    )


def level_lines(setting: Setting) -> Iterable[str]:
    """The fields of ``dynamic_batching`` that make levels of the tiers."""
    count = len(setting.tiers)
    yield f"priority_levels: {count}"
    yield f"default_priority_level: {count}"
    for level, each in enumerate(limits_of(setting), 1):
        fields = list(_policy_fields(each))
        if fields:
            yield "priority_queue_policy {"
            yield f"  key: {level}"
            yield "  value {"
            yield from (f"    {field}" for field in fields)
            yield "  }"
            yield "}"


def _policy_fields(limits: TierTraffic) -> Iterable[str]:
    """The queue policy of one level; none where nothing limits it."""
    if limits.timeout_ns is not None:
        timeout_us = in_whole(limits.timeout_ns, "us", "the time-out").value
        yield "timeout_action: REJECT"
        yield f"default_timeout_microseconds: {timeout_us}"
    if limits.capacity is not None:
        yield f"max_queue_size: {max(1, limits.capacity)}"


def level_limits_given_up(setting: Setting) -> Iterable[Concession]:
    """Limits on how many of a tier wait, which Triton holds at a price."""
    for level, (tier, each) in enumerate(zip(setting.tiers, setting.traffic, strict=False), 1):
        if each.capacity is None:
            continue
        size = max(1, each.capacity)
        yield Concession(
            f"the run rejects requests of {tier.name} when {each.capacity} of it wait, and "
            f"{STALLS}",
            f"it has max_queue_size {size} for level {level}, with which it may stop serving for "
            f"up to 500 ms at a time while {size} of {tier.name} wait, unless other levels keep "
            "it awake: limit them at the client or the gateway where you can",
        )


def level_notes(setting: Setting) -> Iterable[str]:
    """Which tier is which level, and what clients have to say."""
    levels = ", ".join(f"{level} is {tier.name}" for level, tier in enumerate(setting.tiers, 1))
    last = len(setting.tiers)
    yield (
        f"priority levels are the tiers, {levels}: clients give theirs in the parameter priority "
        f"of a request, and a request without one is of level {last}"
    )
    for tier, each in zip(setting.tiers, limits_of(setting), strict=True):
        if each.timeout_ns is not None:
            note = in_whole(each.timeout_ns, "us", f"the time-out of {tier.name}").note
            if note:
                yield note


def check_level_timeouts(setting: Setting, plan: Plan, stack: str) -> None:
    """Refuse a delay that outlasts the time-out of a level.

    Raises:
        NotExpressible: an idle server would reject every request of the level.
    """
    wait_ns = max(lane.window.max_wait_ns for lane in plan.lanes)
    if wait_ns == NEVER:
        return
    wait_us = in_whole(wait_ns, "us", "max_wait").value
    for tier, each in zip(setting.tiers, limits_of(setting), strict=True):
        if each.timeout_ns is None:
            continue
        if in_whole(each.timeout_ns, "us", "the time-out").value <= wait_us:
            raise NotExpressible(
                stack,
                f"the time-out of {in_ms(each.timeout_ns)} ms of {tier.name} is not above the "
                f"wait of {in_ms(wait_ns)} ms, so that an idle server would reject every request "
                "of it that waits for others; give a wait below the time-out",
            )
