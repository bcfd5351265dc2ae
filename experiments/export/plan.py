"""What a policy asks of a stack: ranges of length, each with a window of size and wait.

A *window* starts a batch as soon as a server is idle and enough requests wait, or the timer has run
out.  Rules:

1. Windows are canonical: two windows of the same meaning are equal.  One that never waits has
   ``max_wait_ns = 0`` and ``min_batch_size = 1``; preferred sizes ``m, m + 1, ..., max`` are
   ``min_batch_size = m``; batches of one that are sealed at once are those of an oldest timer.
2. A plan without differences means exactly the policy; with differences it is the nearest window.
3. Lanes share the servers; of those that are ready the one whose oldest request arrived first goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from policies.contract import NEVER

from .rounding import in_ms
from .setting import Setting

Timer = Literal["oldest", "pick", "window", "sealed"]

RULE_OF: dict[Timer, str] = {"window": "collection_window", "sealed": "sealed_batches"}
"""Kinds of policies that stand for timers of their own."""


class Clock(NamedTuple):
    """How a stack counts a wait from the pick; both 0: to the nanosecond."""

    tick_ns: int = 0
    """In whole ticks, anew whenever a request is taken (TorchServe)."""
    poll_ns: int = 0
    """It looks when a request is taken and so often after it (KServe)."""


IDEAL = Clock()


class Window(NamedTuple):
    """When a batch of one lane starts; made by :func:`window`."""

    max_batch_size: int
    max_wait_ns: int = 0
    """NEVER: however long it takes."""
    min_batch_size: int = 1
    """So many need not wait for the timer."""
    timer: Timer = "oldest"
    """``oldest``: from the arrival of the oldest request, also while every server is busy;
    ``pick``: no earlier than the server became idle; ``window``: again and again from when it did,
    whether or not anybody is there; ``sealed``: from the first request of a batch, which is closed
    whether or not a server is idle, and does not grow then."""
    preferred: tuple[int, ...] = ()
    """Sizes, increasing: until the timer has run out the largest that waits goes, and only it."""
    clock: Clock = IDEAL
    """What a ``pick`` timer is counted with."""
    most_ongoing: int = 0
    """Sealed batches hold no more requests than these, with those that run; 0: any number."""

    @property
    def waits(self) -> bool:
        """Whether a request can wait beside an idle server."""
        return self.max_wait_ns > 0

    @property
    def endless(self) -> bool:
        """Whether it waits however long it takes."""
        return self.max_wait_ns == NEVER


class Lane(NamedTuple):
    """The lengths above ``low`` up to and including ``high``."""

    low: int | None
    high: int | None
    window: Window


class Plan(NamedTuple):
    """What to ask of a stack."""

    lanes: tuple[Lane, ...]
    notes: tuple[str, ...] = ()
    """How it differs from the policy as simulated, one sentence each without its full stop; none
    where it is exact."""

    @property
    def exact(self) -> bool:
        """Whether it means the policy as simulated."""
        return not self.notes

    @property
    def only(self) -> Window | None:
        """The window of a plan with one lane."""
        return self.lanes[0].window if len(self.lanes) == 1 else None

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Lengths between the lanes, as ``length_bucketed`` takes them."""
        return tuple(lane.high for lane in self.lanes[:-1] if lane.high is not None)


def window(
    max_batch_size: int,
    max_wait_ns: int = 0,
    min_batch_size: int = 0,
    timer: Timer = "oldest",
    preferred: Iterable[int] = (),
    clock: Clock = IDEAL,
    most_ongoing: int = 0,
) -> Window:
    """A canonical window (rule 1).

    Args:
        max_batch_size: at least 1.
        max_wait_ns: NEVER for no timer.
        min_batch_size: 0 stands for ``max_batch_size``; not used with preferred sizes.
        timer: what starts the wait.
        preferred: sizes of 1 to ``max_batch_size``.
        clock: of a wait from the pick.
        most_ongoing: of sealed batches.
    """
    if timer == "sealed":
        return _sealed(max_batch_size, max_wait_ns, most_ongoing)
    sizes = sorted(set(preferred))
    if sizes and max_wait_ns == NEVER:  # no more than the largest of them ever goes
        max_batch_size = sizes[-1]
    while max_wait_ns == 0 and len(sizes) > 1 and sizes[0] + 1 == sizes[1]:
        del sizes[0]  # fewer than the smallest go as they are
    if max_wait_ns == 0 and len(sizes) == 1:
        return Window(sizes[0])
    smallest = min(sizes, default=0)
    if sizes == list(range(smallest, max_batch_size + 1)):
        min_batch_size = smallest
    elif sizes:
        timed = 0 < max_wait_ns < NEVER
        return Window(max_batch_size, max_wait_ns, 1, timer if timed else "oldest", tuple(sizes))
    enough = min_batch_size or max_batch_size
    if max_wait_ns == 0 or enough == 1:
        return Window(max_batch_size)
    if max_wait_ns == NEVER or timer != "pick":
        clock = IDEAL
    timer = "oldest" if max_wait_ns == NEVER else timer
    return Window(max_batch_size, max_wait_ns, enough, timer, clock=clock)


def _sealed(max_batch_size: int, max_wait_ns: int, most_ongoing: int) -> Window:
    """Batches that are closed whether or not a server is idle."""
    if most_ongoing == 0 and (max_batch_size == 1 or max_wait_ns == 0):
        return Window(1)
    if most_ongoing == 0 and max_wait_ns == NEVER:
        return Window(max_batch_size, NEVER, max_batch_size)
    return Window(max_batch_size, max_wait_ns, max_batch_size, "sealed", most_ongoing=most_ongoing)


def from_oldest(found: Window) -> Window:
    """A window with the timer of most stacks; batches of one where each was closed at once."""
    if not found.waits:
        return Window(1)
    return found._replace(timer="oldest", clock=IDEAL, most_ongoing=0)


def single(found: Window, *notes: str) -> Plan:
    """A plan of one lane for all lengths."""
    return Plan((Lane(None, None, found),), notes)


def buckets(boundaries: Sequence[int], windows: Sequence[Window]) -> Plan:
    """A plan with a lane for each bucket of length; one more window than boundaries."""
    edges: list[int | None] = [None, *boundaries, None]
    return Plan(tuple(map(Lane, edges, edges[1:], windows)))


def plan_of(setting: Setting) -> Plan:
    """What a setting asks of a stack; a plan with notes where its policy is no window."""
    from .windows import exact_plan, nearest_plan

    return exact_plan(setting) or nearest_plan(setting)


def window_table(found: Window) -> dict[str, Any]:
    """A scenario's ``[policies.NAME]`` for a window; ``build_policy`` takes it."""
    largest = found.max_batch_size
    if found.timer in RULE_OF or found.clock != IDEAL:
        return _own_timer(found)
    if found.preferred:
        return {
            "kind": "preferred_sizes",
            "preferred_batch_size": list(found.preferred),
            "max_batch_size": largest,
            "max_wait_ms": in_ms(found.max_wait_ns),
        }
    if not found.waits:
        return {"kind": "greedy", "max_batch_size": largest}
    if found.endless and found.min_batch_size == largest:
        return {"kind": "static", "batch_size": largest}
    table = {
        "kind": "size_or_timeout",
        "max_batch_size": largest,
        "max_wait_ms": in_ms(found.max_wait_ns),
    }
    if found.min_batch_size != largest:
        table["min_batch_size"] = found.min_batch_size
    if found.timer == "pick":
        table["from_idle"] = True
    return table


def _own_timer(found: Window) -> dict[str, Any]:
    """The table of a window whose timer is a policy of its own."""
    table: dict[str, Any] = {
        "kind": RULE_OF.get(found.timer, "timer_from_pick"),
        "max_batch_size": found.max_batch_size,
        "max_wait_ms": in_ms(found.max_wait_ns),
    }
    if found.most_ongoing:
        table["max_ongoing_requests"] = found.most_ongoing
    if found.clock.tick_ns:
        table["clock_ms"] = in_ms(found.clock.tick_ns)
    if found.clock.poll_ns:
        table["poll_ms"] = in_ms(found.clock.poll_ns)
    return table


def plan_table(plan: Plan) -> Mapping[str, Any]:
    """A scenario's ``[policies.NAME]`` for a plan.

    Lanes of a plan with several have full batches and a timer from the oldest request.
    """
    if plan.only is not None:
        return window_table(plan.only)
    return {
        "kind": "length_bucketed",
        "boundaries": list(plan.boundaries),
        "max_batch_size": [lane.window.max_batch_size for lane in plan.lanes],
        "max_wait_ms": [in_ms(lane.window.max_wait_ns) for lane in plan.lanes],
    }
