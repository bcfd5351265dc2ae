"""Instance groups of Triton: which GPUs run how many batches at a time."""

from __future__ import annotations

from collections.abc import Iterable

from .setting import Setting

RESOURCE = "batchwright_server"
"""What an instance holds while it runs, where several models share a server."""


def routed_by(setting: Setting) -> str | None:
    """The kind of the router before several Triton servers; None where one has all instances."""
    return None if setting.replicas is None else setting.replicas.routed_by


def instances_here(setting: Setting) -> int:
    """Instances of one Triton server: behind a router those of one replica."""
    replicas = setting.replicas
    return replicas.instances if replicas is not None and routed_by(setting) else setting.servers


def per_gpu(setting: Setting) -> int:
    """Instances that share a GPU, of one Triton server."""
    replicas = setting.replicas
    most = 1 if replicas is None else replicas.instances_per_gpu
    return min(most, instances_here(setting))


def on_gpus(setting: Setting) -> bool:
    """Whether the profile was measured on a GPU."""
    device = setting.evidence.device
    return device is not None and "cpu" not in device.lower()


def instance_groups(setting: Setting, *, shares: bool) -> list[str]:
    """The instance groups, each on GPUs of its own if the profile is of a GPU.

    Args:
        setting: what is exported.
        shares: whether several models take turns on the servers.
    """
    servers, each = instances_here(setting), per_gpu(setting)
    shared = ""
    if shares:
        held = "" if on_gpus(setting) else " global: true"
        resource = f'{{ name: "{RESOURCE}"{held} count: 1 }}'
        shared = f" rate_limiter {{ resources [ {resource} ] }}"
    if not on_gpus(setting):
        kind = "" if setting.evidence.device is None else "kind: KIND_CPU "
        return [f"{{ {kind}count: {servers}{shared} }}"]
    full, rest = divmod(servers, each)
    groups = [(each, range(full)), (rest, range(full, full + 1))]
    return [
        f"{{ kind: KIND_GPU count: {count} gpus: [ {', '.join(map(str, gpus))} ]{shared} }}"
        for count, gpus in groups
        if count and gpus
    ]


def instance_notes(setting: Setting, *, several_models: bool) -> Iterable[str]:
    """What the instance groups take for granted."""
    each = per_gpu(setting)
    if on_gpus(setting) and each == 1:
        yield (
            "every server is a GPU of its own with one instance, as it was profiled; change gpus "
            "to the numbers of yours"
        )
    elif on_gpus(setting):
        yield f"a GPU runs up to {each} batches at a time; change gpus to the numbers of yours"
    elif setting.evidence.device is None:
        yield "count is for each GPU that Triton sees; give gpus or KIND_CPU where it sees several"
    if several_models:
        units = each if on_gpus(setting) else instances_here(setting)
        yield (
            "start tritonserver with --rate-limit=execution_count "
            f"--rate-limit-resource={RESOURCE}:{units}, or the models run at the same time"
        )
    yield from _replica_notes(setting)


def _replica_notes(setting: Setting) -> Iterable[str]:
    replicas, kind = setting.replicas, routed_by(setting)
    if replicas is None:
        return
    if replicas.others and kind is None:
        yield f"the GPUs are, in the order of gpus: {replicas.gpus}"
    if kind is None:
        return
    on = f" on {replicas.gpus}" if replicas.others else ""
    yield (
        f"this is the file of one replica: start {replicas.count} Triton servers with it{on}, and "
        f"a balancer before them (Envoy's policies are ROUND_ROBIN, RANDOM, and LEAST_REQUEST, "
        "which takes the less loaded of two)"
    )
    if replicas.instances < replicas.instances_per_gpu:
        share = replicas.instances_per_gpu // replicas.instances
        yield f"{share} of the Triton servers share a GPU"
