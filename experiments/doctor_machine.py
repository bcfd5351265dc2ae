"""What the machine has and allows: devices, folders, priority, a browser, completion."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .findings import BROKEN, MISSING, OK, Finding, probe, version_of

GIB, MIB = 2**30, 2**20
ROOM_LEAST = GIB
"""A tune with records writes some hundred MiB."""

COMPLETIONS = (
    ".bash_completions/batchwright.sh",
    ".zfunc/_batchwright",
    ".config/fish/completions/batchwright.fish",
)
"""What --install-completion writes, below the home folder, for bash, zsh and fish."""


def devices() -> Iterator[Finding]:
    """Cores, and GPUs as the driver, torch and ONNX Runtime see them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = _memory()
    yield Finding("devices", "cpu", OK, f"{usable} of {os.cpu_count()} cores{memory}")
    driver = _driver()
    if driver is not None:
        yield Finding("devices", "nvidia driver", OK, driver)
    if version_of("torch") is not None:
        yield _seen_by_torch(driver is not None)
    elif driver is not None:
        yield Finding(
            "devices", "torch's GPUs", MISSING, "torch is not installed",
            "--device cuda", "pip install 'batchwright[models]'",
        )  # fmt: skip
    else:
        yield Finding(
            "devices", "gpu", MISSING, "no NVIDIA driver", "--device cuda",
            "not needed for simulations: the shipped profiles were measured on GPUs",
        )  # fmt: skip
    if version_of("onnxruntime") is not None:
        answer = probe("onnxruntime")
        found = ", ".join(answer["providers"]) if isinstance(answer, dict) else answer
        yield Finding(
            "devices", "onnxruntime", OK if isinstance(answer, dict) else BROKEN, found,
            "FILE.onnx models",
        )  # fmt: skip


def _seen_by_torch(driver: bool) -> Finding:
    answer = probe("torch")
    if isinstance(answer, str):
        remedy = "pip install --force-reinstall 'batchwright[models]'"
        return Finding("devices", "torch's GPUs", BROKEN, answer, "--device cuda", remedy)
    if answer["gpus"]:
        found = f"{', '.join(answer['gpus'])} (CUDA {answer['cuda']})"
        return Finding("devices", "torch's GPUs", OK, found, "--device cuda")
    remedy = "not needed for simulations, nor for --device cpu"
    if driver:
        remedy = "install a torch built for CUDA: https://pytorch.org/get-started/locally"
    found = f"none (built for CUDA {answer['cuda']})" if answer["cuda"] else "none (built for CPUs)"
    return Finding("devices", "torch's GPUs", MISSING, found, "--device cuda", remedy)


def _driver() -> str | None:
    """Names of NVIDIA's GPUs, from its own tool."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - found by its name, no input of a user
            command, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "; ".join(done.stdout.split("\n")).strip("; ") or None if done.returncode == 0 else None


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return ""
    return f", {total / GIB:.0f} GiB of memory"


def places(runs: Path) -> Iterator[Finding]:
    """Folders that are written to."""
    answer = probe("cache")
    if isinstance(answer, dict):
        folder = Path(answer["folder"])
        why = "starting at once: without it every command compiles for a minute"
        able = _writable(folder)
        remedy = "" if able else "export BATCHWRIGHT_CACHE=a folder that you may write to"
        found = (
            f"{folder}, {_filled(folder, Path(answer['kernel']))}"
            if able
            else f"{folder} cannot be written"
        )
        yield Finding("folders", "cache", OK if able else BROKEN, found, why, remedy)
    able, shown = _writable(runs), runs.absolute()
    remedy = "" if able else "go to a folder that you may write to, or give --out DIR"
    found = (
        f"{shown}{'' if runs.exists() else ' (made by the first run)'}"
        if able
        else f"{shown} cannot be written"
    )
    yield Finding("folders", "runs", OK if able else BROKEN, found, "", remedy, required=True)
    room = shutil.disk_usage(_nearest(runs)).free
    remedy = "" if room >= ROOM_LEAST else "make room, or give --out on another disk"
    state = OK if room >= ROOM_LEAST else BROKEN
    yield Finding("folders", "free space", state, f"{room / GIB:.1f} GiB", "", remedy)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _writable(path: Path) -> bool:
    there = _nearest(path)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _filled(folder: Path, kernel: Path) -> str:
    """How much is kept, and whether the present kernel is."""
    if not folder.is_dir():
        return "empty: the first run compiles for about a minute"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    kept = "warm" if kernel.is_dir() else "not yet of this version: the next run compiles"
    return f"{size / MIB:.0f} MiB, {kept}"


def system() -> Iterator[Finding]:
    """What live runs want of the system."""
    answer = probe("priority")
    allowed = isinstance(answer, dict) and answer["allowed"]
    yield Finding(
        "system", "real-time priority", OK if allowed else MISSING,
        "allowed" if allowed else "not allowed",
        "validate: timers that are on time on a busy machine",
        "" if allowed else "run as root, docker run --cap-add SYS_NICE, or `@USER - rtprio 1` in "
        "/etc/security/limits.conf",
    )  # fmt: skip

    yield _browser()
    yield _completion()


def _browser() -> Finding:
    answer = probe("browser")
    path = answer["path"] if isinstance(answer, dict) else None
    return Finding(
        "system", "chromium", OK if path else MISSING, path or "not found", "report --pdf",
        "" if path else "apt install chromium, or print the HTML file from any browser",
    )  # fmt: skip


def _completion() -> Finding:
    """Whether a shell completes commands, scenarios and runs."""
    there = [name for name in COMPLETIONS if (Path.home() / name).is_file()]
    remedy = "" if there else "batchwright --install-completion"
    found = f"~/{there[0]}" if there else "not installed"
    return Finding("system", "completion", OK if there else MISSING, found, "the shell", remedy)
