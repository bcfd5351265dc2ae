"""The parts of the compiled loop that no rule changes: compiled once, and found again on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np

import policies
from sim.cache import cache_folder, compile_kept

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = (
    *("kernel.py", "pieces.py", "serving.py", "state.py", "steps.py", "trace.py"),
    *("../cache.py", "../trace.py"),
)
RULE_SOURCES = (
    *("contract.py", "iteration/contract.py", "iteration/inlined.py", "iteration/times.py"),
)
"""Files whose code goes into every compiled kernel: seen from here, and from ``policies``."""

UNCOUNTED: Any = {"_nrt": False}
"""No reference counts: the arrays outlive the run."""


@cache
def sources_digest() -> str:
    """Digest of the loop's own sources and of what compiles them."""
    made_from = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    rules = Path(str(policies.__file__)).parent
    for path in (*(Path(__file__).parent / s for s in SOURCES), *(rules / s for s in RULE_SOURCES)):
        made_from.update(path.read_bytes())
    return made_from.hexdigest()[:16]


def compiled_piece(function: Function) -> Function:
    """A step of the loop: compiled once for all rules, and inlined into their kernels."""
    only_inside = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    folder = cache_folder() / f"iterations-{sources_digest()}"
    return compile_kept(function, folder, **UNCOUNTED, **only_inside)
