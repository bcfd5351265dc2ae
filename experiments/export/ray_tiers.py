"""Deployments for tiers on Ray Serve, whose queues know no priority.

Each tier gets a deployment, with a replica on every GPU and a share of it in ``num_gpus``.  Ray
places replicas by those shares and holds nobody to them: batches of all tiers run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .concession import Concession
from .contract import NotExpressible
from .lengths_routed import routes
from .plan import Lane, Plan, plan_of
from .ray_config import Deployment, scaler_of
from .ray_lanes import around_batches, sealed_lanes
from .setting import Setting
from .tier_windows import DOES
from .tiers_apart import Part, parts_of, told_once

BACKLOG_WAIT_NS = 10**9
"""For a full batch of a tier that is always there; only its last one waits so long."""


def tier_deployments(setting: Setting) -> tuple[list[Deployment], list[Concession]]:
    """The deployments of all tiers, and what is given up for them.

    Raises:
        NotExpressible: no wait makes batches of a tier that keep up.
    """
    parts = parts_of(setting)
    found = [Concession(f"{DOES[setting.kind]}, and Ray Serve has no priorities", _told(parts))]
    deployments: list[Deployment] = []
    notes, reasons = [], []
    for part in parts:
        asked, lanes = _lanes_of(part)
        given_up = list(around_batches(part.setting, asked, lanes))
        notes.append((part.name, tuple(each.difference for each in given_up)))
        reasons.append((part.name, tuple(each.reason for each in given_up)))
        deployments += _deployments(part, Plan(tuple(lanes)))
    reason = ", and ".join(told_once(reasons))
    found += [Concession(reason, note) for note in told_once(notes)]
    return deployments, found


def _lanes_of(part: Part) -> tuple[Plan, Sequence[Lane]]:
    """What a tier asks for, and the windows that Ray can do."""
    plan = plan_of(part.setting)
    if part.setting.traffic[0].backlog:
        waits = [lane.window._replace(max_wait_ns=BACKLOG_WAIT_NS) for lane in plan.lanes]
        full = [each._replace(min_batch_size=each.max_batch_size) for each in waits]
        lanes = zip(plan.lanes, full, strict=True)
        plan = Plan(tuple(lane._replace(window=window) for lane, window in lanes))
        return plan, plan.lanes
    try:
        return plan, sealed_lanes(part.setting, plan)
    except NotExpressible as error:
        reason = f"of {part.name} with {part.share:.0%} of the servers, {error.reason}"
        raise NotExpressible(error.stack, reason) from error


def _told(parts: Sequence[Part]) -> str:
    shares = ", ".join(f"{part.name} with {part.share:.0%} of each GPU" for part in parts)
    return (
        f"it becomes {len(parts)} deployments, one for each tier ({shares}), whose batches run at "
        "the same time: num_gpus places replicas and holds nobody back, so that urgent batches run "
        "slower beside the others"
    )


def _deployments(part: Part, plan: Plan) -> Iterable[Deployment]:
    """The deployments of one tier: one, or one for each range of lengths."""
    found = routes(part.setting, plan)
    for route in found:
        yield Deployment(
            name=route.model,
            window=route.window,
            up_to=route.lane.high,
            tier=part.name,
            share=part.share / len(found),
            capacity=part.setting.capacity,
        )


def tier_notes(setting: Setting) -> Iterable[str]:
    """What is left to do where deployments know tiers."""
    last = setting.tiers[-1].name
    yield (
        "change tier_of in serve_config.yaml to the function that tells a request's tier; "
        f"app:tier_of looks for the key tier, and what has none is {last}"
    )
    yield (
        f"every GPU holds the model {len(setting.tiers)} times, once for each tier: see that it "
        "fits"
    )
    if scaler_of(setting) is not None:
        yield "every deployment is scaled by itself, with the numbers that the run had for all"
