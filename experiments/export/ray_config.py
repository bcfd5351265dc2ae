"""The text of ``serve_config.yaml``: deployments, their replicas, and the router before them.

Names and meanings are those of ``ray/serve/schema.py`` and ``ray/serve/config.py`` of Ray 2.60.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from policies.autoscalers import RayServe

from .lengths_routed import routes
from .plan import Plan, Window
from .replicas import Replicas
from .rounding import in_seconds
from .setting import Setting

ENDLESS_NS = 365 * 24 * 3600 * 10**9
"""A year stands for a wait without an end; YAML and asyncio take it as any number."""

UNBOUNDED_ONGOING = 10**6
"""Stands for no limit, so that every request joins a replica as soon as it is routed."""

TOLERANCE = 1e-9
"""A third three times is one GPU."""

SCALED_BY = "ray_serve"
"""The autoscaler whose keys are Ray's."""

ROUTED_BY = "power_of_two"
"""The router that is Ray's."""


class Deployment(NamedTuple):
    """One queue with its replicas."""

    name: str
    window: Window
    up_to: int | None = None
    """The longest length that it takes; None: any."""
    tier: str | None = None
    """The tier that it takes; None: all of them."""
    share: float = 1.0
    """Of the GPU of each replica."""
    capacity: int | None = None


def deployments_of(setting: Setting, plan: Plan) -> tuple[Deployment, ...]:
    """The deployments of a plan for all tiers: one, or one for each range of lengths."""
    found = routes(setting, plan)
    if len(found) == 1:
        return (Deployment("Batcher", found[0].window, capacity=setting.capacity),)
    share = 1 / len(found)
    return tuple(
        Deployment(r.model, r.window, r.lane.high, share=share, capacity=setting.capacity)
        for r in found
    )


def replicas_of(setting: Setting) -> Replicas:
    """How the servers stand together; by default each is a replica."""
    return setting.replicas or Replicas(setting.servers)


def batches_at_a_time(setting: Setting) -> int:
    """``max_concurrent_batches``: batches that a replica runs from its queue."""
    return replicas_of(setting).instances


def config(setting: Setting, found: Sequence[Deployment]) -> str:
    """The text of ``serve_config.yaml``."""
    args = ["    model: app:echo"]
    if any(each.tier is not None for each in found):
        args.append("    tier_of: app:tier_of")
    if any(each.up_to is not None for each in found):
        args.append("    length_of: app:size_of")
    routed = len(found) > 1
    if routed:
        args.append(f"    deployments: [{', '.join(each.name for each in found)}]")
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
    for each in found:
        lines += _deployment(setting, each)
    return "\n".join(lines) + "\n"


def seconds(window: Window) -> str:
    """``batch_wait_timeout_s``."""
    return _yaml_seconds(ENDLESS_NS if window.endless else window.max_wait_ns)


def _yaml_seconds(duration_ns: int) -> str:
    """Seconds without an exponent: YAML takes ``1e-06`` for a text."""
    text = f"{in_seconds(duration_ns):f}"
    return text if "." in text else f"{text}.0"


def _deployment(setting: Setting, found: Deployment) -> list[str]:
    """One queue with its replicas."""
    replicas = replicas_of(setting)
    lines = [f"  - name: {found.name}"]
    if scaler_of(setting) is None:
        lines.append(f"    num_replicas: {replicas.count}")
    lines.append(f"    max_ongoing_requests: {_ongoing(setting, found)}")
    if found.capacity is not None:
        lines.append(f"    max_queued_requests: {found.capacity}")
    if on_gpus(setting):
        gpus = found.share * replicas.instances / replicas.instances_per_gpu
        lines.append(f"    ray_actor_options: {{num_gpus: {_in_thousandths(gpus)}}}")
    return [
        *lines,
        *_scaling(setting),
        "    user_config:",
        f"      max_batch_size: {found.window.max_batch_size}",
        f"      batch_wait_timeout_s: {seconds(found.window)}",
    ]


def _in_thousandths(gpus: float) -> str:
    """A share of a GPU as Ray takes it: rounded down, so that all fit, and whole above 1."""
    if gpus > 1:
        return str(ceil(gpus - TOLERANCE))
    return f"{max(floor(1000 * gpus + TOLERANCE), 1) / 1000:g}"


def _ongoing(setting: Setting, found: Deployment) -> int:
    """Requests that a replica takes at a time.

    Any number, but with a limit on the queue: then full batches that run and one that fills, as the
    others have to wait before the replicas, where Ray's limit counts them.  A router that finds all
    replicas full looks again after up to half a second (Ray 2.60 with a limit of 16 was seen to
    fall from 500 to 4 requests per second).
    """
    replicas, size = replicas_of(setting), found.window.max_batch_size
    if found.window.most_ongoing:
        return found.window.most_ongoing
    if found.capacity is None:
        return UNBOUNDED_ONGOING
    running = replicas.instances * size
    # A replica that can run one request only leaves the others to the router, in order of arrival.
    most = running if size == 1 else running + size
    scaler = scaler_of(setting)
    return most if scaler is None else max(most, -int(-scaler.target_ongoing_requests // 1))


def scaler_of(setting: Setting) -> RayServe | None:
    """Ray's autoscaler with the run's numbers; None where the run had none of its kind."""
    scaler = replicas_of(setting).scaler
    return scaler if isinstance(scaler, RayServe) else None


def _scaling(setting: Setting) -> list[str]:
    """``autoscaling_config``."""
    scaler, replicas = scaler_of(setting), replicas_of(setting)
    if scaler is None:
        return []
    first = min(max(replicas.initial, scaler.min_replicas), scaler.max_replicas)
    look_back_ns = max(scaler.look_back_ns, scaler.interval_ns)
    return [
        "    autoscaling_config:",
        f"      min_replicas: {scaler.min_replicas}",
        f"      initial_replicas: {first}",
        f"      max_replicas: {scaler.max_replicas}",
        f"      target_ongoing_requests: {scaler.target_ongoing_requests:g}",
        f"      upscale_delay_s: {_yaml_seconds(scaler.upscale_delay_ns)}",
        f"      downscale_delay_s: {_yaml_seconds(scaler.downscale_delay_ns)}",
        f"      look_back_period_s: {_yaml_seconds(look_back_ns)}",
        f"      metrics_interval_s: {_yaml_seconds(scaler.interval_ns)}",
    ]


def _router(found: Sequence[Deployment]) -> list[str]:
    """The deployment that knows tiers and lengths."""
    tiers = list(dict.fromkeys(each.tier for each in found if each.tier is not None))
    lines = [
        "  - name: Router",
        "    max_ongoing_requests: 1000",
        "    user_config:",
        *([f"      default_tier: {quoted(tiers[-1])}"] if tiers else []),
        "      routes:",
    ]
    for each in found:
        tier = "" if each.tier is None else f"tier: {quoted(each.tier)}, "
        high = "null" if each.up_to is None else each.up_to
        lines.append(f"      - {{{tier}up_to: {high}, deployment: {each.name}}}")
    return lines


def quoted(text: str) -> str:
    """A text that YAML takes for nothing else: JSON's form of it."""
    return json.dumps(text, ensure_ascii=False)


def on_gpus(setting: Setting) -> bool:
    """Whether the profile was measured on a GPU."""
    device = setting.evidence.device
    return device is not None and "cpu" not in device.lower()
