"""Times of batches as they were calibrated: in place, through the same code path as the windows.

A prediction takes three things from it: the table of medians, how far single calls are from it, and
how far the whole device drifts between one calibration block and the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policies.contract import NEVER
from profiles.latency import Profile, table_ns
from sim.service import Idling, Service

ALIKE = 0.02
"""Servers whose mean times are nearer to those of all together count as alike: a mean of some
hundred calls with a spread of 10 to 20 % is known to about 1 %."""


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

    @property
    def differing(self) -> tuple[float, ...]:
        """The servers' factors where they are no luck; else empty: all are alike."""
        far = any(abs(factor - 1.0) > ALIKE for factor in self.server_factors)
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
