"""What of a run a stack can do exactly, where it cannot do what the run recommends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.rerun import read_result
from experiments.runs import RunError

from . import Stack
from .contract import ExportError
from .reading import module_of
from .run import setting_of_run

STATISTICS = ("p99", "mean")
"""By which settings are ordered: the first that all have."""


def exactly(row: Stack, folder: Path, but: str, model: str | None = None) -> str | None:
    """The setting of a run with the least latency that a stack does exactly, and not ``but``."""
    for name in by_latency(read_result(folder)["policies"]):
        if name == but:
            continue
        try:
            module_of(row).export(setting_of_run(folder, name, model), nearest=False)
        except (ExportError, RunError):
            continue
        return name
    return None


def by_latency(policies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the stable policies, the least p99 first, or mean where one has no p99."""
    stable = {name: one["latency_ms"] for name, one in policies.items() if one.get("latency_ms")}
    for statistic in STATISTICS:
        values = {name: one.get(statistic, {}).get("value") for name, one in stable.items()}
        if None not in values.values():
            return sorted(values, key=values.__getitem__)
    return list(stable)
