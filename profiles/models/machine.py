"""The machine that a model runs on: its names, its memory allocator, and whether it is there.

torch is imported where it is asked, so that what runs without it can name the machine too.
"""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from profiles.runner import ModelError

if TYPE_CHECKING:
    import torch

MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20), (-8, 1))
"""``M_MMAP_MAX``, ``M_TRIM_THRESHOLD``, ``M_TOP_PAD``, ``M_ARENA_MAX`` (glibc, mallopt(3)).

With glibc's defaults every large activation is mapped, faulted in page by page and given back at
each call: a third of the time of 5 s clips.  With these, memory once used is kept.
"""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
CPU_FILE = Path("/proc/cpuinfo")
UNKNOWN = "not stated"


def keep_memory() -> bool:
    """Tell glibc's malloc to keep what it has, for the rest of the process; False where not glibc.

    To be called before the first large allocation.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(option, value) == 1 for option, value in MALLOPT)


def gpu_number(name: str) -> int | None:
    """Which GPU a device's name means: None for ``cpu``, 0 for ``cuda``, 1 for ``cuda:1``.

    Raises:
        ModelError: it is none of these.
    """
    if name == "cpu":
        return None
    parts = re.fullmatch(r"cuda(?::(\d+))?", name)
    if parts is None:
        raise ModelError(f"the device must be cpu, cuda or cuda:N, but got {name!r}")
    return int(parts[1] or 0)


def find_device(name: str) -> torch.device:
    """The device of this name: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ModelError: there is none.
    """
    import torch

    number = gpu_number(name)
    if number is None:
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if number >= count:
        raise ModelError(f"there is no device {name}: torch {torch.__version__} sees {count} GPUs")
    return torch.device("cuda", number)


def device_name(device: torch.device) -> str:
    """Name of the card or of the CPU, as it calls itself."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return cpu_name()


def cpu_name() -> str:
    """Name of the CPU, as it calls itself."""
    if CPU_FILE.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", CPU_FILE.read_text(), re.MULTILINE)
        if model:
            return model[1].strip()
    return platform.processor() or platform.machine()


def gpu_name(number: int) -> str:
    """Name of a card as NVIDIA's driver gives it, for what runs without torch."""
    folders = sorted(GPU_FOLDER.glob("*/information"))
    if number < len(folders):
        model = re.search(r"^Model:\s*(.+)$", folders[number].read_text(), re.MULTILINE)
        if model:
            return model[1].strip()
    return UNKNOWN


def driver(device: torch.device) -> str:
    """Version of the NVIDIA driver, ``none`` on a CPU."""
    return driver_version() if device.type == "cuda" else "none"


def driver_version() -> str:
    """Version of the NVIDIA driver that is loaded."""
    if not DRIVER_FILE.exists():
        return UNKNOWN
    version = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", DRIVER_FILE.read_text())
    return version[1] if version else UNKNOWN
