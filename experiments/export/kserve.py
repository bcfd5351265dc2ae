"""KServe: the ``batcher`` of an ``InferenceService``.

A sidecar of each replica takes requests one after the other and waits from the first that it took,
with a look at the clock every 0.1 ms (``timer_from_pick`` with ``poll_ms = 0.1``; ``from_idle`` but
for the clock); it sends one batch at a time.  Facts, from ``kserve/kserve`` of 2026-08-21:
``pkg/batcher/handler.go`` (when a batch starts; 0 or less becomes 32 and 5000 ms),
``pkg/webhook/admission/pod/batcher_injector.go`` (what reaches the sidecar), and the definition
``serving.kserve.io_inferenceservices.yaml`` (whole numbers).

Rules that know tiers become a service for each; ``knative`` becomes the keys and annotations of
:mod:`experiments.export.kserve_scaling`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .comment import comment_of, commented
from .contract import Exported, ForeignFileError, Imported
from .kserve_scaling import SCALED_BY, annotated, replica_lines, scaling_given_up, scaling_notes
from .kserve_tiers import Service, services_of, tier_note, tier_services
from .lengths_routed import route_notes
from .plan import Clock, Plan, window, window_table
from .rounding import NS_PER_UNIT, in_whole
from .setting import Setting
from .terms import Terms, agreed, agreed_on, no_capacity, no_timeout, rounded
from .tier_windows import knows_tiers
from .yaml_text import yaml_table

NAME = "inference-service.yaml"

DEFAULT_SIZE = 32
DEFAULT_LATENCY_MS = 5000

BATCHER_KEYS = ("maxBatchSize", "maxLatency", "timeout")

CLOCK = Clock(poll_ns=100_000)

TERMS = Terms(
    stack="kserve",
    title="KServe",
    timer="pick",
    clock=CLOCK,
    timer_starts="when its batcher takes the first request, as with from_idle",
    other_timer="waits from the instant that its batcher is free, so that a backlog waits again",
    no_zero=f"a maxLatency of 0 becomes {DEFAULT_LATENCY_MS} ms",
    shortest_wait_ns=10**6,
    no_shared_queue="every replica of KServe has a batcher and a queue of its own",
    spreads="as Knative and Kubernetes send them",
    scalers=(SCALED_BY,),
)


def export(setting: Setting, *, nearest: bool) -> Exported:
    """Write an ``InferenceService`` for each model, to be merged into the user's.

    Raises:
        NotExpressible: KServe cannot do what the policy does.
    """
    services, plan = _agreed(setting, nearest=nearest)
    notes = (
        f"merge it into your InferenceService: kubectl patch --type merge --patch-file {NAME}",
        (
            "maxBatchSize counts instances and a request is never split: it is a limit of requests "
            "only where each has one instance, and a batch exceeds it otherwise"
        ),
        "only requests of the V1 protocol (paths that end in :predict) are batched",
        *((tier_note(services),) if knows_tiers(setting) else route_notes(setting, plan)),
        *rounded(plan, "ms"),
        *scaling_notes(setting),
    )
    comment = commented(comment_of(setting, plan.notes, notes))
    files = {f"{each.folder}{NAME}": f"{comment}\n{_service(each)}" for each in services}
    return Exported(files, notes, plan.exact, plan.notes)


def _agreed(setting: Setting, *, nearest: bool) -> tuple[tuple[Service, ...], Plan]:
    """The services, and a plan with all their windows and what was given up among its notes.

    Raises:
        NotExpressible: something had to be given up, and ``nearest`` was not asked for.
    """

    def one_service(own: Setting, *, nearest: bool = False) -> Plan:
        limits = (*no_capacity(own, "KServe"), *no_timeout(own, "KServe"), *scaling_given_up(own))
        return agreed(own, TERMS, *limits, nearest=nearest)

    if not knows_tiers(setting):
        plan = one_service(setting, nearest=nearest)
        return services_of(setting, plan), plan
    services, found = tier_services(setting, one_service)
    every = Plan(tuple(each.route.lane for each in services))
    return services, agreed_on(TERMS.stack, every, found, nearest=nearest)


def _service(service: Service) -> str:
    setting, route = service.setting, service.route
    found = route.window
    latency = in_whole(found.max_wait_ns, "ms", "max_wait").value if found.waits else 1
    replicas = "".join(f"    {line}\n" for line in replica_lines(setting))
    return (
        "apiVersion: serving.kserve.io/v1beta1\n"
        "kind: InferenceService\n"
        "metadata:\n"
        f"  name: {kubernetes_name(route.model)}\n"
        f"{_annotated(setting)}"
        "spec:\n"
        "  predictor:\n"
        f"{replicas}"
        "    batcher:\n"
        f"      maxBatchSize: {found.max_batch_size}\n"
        f"      maxLatency: {latency}\n"
    )


def _annotated(setting: Setting) -> str:
    found = annotated(setting)
    lines = [f'    {key}: "{value}"\n' for key, value in found.items()]
    return "".join(["  annotations:\n", *lines]) if lines else ""


def kubernetes_name(model: str) -> str:
    """A name as Kubernetes takes it (RFC 1035 label): 63 small letters, digits and hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    named = plain if plain[:1].isalpha() else f"model-{plain}"
    return named[:63].rstrip("-")


def recognises(text: str) -> bool:
    """Whether a YAML file is an ``InferenceService``."""
    return re.search(r"^kind:\s*[\"']?InferenceService\b", text, re.MULTILINE) is not None


def read(files: Mapping[str, str]) -> Imported:
    """The policy of an ``InferenceService``'s batcher.

    Raises:
        ForeignFileError: it is something else, or has no batcher.
    """
    if len(files) != 1:
        raise ForeignFileError(f"{', '.join(sorted(files))}: give one InferenceService")
    ((name, text),) = files.items()
    table = yaml_table(name, text)
    if table.get("kind") != "InferenceService":
        raise ForeignFileError(f"{name}: kind = {table.get('kind')!r} must be InferenceService")
    predictor = _inner(name, _inner(name, table, "spec"), "predictor")
    batcher = _inner(name, predictor, "batcher")
    for key in batcher:
        if key not in BATCHER_KEYS:
            raise ForeignFileError(
                f"{name}: {key} is no key of a batcher; known are {', '.join(BATCHER_KEYS)}"
            )
    notes = ["maxBatchSize counts instances: it is read as requests of one instance"]
    size = _or_default(name, batcher, "maxBatchSize", DEFAULT_SIZE, notes)
    latency = _or_default(name, batcher, "maxLatency", DEFAULT_LATENCY_MS, notes)
    if batcher.get("timeout") is not None:
        notes.append("timeout is left out: KServe does not pass it on to the batcher")
    replicas = predictor.get("minReplicas", 1)
    if replicas != 1:
        notes.append(
            f"minReplicas = {replicas}: one replica is read, as each has a queue of its own and a "
            "share of the requests"
        )
    most = predictor.get("maxReplicas", replicas)
    if most != replicas:
        notes.append(
            f"maxReplicas = {most}: scaling is left out; give service.cluster.autoscaler in the "
            "scenario"
        )
    found = window(size, latency * NS_PER_UNIT["ms"], timer="pick", clock=CLOCK)
    return Imported(window_table(found), 1, tuple(notes))


def _inner(name: str, table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict):
        raise ForeignFileError(
            f"{name}: spec.predictor.batcher is missing; without it KServe does not batch"
        )
    return value


def _or_default(
    name: str, batcher: Mapping[str, Any], key: str, default: int, notes: list[str]
) -> int:
    """A value above 0; what is absent, 0 or less becomes the default of the batcher."""
    value = batcher.get(key, 0)
    if type(value) is not int:
        raise ForeignFileError(f"{name}: {key} = {value!r} must be a whole number")
    if value > 0:
        return value
    notes.append(f"{key} is absent or not above 0, which KServe takes as {default}")
    return default
