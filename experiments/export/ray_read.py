"""``serve_config.yaml`` of Ray Serve read back as a policy that is simulated.

The batch numbers are looked for in ``user_config``, under the names that ``@serve.batch`` gives
them: ``sealed_batches``.  Deployments for ranges of length become ``length_bucketed``, whose
batches grow until a server takes them, and a note says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from experiments.units import s_to_ns
from policies.contract import NEVER

from .contract import ForeignFileError, Imported
from .plan import Window, buckets, from_oldest, plan_table, single, window
from .ray_config import UNBOUNDED_ONGOING
from .yaml_text import yaml_table

SIZE, WAIT = "max_batch_size", "batch_wait_timeout_s"

DEFAULT_ONGOING = 5
"""Of ``max_ongoing_requests``."""

ENDLESS_S = 86_400
"""A wait of a day and more stands for one without an end."""

GROWS = (
    "Ray Serve closes batches while the replica is busy; the simulated policy lets them grow until "
    "a server takes them"
)


def recognises(text: str) -> bool:
    """Whether a text looks like a configuration of Ray Serve."""
    try:
        return isinstance(yaml_table("", text).get("applications"), list)
    except ForeignFileError:
        return False


def read(files: Mapping[str, str]) -> Imported:
    """The policy of a ``serve_config.yaml``.

    Raises:
        ForeignFileError: it is something else, or no deployment has batch numbers.
    """
    name, text = next(((n, t) for n, t in files.items() if recognises(t)), ("", None))
    if text is None:
        raise ForeignFileError(
            f"{', '.join(files) or 'nothing'}: no configuration of Ray Serve, which has "
            "applications"
        )
    found = list(_deployments(name, yaml_table(name, text)))
    batched = {str(each.get("name")): each for each in found if SIZE in _user_config(each)}
    routed = [_user_config(each) for each in found if "routes" in _user_config(each)]
    if not batched:
        raise ForeignFileError(
            f"{name}: no deployment has {SIZE} in its user_config, where batchwright looks for it"
        )
    if len(batched) == 1 and not routed:
        return _one(name, *batched.values())
    if len(routed) != 1:
        raise ForeignFileError(
            f"{name}: the deployments {', '.join(batched)} all batch; give a file with one of them"
        )
    return _several(name, routed[0]["routes"], batched)


def _one(name: str, deployment: Mapping[str, Any]) -> Imported:
    """A deployment that stands alone."""
    found, notes = _window(name, deployment)
    replicas = _replicas(name, deployment)
    if replicas is not None and replicas > 1 and found.timer == "sealed":
        notes.append(
            f"each of the {replicas} replicas closes batches of its own; read is one queue for all "
            'of them: give service.cluster in the scenario, with router = "power_of_two"'
        )
        found = found._replace(most_ongoing=found.most_ongoing * replicas)
    return Imported(plan_table(single(found)), replicas, (*notes, *_limits(deployment)))


def _several(name: str, routes: Any, batched: Mapping[str, Mapping[str, Any]]) -> Imported:
    """Deployments for ranges of length.

    Raises:
        ForeignFileError: they are something else, or of tiers.
    """
    if any(isinstance(route, dict) and "tier" in route for route in routes or ()):
        raise ForeignFileError(
            f"{name}: deployments for tiers, each with replicas of its own, are not simulated; "
            "give a file with one of them"
        )
    try:
        rule = [(route["up_to"], batched[route["deployment"]]) for route in routes]
        boundaries = [int(high) for high, _ in rule[:-1]]
    except (TypeError, KeyError, ValueError) as error:
        raise ForeignFileError(
            f"{name}: routes must hold up_to and the name of a deployment"
        ) from error
    if not rule or boundaries != sorted(set(boundaries)) or rule[-1][0] is not None:
        raise ForeignFileError(f"{name}: up_to of routes must increase, and end with null")
    read_all = [_window(name, deployment) for _, deployment in rule]
    notes = dict.fromkeys(note for _, each in read_all for note in each)
    if any(found.timer == "sealed" for found, _ in read_all):
        notes[GROWS] = None
    beside = (
        "the deployments run at the same time; the simulated policy lets the ranges of length take "
        "turns"
    )
    plan = buckets(boundaries, [_unsealed(found) for found, _ in read_all])
    return Imported(plan_table(plan), _replicas(name, rule[0][1]), (*notes, beside))


def _deployments(name: str, table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every deployment of every application."""
    for application in table["applications"]:
        listed = application.get("deployments", []) if isinstance(application, dict) else None
        if not isinstance(listed, list):
            raise ForeignFileError(f"{name}: applications must hold lists of deployments")
        yield from (each for each in listed if isinstance(each, dict))


def _user_config(deployment: Mapping[str, Any]) -> dict[str, Any]:
    found = deployment.get("user_config")
    return found if isinstance(found, dict) else {}


def _window(name: str, deployment: Mapping[str, Any]) -> tuple[Window, list[str]]:
    """The window of one deployment, and how Ray differs from it."""
    config, title = _user_config(deployment), deployment.get("name")
    size = config[SIZE]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ForeignFileError(
            f"{name}: {SIZE} = {size!r} of {title} must be a whole number of at least 1"
        )
    wait = config.get(WAIT, 0.01)  # the decorator's default
    if not isinstance(wait, int | float) or isinstance(wait, bool) or not wait >= 0:
        raise ForeignFileError(f"{name}: {WAIT} = {wait!r} of {title} must be seconds, not below 0")
    if size == 1:
        return window(1), []
    if wait == 0:
        return window(1), [f"with {WAIT} = 0 Ray Serve makes batches of 1, whatever {SIZE} says"]
    endless = math.isinf(wait) or wait >= ENDLESS_S
    wait_ns = NEVER if endless else s_to_ns(Decimal(str(wait)))
    most = _most_ongoing(name, deployment)
    if endless and most >= size:
        return window(size, NEVER), []
    return window(size, wait_ns, timer="sealed", most_ongoing=most), []


def _most_ongoing(name: str, deployment: Mapping[str, Any]) -> int:
    """``max_ongoing_requests``; 0 where it stands for no limit."""
    found = deployment.get("max_ongoing_requests", DEFAULT_ONGOING)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ForeignFileError(
            f"{name}: max_ongoing_requests = {found!r} of {deployment.get('name')} must be a whole "
            "number of at least 1"
        )
    return 0 if found >= UNBOUNDED_ONGOING else found


def _unsealed(found: Window) -> Window:
    return from_oldest(found) if found.timer == "sealed" else found


def _replicas(name: str, deployment: Mapping[str, Any]) -> int | None:
    """``num_replicas``; None where Ray scales them."""
    found = deployment.get("num_replicas", 1)
    if found == "auto" or "autoscaling_config" in deployment:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ForeignFileError(
            f"{name}: num_replicas = {found!r} must be a whole number of at least 1"
        )
    return found


def _limits(deployment: Mapping[str, Any]) -> Iterator[str]:
    """What the deployment says beside size and wait."""
    size = _user_config(deployment)[SIZE]
    ongoing = deployment.get("max_ongoing_requests", DEFAULT_ONGOING)
    if ongoing < size:
        yield (
            f"max_ongoing_requests = {ongoing} is below {SIZE} = {size}, so that Ray Serve never "
            "fills a batch"
        )
    limit = deployment.get("max_queued_requests", -1)
    if isinstance(limit, int) and limit >= 0:
        yield f"max_queued_requests = {limit} is left out: give service.capacity in the scenario"
