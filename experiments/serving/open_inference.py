"""Requests and answers of the Open Inference Protocol (KServe v2), without any I/O.

1. A request is one row.  Its length is ``parameters.length`` where it says one, otherwise that of
   its first input: the last dimension in tokens, or samples as milliseconds of audio.
2. Data is checked against shape and type.  It is kept where the model answers from it
   (:mod:`.taking`), and let go where nothing computes.
3. Tensors may follow the JSON as bytes, in both directions (the binary data extension of Triton and
   KServe).
4. Whatever is wrong is one sentence: the place, the value, what would be right.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import from_json, to_json

from policies.contract import NEVER
from sim.tensors import Tensor, tensor_of

from . import outputs
from .inputs import (
    LENGTH_MOST,
    NAME_MOST,
    Checked,
    RequestError,
    brief,
    checked,
    table,
    wrong,
)
from .outputs import PLAIN, Wishes, wishes_of
from .taking import Taker, length_of

VERSION, OUTPUT = "1", "padded_length"
INPUTS_MOST = 32


class Inference(NamedTuple):
    """What one request asks for."""

    length: int
    """In the unit of the server's model."""
    identity: str | None = None
    """Its own name for itself, which the answer repeats."""
    tier: str | None = None
    timeout_ns: int = NEVER
    """How long it would wait for its batch to start."""
    wishes: Wishes = PLAIN
    """What it wants of outputs."""
    tensors: Sequence[Tensor] = ()
    """Its data, where the model answers from them."""


class Served(NamedTuple):
    """How one request was served."""

    batch_size: int
    padded_to: int
    server: int
    waited_ns: int
    """From its arrival to the start of its batch."""
    service_ns: int
    outputs: Sequence[Tensor] | None = None
    """What the model made of it; None where it makes nothing."""


def read(
    body: bytes, unit: str, header_bytes: int | None = None, taker: Taker | None = None
) -> Inference:
    """The request in a body.

    Args:
        body: JSON, and tensors as bytes after it where ``header_bytes`` says so.
        unit: ``tokens`` or ``audio_ms``.
        header_bytes: how long the JSON is; None: all of it.
        taker: what the model takes; None: its data are let go.

    Raises:
        RequestError: it is none, or not for this model.
    """
    said, behind = body, 0
    if header_bytes is not None:
        if not 0 <= header_bytes <= len(body):
            raise RequestError(
                f"inference-header-content-length = {header_bytes} must be the bytes of JSON in "
                f"a body of {len(body)}"
            )
        said, behind = body[:header_bytes], len(body) - header_bytes
    content = _content(said)
    identity = content.get("id")
    if identity is not None and not (isinstance(identity, str) and len(identity) <= NAME_MOST):
        raise RequestError(
            f"id = {brief(identity)} must be a text of at most {NAME_MOST} characters"
        )
    parameters = table(content, "parameters")
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= INPUTS_MOST:
        raise wrong("inputs", inputs, f"a list of 1 to {INPUTS_MOST} tensors")
    found = [checked(tensor, f"inputs[{at}]") for at, tensor in enumerate(inputs)]
    sizes = sum(one.size for one in found)
    if sizes != behind:
        raise RequestError(
            f"inputs have {sizes} bytes of binary data, but {behind} follow the JSON"
        )
    tier = parameters.get("tier")
    if tier is not None and not isinstance(tier, str):
        raise wrong("parameters.tier", tier, "a text")
    wishes = wishes_of(content, parameters)
    tensors: Sequence[Tensor] = ()
    if taker is None:
        length = length_of(found[0].shape, parameters, unit)
    else:
        length, tensors = taker.take(_kept(found, memoryview(body)[len(said) :]), parameters)
        taker.check_wishes(wishes.names)
    return Inference(length, identity, tier, _timeout_ns(parameters), wishes, tensors)


def _content(said: bytes) -> Mapping[str, Any]:
    try:
        content = from_json(said, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"the body is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"the body must be an object with inputs, but is {brief(content)}")
    return content


def _kept(found: Sequence[Checked], behind: memoryview) -> list[Tensor]:
    tensors, at = [], 0
    for one in found:
        tensors.append(one.kept(behind[at : at + one.size]))
        at += one.size
    return tensors


def _timeout_ns(parameters: Mapping[str, Any]) -> int:
    """``parameters.timeout``, in microseconds as Triton has it; 0 is none."""
    said = parameters.get("timeout", 0)
    if type(said) is not int or not 0 <= said <= LENGTH_MOST**2:
        raise wrong("parameters.timeout", said, "a whole number of microseconds")
    return min(said * 1000, NEVER) if said else NEVER


def written(model: str, tier: str, asked: Inference, served: Served) -> tuple[bytes, int | None]:
    """The answer to a request that was served, and how long its JSON is where bytes follow it.

    Raises:
        RequestError: an output cannot be written as it is asked for.
    """
    content: dict[str, Any] = {
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
    }
    if served.outputs is None and not asked.wishes.binary:
        content["outputs"] = [
            {"name": OUTPUT, "datatype": "INT64", "shape": [1], "data": [served.padded_to]}
        ]
        return json.dumps(content, separators=(",", ":")).encode(), None
    given = served.outputs
    if given is None:
        given = [tensor_of(OUTPUT, np.array([served.padded_to]), "INT64")]
    content["outputs"], behind = outputs.described(given, asked.wishes)
    said = to_json(content)
    return b"".join((said, *behind)), len(said) if behind else None


def described(model: str, platform: str, unit: str, taker: Taker | None = None) -> dict[str, Any]:
    """What ``/v2/models/NAME`` says."""
    if taker is not None:
        return {"name": model, "versions": [VERSION], "platform": platform, **taker.described()}
    kind, name = ("FP32", "audio") if unit == "audio_ms" else ("INT64", "input_ids")
    return {
        "name": model,
        "versions": [VERSION],
        "platform": platform,
        "inputs": [{"name": name, "datatype": kind, "shape": [1, -1]}],
        "outputs": [{"name": OUTPUT, "datatype": "INT64", "shape": [1]}],
    }


__all__ = ["Inference", "RequestError", "Served", "described", "read", "written"]
