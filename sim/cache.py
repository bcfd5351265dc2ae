"""Compiled code that the next process finds again on disk.

numba keeps machine code beside the source file and looks only at that file's date.  Here code is
made from several files, so it is kept in a folder that is named for everything it was made from:
an edited rule is never answered by its old code.
"""

from __future__ import annotations

import hashlib
import os
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from .cache_files import CodeCache

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = (
    *("answer.py", "cache.py", "compiled.py", "heaps.py", "service.py"),
    *("steps.py", "steps_queue.py", "system.py", "trace.py"),
    *("steps_cluster.py", "steps_scaling.py", "steps_sealed.py", "steps_views.py"),
    *("steps_outcome.py", "steps_sequences.py", "sequences.py", "changes.py"),
    *("compiled_slots.py",),
    *("../policies/contract.py", "../policies/routing.py", "../policies/scaling.py"),
)
"""Files, seen from here, whose code goes into every compiled kernel."""


def cache_folder() -> Path:
    """Where compiled code is kept: ``BATCHWRIGHT_CACHE``, or the user's cache folder."""
    own = os.environ.get("BATCHWRIGHT_CACHE")
    if own:
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "batchwright"


@cache
def kernel_digest() -> str:
    """Digest of the kernel's own sources and of what compiles them."""
    made_from = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    for name in SOURCES:
        made_from.update((Path(__file__).parent / name).read_bytes())
    return made_from.hexdigest()[:16]


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Let numba keep what is decorated meanwhile in a folder; all threads share its setting."""
    config: Any = numba.config
    with _ONE_AT_A_TIME:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before


def compile_kept(function: Function, folder: Path, **options: Any) -> Function:
    """``numba.njit`` with a cache on disk, or without one where no folder can be written."""
    made: Any = numba.njit(nogil=True, **options)(function)
    with kept_in(folder), suppress(RuntimeError):  # "cannot cache function: no locator available"
        made._cache = CodeCache(function)  # noqa: SLF001 - numba takes no cache but its own
    return cast("Function", made)


def compiled_piece(function: Function) -> Function:
    """A step of the event loop: compiled once for all rules, and inlined into their kernels.

    Reference counts are switched off (``_nrt``): the arrays outlive the run, and counting would
    cost ten times the run itself.
    """
    only_inside = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    return compile_kept(function, kernel_folder(), _nrt=False, **only_inside)


def compiled_entry(function: Function) -> Function:
    """A part of the kernel that Python calls."""
    return compile_kept(function, kernel_folder(), _nrt=False, no_cfunc_wrapper=True)


def kernel_folder() -> Path:
    """Where the parts that all rules share are kept."""
    return cache_folder() / f"kernel-{kernel_digest()}"


def code_digest(function: Callable[..., Any], seen: dict[int, str] | None = None) -> str:
    """Digest of a function's code and of everything global that it refers to."""
    seen = {} if seen is None else seen
    function = getattr(function, "py_func", function)
    if id(function) in seen:
        return seen[id(function)]
    seen[id(function)] = function.__qualname__
    parts = [function.__qualname__, *_text(function.__code__)]
    for name, value in sorted(_referred(function).items()):
        if isinstance(value, types.FunctionType) or hasattr(value, "py_func"):
            parts.append(code_digest(value, seen))
        elif isinstance(value, type) and hasattr(value, "_fields"):
            parts.append(f"{value.__qualname__}{value._fields}")
        elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
            parts.append(f"{name}={value!r}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _referred(function: Any) -> dict[str, Any]:
    """Globals and closed-over values that a function's code names."""
    code = function.__code__
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    scope = function.__globals__ | {name: cell.cell_contents for name, cell in cells}
    return {name: scope[name] for name in code.co_names + code.co_freevars if name in scope}


def _text(code: types.CodeType) -> list[str]:
    """What a code object does, without addresses and line numbers."""
    parts = [code.co_code.hex(), repr(code.co_names)]
    for constant in code.co_consts:
        parts += _text(constant) if isinstance(constant, types.CodeType) else [repr(constant)]
    return parts
