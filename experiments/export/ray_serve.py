"""Ray Serve: ``app.py`` with ``@serve.batch``, and ``serve_config.yaml`` with the numbers.

Rules (``_BatchQueue`` in ``ray/serve/batching.py``, 2.60):

1. A batch is closed by size or timer whether or not the replica is busy, and a closed batch never
   grows, which is ``sealed_batches``.  Of other windows only two are exact, on one server: batches
   of 1, and full batches for which it waits however long it takes.
2. The size of all other batches follows from the wait, about ``rate * wait + 1``; a wait with which
   such batches cannot keep up with the run's arrivals is never written in place of another rule.
3. Replicas have queues of their own.  The router prefers the shorter of two random ones, which is
   ``power_of_two``; a replica with several instances runs as many batches at a time.
4. ``max_ongoing_requests`` is that of ``sealed_batches``.  For other rules it holds any number:
   Ray's router looks again after up to half a second once all replicas are full.  A limit on the
   queue needs it, as Ray counts only requests outside of the replicas: then it holds two full
   batches, one that runs and one that fills, and a note says what that may cost.
5. No queue knows priorities: rules that know tiers become a deployment for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from .cluster_terms import Spread, replicas_given_up, tier_limits_given_up
from .comment import comment_of, commented
from .concession import Concession, unique
from .contract import Exported
from .lengths_routed import route_notes
from .plan import Lane, Plan, plan_of
from .ray_app import app
from .ray_config import (
    ROUTED_BY,
    SCALED_BY,
    Deployment,
    batches_at_a_time,
    config,
    deployments_of,
    replicas_of,
    scaler_of,
    seconds,
)
from .ray_lanes import STACK, around_batches, same, sealed_lanes
from .ray_read import read, recognises
from .ray_tiers import tier_deployments, tier_notes
from .rounding import in_ms
from .setting import Setting
from .terms import refuse
from .tier_windows import knows_tiers
from .windows import reason_of

__all__ = ["export", "read", "recognises"]

CONFIG = "serve_config.yaml"


class Fitted(NamedTuple):
    """What Ray Serve can do of a setting."""

    deployments: tuple[Deployment, ...]
    plan: Plan
    """Its windows, with what was given up among its notes."""


def export(setting: Setting, *, nearest: bool) -> Exported:
    """``app.py`` and ``serve_config.yaml``.

    Raises:
        NotExpressible: Ray Serve cannot do what the policy does.
    """
    found, plan = fitted(setting, nearest=nearest)
    notes = unique(_notes(setting, found, plan))
    comment = commented(comment_of(setting, plan.notes, notes))
    first = found[0].window
    text = app(
        first.max_batch_size,
        seconds(first),
        batches_at_a_time(setting),
        routed=len(found) > 1,
        tiers=knows_tiers(setting),
    )
    files = {"app.py": f"{comment}\n{text}", CONFIG: f"{comment}\n{config(setting, found)}"}
    return Exported(files, notes, plan.exact, plan.notes)


def fitted(setting: Setting, *, nearest: bool) -> Fitted:
    """The deployments, with what Ray Serve cannot do given up.

    Raises:
        NotExpressible: something has to be given up and ``nearest`` was not asked for, or no wait
            keeps up.
    """
    if knows_tiers(setting):
        deployments, found = tier_deployments(setting)
        lanes = [Lane(None, each.up_to, each.window) for each in deployments]
    else:
        plan = plan_of(setting)
        lanes = sealed_lanes(setting, plan)
        deployments = list(deployments_of(setting, Plan(tuple(lanes))))
        found = [Concession(reason_of(setting), note) for note in plan.notes]
        found += around_batches(setting, plan, lanes)
    found += _around(setting, deployments)
    fits = Plan(tuple(lanes), unique(each.difference for each in found))
    if found and not nearest:
        refuse(STACK, found, fits)
    return Fitted(tuple(deployments), fits)


def _around(setting: Setting, found: list[Deployment]) -> Iterable[Concession]:
    """What stands around the batches: replicas, ranges of length, limits."""
    yield from replicas_given_up(setting, _spread(setting))
    if any(each.up_to is not None for each in found):
        count = len({each.up_to for each in found})
        many = "for each tier " if knows_tiers(setting) else ""
        yield Concession(
            "Ray Serve has one queue a deployment, whatever the lengths",
            f"it becomes {count} deployments {many}behind a router that knows the length, "
            "which run at the same time on one server instead of taking turns",
        )
    limits = unique(str(each.capacity) for each in found if each.capacity is not None)
    if limits:
        yield Concession(
            "Ray Serve limits the requests that wait outside of the replicas, for each proxy",
            f"its limit of {'/'.join(limits)} does not count the requests inside the replicas, and "
            "every proxy has a limit of its own",
        )
    if setting.timeout_ns is not None:
        yield Concession(
            "the queue of Ray Serve has no time-out",
            f"it does not drop requests that wait longer than {in_ms(setting.timeout_ns)} ms",
        )
    yield from _tier_limits(setting)


def _tier_limits(setting: Setting) -> Iterable[Concession]:
    """Limits of single tiers: a deployment for each tier has them, but for the time-outs."""
    if knows_tiers(setting):
        own = tuple(each._replace(capacity=None) for each in setting.traffic)
        setting = replace(setting, traffic=own)
    yield from tier_limits_given_up(setting, "the queue of Ray Serve")


def _spread(setting: Setting) -> Spread:
    count = replicas_of(setting).count
    own = "replicas of Ray Serve do not share one queue"
    return Spread(
        "Ray Serve",
        no_shared_queue=own if count > 1 else "",
        several_queues=f"its {count} replicas have queues of their own, so that one may idle while "
        "requests wait for another",
        routers=(ROUTED_BY,),
        spreads="from Ray's router, which takes the less loaded of two drawn at random",
        scalers=(SCALED_BY,),
        several_batches=True,
        places=True,
        shares=True,
    )


def _notes(setting: Setting, found: tuple[Deployment, ...], plan: Plan) -> Iterable[str]:
    """Traps, and what is left to do."""
    yield "change model in serve_config.yaml from app:echo to your function, as MODULE:NAME"
    if any(each.window.endless for each in found):
        yield "batch_wait_timeout_s is a year, for a wait without an end"
    unchecked = setting.evidence.rate_per_s is None
    if unchecked and not all(same(each.window) for each in found):
        yield (
            "the run has no rate of arrivals: make sure that batches of about rate * wait + 1 "
            "requests keep up, or the queue grows without end"
        )
    if any(each.capacity is not None for each in found):
        yield (
            "max_queued_requests counts only what waits outside of the replicas, so that "
            "max_ongoing_requests is small; a router that finds every replica full looks again "
            "after up to half a second, which costs throughput: limit the queue at the client if "
            "you can, with max_ongoing_requests at 1000000"
        )
    if any(each.up_to is not None for each in found):
        yield "change length_of in serve_config.yaml to the function that tells a request's length"
    if knows_tiers(setting):
        yield from tier_notes(setting)
    else:
        yield from route_notes(setting, plan)
    yield from _replica_notes(setting)


def _replica_notes(setting: Setting) -> Iterable[str]:
    """What the replicas take for granted."""
    replicas, scaler = replicas_of(setting), scaler_of(setting)
    if replicas.others:
        yield f"replicas take any GPU of the Ray cluster, which has to have {replicas.gpus}"
    if replicas.routed_by == ROUTED_BY:
        yield (
            "Ray's router prefers replicas of its own node, and may go by lengths of queues that "
            "are some seconds old"
        )
    if scaler is None:
        return
    yield (
        "num_replicas is left out, as autoscaling_config sets it; Ray warns that "
        "metrics_interval_s is to become a variable of the environment, "
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"
    )
    if not scaler.min_replicas <= replicas.initial <= scaler.max_replicas:
        yield (
            f"initial_replicas = {replicas.initial} lies outside of min_replicas and max_replicas, "
            "which Ray refuses: the nearest is written"
        )
