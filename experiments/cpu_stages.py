"""CPU stages of a scenario: ``[service.preprocessing]`` and ``[service.postprocessing]``.

Times are drawn before a run, one for each request, from a stream of each stage's own under the seed
of the service: other arrivals or other numbers of workers leave the luck of a request as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sim.specs import WorkloadSpec
from sim.stages import Stage, Stages
from sim.streams import stream

from .costs import DRAWS_MAX, factors
from .resolve import KeyedError
from .schema import Spec
from .schema_service import Affine, CpuStage, Listed, Service
from .units import NS_PER_MS

NAMES = ("preprocessing", "postprocessing")
"""The keys of the two stages, which are also the names of their streams."""


def tables(service: Service) -> Iterator[tuple[str, CpuStage]]:
    """The stages that a scenario has, by their keys."""
    for name in NAMES:
        table = getattr(service, name)
        if table is not None:
            yield name, table


def draw_stages(service: Service, seed: int, replication: int, requests: int) -> Stages | None:
    """The stages of one run; None where there are none.

    Args:
        service: the table ``[service]``.
        seed: of the service.
        replication: another number gives independent times.
        requests: how many times are drawn.
    """
    drawn = {
        name: _stage(name, table, seed, replication, requests) for name, table in tables(service)
    }
    if not drawn:
        return None
    return Stages(drawn.get("preprocessing"), drawn.get("postprocessing"))


def _stage(name: str, table: CpuStage, seed: int, replication: int, requests: int) -> Stage:
    base_ns, per_length_ns = (
        float(value * NS_PER_MS) for value in (table.base_ms, table.per_length_ms)
    )
    if table.noise is None:
        return Stage(table.workers, base_ns, per_length_ns)
    rng = stream(seed, name, replication)
    drawn = factors(table.noise, (1, min(requests, DRAWS_MAX)), rng)[0]
    return Stage(table.workers, base_ns, per_length_ns, drawn)


def needs_lengths(spec: Spec, models: Iterable[Affine | Listed]) -> str:
    """What without a profile depends on lengths, in words; empty where nothing does."""
    if any(isinstance(model, Affine) and model.per_length_ms > 0 for model in models):
        return "the model's per_length_ms"
    for name, table in tables(spec.service):
        if table.per_length_ms > 0:
            return f"service.{name}.per_length_ms"
    return ""


def check_stages(spec: Spec, workload: WorkloadSpec) -> None:
    """Stages are for open workloads; that a backlog is none, the schema says.

    Raises:
        KeyedError: with the key of the stage.
    """
    for name, _ in tables(spec.service):
        key = f"service.{name}"
        if workload.closed is not None:
            raise KeyedError(
                key,
                f'{key} needs open arrivals, such as {{ process = "poisson", load = 0.6 }}: in a '
                "closed loop clients would wait for the end of the last stage, which is not "
                "simulated",
            )


def described(service: Service) -> list[str]:
    """One line for each stage."""
    lines = []
    for name, table in tables(service):
        parts = []
        if table.base_ms:
            parts.append(f"{table.base_ms:f} ms")
        if table.per_length_ms:
            parts.append(f"{table.per_length_ms:f} ms per unit of length")
        word = name.replace("processing", "-processing")
        lines.append(f"{word} on {_workers(table)}: {' and '.join(parts)} each")
    return lines


def with_workers(served: str, service: Service) -> str:
    """What serves a scenario, with the workers of its stages: ``CPU workers: 4 before``."""
    places = {"preprocessing": "before", "postprocessing": "after"}
    stages = (f"{table.workers} {places[name]}" for name, table in tables(service))
    found = " and ".join(stages)
    return f"{served}, CPU workers: {found}" if found else served


def _workers(table: CpuStage) -> str:
    return "1 CPU worker" if table.workers == 1 else f"{table.workers} CPU workers"
