"""What the files of a stack can ask for, and what a policy gives up to fit them.

:class:`Terms` are facts about a stack; :func:`agreed` holds a plan against them.  Where the stack
cannot do what the plan asks, each *concession* says why not and what is written instead.  Rules:

1. Without a concession the plan that comes back means exactly the policy.
2. With one, and without ``nearest``, :class:`NotExpressible` is raised with all reasons.
3. A batch of one never waits, so that the timer of a stack does not matter to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, NoReturn

from policies.contract import NEVER

from .cluster_terms import Spread, replicas_given_up, tier_limits_given_up
from .concession import Concession, unique
from .contract import Nearest, NotExpressible
from .plan import IDEAL, Clock, Lane, Plan, Timer, Window, from_oldest, plan_of
from .rounding import Unit, in_ms, in_whole
from .setting import Setting
from .windows import reason_of


class Terms(NamedTuple):
    """What the batcher of a stack does."""

    stack: str
    """A key of ``STACKS``."""
    title: str
    timer: Timer | None
    """What its wait is counted from; None where no simulated timer is the same."""
    timer_starts: str
    """From when it waits, as it goes on after *the wait of TITLE begins*."""
    other_timer: str
    """What a policy with another timer becomes, as it goes on after *it*."""
    clock: Clock = IDEAL
    """What counts it; a policy that names no clock means any."""
    no_zero: str = ""
    """Why it cannot serve at once; empty where it can."""
    shortest_wait_ns: int = 0
    no_shared_queue: str = ""
    """Why several servers are not what was simulated; empty where they share one queue."""
    several_queues: str = (
        "it asks for {servers} servers that do not share one queue, so that some idle while "
        "requests wait for another"
    )
    """What several servers are instead."""
    most_wait_ns: int = NEVER - 1
    """Waits above are not taken."""
    longest_wait_ns: int = 3600 * 10**9
    """Stands for a wait without an end: an hour, longer than clients and proxies stay; less where
    :func:`longest_sensible_ns` says so."""
    many_models: str = "the models run beside each other instead of taking turns"
    """What models for ranges of length do, where lanes would share the servers."""
    routers: tuple[str, ...] = ()
    """Kinds of routers, of scalers, and how its replicas get their requests: as in
    :class:`~experiments.export.cluster_terms.Spread`."""
    spreads: str = "as whatever stands before them sends them"
    scalers: tuple[str, ...] = ()
    places: bool = False
    shares: bool = False
    levels: bool = False
    """Whether it serves urgent requests first, and fills batches up with the others."""


Adapted = tuple[Window, Concession | None]


def agreed(setting: Setting, terms: Terms, *others: Concession, nearest: bool) -> Plan:
    """The plan that the files of a stack can ask for.

    Args:
        setting: what is exported.
        terms: of the stack.
        others: what has to be given up beside the windows of the plan.
        nearest: whether something may be given up.

    Raises:
        NotExpressible: something had to be given up, and ``nearest`` was not asked for.
    """
    plan = plan_of(setting)
    found = [
        *no_window(setting, plan),
        *shared_lanes(plan, terms),
        *beside_windows(setting, terms),
        *others,
    ]
    longest_wait_ns = longest_sensible_ns(setting)
    if longest_wait_ns < NEVER:
        terms = terms._replace(longest_wait_ns=longest_wait_ns)
    lanes = []
    for lane in plan.lanes:
        window, given_up = fitted(lane.window, terms)
        lanes.append(Lane(lane.low, lane.high, window))
        found += given_up
    return agreed_on(terms.stack, Plan(tuple(lanes)), found, nearest=nearest)


def no_window(setting: Setting, plan: Plan) -> list[Concession]:
    """A policy that is no window, given up for the nearest."""
    return [Concession(reason_of(setting), note) for note in plan.notes]


def longest_sensible_ns(setting: Setting) -> int:
    """The longest wait that can be of use: the tightest SLO, and half of a time-out; else NEVER."""
    longest_ns = min((tier.slo_ns for tier in setting.tiers), default=NEVER)
    return longest_ns if setting.timeout_ns is None else min(longest_ns, setting.timeout_ns // 2)


def agreed_on(stack: str, plan: Plan, found: Iterable[Concession], *, nearest: bool) -> Plan:
    """The plan with what was given up for it among its notes.

    Raises:
        NotExpressible: something was given up, and ``nearest`` was not asked for.
    """
    given_up = tuple(found)
    fits = plan._replace(notes=unique((*plan.notes, *(each.difference for each in given_up))))
    if given_up and not nearest:
        refuse(stack, given_up, fits)
    return fits


def refuse(stack: str, found: Iterable[Concession], fits: Plan) -> NoReturn:
    """Raise :class:`NotExpressible` with every reason, and what ``fits`` instead."""
    reason = ", and ".join(unique(each.reason for each in found))
    raise NotExpressible(stack, reason, Nearest(fits, "; ".join(fits.notes)))


def fitted(window: Window, terms: Terms) -> tuple[Window, list[Concession]]:
    """The nearest window that a stack can do, and what was given up for it."""
    given_up = []
    for adapt in ADAPTIONS:
        window, conceded = adapt(window, terms)
        if conceded is not None:
            given_up.append(conceded)
    return window, given_up


def _preferred(window: Window, terms: Terms) -> Adapted:
    if not window.preferred:
        return window, None
    largest = window.max_batch_size
    until = f"waits for {largest} or the timer" if window.waits else f"takes up to {largest}"
    plain = window._replace(preferred=(), min_batch_size=largest if window.waits else 1)
    reason = f"{terms.title} has no preferred batch sizes"
    return plain, Concession(reason, f"it {until}, and stops at no preferred size")


def _smallest(window: Window, terms: Terms) -> Adapted:
    largest, enough = window.max_batch_size, window.min_batch_size
    if not window.waits or enough == largest:
        return window, None
    return window._replace(min_batch_size=largest), Concession(
        f"{terms.title} has no smallest batch: only {largest} requests or the timer start one",
        f"it waits for {largest} requests or the timer, where {enough} were enough",
    )


def _endless(window: Window, terms: Terms) -> Adapted:
    if window.max_wait_ns <= terms.most_wait_ns:
        return window, None
    timer = terms.timer or window.timer
    return window._replace(max_wait_ns=terms.longest_wait_ns, timer=timer), Concession(
        f"{terms.title} cannot wait without an end, nor for weeks",
        f"it waits up to {in_ms(terms.longest_wait_ns)} ms for a full batch, and then serves what "
        "is there",
    )


def _timer(window: Window, terms: Terms) -> Adapted:
    if window.timer == terms.timer or not (window.waits or window.timer == "sealed"):
        return window, None
    plain = from_oldest(window)
    found = plain._replace(timer=terms.timer or "oldest") if plain.waits else plain
    if window.timer == "sealed":
        return found, Concession(
            f"{terms.title} closes no batch while every server is busy",
            f"it {terms.other_timer}; a backlog makes larger batches",
        )
    return found, Concession(
        f"the wait of {terms.title} begins {terms.timer_starts}", f"it {terms.other_timer}"
    )


def _clock(window: Window, terms: Terms) -> Adapted:
    if window.clock in {IDEAL, terms.clock}:
        return window, None
    return window._replace(clock=IDEAL), Concession(
        f"the clock of {terms.title} is another than that of the policy",
        "its wait ends up to a tick of that clock sooner or later",
    )


def _at_once(window: Window, terms: Terms) -> Adapted:
    largest = window.max_batch_size
    if window.waits or not terms.no_zero or largest == 1:
        return window, None
    shortest_ns = terms.shortest_wait_ns
    shortest = Window(largest, shortest_ns, largest, terms.timer or "pick")
    return shortest, Concession(
        f"{terms.title} cannot serve at once: {terms.no_zero}",
        f"it waits up to {in_ms(shortest_ns)} ms for a full batch, where it would not wait",
    )


ADAPTIONS: tuple[Callable[[Window, Terms], Adapted], ...] = (
    _preferred,
    _smallest,
    _endless,
    _timer,
    _clock,
    _at_once,
)
"""Each gives up one thing that a stack may not have, in this order."""


def beside_windows(setting: Setting, terms: Terms) -> list[Concession]:
    """What is given up of the servers and of the limits of tiers, whatever the windows."""
    spread = Spread(
        terms.title,
        terms.no_shared_queue,
        terms.several_queues.format(servers=setting.servers),
        terms.routers,
        terms.spreads,
        terms.scalers,
        places=terms.places,
        shares=terms.shares,
    )
    return [*replicas_given_up(setting, spread), *tier_limits_given_up(setting, terms.title)]


def shared_lanes(plan: Plan, terms: Terms) -> list[Concession]:
    """Several lanes, given up for several models."""
    if len(plan.lanes) == 1:
        return []
    return [
        Concession(
            f"{terms.title} has one queue a model, whatever the lengths",
            f"it becomes {len(plan.lanes)} models, one for each range of lengths, behind a router "
            f"that knows the length: {terms.many_models}",
        )
    ]


def rounded(plan: Plan, unit: Unit) -> list[str]:
    """Notes on the waits of a plan that whole units of a stack change."""
    waits = [lane.window.max_wait_ns for lane in plan.lanes if lane.window.waits]
    notes = [in_whole(wait_ns, unit, "max_wait").note for wait_ns in waits]
    return list(unique(filter(None, notes)))


def no_capacity(setting: Setting, title: str) -> list[Concession]:
    """A limit on the queue, given up on a stack that has none."""
    if setting.capacity is None:
        return []
    return [
        Concession(
            f"{title} has no limit on its queue, where the run rejects what finds "
            f"{setting.capacity} requests there",
            "it does not limit the queue: limit it at the client or the gateway",
        )
    ]


def no_timeout(setting: Setting, title: str) -> list[Concession]:
    """A time-out of the queue, given up on a stack that has none."""
    if setting.timeout_ns is None:
        return []
    return [
        Concession(
            f"{title} has no time-out of its queue, where in the run requests leave after "
            f"{in_ms(setting.timeout_ns)} ms",
            "it serves requests however long they have waited",
        )
    ]
