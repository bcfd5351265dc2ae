"""A batch that starts, and how long it takes on a virtual clock."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from policies.contract import expected_ns

from .service import Service, drawn_ns, idling_ns, noise_factor


class Batch(NamedTuple):
    """A batch that starts."""

    place: int
    """Among all batches, from 0."""
    server: int
    number: int
    """How many batches its server had before."""
    members: tuple[int, ...]
    """Request ids, lane by lane, in order of arrival."""
    longest: int
    lane: int
    """-1 where it is mixed."""
    models: tuple[int, ...]
    """Tables of the service that it is charged by: it costs the largest of their times."""
    start_ns: int
    expected_ns: int
    """Time that the profile expects, without noise."""
    idle_ns: int = 0
    """How long its server was idle before."""
    on_gpu: int = 1
    """Batches that run on its GPU when it starts, itself included."""
    places: int = 0
    """That it is charged for, where those of a batch are fixed; 0: as many as members."""

    @property
    def size(self) -> int:
        """How large it is for the profile."""
        return self.places or len(self.members)


class ServiceTimes(Protocol):
    """How long a batch takes, in a run on a virtual clock."""

    def __call__(self, batch: Batch, /) -> int:
        """Service time in ns, at least 1."""
        ...


class DrawnTimes:
    """Service times of the service's own noise: the k-th batch on a server takes the k-th draw."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, batch: Batch) -> int:
        """The largest of the times of the batch's models."""
        service, size = self.service, batch.size
        noise, times, group = service.noise, [], service.grouping
        profile = group.profiles[batch.server]
        extra = idling_ns(service.idling.extra_ns, service.idling.half_ns, batch.idle_ns)
        for model in batch.models:
            usual = expected_ns(
                service.tables_ns[profile, model], service.length_edges, size, batch.longest
            )
            factor = noise_factor(
                noise.draws, noise.quantiles, service.size_classes[profile],
                model, batch.server, batch.number, size,
            )  # fmt: skip
            slowed = (usual + extra) * group.slowdown[batch.on_gpu]
            times.append(drawn_ns(slowed, factor))
        return max(times)
