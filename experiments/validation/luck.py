"""The luck of a prediction's replications: jitter, drift, and medians that few calls leave open.

:mod:`.predict` says how each is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.costs import correlated
from policies.contract import IntArray
from profiles.latency import Profile, Samples, table_ns
from profiles.noise import NoiseTable, noise_table
from sim.service import Noise, Service
from sim.streams import stream

from .calibration import Calibration


@dataclass(frozen=True, eq=False)
class Luck:
    """What one replication draws, the same for every policy and load."""

    service_ns: IntArray
    """int64 (profiles, largest batch, edges): medians of resampled calls."""
    noise: Noise
    server_factors: tuple[float, ...] = ()
    """How much slower each server is; empty: all are alike."""

    def service_like(self, service: Service) -> Service:
        """The service with these times."""
        if len(self.service_ns) > 1:
            assert service.cluster is not None, "only replicas of a cluster differ"
            cluster = replace(service.cluster, service_ns=self.service_ns[:, np.newaxis])
            return replace(service, noise=self.noise, cluster=cluster)
        like = replace(service, service_ns=self.service_ns, noise=self.noise)
        return apart(like, self.server_factors) if self.server_factors else like

    def slowed(self, factor: float) -> Luck:
        """All times multiplied."""
        return replace(self, noise=slower(self.noise, factor))


def apart(service: Service, server_factors: Sequence[float]) -> Service:
    """A service whose replicas have times of their own: those of their servers in the mean.

    Args:
        service: with one table for all.
        server_factors: by which each server is slower.
    """
    group, factors = service.grouping, np.array(server_factors)
    count = np.bincount(group.replica_of)
    means = np.bincount(group.replica_of, weights=factors) / count
    tables = np.rint(means[:, np.newaxis, np.newaxis, np.newaxis] * service.service_ns)
    cluster = replace(
        group,
        profile_of=np.arange(group.replicas),
        service_ns=np.maximum(tables, 1).astype(np.int64),
        class_of_size=np.tile(service.noise.class_of_size, (group.replicas, 1)),
    )
    return replace(service, cluster=cluster)


def slower(noise: Noise, factor: float) -> Noise:
    """Noise whose factors are all multiplied; the table, which policies know, stays."""
    return replace(noise, quantiles=factor * noise.quantiles)


def drawn_luck(
    calibration: Calibration, service: Service, batches: int, replications: int, seed: int
) -> list[Luck]:
    """Draw the replications' jitter and tables; without drift.

    Args:
        calibration: what is known.
        service: for the number of servers.
        batches: how many a server can run at most.
        replications: how many.
        seed: of the service's noise.
    """
    jitters = [noise_table(profile) for profile in calibration.profiles]
    tables = [
        resampled(profile, replications, seed, place)
        for place, profile in enumerate(calibration.profiles)
    ]
    return [
        Luck(
            np.stack(own),
            _noise(jitters, service.servers, batches, seed, number),
            () if calibration.others else calibration.differing,
        )
        for number, own in enumerate(zip(*tables, strict=True))
    ]


def _noise(
    jitters: Sequence[NoiseTable], servers: int, batches: int, seed: int, number: int
) -> Noise:
    rng = stream(seed, "service", number)
    scores = rng.standard_normal((servers, max(batches, 1)), dtype=np.float32)
    draws = correlated(scores, jitters[0].lag1)[np.newaxis]
    quantiles = np.concatenate([jitter.quantiles for jitter in jitters])
    return Noise(draws, quantiles, jitters[0].class_of_size)


def drifts(spread: float, replications: int, seed: int) -> list[float]:
    """One factor a replication, whose log has this standard deviation."""
    scores = [stream(seed, "drift", number).standard_normal() for number in range(replications)]
    return [math.exp(spread * score) for score in scores]


def resampled(profile: Profile, replications: int, seed: int, place: int = 0) -> Iterator[IntArray]:
    """Tables of medians, each from as many calls as were made, drawn with replacement by shape.

    Without raw calls nothing is known of the error of the medians, and the table is the profile's.
    """
    if profile.samples is None or profile.statistic != "p50":
        yield from (table_ns(profile) for _ in range(replications))
        return
    cells = list(_cells(profile, profile.samples))
    for number in range(replications):
        rng = stream(seed, "drift", number, 1 + place)
        grid = profile.latency_ns.copy()
        for row, column, calls in cells:
            grid[row, column] = np.rint(np.median(rng.choice(calls, len(calls))))
        yield table_ns(replace(profile, latency_ns=grid, percentiles_ns={}))


def _cells(profile: Profile, samples: Samples) -> Iterator[tuple[int, int, IntArray]]:
    """Row, column and calls of each shape."""
    for row, size in enumerate(profile.batch_size):
        for column, length in enumerate(profile.length):
            here = (samples.batch_size == size) & (samples.length == length)
            yield row, column, samples.latency_ns[here]
