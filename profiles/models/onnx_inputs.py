"""The inputs of an ONNX session: which is the request, which go with it, and a batch of them.

1. A request is ``input_ids`` (whole numbers: tokens), ``input_values`` (floats: the raw wave), or
   the only input there is, of two axes, batch and length; both must be dynamic.
2. With it may go ``attention_mask``, ``token_type_ids`` and ``position_ids``, by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from profiles.runner import ModelError, Port, Tensors

IDS, WAVE = "input_ids", "input_values"
BESIDE = ("attention_mask", "token_type_ids", "position_ids")
TYPES = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
}
KINDS = {
    np.int64: "INT64", np.int32: "INT32", np.float32: "FP32", np.float16: "FP16",
    np.float64: "FP64", np.bool_: "BOOL",
}  # fmt: skip
"""As the Open Inference Protocol calls them."""
KNOWN = f"{IDS} or {WAVE}, beside it {', '.join(BESIDE)}, or a single input of any name"
AXES = ("batch", "length")


class Node(Protocol):
    """An input as onnxruntime describes it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class Inputs(NamedTuple):
    """What a session is given for a batch."""

    request: str
    dtype: Any
    beside: dict[str, Any]
    """Dtypes by name, of :data:`BESIDE`."""

    @property
    def unit(self) -> str:
        """``tokens`` of whole numbers, ``audio_ms`` of floats."""
        return "audio_ms" if np.issubdtype(self.dtype, np.floating) else "tokens"

    def batch(
        self, items: Sequence[np.ndarray], own: Sequence[Tensors] = ()
    ) -> dict[str, np.ndarray]:
        """Pad items (T,) into (B, T) with zeros, and make what goes with them.

        What requests bring of that themselves, (1, T) by name, is taken instead.
        """
        shape = (len(items), max(map(len, items)))
        values = np.zeros(shape, self.dtype)
        for row, item in zip(values, items, strict=True):
            row[: len(item)] = item
        given = {self.request: values}
        for name, dtype in self.beside.items():
            beside = np.zeros(shape, dtype)
            if name == "attention_mask":
                for row, item in zip(beside, items, strict=True):
                    row[: len(item)] = 1
            elif name == "position_ids":
                beside[:] = np.arange(shape[1])
            for row, request in zip(beside, own, strict=False):
                if name in request:
                    row[: request[name].shape[-1]] = request[name][0]
            given[name] = beside
        return given

    def ports(self, words: int | None, positions: int | None) -> tuple[Port, ...]:
        """What a request brings.

        Args:
            words: ids are below; None: not known.
            positions: places are below; None: not known.
        """
        tokens = self.unit == "tokens"
        most = {"attention_mask": 1, "position_ids": _below(positions)}
        main = Port(
            self.request, KINDS[self.dtype], (1, -1), least=0 if tokens else None,
            most=_below(words) if tokens else None,
        )  # fmt: skip
        beside = (
            Port(
                name, KINDS[dtype], (1, -1), required=False, least=0, most=most.get(name),
                somewhere=name == "attention_mask",
            )
            for name, dtype in self.beside.items()
        )  # fmt: skip
        return (main, *beside)


def _below(count: int | None) -> int | None:
    return None if count is None else count - 1


def find_inputs(file: str, nodes: Iterable[Node]) -> Inputs:
    """Recognise a session's inputs.

    Args:
        file: for the sentences.
        nodes: what ``InferenceSession.get_inputs`` returns.

    Raises:
        ModelError: one of them is not known, or has a type or an axis that cannot be served.
    """
    named = {node.name: node for node in nodes}
    names = list(named)
    request = next((name for name in (IDS, WAVE) if name in named), None)
    if request is None and len(named) == 1:
        request = names[0]
    strangers = [name for name in names if name != request and name not in BESIDE]
    if request is None or strangers:
        raise ModelError(
            f"{file} has the inputs {', '.join(names) or '(none)'}, but what can be served is "
            f"{KNOWN}"
        )
    dtypes = {name: _dtype(file, node) for name, node in named.items()}
    for node in named.values():
        _check_axes(file, node)
    dtype = dtypes.pop(request)
    if np.issubdtype(dtype, np.bool_):
        raise ModelError(f"{file}: input {request!r} must be whole numbers or floats, but is bool")
    return Inputs(request, dtype, dtypes)


def _dtype(file: str, node: Node) -> Any:
    if node.type not in TYPES:
        raise ModelError(
            f"{file}: input {node.name!r} must be of one of {', '.join(TYPES)}, but is {node.type}"
        )
    return TYPES[node.type]


def _check_axes(file: str, node: Node) -> None:
    if len(node.shape) != len(AXES):
        raise ModelError(
            f"{file}: input {node.name!r} must have two axes, batch and length, "
            f"but has {len(node.shape)}"
        )
    for number, (axis, extent) in enumerate(zip(AXES, node.shape, strict=True)):
        if isinstance(extent, int):
            raise ModelError(
                f"{file}: the {axis} axis (axis {number}) of input {node.name!r} is fixed at "
                f"{extent}: export the model with both axes dynamic"
            )
