"""One input tensor of a request, as JSON or as bytes behind it: checked, and kept where it is used.

Whatever is wrong is one sentence: the place, the value, what would be right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.sentences import choice
from sim.tensors import DTYPES, Tensor, split, tensor_of

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

DIMENSIONS_MOST, NAME_MOST = 8, 256
LENGTH_MOST = 2**31 - 1


class RequestError(ValueError):
    """A request that is refused, with the status of HTTP; the text is one sentence."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class Checked(NamedTuple):
    """An input that is as it should be."""

    place: str
    """As ``inputs[0]``."""
    name: str
    datatype: str
    shape: tuple[int, ...]
    flat: list[Any] | None
    """Its elements, where JSON has them."""
    size: int
    """Bytes behind the JSON; 0 where there are none."""

    def kept(self, data: memoryview) -> Tensor:
        """The tensor.

        Args:
            data: its bytes, where they are behind the JSON.

        Raises:
            RequestError: an element is out of the datatype's range, or BYTES do not fit.
        """
        if self.flat is None:
            return self._of_bytes(data)
        if self.datatype == "BYTES":
            found = np.empty(len(self.flat), dtype=object)
            found[:] = self.flat
            return tensor_of(self.name, found.reshape(self.shape), "BYTES")
        try:
            with np.errstate(over="ignore"):
                array = np.array(self.flat, DTYPES.get(self.datatype, "<f4"))
        except OverflowError:
            array = None
        if array is None or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            raise RequestError(
                f"{self.place}.data has {brief(self._too_large())}, which is out of the range of "
                f"{self.datatype}"
            )
        return tensor_of(self.name, array.reshape(self.shape), self.datatype)

    def _of_bytes(self, data: memoryview) -> Tensor:
        tensor = Tensor(self.name, self.datatype, self.shape, data)
        if self.datatype == "BYTES":
            try:
                split(data, math.prod(self.shape))
            except ValueError as error:
                raise RequestError(f"{self.place} is no tensor of BYTES: {error}") from None
        elif self.datatype == "BOOL" and data.nbytes and max(data) > 1:
            raise RequestError(f"{self.place} has {max(data)}, which is no BOOL")
        return tensor

    def _too_large(self) -> Any:
        """The element of the largest magnitude: it is at fault."""
        assert self.flat is not None
        return max(self.flat, key=abs)


def checked(tensor: Any, place: str) -> Checked:
    """Check one input.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(tensor, dict):
        raise RequestError(f"{place} = {brief(tensor)} must be an object")
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not (isinstance(name, str) and 0 < len(name) <= NAME_MOST):
        raise wrong(f"{place}.name", name, f"a text of 1 to {NAME_MOST} characters")
    if not isinstance(kind, str) or kind not in ITEM_BYTES:
        raise wrong(f"{place}.datatype", kind, choice(kind, ITEM_BYTES))
    if not isinstance(shape, list) or not 1 <= len(shape) <= DIMENSIONS_MOST:
        raise wrong(f"{place}.shape", shape, f"a list of 1 to {DIMENSIONS_MOST} dimensions")
    if any(type(size) is not int or not 1 <= size <= LENGTH_MOST for size in shape):
        raise RequestError(
            f"{place}.shape = {brief(shape)} must have whole numbers from 1 to {LENGTH_MOST}"
        )
    count = math.prod(shape)
    size = table(tensor, "parameters", f"{place}.").get("binary_data_size")
    if size is None:
        flat = _flat(tensor.get("data"), kind, shape, count, place)
        return Checked(place, name, kind, tuple(shape), flat, 0)
    if type(size) is not int or size < 0:
        raise RequestError(f"{place}.parameters.binary_data_size = {brief(size)} must be bytes")
    if ITEM_BYTES[kind] and size != count * ITEM_BYTES[kind]:
        raise RequestError(
            f"{place}.parameters.binary_data_size = {size} must be {count * ITEM_BYTES[kind]}: "
            f"{count} elements of {kind}"
        )
    return Checked(place, name, kind, tuple(shape), None, size)


def _flat(data: Any, kind: str, shape: Sequence[int], count: int, place: str) -> list[Any]:
    """The elements of data that are flat, or nested as the shape says."""
    if not isinstance(data, list):
        raise wrong(f"{place}.data", data, f"a list of {count} elements")
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
        stranger = next(item for item in flat if type(item) not in wanted)
        raise RequestError(f"{place}.data has {brief(stranger)}, which is no {kind}")
    return flat


def table(content: Mapping[str, Any], key: str, place: str = "") -> Mapping[str, Any]:
    """An object in an object; empty where there is none.

    Raises:
        RequestError: it is something else.
    """
    found = content.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise wrong(f"{place}{key}", found, "an object")
    return found


def wrong(place: str, value: Any, right: str) -> RequestError:
    """What to say of a value that is missing, or not as it should be."""
    if value is None:
        return RequestError(f"{place} is missing; give {right}")
    return RequestError(f"{place} = {brief(value)} must be {right}")


def brief(value: Any) -> str:
    """A value as a sentence shows it: short, on one line."""
    if isinstance(value, dict | list) and len(value) > 8:
        what = "an object" if isinstance(value, dict) else "a list"
        return f"{what} of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["LENGTH_MOST", "NAME_MOST", "Checked", "RequestError", "brief", "checked", "table"]
