"""Ray Serve: ``app.py`` with ``@serve.batch``, and ``serve_config.yaml`` with the numbers.

Rules (``_BatchQueue`` in ``ray/serve/batching.py``, 2.60):

1. A batch is closed by size or timer whether or not the replica is busy, and a closed batch never
   grows.  So only two windows are exact, on one server: batches of 1, and full batches for which it
   waits however long it takes.
2. The size of all other batches follows from the wait, about ``rate * wait + 1``; a wait with which
   such batches cannot keep up with the run's arrivals is never written.
3. Replicas have queues of their own.  The router prefers the shorter of two random ones.
4. ``max_ongoing_requests`` holds two full batches: one that runs and one that fills.
"""

from __future__ import annotations

from collections.abc import Iterable

from .comment import comment_of, commented
from .concession import Concession, unique
from .contract import Exported, NotExpressible
from .lengths_routed import Route, route_notes, routes
from .load import busy_servers, rate_per_s, sealed_size, shortest_waits_ns
from .plan import Lane, Plan, Window, plan_of
from .ray_app import app
from .ray_read import read, recognises
from .rounding import in_ms, in_seconds
from .setting import Setting
from .terms import refuse
from .windows import reason_of

__all__ = ["export", "read", "recognises"]

STACK = "ray"
CONFIG = "serve_config.yaml"

ENDLESS_NS = 365 * 24 * 3600 * 10**9
"""A year stands for a wait without an end; YAML and asyncio take it as any number."""

SEALED = "Ray Serve closes a batch by size and timer, busy or not, and a closed batch never grows"


def export(setting: Setting, *, nearest: bool) -> Exported:
    """``app.py`` and ``serve_config.yaml``.

    Raises:
        NotExpressible: Ray Serve cannot do what the policy does.
    """
    plan = fitted(setting, plan_of(setting), nearest=nearest)
    notes = unique(_notes(setting, plan))
    comment = commented(comment_of(setting, plan.notes, notes))
    first = plan.lanes[0].window
    text = app(first.max_batch_size, f"{seconds(first)}", routed=len(plan.lanes) > 1)
    files = {"app.py": f"{comment}\n{text}", CONFIG: f"{comment}\n{config(setting, plan)}"}
    return Exported(files, notes, plan.exact)


def fitted(setting: Setting, plan: Plan, *, nearest: bool) -> Plan:
    """The plan with what Ray Serve cannot do given up.

    Raises:
        NotExpressible: something has to be given up and ``nearest`` was not asked for, or no wait
            keeps up.
    """
    found = [Concession(reason_of(setting), note) for note in plan.notes]
    found += [*_differing(plan), *_around(setting, plan)]
    lanes = _sufficient(setting, [_sealed(lane) for lane in plan.lanes])
    found += _raised(setting, plan, lanes)
    fits = Plan(tuple(lanes), unique(each.difference for each in found))
    if found and not nearest:
        refuse(STACK, found, fits)
    return fits


def same(window: Window) -> bool:
    """Whether a window means the same where closed batches do not grow (rule 1)."""
    full = window.endless and window.min_batch_size == window.max_batch_size
    return window.max_batch_size == 1 or (full and not window.preferred)


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


def _raised(setting: Setting, plan: Plan, lanes: list[Lane]) -> Iterable[Concession]:
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


def _around(setting: Setting, plan: Plan) -> Iterable[Concession]:
    """What stands around the batches: replicas, ranges of length, limits."""
    if setting.servers > 1:
        yield Concession(
            "replicas of Ray Serve do not share one queue",
            f"its {setting.servers} replicas have queues of their own, so that one may idle while "
            "requests wait for another",
        )
    if len(plan.lanes) > 1:
        yield Concession(
            "Ray Serve has one queue a deployment, whatever the lengths",
            f"it becomes {len(plan.lanes)} deployments behind a router that knows the length, "
            "which run at the same time on one server instead of taking turns",
        )
    if setting.capacity is not None:
        yield Concession(
            "Ray Serve limits the requests that wait outside of the replicas, for each proxy",
            f"its limit of {setting.capacity} does not count the requests inside the replicas, and "
            "every proxy has a limit of its own",
        )
    if setting.timeout_ns is not None:
        yield Concession(
            "the queue of Ray Serve has no time-out",
            f"it does not drop requests that wait longer than {in_ms(setting.timeout_ns)} ms",
        )


def seconds(window: Window) -> float:
    """``batch_wait_timeout_s``."""
    return float(in_seconds(ENDLESS_NS if window.endless else window.max_wait_ns))


def config(setting: Setting, plan: Plan) -> str:
    """The text of ``serve_config.yaml``."""
    found = routes(setting, plan)
    routed = len(found) > 1
    names = [route.model if routed else "Batcher" for route in found]
    args = ["    model: app:echo"]
    if routed:
        args += ["    length_of: app:size_of", f"    deployments: [{', '.join(names)}]"]
    lines = [
        "applications:",
        f"- name: {setting.model}",
        f"  route_prefix: /{setting.model}",
        "  import_path: app:build",
        "  args:",
        *args,
        "  deployments:",
        *(_router(found) if routed else ()),
    ]
    for name, route in zip(names, found, strict=True):
        lines += _deployment(setting, name, route, len(found))
    return "\n".join(lines) + "\n"


def _deployment(setting: Setting, name: str, route: Route, sharing: int) -> list[str]:
    """One queue with its replicas."""
    window = route.window
    # A replica that can run one request only leaves the others to the router, in order of arrival.
    ongoing = 1 if window.max_batch_size == 1 else 2 * window.max_batch_size
    lines = [
        f"  - name: {name}",
        f"    num_replicas: {setting.servers}",
        f"    max_ongoing_requests: {ongoing}",
    ]
    if setting.capacity is not None:
        lines.append(f"    max_queued_requests: {setting.capacity}")
    if on_gpus(setting):
        lines.append(f"    ray_actor_options: {{num_gpus: {round(1 / sharing, 3):g}}}")
    return [
        *lines,
        "    user_config:",
        f"      max_batch_size: {window.max_batch_size}",
        f"      batch_wait_timeout_s: {seconds(window)}",
    ]


def _router(found: tuple[Route, ...]) -> list[str]:
    """The deployment that knows the lengths."""
    lines = [
        "  - name: Router",
        "    max_ongoing_requests: 1000",
        "    user_config:",
        "      routes:",
    ]
    for route in found:
        high = "null" if route.lane.high is None else route.lane.high
        lines.append(f"      - {{up_to: {high}, deployment: {route.model}}}")
    return lines


def on_gpus(setting: Setting) -> bool:
    """Whether the profile was measured on a GPU."""
    device = setting.evidence.device
    return device is not None and "cpu" not in device.lower()


def _notes(setting: Setting, plan: Plan) -> Iterable[str]:
    """Traps, and what is left to do."""
    yield "change model in serve_config.yaml from app:echo to your function, as MODULE:NAME"
    if any(lane.window.endless for lane in plan.lanes):
        yield "batch_wait_timeout_s is a year, for a wait without an end"
    unchecked = setting.evidence.rate_per_s is None
    if unchecked and not all(same(lane.window) for lane in plan.lanes):
        yield (
            "the run has no rate of arrivals: make sure that batches of about rate * wait + 1 "
            "requests keep up, or the queue grows without end"
        )
    if len(plan.lanes) > 1:
        yield "change length_of in serve_config.yaml to the function that tells a request's length"
    yield from route_notes(setting, plan)
