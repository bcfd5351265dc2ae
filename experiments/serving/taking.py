"""Whether the inputs of a request are what the model takes; 400 otherwise, before anybody waits.

1. Names, types, shapes and values are held against the model's contract
   (:class:`profiles.runner.Contract`): a token id out of range would end a GPU's context, and NaN
   would spread to the others of a batch.
2. A type is cast where nothing but precision is lost (INT32 to INT64, FP64 to FP32).
3. Text is made tokens here, where the model has a tokenizer: its length is wanted by the policy.
4. What is longer than is served is cut only where the scenario says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from profiles.runner import Contract, Port
from sim.tensors import DTYPES, Tensor, tensor_of

from .inputs import LENGTH_MOST, RequestError, brief, wrong
from .texts import TEXT, Texts, texts_of

SAMPLE_RATE = 16_000
"""Of audio, where a request does not say its own; the models of this project take it."""


class Taker:
    """What a model takes."""

    def __init__(
        self, model: str, contract: Contract, unit: str, longest: int, *, cuts: bool
    ) -> None:
        """Read the tokenizer, where there is one.

        Args:
            model: its name, for the sentences.
            contract: what it says itself.
            unit: ``tokens`` or ``audio_ms``.
            longest: in that unit; whoever is longer is refused elsewhere.
            cuts: or cut here.
        """
        self.model, self.contract, self.unit = model, contract, unit
        self.longest, self.cuts = longest, cuts
        self.names = {port.name for port in contract.inputs}
        self.texts: Texts | None = None
        self.why_no_text = "takes no text"
        main = contract.inputs[0] if contract.inputs else None
        if main is not None and main.datatype != "BYTES" and unit == "tokens":
            found = texts_of(contract.tokenizer, longest if cuts else None)
            self.texts = found if isinstance(found, Texts) else None
            self.why_no_text = "" if isinstance(found, Texts) else found

    def take(
        self, inputs: Sequence[Tensor], parameters: Mapping[str, Any]
    ) -> tuple[int, list[Tensor]]:
        """How long a request is, and its tensors as the model takes them.

        Raises:
            RequestError: it takes others.
        """
        given = {tensor.name: tensor for tensor in inputs}
        if len(given) < len(inputs):
            raise RequestError("two of the inputs have the same name")
        if not self.names:
            return length_of(inputs[0].shape, parameters, self.unit), list(inputs)
        main = self.contract.inputs[0]
        if TEXT in given and TEXT not in self.names:
            given[main.name] = self._tokens(given.pop(TEXT), given)
        self._check_names(given)
        found = [self._fitting(given[port.name], port) for port in self._ports(given)]
        length, width = self._length(found[0], parameters), found[0].shape[-1]
        for tensor, port in zip(found[1:], self._ports(given)[1:], strict=True):
            if port.shape == main.shape == (1, -1) and self.contract.finite:
                self._check_width(tensor, main.name, width)
        return length, [self._cut(tensor, width, length) for tensor in found]

    def check_wishes(self, names: Sequence[str]) -> None:
        """Hold the outputs that a request names against those that there are.

        Raises:
            RequestError: one is not among them.
        """
        known = [port.name for port in self.contract.outputs]
        stranger = next((name for name in names if known and name not in known), None)
        if stranger is not None:
            raise RequestError(
                f"there is no output {stranger[:80]!r}; {self.model} gives {', '.join(known)}"
            )

    def described(self) -> dict[str, Any]:
        """Inputs and outputs, as ``/v2/models/NAME`` has them."""
        inputs, outputs = self.contract.inputs, self.contract.outputs
        optional = [_table(port) for port in inputs if not port.required]
        if self.texts is not None:
            optional.append(_table(Port(TEXT, "BYTES", (1,))))
        return {
            "inputs": [_table(port) for port in inputs if port.required],
            "outputs": [_table(port) for port in outputs],
            **({"optional_inputs": optional} if optional else {}),
        }

    def _ports(self, given: Mapping[str, Tensor]) -> list[Port]:
        return [port for port in self.contract.inputs if port.name in given]

    def _check_names(self, given: Mapping[str, Tensor]) -> None:
        missing = [p.name for p in self.contract.inputs if p.required and p.name not in given]
        strangers = [name for name in given if name not in self.names]
        if missing or strangers:
            wrong_one = f"lack {missing[0]}" if missing else f"have {strangers[0][:80]!r}"
            raise RequestError(f"the inputs {wrong_one}; {self.model} takes {self.wanted()}")

    def wanted(self) -> str:
        """The inputs, for people."""
        inputs = self.contract.inputs
        said = ", ".join(shown(port) for port in inputs if port.required) or "whatever comes"
        optional = ", ".join(port.name for port in inputs if not port.required)
        if optional:
            said += f" (optional: {optional})"
        return said if self.texts is None else f"{said}, or {TEXT} BYTES [1]"

    def _fitting(self, tensor: Tensor, port: Port) -> Tensor:
        """A tensor in the shape and type of a port, with values in its range."""
        shape = fitting_shape(tensor.shape, port.shape)
        if shape is None:
            raise RequestError(
                f"{port.name} has the shape {list(tensor.shape)}, but {self.model} takes "
                f"{list(port.shape)}; send one row a request: the server makes the batches"
            )
        if not castable(tensor.datatype, port.datatype):
            raise RequestError(f"{port.name} is {tensor.datatype}, but must be {port.datatype}")
        if port.datatype == "BYTES":
            return tensor._replace(shape=shape)
        array = tensor.array()
        self._check_values(array, port)
        if tensor.datatype == port.datatype:
            return tensor._replace(shape=shape)
        return tensor_of(port.name, array.reshape(shape), port.datatype)

    def _check_values(self, array: np.ndarray, port: Port) -> None:
        if self.contract.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RequestError(f"{port.name} has NaN or infinity, but must be finite")
        if port.least is not None and array.min() < port.least:
            raise self._out_of_range(array.min(), port)
        if port.most is not None and array.max() > port.most:
            raise self._out_of_range(array.max(), port)
        if port.somewhere and not array.any():
            raise RequestError(f"{port.name} must be 1 where a token counts, but is 0 everywhere")

    def _out_of_range(self, value: Any, port: Port) -> RequestError:
        least, most = port.least, port.most
        right = f"be {least}" if least == most else f"have values from {least} to {most}"
        if most is None:
            right = f"have no values below {least}"
        return RequestError(f"{port.name} has {value}, but must {right} for {self.model}")

    def _check_width(self, tensor: Tensor, main: str, width: int) -> None:
        if tensor.shape[-1] != width:
            raise RequestError(
                f"{tensor.name} has {tensor.shape[-1]} elements, but {main} has {width}"
            )

    def _length(self, main: Tensor, parameters: Mapping[str, Any]) -> int:
        contract, shape = self.contract, self.contract.inputs[0].shape
        if shape[-1:] != (-1,) or main.datatype == "BYTES":
            return length_of(main.shape, parameters, self.unit)
        width, fewest = main.shape[-1], contract.fewest
        if width < fewest:
            raise RequestError(
                f"{main.name} has {width} elements, but {self.model} takes no fewer than {fewest}"
            )
        said = parameters.get("sample_rate")
        if contract.rate >= 1000 and said not in (None, contract.rate):
            raise RequestError(
                f"parameters.sample_rate = {brief(said)} must be {contract.rate}, which "
                f"{self.model} takes"
            )
        if contract.rate:
            own = -(-width * 1000 // contract.rate)
        else:
            own = length_of(shape=(width,), parameters=_rate_of(parameters), unit=self.unit)
        said = parameters.get("length")
        if said not in (None, own):
            raise RequestError(
                f"parameters.length = {brief(said)}, but {main.name} has the length {own}"
            )
        return own

    def _cut(self, tensor: Tensor, width: int, length: int) -> Tensor:
        """A tensor whose last axis is the length, no longer than is served."""
        if not self.cuts or length <= self.longest or tensor.shape[-1] != width:
            return tensor
        kept = width * self.longest // length
        return tensor_of(tensor.name, tensor.array()[..., :kept], tensor.datatype)

    def _tokens(self, tensor: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        main = self.contract.inputs[0]
        if self.texts is None:
            raise RequestError(f"{self.model} {self.why_no_text}; it takes {self.wanted()}")
        if others:
            raise RequestError(f"give {TEXT} alone, or {main.name}, but not both")
        if tensor.datatype != "BYTES" or int(np.prod(tensor.shape)) != 1:
            raise RequestError(f"{TEXT} must be one element of BYTES, of shape [1]")
        ids = self.texts.ids(tensor.array().ravel()[0])
        return tensor_of(main.name, np.array([ids]), "INT64")


def length_of(shape: Sequence[int], parameters: Mapping[str, Any], unit: str) -> int:
    """How long a request is, in the unit of the model: as it says, or as its first input is.

    Raises:
        RequestError: neither says it.
    """
    said = parameters.get("length")
    if said is not None:
        if type(said) is not int or not 1 <= said <= LENGTH_MOST:
            raise wrong("parameters.length", said, f"a whole number from 1 to {LENGTH_MOST}")
        return said
    rows = 1
    for size in shape[:-1]:
        rows *= size
    if rows != 1:
        raise RequestError(
            f"inputs[0].shape = {list(shape)} has {rows} rows; send one row a request: the server "
            "makes the batches"
        )
    if unit != "audio_ms":
        return shape[-1]
    rate = parameters.get("sample_rate", SAMPLE_RATE)
    if type(rate) is not int or not 1 <= rate <= LENGTH_MOST:
        raise wrong("parameters.sample_rate", rate, "a whole number of samples a second")
    return -(-shape[-1] * 1000 // rate)


def _rate_of(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: parameters[key] for key in ("sample_rate",) if key in parameters}


def fitting_shape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape, with the axis of the row where it is left out; None: it does not fit."""
    if not wanted:
        return shape
    if wanted[0] == 1 and len(shape) == len(wanted) - 1:
        shape = (1, *shape)
    fits = len(shape) == len(wanted) and all(
        want in (-1, size) for size, want in zip(shape, wanted, strict=True)
    )
    return shape if fits else None


def castable(given: str, wanted: str) -> bool:
    """Whether nothing but precision is lost."""
    if given == wanted:
        return True
    if "BYTES" in (given, wanted):
        return False
    floating = {"BF16": "<f4"}
    return np.can_cast(
        np.dtype(floating.get(given) or DTYPES[given]),
        np.dtype(floating.get(wanted) or DTYPES[wanted]),
        "same_kind",
    )


def _table(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape or (-1,))}


def shown(port: Port) -> str:
    """A port, for people."""
    return " ".join((port.name, port.datatype, str(list(port.shape)) if port.shape else "")).strip()


__all__ = ["SAMPLE_RATE", "Taker", "length_of"]
