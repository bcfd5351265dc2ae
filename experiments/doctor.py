"""What is installed and what the machine allows, with what is missing for which command.

1. Nothing heavy is imported in this process: an installation that is broken can be looked at.
2. What is *required* is what ``simulate``, ``compare``, ``tune`` and ``export`` need; everything
   else is for the commands that a finding names.
3. Versions and extras are those of the package's own metadata.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from .doctor_machine import devices, places, system
from .doctor_stacks import stacks
from .findings import BROKEN, MISSING, OK, Finding, probe, version_of

IMPORTED = {"pyyaml": "yaml", "nvidia-ml-py": "pynvml"}
"""Names under which packages are imported, where they have another one."""

EXTRAS = {
    "models": "profile measure and validate, with the models that are built in",
    "hf": "profile measure and validate with hf:NAME, a Hugging Face model",
    "onnx": "profile measure and validate with FILE.onnx",
    "gpu": "clocks, power and temperature of an NVIDIA GPU while it is measured",
    "parquet": "records and traces as Parquet; without it they are CSV",
    "postgresql": "tune --storage postgresql://..., several machines on one search",
    "serve": "serve, the HTTP server with its metrics",
    "queue": "serve --queue redis://..., jobs that outlive the server",
    "loadgen": "validate --judge mlperf, MLPerf's own load generator",
    "notebook": "running the notebooks",
}
"""What each extra is for.

Those of stacks are told by :mod:`experiments.doctor_stacks`; ``dev`` and ``docs`` are for who
changes this package.
"""


class Need(NamedTuple):
    """A package that the metadata asks for."""

    name: str
    least: str
    extra: str | None


def needs() -> list[Need]:
    """What the installed package asks for, without the extra ``dev``.

    Raises:
        importlib.metadata.PackageNotFoundError: batchwright is not installed, only its folder.
    """
    found = []
    for line in importlib.metadata.requires("batchwright") or []:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:>=([0-9.]+))?", line)
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if match and match[1] != "batchwright" and not (extra and extra[1] == "dev"):
            found.append(Need(match[1], match[2] or "0", extra[1] if extra else None))
    return found


def examine(runs: Path) -> list[Finding]:
    """Look at everything.

    Args:
        runs: the folder that holds all runs, which need not be there yet.
    """
    wanted = needs()
    findings = [_python(), *_required(wanted), *_extras(wanted), *stacks()]
    return [*findings, *devices(), *places(runs), *system()]


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether everything that is required works."""
    return not any(each.required and each.state != OK for each in findings)


def to_dict(findings: Iterable[Finding]) -> dict[str, Any]:
    """Plain JSON values."""
    listed = list(findings)
    return {"healthy": healthy(listed), "findings": [asdict(each) for each in listed]}


def _python() -> Finding:
    found = platform.python_version()
    asked = importlib.metadata.metadata("batchwright")["Requires-Python"] or ""
    low, high = (
        _numbers(match[1]) if (match := re.search(rf"{sign}\s*(\d+\.\d+)", asked)) else otherwise
        for sign, otherwise in ((">=", (0,)), ("<", (99,)))
    )
    fits = low <= _numbers(found)[:2] < high
    remedy = "" if fits else f"make an environment with a Python {asked}, and install it there"
    return Finding("required", "python", OK if fits else BROKEN, found, "", remedy, required=True)


def _required(wanted: Iterable[Need]) -> Iterator[Finding]:
    """Packages that every command needs: there, new enough, and importable."""
    names = [need for need in wanted if need.extra is None]
    present = [need for need in names if version_of(need.name) is not None]
    answer = probe("packages", *(_module(need.name) for need in present))
    broken = answer["broken"] if isinstance(answer, dict) else {}
    if isinstance(answer, str):
        yield Finding(
            "required", "imports", BROKEN, answer, "", "pip install --force-reinstall batchwright",
            required=True,
        )  # fmt: skip
    for need in names:
        state, found = _installed(need)
        reason = broken.get(_module(need.name))
        if reason is not None:
            state, found = BROKEN, f"{found}, but {reason}"
        again = "--force-reinstall " if reason else ""
        remedy = "" if state == OK else f"pip install {again}'{need.name}>={need.least}'"
        yield Finding("required", need.name, state, found, "", remedy, required=True)


def _extras(wanted: Iterable[Need]) -> Iterator[Finding]:
    """One for each extra; it is missing where one of its packages is."""
    for extra, purpose in EXTRAS.items():
        states, words = [], []
        for need in (need for need in wanted if need.extra == extra):
            state, found = _installed(need)
            states.append(state)
            words.append(f"{need.name} {found}")
        state = next((each for each in (BROKEN, MISSING) if each in states), OK)
        remedy = "" if state == OK else f"pip install 'batchwright[{extra}]'"
        yield Finding("optional", extra, state, ", ".join(words), purpose, remedy)


def _installed(need: Need) -> tuple[str, str]:
    found = version_of(need.name)
    if found is None or find_spec(_module(need.name)) is None:
        return MISSING, "not installed"
    if _numbers(found) < _numbers(need.least):
        return BROKEN, f"{found}, older than {need.least}"
    return OK, found


def _module(name: str) -> str:
    return IMPORTED.get(name, name.replace("-", "_"))


def _numbers(version: str) -> tuple[int, ...]:
    """``2.11.0+cu126`` as (2, 11, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
