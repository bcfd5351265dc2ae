"""Named streams of random numbers: changing one seed changes one thing.

1. A stream is (seed, name, indices...): replication first, then tier or server where there are
   several.  Different streams are independent, whatever their seeds.
2. The same stream gives the same numbers on every machine (numpy's PCG64).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STREAMS = (
    *("arrivals", "lengths", "service", "timeouts", "tuner", "tiers", "drift"),
    *("preprocessing", "postprocessing", "routes", "outages"),
    *("outputs", "sequences"),
)
"""Known streams.  The place in the table is part of the key, so new names go to the end."""


@dataclass(frozen=True)
class Seeds:
    """One seed for each source of randomness.

    Which tier a request belongs to is drawn with the seed of the arrivals; a drift of the service
    times, the times of the CPU stages, outages and the luck of routers with that of the service.
    """

    arrivals: int = 1
    lengths: int = 2
    service: int = 3
    timeouts: int = 4
    tuner: int = 5


def stream(seed: int, name: str, *indices: int) -> np.random.Generator:
    """Generator of one named stream.

    Args:
        seed: not negative.
        name: one of :data:`STREAMS`.
        indices: replication, tier, server, ...; none negative.

    Raises:
        ValueError: the name is not known.
    """
    if name not in STREAMS:
        raise ValueError(f"unknown stream {name!r}; known are {', '.join(STREAMS)}")
    key = (STREAMS.index(name), *indices)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
