"""A function that takes tensors: what it declares, what is made up for it, and what it returns.

``infer.inputs = {"input_ids": "INT64 [1, -1]", "scale": "FP32 [1]?"}`` declares names, datatypes
of the Open Inference Protocol, shapes (-1: any; none: any shape), and by ``?`` what may be missing;
``{}`` takes whatever comes.  ``infer.outputs`` says the same of what it returns, where it is said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from profiles.runner import ModelError, Port, Tensors

DECLARED = re.compile(r"([A-Z]+\d*)\s*(\[[-\d,\s]*\])?\s*(\?)?")
KINDS = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "BF16": np.float32, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip
"""As arrays have them."""
SAMPLES_PER_MS = 16


def ports(model: str, key: str, said: Any) -> tuple[Port, ...]:
    """What a function's ``inputs`` or ``outputs`` declare.

    Raises:
        ModelError: it is not such a mapping.
    """
    if not isinstance(said, Mapping):
        raise ModelError(
            f'{model}: `{key}` must map names to types, as {{"input_ids": "INT64 [1, -1]"}}, but '
            f"is {said!r}"
        )
    return tuple(_port(model, key, name, kind) for name, kind in said.items())


def _port(model: str, key: str, name: Any, said: Any) -> Port:
    found = DECLARED.fullmatch(said) if isinstance(said, str) else None
    shape = _shape(found[2]) if found and found[2] else ()
    if not isinstance(name, str) or found is None or found[1] not in KINDS or shape is None:
        raise ModelError(
            f"{model}: `{key}[{name!r}]` must be a datatype and, if you like, a shape, as "
            f'"INT64 [1, -1]", but is {said!r}; datatypes are {", ".join(KINDS)}'
        )
    return Port(name, found[1], shape, required=not found[3])


def _shape(said: str) -> tuple[int, ...] | None:
    try:
        sizes = json.loads(said)
    except ValueError:
        return None
    return tuple(sizes) if sizes and all(size > 0 or size == -1 for size in sizes) else None


def made_up(inputs: Sequence[Port], length: int, unit: str) -> Tensors:
    """A request of a length: ones, noise, or a text of so many words; what is optional is left out.

    The last axis of the first input, where any size is allowed, is the length; others have 1.
    """
    width = length * SAMPLES_PER_MS if unit == "audio_ms" else length
    random = np.random.default_rng(length)
    made: dict[str, np.ndarray] = {}
    for place, port in enumerate(inputs):
        shape = [max(size, 1) for size in port.shape or (1, -1)]
        if (port.shape or (1, -1))[-1] == -1 and (place == 0 or port.datatype != "BYTES"):
            shape[-1] = width
        if port.datatype == "BYTES":
            made[port.name] = np.full(shape, b"word", dtype=object)
        elif port.datatype in ("FP16", "BF16", "FP32", "FP64"):
            made[port.name] = random.standard_normal(shape).astype(KINDS[port.datatype])
        else:
            made[port.name] = np.ones(shape, KINDS[port.datatype])
    return {port.name: made[port.name] for port in inputs if port.required}


def returned(model: str, output: Any, size: int) -> list[Tensors | Exception]:
    """What a function returned for a batch, as arrays.

    Raises:
        ModelError: it is no list with a mapping of names to arrays, or an exception, per request.
    """
    if not isinstance(output, list | tuple) or len(output) != size:
        what = f"{len(output)}" if isinstance(output, list | tuple) else type(output).__name__
        raise ModelError(
            f"{model} must return a list with the outputs of each request, but returned {what} "
            f"for a batch of {size}"
        )
    return [one if isinstance(one, Exception) else _arrays(model, one) for one in output]


def _arrays(model: str, said: Any) -> Tensors | Exception:
    if not isinstance(said, Mapping) or not all(isinstance(name, str) for name in said):
        raise ModelError(
            f"{model} must return the outputs of a request as a mapping of names to arrays, but "
            f"returned {type(said).__name__}"
        )
    found = {}
    for name, value in said.items():
        array = np.atleast_1d(np.asarray(value))
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            return ModelError(f"{model} gave NaN or infinity in {name!r} for this request")
        if array.dtype.kind not in "biufOSU":
            raise ModelError(f"{model} returned {name!r} as an array of {array.dtype}")
        found[name] = array
    return found
