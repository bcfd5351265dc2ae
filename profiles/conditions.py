"""How busy the machine was while something was measured: load average, and the GPU's own sensors.

The sensors need nvidia-ml-py (the module ``pynvml``) and an NVIDIA GPU; without them the columns
are empty.  Nothing is set, only read.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .store import write_whole

ROUNDS = "-rounds.csv"


class Conditions(NamedTuple):
    """The machine at one instant; None where it cannot say."""

    round: int
    instant_ns: int
    load_average: float | None
    """Of the last minute: processes that run or wait to."""
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    utilisation_percent: int | None = None
    """Share of the last moments with any kernel running: busy time, not efficiency."""


class Sensors:
    """Reads the conditions, those of a GPU where its number is given and it can be asked."""

    def __init__(self, gpu: int | None = None) -> None:
        self._nvml: Any = None
        self._handle: Any = None
        if gpu is None:
            return
        try:
            nvml: Any = importlib.import_module("pynvml")
        except ImportError:
            return
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return
        try:
            self._handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
        except nvml.NVMLError:
            nvml.nvmlShutdown()
            return
        self._nvml = nvml

    def read(self, number: int, instant_ns: int) -> Conditions:
        """The conditions now, at the start of a round."""
        seen = Conditions(number, instant_ns, load_average())
        return seen if self._nvml is None else seen._replace(**self._gpu())

    def _gpu(self) -> dict[str, Any]:
        nvml, card = self._nvml, self._handle
        return {
            "sm_clock_mhz": self._ask(nvml.nvmlDeviceGetClockInfo, card, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": self._ask(nvml.nvmlDeviceGetClockInfo, card, nvml.NVML_CLOCK_MEM),
            "power_w": _in_watts(self._ask(nvml.nvmlDeviceGetPowerUsage, card)),
            "temperature_c": self._ask(
                nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU
            ),
            "utilisation_percent": getattr(
                self._ask(nvml.nvmlDeviceGetUtilizationRates, card), "gpu", None
            ),
        }

    def _ask(self, question: Any, *words: Any) -> Any:
        """The answer, or None where this card does not give it."""
        try:
            return question(*words)
        except self._nvml.NVMLError:
            return None

    def close(self) -> None:
        """Let go of the GPU's sensors."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()


def load_average() -> float | None:
    """Load of the last minute, where the system has such a thing."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _in_watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def write_conditions(seen: Iterable[Conditions], path: Path) -> None:
    """Write ``NAME-rounds.csv``: the machine at the start of each round."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Conditions._fields)
    table.writerows(["" if value is None else value for value in row] for row in seen)
    write_whole(path, text.getvalue().encode())
