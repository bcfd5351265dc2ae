"""Requests and answers of the Open Inference Protocol (KServe v2), without any I/O.

1. A request is one row.  Its length is ``parameters.length`` where it says one, otherwise that of
   its first input: the last dimension in tokens, or samples as milliseconds of audio.
2. Data is checked against shape and type and then let go: models make inputs of their own of that
   length (:mod:`sim.worker`).
3. Tensors may follow the JSON as bytes (the binary data extension of Triton and KServe).
4. Whatever is wrong is one sentence: the place, the value, what would be right.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from experiments.sentences import choice
from policies.contract import NEVER

ITEM_BYTES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2,
    "INT32": 4, "INT64": 8, "FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}  # fmt: skip
"""Datatypes of tensors, with the bytes of an element; 0: each has a length of its own."""

ELEMENTS: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool}), "BYTES": frozenset({str}),
    **dict.fromkeys(("FP16", "BF16", "FP32", "FP64"), frozenset({int, float})),
}  # fmt: skip
"""What JSON has for them; all others are whole numbers."""
WHOLE = frozenset({int})

VERSION, OUTPUT = "1", "padded_length"
INPUTS_MOST, DIMENSIONS_MOST, NAME_MOST = 32, 8, 256
SAMPLE_RATE = 16_000
"""Of audio, where a request does not say its own; the models of this project take it."""
LENGTH_MOST = 2**31 - 1


class RequestError(ValueError):
    """A request that is refused, with the status of HTTP; the text is one sentence."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Inference(NamedTuple):
    """What one request asks for."""

    length: int
    """In the unit of the server's model."""
    identity: str | None = None
    """Its own name for itself, which the answer repeats."""
    tier: str | None = None
    timeout_ns: int = NEVER
    """How long it would wait for its batch to start."""


class Served(NamedTuple):
    """How one request was served."""

    batch_size: int
    padded_to: int
    server: int
    waited_ns: int
    """From its arrival to the start of its batch."""
    service_ns: int


def read(body: bytes, unit: str, header_bytes: int | None = None) -> Inference:
    """The request in a body.

    Args:
        body: JSON, and tensors as bytes after it where ``header_bytes`` says so.
        unit: ``tokens`` or ``audio_ms``.
        header_bytes: how long the JSON is; None: all of it.

    Raises:
        RequestError: it is none.
    """
    said, tensors = body, None
    if header_bytes is not None:
        if not 0 <= header_bytes <= len(body):
            raise RequestError(
                f"inference-header-content-length = {header_bytes} must be the bytes of JSON in "
                f"a body of {len(body)}"
            )
        said, tensors = body[:header_bytes], len(body) - header_bytes
    try:
        content = from_json(said, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"the body must be an object with inputs, but is {_brief(content)}")
    identity = content.get("id")
    if identity is not None and not (isinstance(identity, str) and len(identity) <= NAME_MOST):
        raise RequestError(
            f"id = {_brief(identity)} must be a text of at most {NAME_MOST} characters"
        )
    parameters = _table(content, "parameters")
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= INPUTS_MOST:
        raise _wrong("inputs", inputs, f"a list of 1 to {INPUTS_MOST} tensors")
    read_bytes = sum(_tensor(tensor, f"inputs[{at}]") for at, tensor in enumerate(inputs))
    if read_bytes != (tensors or 0):
        raise RequestError(
            f"inputs have {read_bytes} bytes of binary data, but {tensors or 0} follow the JSON"
        )
    tier = parameters.get("tier")
    if tier is not None and not isinstance(tier, str):
        raise _wrong("parameters.tier", tier, "a text")
    return Inference(_length(inputs[0], parameters, unit), identity, tier, _timeout_ns(parameters))


def _table(content: Mapping[str, Any], key: str, place: str = "") -> Mapping[str, Any]:
    found = content.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(f"{place}{key}", found, "an object")
    return found


def _tensor(tensor: Any, place: str) -> int:
    """Check one input; gives the bytes that it has after the JSON."""
    if not isinstance(tensor, dict):
        raise RequestError(f"{place} = {_brief(tensor)} must be an object")
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not (isinstance(name, str) and 0 < len(name) <= NAME_MOST):
        raise _wrong(f"{place}.name", name, f"a text of 1 to {NAME_MOST} characters")
    if not isinstance(kind, str) or kind not in ITEM_BYTES:
        raise _wrong(f"{place}.datatype", kind, choice(kind, ITEM_BYTES))
    if not isinstance(shape, list) or not 1 <= len(shape) <= DIMENSIONS_MOST:
        raise _wrong(f"{place}.shape", shape, f"a list of 1 to {DIMENSIONS_MOST} dimensions")
    if any(type(size) is not int or not 1 <= size <= LENGTH_MOST for size in shape):
        raise RequestError(
            f"{place}.shape = {_brief(shape)} must have whole numbers from 1 to {LENGTH_MOST}"
        )
    count = math.prod(shape)
    size = _table(tensor, "parameters", f"{place}.").get("binary_data_size")
    if size is None:
        _check_data(tensor.get("data"), kind, shape, count, place)
        return 0
    if type(size) is not int or size < 0:
        raise RequestError(f"{place}.parameters.binary_data_size = {_brief(size)} must be bytes")
    if ITEM_BYTES[kind] and size != count * ITEM_BYTES[kind]:
        raise RequestError(
            f"{place}.parameters.binary_data_size = {size} must be {count * ITEM_BYTES[kind]}: "
            f"{count} elements of {kind}"
        )
    return size


def _check_data(data: Any, kind: str, shape: Sequence[int], count: int, place: str) -> None:
    """Flat, or nested as the shape says."""
    if not isinstance(data, list):
        raise _wrong(f"{place}.data", data, f"a list of {count} elements")
    flat = data
    for _ in shape[1:]:
        if not flat or type(flat[0]) is not list or set(map(type, flat)) != {list}:
            break
        flat = [item for row in flat for item in row]
    if len(flat) != count:
        raise RequestError(
            f"{place}.data has {len(flat)} elements, but shape {list(shape)} has {count}"
        )
    wanted = ELEMENTS.get(kind, WHOLE)
    if not set(map(type, flat)) <= wanted:
        wrong = next(item for item in flat if type(item) not in wanted)
        raise RequestError(f"{place}.data has {_brief(wrong)}, which is no {kind}")


def _length(tensor: Mapping[str, Any], parameters: Mapping[str, Any], unit: str) -> int:
    """How long a request is, in the unit of the model."""
    said = parameters.get("length")
    if said is not None:
        if type(said) is not int or not 1 <= said <= LENGTH_MOST:
            raise _wrong("parameters.length", said, f"a whole number from 1 to {LENGTH_MOST}")
        return said
    shape: list[int] = tensor["shape"]
    rows = math.prod(shape[:-1])
    if rows != 1:
        raise RequestError(
            f"inputs[0].shape = {shape} has {rows} rows; send one row a request: the server makes "
            "the batches"
        )
    if unit != "audio_ms":
        return shape[-1]
    rate = parameters.get("sample_rate", SAMPLE_RATE)
    if type(rate) is not int or not 1 <= rate <= LENGTH_MOST:
        raise _wrong("parameters.sample_rate", rate, "a whole number of samples a second")
    return -(-shape[-1] * 1000 // rate)


def _timeout_ns(parameters: Mapping[str, Any]) -> int:
    """``parameters.timeout``, in microseconds as Triton has it; 0 is none."""
    said = parameters.get("timeout", 0)
    if type(said) is not int or not 0 <= said <= LENGTH_MOST**2:
        raise _wrong("parameters.timeout", said, "a whole number of microseconds")
    return min(said * 1000, NEVER) if said else NEVER


def _wrong(place: str, value: Any, right: str) -> RequestError:
    if value is None:
        return RequestError(f"{place} is missing; give {right}")
    return RequestError(f"{place} = {_brief(value)} must be {right}")


def _brief(value: Any) -> str:
    """A value as a sentence shows it: short, on one line."""
    if isinstance(value, dict | list) and len(value) > 8:
        what = "an object" if isinstance(value, dict) else "a list"
        return f"{what} of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def written(model: str, tier: str, asked: Inference, served: Served) -> bytes:
    """The answer to a request that was served."""
    content = {
        "model_name": model,
        "model_version": VERSION,
        **({} if asked.identity is None else {"id": asked.identity}),
        "parameters": {
            "tier": tier,
            "length": asked.length,
            "batch_size": served.batch_size,
            "server": served.server,
            "waited_ms": served.waited_ns / 1e6,
            "service_ms": served.service_ns / 1e6,
        },
        "outputs": [
            {"name": OUTPUT, "datatype": "INT64", "shape": [1], "data": [served.padded_to]}
        ],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def described(model: str, platform: str, unit: str) -> dict[str, Any]:
    """What ``/v2/models/NAME`` says."""
    kind, name = ("FP32", "audio") if unit == "audio_ms" else ("INT64", "input_ids")
    return {
        "name": model,
        "versions": [VERSION],
        "platform": platform,
        "inputs": [{"name": name, "datatype": kind, "shape": [1, -1]}],
        "outputs": [{"name": OUTPUT, "datatype": "INT64", "shape": [1]}],
    }


__all__ = ["Inference", "RequestError", "Served", "described", "read", "written"]
