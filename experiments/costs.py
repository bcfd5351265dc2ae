"""What a batch costs: the ``[service]`` table made into :class:`sim.service.Service`.

1. Time without noise comes from a profile, or from a model by size and length; a model that is
   linear in length is exact with two length edges.
2. Noise is drawn here, before any run: normal scores where a profile gives quantiles, else factors
   of mean 1 (float32).
3. A drift of the whole replication is a factor on its noise, not on the time that policies know.
4. ``largest_rate_per_s`` is what all servers do when every batch has the most efficient size and no
   padding; ``load`` is a rate over that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray
from profiles.blocks import Steady, block_scores
from profiles.forms import costs
from profiles.latency import Profile
from profiles.noise import noise_table
from sim.errors import WorkloadError
from sim.service import Noise

from .schema_service import (
    Affine,
    BlocksNoise,
    GammaNoise,
    Listed,
    LognormalNoise,
    NoNoise,
    ProfileNoise,
)
from .units import NS_PER_S, ms_to_ns

AnyKind = NoNoise | ProfileNoise | BlocksNoise | GammaNoise | LognormalNoise

LONGEST_NS = 2**62
"""Of a batch: what comes after it has to be int64, too."""

DRIFT_LEAST = 0.5
"""A drift below it is drawn again: no machine is twice as fast on another day."""
DRAWS_MAX = 2**22
"""Draws a server; after that many batches its stream starts again (16 MiB at float32)."""


def largest_batch_of(model: Affine | Listed) -> int:
    """How many rows a model's table has."""
    return len(model.table_ms) if isinstance(model, Listed) else model.max_batch_size


def model_costs(models: Sequence[Affine | Listed], longest: int) -> tuple[IntArray, IntArray]:
    """Time without noise of one or several models.

    Args:
        models: one for all tiers, or one a tier.
        longest: longest length that can arrive.

    Returns:
        ``service_ns`` int64 (models, largest batch, edges) and ``length_edges`` int64 (edges,).
        Several models share the batch sizes that all of them know, so that every mix can run.
    """
    largest = min(largest_batch_of(model) for model in models)
    flat = all(isinstance(model, Listed) or model.per_length_ms == 0 for model in models)
    edges = [1] if flat or longest == 1 else [1, longest]
    sizes = range(1, largest + 1)
    tables = [[[_cost_ns(m, size, edge) for edge in edges] for size in sizes] for m in models]
    if max(max(row) for table in tables for row in table) > LONGEST_NS:
        raise WorkloadError("a batch would take longer than 146 years; give smaller times")
    return np.array(tables, dtype=np.int64), np.array(edges, dtype=np.int64)


def _cost_ns(model: Affine | Listed, size: int, length: int) -> int:
    """At least 1 ns, so that time passes."""
    if isinstance(model, Listed):
        return max(1, ms_to_ns(model.table_ms[size - 1]))
    per_request = model.per_request_ms + model.per_length_ms * length
    return max(1, ms_to_ns(model.base_ms + per_request * size))


def profile_costs(profile: Profile, form: str | None = None) -> tuple[IntArray, IntArray]:
    """``service_ns`` int64 (1, largest batch, edges) and ``length_edges`` of a profile.

    Args:
        profile: what was measured.
        form: one of :data:`profiles.forms.FORMS`; by default the profile's own.
    """
    table, edges = costs(profile, form)
    return table[np.newaxis], edges


def draw_noise(
    kinds: Sequence[AnyKind],
    profile: Profile | None,
    servers: int,
    batches: int,
    rng: np.random.Generator,
    steady: Steady | None = None,
) -> Noise:
    """Noise for one run.

    Args:
        kinds: one for each model of the service.
        profile: what ``kind = "profile"`` and ``"blocks"`` take their quantiles from.
        servers: how many servers draw.
        batches: how many batches a server can run at most.
        rng: the stream of service noise.
        steady: what ``kind = "blocks"`` replays.
    """
    if all(isinstance(kind, NoNoise) for kind in kinds):
        return Noise()
    shape = (servers, min(batches, DRAWS_MAX))
    if isinstance(kinds[0], ProfileNoise) and profile is not None:
        table = noise_table(profile)
        scores = correlated(rng.standard_normal(shape, dtype=np.float32), table.lag1)
        return Noise(scores[np.newaxis], table.quantiles, table.class_of_size)
    if steady is not None and profile is not None:
        table = noise_table(profile)
        scores = block_scores(steady, shape, rng)
        return Noise(scores[np.newaxis], table.quantiles, table.class_of_size)
    return Noise(np.stack([factors(kind, shape, rng) for kind in kinds]))


def correlated(scores: NDArray[np.float32], lag1: float) -> NDArray[np.float32]:
    """Normal scores with correlation ``lag1`` between neighbours of a row (AR(1), variance 1)."""
    if lag1 == 0.0:
        return scores
    from scipy.signal import lfilter

    first = scores[:, :1]
    fresh = np.sqrt(1.0 - lag1**2) * scores[:, 1:]
    later, _ = lfilter([1.0], [1.0, -lag1], fresh, axis=1, zi=lag1 * first)
    return np.concatenate([first, later], axis=1).astype(np.float32)


def drift_factor(sd: float, rng: np.random.Generator) -> float:
    """How much slower than its profile a whole replication is: normal around 1, cut below."""
    while True:
        factor = float(rng.normal(1.0, sd))
        if factor > DRIFT_LEAST:
            return factor


def drifted(noise: Noise, factor: float, models: int, servers: int) -> Noise:
    """Noise whose every factor is multiplied by that of the replication."""
    if noise.quantiles.shape[0]:
        return replace(noise, quantiles=noise.quantiles * factor)
    if noise.draws.shape[2]:
        return replace(noise, draws=noise.draws * np.float32(factor))
    return Noise(np.full((models, servers, 1), factor, dtype=np.float32))


def factors(
    kind: AnyKind,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Factors of mean 1 with the coefficient of variation of a kind of noise."""
    if isinstance(kind, GammaNoise):
        variance = float(kind.cv) ** 2
        gammas = rng.standard_gamma(1.0 / variance, shape, dtype=np.float32)
        return gammas * np.float32(variance)
    if isinstance(kind, LognormalNoise):
        variance = np.log1p(float(kind.cv) ** 2)
        scores = rng.standard_normal(shape, dtype=np.float32)
        drawn: NDArray[np.float32] = np.exp(np.float32(np.sqrt(variance)) * scores)
        return drawn * np.float32(np.exp(-variance / 2))
    return np.ones(shape, dtype=np.float32)


def mean_work_ns(
    service_ns: IntArray,
    length_edges: IntArray,
    lengths: IntArray,
    chances: FloatArray,
    most: IntArray | None = None,
) -> float:
    """Time that a request costs at the best efficiency, averaged over lengths.

    Args:
        service_ns: int64 (largest batch, edges) of one model.
        length_edges: int64 (edges,).
        lengths: int64 (values,).
        chances: float64 (values,), adding up to 1, or less where some requests are rejected.
        most: int64 (values,), at least 1: the largest batch that fits into memory at each length.
    """
    columns = [np.interp(lengths, length_edges, row) for row in service_ns]
    sizes = np.arange(1, service_ns.shape[0] + 1)[:, np.newaxis]
    costs = np.stack(columns) / sizes
    if most is not None:
        costs = np.where(sizes <= most, costs, np.inf)
    return float(chances @ costs.min(axis=0))


def largest_rate_per_s(servers: float, mean_work: float) -> float:
    """Requests per second that ``servers`` do at the best efficiency; inf without work."""
    return servers * NS_PER_S / mean_work if mean_work > 0 else float("inf")
