"""A user's own model: ``callable:package.module:function``.

The function takes a list of lengths, serves one batch of such requests as production would, until
the outputs are on the host, and returns one output per request.  It may carry two attributes:
``length_unit`` (``tokens``, the default, or ``audio_ms``) and ``longest`` (default: no limit).
It places its model itself: device, precision, mode and threads are written down as they are said.

A function with an attribute ``inputs`` (:mod:`.function_tensors`) takes tensors instead: a list of
mappings of names to arrays, one a request; and it returns such a list.  In place of the outputs of
a request it may return an exception, which fails that one alone.  Where it is measured, it gets
requests that are made up from what it declares.
"""

from __future__ import annotations

import importlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiles.runner import Contract, ModelError, OutOfMemory, Served, Tensors

from .function_tensors import made_up, ports, returned

PREFIX = "callable:"
UNITS = ("tokens", "audio_ms")
NO_LIMIT = 2**31 - 1


class FunctionRunner:
    """A :class:`profiles.runner.Runner` of a function."""

    def __init__(self, name: str, said: dict[str, str | int | float]) -> None:
        self.name = name
        self.function = find_function(name)
        self.length_unit = str(getattr(self.function, "length_unit", UNITS[0]))
        if self.length_unit not in UNITS:
            raise ModelError(
                f"{name}: `length_unit` must be tokens or audio_ms, but is {self.length_unit!r}"
            )
        self.longest = int(getattr(self.function, "longest", NO_LIMIT))
        self.said = said
        declared = getattr(self.function, "inputs", None)
        self.inputs = None if declared is None else ports(name, "inputs", declared)
        self.outputs = ports(name, "outputs", getattr(self.function, "outputs", {}))

    def about(self) -> dict[str, str | int | float]:
        """What was said when it was opened."""
        python = platform.python_version()
        return {"model": self.name, **self.said, "framework": "a function", "python": python}

    def serve(self, lengths: Sequence[int]) -> Served:
        """Call the function with these lengths.

        Raises:
            OutOfMemory: it ran out of memory.
            ModelError: it failed, or its output is wrong.
        """
        wanted = list(lengths)
        if not wanted or not 0 < min(wanted) <= max(wanted) <= self.longest:
            raise ModelError(
                f"{self.name} takes batches of lengths from 1 to {self.longest}, but got {wanted}"
            )
        if self.inputs is not None:
            return self.respond([self._made_up(length) for length in wanted])[1]
        output, served = self._timed(wanted, wanted)
        self._verify(output, len(wanted))
        return served

    def contract(self) -> Contract | None:
        """What a request brings and gets; None: it takes lengths."""
        if self.inputs is None:
            return None
        return Contract(self.inputs, self.outputs, longest=self.longest, finite=False)

    def respond(
        self, requests: Sequence[Tensors], wanted: Sequence[str] = ()
    ) -> tuple[list[Tensors | Exception], Served]:
        """One call on what requests bring; see :class:`profiles.runner.Answering`."""
        output, served = self._timed([dict(request) for request in requests], ())
        return returned(self.name, output, len(requests)), served

    def _made_up(self, length: int) -> Tensors:
        if not self.inputs:
            raise ModelError(
                f"{self.name} declares no inputs, so that no requests can be made up for it: say "
                'what it takes, as infer.inputs = {"input_ids": "INT64 [1, -1]"}'
            )
        return made_up(self.inputs, length, self.length_unit)

    def _timed(self, batch: list[Any], lengths: Sequence[int]) -> tuple[Any, Served]:
        try:
            began_ns = time.perf_counter_ns()
            output = self.function(batch)
            wall_ns = time.perf_counter_ns() - began_ns
        except Exception as error:
            # OutOfMemoryError is torch's, which may not be installed here.
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
                padded = f" padded to {max(lengths)} {self.length_unit}" if lengths else ""
                raise OutOfMemory(
                    f"{self.name}: a batch of {len(batch)}{padded} does not fit into memory"
                ) from error
            reason = next(iter(str(error).splitlines()), "")
            raise ModelError(f"{self.name} raised {type(error).__name__}: {reason}") from error
        return output, Served(wall_ns, None)

    def peak_memory_bytes(self, lengths: Sequence[int]) -> int | None:
        """Not known of a function."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _verify(self, output: Any, size: int) -> None:
        try:
            count = len(output)
        except TypeError:
            raise ModelError(
                f"{self.name} must return one output per request, but returned "
                f"{type(output).__name__}"
            ) from None
        if count != size:
            raise ModelError(
                f"{self.name} must return one output per request, but returned {count} for a batch "
                f"of {size}"
            )
        if not _finite(output):
            raise ModelError(f"{self.name} returned NaN or infinity for a batch of {size}")


def find_function(name: str) -> Callable[[list[Any]], Any]:
    """The function behind ``callable:package.module:function``; the working folder is searched too.

    Raises:
        ModelError: there is no such module, or no such function in it.
    """
    module_name, colon, function_name = name.removeprefix(PREFIX).partition(":")
    if not (module_name and colon and function_name):
        raise ModelError(
            f"a function is named as callable:package.module:function, but got {name!r}"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(f"{name}: the module cannot be imported: {error}") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ModelError(f"{name}: {module_name} has no function {function_name!r}")
    found: Callable[[list[Any]], Any] = function
    return found


def _finite(output: Any) -> bool:
    """Whether all numbers are finite; what is not numeric, as texts are, counts as finite."""
    if hasattr(output, "detach"):
        output = output.detach().float().cpu()
    try:
        return bool(np.isfinite(np.asarray(output, dtype=np.float64)).all())
    except (TypeError, ValueError):
        return True
