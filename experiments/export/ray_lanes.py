"""Windows of Ray Serve: batches that are closed by size and timer, whether or not it is busy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .concession import Concession
from .contract import NotExpressible
from .load import busy_servers, rate_per_s, sealed_size, shortest_waits_ns
from .plan import Lane, Plan, Window
from .rounding import in_ms
from .setting import Setting

STACK = "ray"

SEALED = "Ray Serve closes a batch by size and timer, busy or not, and a closed batch never grows"


def same(window: Window) -> bool:
    """Whether a window means the same where closed batches do not grow (rule 1)."""
    if window.timer == "sealed":
        return True
    full = window.endless and window.min_batch_size == window.max_batch_size
    return window.max_batch_size == 1 or (full and not window.preferred)


def sealed_lanes(setting: Setting, plan: Plan) -> list[Lane]:
    """The windows of a plan that Ray Serve can do, with waits that keep up with the run.

    Raises:
        NotExpressible: no wait keeps up.
    """
    return _sufficient(setting, [_sealed(lane) for lane in plan.lanes])


def around_batches(setting: Setting, plan: Plan, lanes: Sequence[Lane]) -> Iterable[Concession]:
    """What is given up for the windows: that closed batches never grow, and longer waits."""
    yield from _differing(plan)
    yield from _raised(setting, plan, lanes)


def _sealed(lane: Lane) -> Lane:
    """A lane with the only window that Ray Serve has."""
    window = lane.window
    if same(window):
        return lane
    wait_ns = 0 if window.endless else window.max_wait_ns
    return Lane(lane.low, lane.high, Window(window.max_batch_size, wait_ns, window.max_batch_size))


def _sufficient(setting: Setting, lanes: list[Lane]) -> list[Lane]:
    """Lanes whose waits make batches that keep up (rule 2)."""
    if all(same(lane.window) for lane in lanes):
        return lanes
    asked = [lane.window.max_wait_ns for lane in lanes]
    if rate_per_s(setting, Lane(None, None, lanes[0].window)) is None:
        if min(asked) == 0:
            raise NotExpressible(
                STACK,
                "a wait of 0 makes batches of 1, and the run has no rate of arrivals from which to "
                "choose a wait",
            )
        return lanes
    if busy_at(setting, lanes, asked) < setting.servers and min(asked) > 0:
        return lanes
    least = shortest_waits_ns(setting, lanes)
    if least is None:
        rate = setting.evidence.rate_per_s
        sizes = "/".join(str(lane.window.max_batch_size) for lane in lanes)
        raise NotExpressible(
            STACK,
            f"{SEALED}, and no batches up to {sizes} keep up safely with {rate:.6g} requests per "
            "second in order of arrival",
        )
    return [
        replace_wait(lane, max(wait_ns, need_ns))
        for lane, wait_ns, need_ns in zip(lanes, asked, least, strict=True)
    ]


def replace_wait(lane: Lane, wait_ns: int) -> Lane:
    """A lane with another wait."""
    return Lane(lane.low, lane.high, lane.window._replace(max_wait_ns=wait_ns))


def busy_at(setting: Setting, lanes: list[Lane], waits_ns: list[int]) -> float:
    """How many servers the batches of all lanes keep busy with these waits."""
    return sum(
        busy_servers(setting, lane, sealed_size(setting, lane, wait_ns))
        for lane, wait_ns in zip(lanes, waits_ns, strict=True)
    )


def _differing(plan: Plan) -> Iterable[Concession]:
    """What closing batches early changes."""
    if all(same(lane.window) for lane in plan.lanes):
        return
    yield Concession(
        SEALED,
        "it closes batches by a timer that begins when their first request is picked, also while "
        "the server is busy, and they never grow",
    )


def _raised(setting: Setting, plan: Plan, lanes: Sequence[Lane]) -> Iterable[Concession]:
    """Waits that the load needs."""
    asked = [0 if lane.window.endless else lane.window.max_wait_ns for lane in plan.lanes]
    waits = [lane.window.max_wait_ns for lane in lanes]
    if all(same(lane.window) for lane in lanes) or waits == asked:
        return
    sizes = [f"{sealed_size(setting, lane, lane.window.max_wait_ns):.1f}" for lane in lanes]
    yield Concession(
        f"a wait of {in_each(asked)} ms makes batches too small to keep up with "
        f"{setting.evidence.rate_per_s:.6g} requests per second",
        f"it waits {in_each(waits)} ms, for batches of about {'/'.join(sizes)}",
    )


def in_each(waits_ns: list[int]) -> str:
    """Waits in ms, one for each range of lengths."""
    return "/".join(str(in_ms(wait_ns)) for wait_ns in waits_ns)
