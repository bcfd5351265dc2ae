"""Times of batches as they were calibrated: in place, through the same code path as the windows.

A prediction takes three things from it: the table of medians, how far single calls are from it, and
how far the whole device drifts between one calibration block and the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from experiments.clustered import harmonic
from policies.contract import NEVER
from profiles.latency import Profile, table_ns
from profiles.noise import noise_table
from sim.service import Idling, Service

ALIKE, SURE = 0.02, 3.0
"""Servers whose mean times are nearer to those of all together count as alike, and so do those that
are within so many standard errors: of the mean of few calls, or of calls that differ much."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Round trips of every shape that the policies can produce."""

    profile: Profile
    """Medians of the round trips, with the raw calls; its calls are in the order of measurement."""
    block_factors: tuple[float, ...]
    """Mean time of each calibration block over that of the pooled table."""
    idling: Idling = Idling()
    """What an idle time costs the next batch; it is not in the profile's times."""
    server_factors: tuple[float, ...] = ()
    """Mean time of each server's calls over that of the pooled table; empty where there is one."""

    server_errors: tuple[float, ...] = ()
    """Standard error of each of them; empty: not known."""
    others: tuple[Profile, ...] = ()
    """Of replicas with another profile, by the same shapes; jitter and idling are shared."""
    kinds: tuple[int, ...] = ()
    """Of each server: its place in ``profiles``; empty: all have the first."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """All of them."""
        return (self.profile, *self.others)

    @property
    def differing(self) -> tuple[float, ...]:
        """The servers' factors where they are no luck; else empty: all are alike."""
        errors = self.server_errors or (0.0,) * len(self.server_factors)
        far = any(
            abs(factor - 1.0) > max(ALIKE, SURE * error)
            for factor, error in zip(self.server_factors, errors, strict=True)
        )
        return self.server_factors if far else ()

    @property
    def drift_sd(self) -> float:
        """Standard deviation of the blocks' factors; 0 where there is one block.

        What too few calls do to a block is in it, too: a window is short as well.
        """
        if len(self.block_factors) < 2:
            return 0.0
        return float(np.std(self.block_factors, ddof=1))

    def service(
        self,
        servers: int = 1,
        *,
        capacity: int = NEVER,
        capacity_counts_in_system: bool = False,
        longest_admitted: int = NEVER,
    ) -> Service:
        """The service of the medians, without noise: what policies are bound to, live too."""
        return Service(
            service_ns=table_ns(self.profile)[np.newaxis],
            length_edges=self.profile.length,
            servers=servers,
            idling=self.idling,
            capacity=capacity,
            capacity_counts_in_system=capacity_counts_in_system,
            longest_admitted=longest_admitted,
        )


def mixed(service: Service, calibration: Calibration) -> Service:
    """A service whose replicas have the profiles that were calibrated, each its own.

    Rows of the noise's quantiles are those of all profiles, one after the other.
    """
    assert service.cluster is not None, "only replicas of a cluster differ"
    tables = np.stack([table_ns(profile)[np.newaxis] for profile in calibration.profiles])
    classes, before = [], 0
    for profile in calibration.profiles:
        jitter = noise_table(profile)
        classes.append(jitter.class_of_size + before)
        before += len(jitter.quantiles)
    cluster = replace(service.cluster, service_ns=tables, class_of_size=np.stack(classes))
    servers = tuple(np.bincount(cluster.profiles, minlength=len(tables)).tolist())
    return replace(service, service_ns=harmonic(tables, servers), cluster=cluster)
