"""Where a scenario says how much memory there is, and what a batch takes of it.

The model is the scenario's own, or fitted to what was measured with its profile.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from policies.contract import IntArray
from profiles.forms import default_form
from profiles.latency import Profile
from profiles.memory import DEVICE_MEMORY, MemoryModel, fitted_memory, load_peaks, memory_path
from sim.specs import WorkloadSpec

from .memory import GIB, KEY, MIB, WORDS, Memory
from .resolve import KeyedError, blaming, profile_place
from .schema import Spec

USABLE = 0.9
"""Of a device's memory, where no limit is given: the default of vLLM's ``gpu_memory_utilization``,
since drivers, contexts and fragments take the rest."""


def memory_of(
    spec: Spec,
    folder: Path,
    profile: Profile | None,
    workload: WorkloadSpec,
    service_ns: IntArray,
) -> Memory | None:
    """The memory that a scenario gives its service; None where it says nothing of it.

    Args:
        spec: the checked file.
        folder: where it stands.
        profile: of the service, if it has one.
        workload: what arrives.
        service_ns: int64 (models, largest batch that is known, edges).

    Raises:
        KeyedError: there is no limit or no model, or not even one request fits.
    """
    table = spec.service.memory
    if table is None:
        return None
    limit = None if table.limit_gib is None else float(table.limit_gib) * GIB
    if limit is None:
        limit = _device_bytes(profile) * USABLE
    files: dict[str, str] = {}
    if table.fixed_gib is None:
        model, files = _measured_model(spec, folder)
    else:
        model = MemoryModel(
            float(table.fixed_gib) * GIB,
            float(table.per_request_mib or 0) * MIB,
            float(table.per_length_mib or 0) * MIB,
        )
    with blaming("workload.lengths"):
        length = workload.pmf().length
    unit = (profile.length_unit if profile else workload.length_unit) or "tokens"
    known = service_ns.shape[1]
    memory = Memory(model, limit, _edges(spec, profile), length, known, unit, files)
    if memory.at_longest < 1:
        longest, words = int(length[-1]), WORDS[unit]
        raise KeyedError(
            f"{KEY}.limit_gib",
            f"{KEY}.limit_gib: one request of {longest} {words} needs {memory.needs(1, longest)}, "
            f"but {memory.limit_text} are there; give more, or shorter lengths",
        )
    return memory


def _device_bytes(profile: Profile | None) -> float:
    """What the profile's device has."""
    known = None if profile is None else profile.metadata.versions.get(DEVICE_MEMORY)
    if known is None or not known.isdigit():
        what = "a model has none" if profile is None else f"profile {profile.name} does not say"
        raise KeyedError(
            f"{KEY}.limit_gib",
            f"{KEY}.limit_gib is missing: give the memory that batches may take, as {what}",
        )
    return float(known)


def _measured_model(spec: Spec, folder: Path) -> tuple[MemoryModel, dict[str, str]]:
    """From what was measured with the profile, and the SHA-256 of that."""
    wanted = profile_place(spec, folder)
    with blaming(KEY):
        path = None if wanted is None else memory_path(wanted)
        if path is not None:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return fitted_memory(load_peaks(path)), {path.name: digest}
    lacks = "a model" if wanted is None else f"profile {spec.service.profile}"
    raise KeyedError(
        f"{KEY}.fixed_gib",
        f"{KEY}.fixed_gib is missing: {lacks} has no measured memory; give fixed_gib and "
        "per_length_mib (or per_request_mib), or a profile that was measured on a GPU",
    )


def _edges(spec: Spec, profile: Profile | None) -> IntArray:
    """Where requests are padded to: all measured lengths with captured graphs, else the first."""
    if profile is None:
        return np.zeros(0, dtype=np.int64)
    form = spec.service.latency or default_form(profile)
    return profile.length if form == "bucket" else profile.length[:1]
