"""What was looked at, and how a process of its own is asked, for :mod:`experiments.doctor`."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

OK, MISSING, BROKEN = "ok", "missing", "broken"

PROBE_S = 90
"""A first import of torch from a cold disk takes half a minute."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    part: str
    name: str
    state: str
    """``ok``, ``missing`` or ``broken``."""
    found: str
    needed_for: str = ""
    remedy: str = ""
    required: bool = False


def probe(what: str, *arguments: str) -> dict[str, Any] | str:
    """What a process of its own finds; a sentence where it does not come to an end."""
    command = [sys.executable, "-m", "experiments.doctor_probe", what, *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and this package
            command, capture_output=True, text=True, timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_S} s"
    except OSError as error:
        return str(error)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and last.startswith("{"):
        found: dict[str, Any] = json.loads(last)
        return found
    lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
    return lines[-1]


def version_of(name: str) -> str | None:
    """The version of an installed package; None where it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
