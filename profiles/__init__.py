"""Latency profiles: how long a batch takes, by batch size and length, and how much that varies."""

from .fit import Fit, best_fit, fitted
from .latency import (
    Metadata,
    Profile,
    ProfileError,
    Samples,
    best_cost_ns,
    from_samples,
    latency_at,
    table_ns,
)
from .noise import NoiseTable, noise_label, noise_table
from .store import fingerprint, load, names, save
from .tables import read_table

__all__ = [
    "Fit",
    "Metadata",
    "NoiseTable",
    "Profile",
    "ProfileError",
    "Samples",
    "best_cost_ns",
    "best_fit",
    "fingerprint",
    "fitted",
    "from_samples",
    "latency_at",
    "load",
    "names",
    "noise_label",
    "noise_table",
    "read_table",
    "save",
    "table_ns",
]
