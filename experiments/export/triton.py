"""NVIDIA Triton: ``config.pbtxt``; of rules for sequences see :mod:`.triton_sequences`.

Triton's dynamic batcher counts its delay from the arrival of the oldest request, also while every
instance is busy, so that the windows of this package are its own (``GetDynamicBatch`` in
``dynamic_batch_scheduler.cc`` of triton-inference-server/core).  Rules:

1. A wait with ``min_batch_size`` m below the largest is exact through the preferred sizes m, m + 1,
   ..., max: while the delay is not over, the largest of them that waits goes at once.
2. ``max_queue_size`` is never written.  A full queue is rejected before the batcher is woken, whose
   own look-up comes every 500 ms, so that an overloaded server stops serving.
   Where tiers have limits of their own it is written for their levels, with ``nearest`` and that
   warning: requests of other levels wake the batcher.
3. ``priority_levels`` are written for rules that know tiers: ``priority_fill`` is what Triton does
   with them, the others are that nearly.  A model for each tier would not be nearer: models take
   turns by how often each has run, and not by who is urgent.
4. Batches that are formed ahead of an idle instance would not keep to preferred sizes, and beside a
   delay they do not grow while they wait.  ``allow_timeout_override`` turns forming ahead off
   (without a default time-out it allows nothing else): ``support_prefetching_`` in
   ``scheduler_utils.cc``.  On Triton 2.51 with sizes [4, 8], no delay and 700 requests per second
   the median latency fell from 32 to 17 ms; 16 ms were simulated, without the client.  With a delay
   of 8 ms and batches of 22 to 36 ms, 150 requests per second, the mean fell from 64 to 47 ms.
5. Ranges of length become one model each.  Triton's rate limiter lets them take turns on a server,
   by how often each has run, and not by who waits longest.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.contract import NEVER

from .cluster_terms import Spread, replicas_given_up, tier_limits_given_up
from .comment import comment_of, commented
from .concession import Concession, unique
from .contract import Exported, NotExpressible
from .lengths_routed import Route, route_notes, routes
from .plan import Lane, Plan, Window, from_oldest, plan_of
from .rounding import in_ms, in_whole
from .setting import Setting
from .terms import refuse
from .tier_windows import DOES, knows_tiers, levels_plan
from .triton_instances import instance_groups, instance_notes, routed_by
from .triton_levels import check_level_timeouts, level_limits_given_up, level_lines, level_notes
from .triton_read import read, recognises
from .triton_router import router
from .triton_sequences import export_sequences, keeps_sequences
from .windows import reason_of

__all__ = ["export", "read", "recognises"]

STACK = "triton"
CONFIG = "config.pbtxt"


def export(setting: Setting, *, nearest: bool) -> Exported:
    """``config.pbtxt``, to be merged into that of the model; one for each range of lengths.

    Raises:
        NotExpressible: Triton cannot do what the policy does.
    """
    if keeps_sequences(setting):
        return export_sequences(setting)
    asked = levels_plan(setting) if knows_tiers(setting) else plan_of(setting)
    plan = fitted(setting, asked, nearest=nearest)
    _check_timeout(setting, plan)
    notes = unique(_notes(setting, plan))
    comment = commented(comment_of(setting, plan.notes, notes))
    files = {
        f"{route.folder}{CONFIG}": f"{comment}\n{config(setting, route)}"
        for route in routes(setting, plan)
    }
    if len(plan.lanes) > 1:
        files |= router(setting, plan)
    return Exported(files, notes, plan.exact, plan.notes)


def fitted(setting: Setting, plan: Plan, *, nearest: bool) -> Plan:
    """The plan with what Triton cannot do given up.

    Raises:
        NotExpressible: something has to be given up, and ``nearest`` was not asked for.
    """
    reason = reason_of(setting)
    if knows_tiers(setting):
        reason = f"{DOES[setting.kind]}, which priority levels of Triton cannot do"
    found = [Concession(reason, note) for note in plan.notes]
    lanes = []
    for lane in plan.lanes:
        window, given_up = _window(setting, lane.window)
        lanes.append(Lane(lane.low, lane.high, window))
        found += given_up
    found += [*_queue(setting), *_turns(setting, plan), *_replicas(setting)]
    fits = Plan(tuple(lanes), unique(each.difference for each in found))
    if found and not nearest:
        refuse(STACK, found, fits)
    return fits


def _window(setting: Setting, window: Window) -> tuple[Window, list[Concession]]:
    """The nearest window with a delay, and what was given up for it."""
    given_up = []
    if window.endless:
        slo_ns = min(tier.slo_ns for tier in setting.tiers)
        reason = "Triton cannot wait without an end for a full batch"
        if slo_ns == NEVER:
            hint = "and without an SLO nothing says how long it should"
            raise NotExpressible(STACK, f"{reason}, {hint}")
        delay = f"it waits {in_ms(slo_ns)} ms at most, as long as the SLO"
        given_up.append(Concession(reason, f"{delay}, and then serves what is there"))
        window = window._replace(max_wait_ns=slo_ns)
    if window.timer == "pick":
        reason = "the delay of Triton begins when the oldest request arrives"
        difference = "it does not start the delay anew when the server becomes idle"
        given_up.append(Concession(reason, f"{difference}, so that a backlog goes at once"))
    elif window.timer == "window":
        reason = "the delay of Triton begins when the oldest request arrives"
        difference = "it does not collect while nobody is there"
        given_up.append(Concession(reason, f"{difference}, so that a lone request waits longer"))
    elif window.timer == "sealed":
        reason = "a batch of Triton grows until an instance takes it"
        difference = "it does not close batches while the server is busy"
        given_up.append(Concession(reason, f"{difference}, so that a backlog makes larger ones"))
    if window.timer != "oldest":
        window = from_oldest(window)
    return window, given_up


def _queue(setting: Setting) -> list[Concession]:
    """Limits on the queue, which Triton cannot hold safely (rule 2)."""
    if knows_tiers(setting):
        found = list(level_limits_given_up(setting))
    else:
        found = tier_limits_given_up(setting, "a queue of Triton without levels")
    if setting.capacity is None:
        return found
    return [
        Concession(
            f"the run rejects requests when {setting.capacity} are there already, and a Triton "
            "with max_queue_size stops serving for up to 500 ms at a time once its queue is full",
            "it does not limit the queue: limit it at the client or the gateway, or give "
            "service.timeout, which Triton holds",
        ),
        *found,
    ]


def _replicas(setting: Setting) -> list[Concession]:
    """What stands before several Triton servers, or starts and stops them."""
    own = "every Triton server has a queue of its own" if routed_by(setting) else ""
    before = "from a balancer that you put before them"
    spread = Spread("Triton", own, spreads=before, several_batches=True, places=True, shares=True)
    return replicas_given_up(setting, spread)


def _turns(setting: Setting, plan: Plan) -> list[Concession]:
    """Models that share a server take turns in an order of their own (rule 5)."""
    if len(plan.lanes) == 1:
        return []
    goes = "the one whose oldest request arrived first"
    if knows_tiers(setting):
        goes = "the one with the most urgent request"
    return [
        Concession(
            "Triton has one queue a model, whatever the lengths",
            f"it becomes {len(plan.lanes)} models, one for each range of lengths, which take turns "
            f"on a server by how often each has run, where {goes} would go; a router that knows "
            "the length stands before them",
        )
    ]


def _check_timeout(setting: Setting, plan: Plan) -> None:
    """A delay that outlasts the time-out would reject all light traffic."""
    if knows_tiers(setting):
        check_level_timeouts(setting, plan, STACK)
        return
    if setting.timeout_ns is None:
        return
    timeout_us = in_whole(setting.timeout_ns, "us", "the time-out").value
    for lane in plan.lanes:
        wait_ns = lane.window.max_wait_ns
        if timeout_us <= in_whole(wait_ns, "us", "max_wait").value:
            raise NotExpressible(
                STACK,
                f"the time-out of {in_ms(setting.timeout_ns)} ms is not above the wait of "
                f"{in_ms(wait_ns)} ms, so that an idle server would reject every request that "
                "waits for others; give a wait below the time-out",
            )


def config(setting: Setting, route: Route) -> str:
    """The text of one model's ``config.pbtxt``."""
    window = route.window
    lines = [
        f'name: "{route.model}"',
        f"max_batch_size: {window.max_batch_size}",
        "dynamic_batching {",
        *(f"  {line}" for line in _batching(setting, window)),
        "}",
        "instance_group [",
        *_listed(instance_groups(setting, shares=bool(route.folder))),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _listed(messages: list[str]) -> list[str]:
    """Messages as the lines of a list."""
    return [f"  {each}," for each in messages[:-1]] + [f"  {messages[-1]}"]


def _batching(setting: Setting, window: Window) -> list[str]:
    """The fields of ``dynamic_batching``."""
    lines = []
    sizes = preferred(window)
    if sizes:
        lines.append(f"preferred_batch_size: [ {', '.join(map(str, sizes))} ]")
    delay_us = in_whole(window.max_wait_ns, "us", "max_wait").value
    lines.append(f"max_queue_delay_microseconds: {delay_us}")
    if knows_tiers(setting):
        lines += level_lines(setting)
    elif setting.timeout_ns is not None:
        timeout_us = in_whole(setting.timeout_ns, "us", "the time-out").value
        lines += [
            "default_queue_policy {",
            "  timeout_action: REJECT",
            f"  default_timeout_microseconds: {timeout_us}",
            "}",
        ]
    elif sizes or window.waits:
        lines.append("default_queue_policy { allow_timeout_override: true }")
    return lines


def preferred(window: Window) -> tuple[int, ...]:
    """``preferred_batch_size``; none stands for the largest batch alone."""
    if window.preferred or not window.waits or window.min_batch_size == window.max_batch_size:
        return window.preferred
    return tuple(range(window.min_batch_size, window.max_batch_size + 1))


def _notes(setting: Setting, plan: Plan) -> Iterable[str]:
    """Roundings, traps, and what is left to do."""
    models = f"the config.pbtxt of {setting.model}"
    if len(plan.lanes) > 1:
        models = f"copies of {models}, one for each range of lengths"
    yield f"merge this into {models}, which keeps its own backend, input and output"
    for lane in plan.lanes:
        if note := in_whole(lane.window.max_wait_ns, "us", "max_wait").note:
            yield note
        if preferred(lane.window):
            yield from _preferred_notes(lane.window)
    yield from unique(note for lane in plan.lanes for note in _ahead_notes(setting, lane.window))
    leveled = knows_tiers(setting)
    if leveled:
        yield from level_notes(setting)
    elif setting.timeout_ns is not None and (
        note := in_whole(setting.timeout_ns, "us", "the time-out").note
    ):
        yield note
    if any(lane.window.waits for lane in plan.lanes):
        yield (
            "a delay without batches formed ahead can make Triton lose throughput over hours, "
            "until the model is loaded again (triton-inference-server/server issue 8870, open in "
            "July 2026)"
        )
    if setting.longest > 1:
        yield (
            "requests of one batch need one shape: pad them, or allow_ragged_batch; otherwise a "
            "different shape ends the batch"
        )
    if len(setting.tiers) > 1 and not leveled:
        yield "the policy serves all tiers in order of arrival, so that no priority_levels are set"
    yield from instance_notes(setting, several_models=len(plan.lanes) > 1)
    yield from route_notes(setting, plan)


def _preferred_notes(window: Window) -> Iterable[str]:
    """What preferred sizes with gaps do."""
    if window.waits and len(window.preferred) > 1:
        yield (
            f"a batch of {window.preferred[0]} goes as soon as it is there, so that larger "
            "preferred sizes come from a backlog only"
        )


def _ahead_notes(setting: Setting, window: Window) -> Iterable[str]:
    """Why nothing is formed ahead, where it takes a line to say so."""
    if setting.timeout_ns is not None or knows_tiers(setting):
        return  # time-outs and levels turn it off
    turned_off = "allow_timeout_override keeps Triton from forming batches ahead, which would not"
    if preferred(window):
        yield f"{turned_off} keep to the preferred sizes while every instance is busy"
    elif window.waits:
        yield f"{turned_off} grow while every instance is busy"
