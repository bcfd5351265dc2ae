"""What only a process of its own should find out: ``python -m experiments.doctor_probe WHAT``.

Imports may crash or take seconds, and a change of priority should not stay.  Prints one JSON
object.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any


def packages(names: Sequence[str]) -> dict[str, Any]:
    """What is wrong with each package that cannot be imported."""
    broken = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
            lines = str(error).strip().splitlines() or [""]
            broken[name] = f"{type(error).__name__}: {lines[0]}"
    return {"broken": broken}


def cache(_: Sequence[str]) -> dict[str, Any]:
    """Where compiled code is kept."""
    from sim.cache import cache_folder, kernel_folder

    return {"folder": str(cache_folder()), "kernel": str(kernel_folder())}


def priority(_: Sequence[str]) -> dict[str, Any]:
    """Whether this process may run before ordinary ones."""
    from sim.timing import urgent

    return {"allowed": urgent()}


def browser(_: Sequence[str]) -> dict[str, Any]:
    """What prints a report as PDF."""
    from experiments.report.pdf import browser as found
    from experiments.runs import RunError

    with contextlib.suppress(RunError):
        return {"path": found()}
    return {"path": None}


def torch(_: Sequence[str]) -> dict[str, Any]:
    """Which GPUs torch sees, and which CUDA it was built for."""
    module = importlib.import_module("torch")
    count = module.cuda.device_count() if module.cuda.is_available() else 0
    return {
        "cuda": module.version.cuda,
        "gpus": [module.cuda.get_device_name(number) for number in range(count)],
    }


def onnxruntime(_: Sequence[str]) -> dict[str, Any]:
    """What ONNX Runtime runs models on."""
    return {"providers": importlib.import_module("onnxruntime").get_available_providers()}


def stacks(_: Sequence[str]) -> dict[str, Any]:
    """Where each serving stack is that ``try`` can run, or why it is not."""
    from experiments.stacks import STACKS
    from experiments.stacks.contract import NotInstalled, StackError
    from experiments.stacks.environments import python_of

    found: dict[str, Any] = {}
    for row in STACKS.values():
        try:
            python = python_of(row, install=False, say=print)
        except NotInstalled:
            found[row.name] = {"python": None, "why": None}
        except StackError as error:
            found[row.name] = {"python": None, "why": str(error)}
        else:
            found[row.name] = {"python": str(python), "why": None}
    return found


PROBES: dict[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    probe.__name__: probe
    for probe in (packages, cache, priority, browser, torch, onnxruntime, stacks)
}


def main() -> None:
    """Run one probe."""
    name, *rest = sys.argv[1:]
    print(json.dumps(PROBES[name](rest)))


if __name__ == "__main__":
    main()
