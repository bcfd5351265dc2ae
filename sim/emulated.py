"""A server of a live run that computes nothing: it sleeps as long as a batch would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiles.runner import Served

from .service import Service, drawn_ns, expected_ns, idling_ns, noise_factor
from .timing import now_ns, sleep_until


@dataclass(frozen=True)
class EmulatedOpening:
    """A device that sleeps as long as a batch would take, noise included."""

    service: Service

    def open(self, server: int) -> Emulated:
        """The server takes its own stream of noise."""
        return Emulated(self.service, server)


class Emulated:
    """Sleeps the time of the service's first model; its k-th batch takes the k-th draw."""

    def __init__(self, service: Service, server: int) -> None:
        self.service, self.server, self.batches = service, server, 0
        profile = service.grouping.profiles[server]
        self.table_ns, self.class_of_size = (
            service.tables_ns[profile, 0], service.size_classes[profile],
        )  # fmt: skip
        self.idle_since_ns = now_ns()

    def about(self) -> Mapping[str, Any]:
        """What it pretends to be is known to whoever made it."""
        return {"model": "emulated", "device_name": "emulated: sleeps the profile's time"}

    def serve(self, lengths: Sequence[int]) -> Served:
        """Sleep."""
        began_ns = now_ns()
        service, noise, size = self.service, self.service.noise, len(lengths)
        factor = noise_factor(
            noise.draws, noise.quantiles, self.class_of_size, 0, self.server, self.batches, size
        )
        self.batches += 1
        usual = expected_ns(self.table_ns, service.length_edges, size, max(lengths))
        idle_ns = began_ns - self.idle_since_ns
        extra = idling_ns(service.idling.extra_ns, service.idling.half_ns, idle_ns)
        sleep_until(began_ns + drawn_ns(usual + extra, factor))
        self.idle_since_ns = now_ns()
        return Served(self.idle_since_ns - began_ns, None)

    def close(self) -> None:
        """Nothing is held."""
