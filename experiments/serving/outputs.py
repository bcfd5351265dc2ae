"""The outputs of an answer: which a request wants, and how they are written.

An output is JSON, unless the request asks for bytes: of one output by ``parameters.binary_data``,
of all by ``parameters.binary_data_output`` of the request (the binary data extension).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sim.tensors import Tensor

from .inputs import NAME_MOST, RequestError, brief, table, wrong

OUTPUTS_MOST = 32


class Wish(NamedTuple):
    """An output that a request names."""

    name: str
    binary: bool


class Wishes(NamedTuple):
    """What a request says of outputs."""

    named: tuple[Wish, ...] = ()
    """None: those that the model gives."""
    binary: bool = False
    """Whether those are bytes."""

    @property
    def names(self) -> list[str]:
        """Of those that it names."""
        return [wish.name for wish in self.named]

    def in_json(self) -> Wishes:
        """The same outputs, none as bytes."""
        return Wishes(tuple(wish._replace(binary=False) for wish in self.named))


PLAIN = Wishes()


def wishes_of(content: Mapping[str, Any], parameters: Mapping[str, Any]) -> Wishes:
    """What a request wants.

    Raises:
        RequestError: it is not said as the protocol has it.
    """
    said, binary = content.get("outputs"), parameters.get("binary_data_output", False)
    if type(binary) is not bool:
        raise wrong("parameters.binary_data_output", binary, "true or false")
    if said is None:
        return Wishes((), binary) if binary else PLAIN
    if not isinstance(said, list) or len(said) > OUTPUTS_MOST:
        raise wrong("outputs", said, f"a list of at most {OUTPUTS_MOST} outputs")
    return Wishes(
        tuple(_wish(one, f"outputs[{at}]", binary) for at, one in enumerate(said)), binary
    )


def _wish(said: Any, place: str, usual: bool) -> Wish:
    if not isinstance(said, dict):
        raise RequestError(f"{place} = {brief(said)} must be an object")
    name = said.get("name")
    if not (isinstance(name, str) and 0 < len(name) <= NAME_MOST):
        raise wrong(f"{place}.name", name, f"a text of 1 to {NAME_MOST} characters")
    parameters = table(said, "parameters", f"{place}.")
    binary = parameters.get("binary_data", usual)
    if type(binary) is not bool:
        raise wrong(f"{place}.parameters.binary_data", binary, "true or false")
    for other in ("shared_memory_region", "classification"):
        if parameters.get(other) is not None:
            raise RequestError(f"{place}.parameters.{other} is not served here: leave it out")
    return Wish(name, binary)


def described(outputs: Sequence[Tensor], wishes: Wishes) -> tuple[list[dict[str, Any]], list[Any]]:
    """Outputs as JSON has them, and the bytes that follow it.

    Raises:
        RequestError: they are BYTES that JSON cannot hold.
    """
    binary = {wish.name: wish.binary for wish in wishes.named}
    said, behind = [], []
    for name, datatype, shape, data in outputs:
        one: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if binary.get(name, wishes.binary):
            one["parameters"] = {"binary_data_size": memoryview(data).nbytes}
            behind.append(data)
        else:
            one["data"] = elements(Tensor(name, datatype, shape, data))
        said.append(one)
    return said, behind


def elements(tensor: Tensor) -> list[Any]:
    """As JSON has them, in one list.

    Raises:
        RequestError: a BYTES element is no text.
    """
    array = tensor.array().ravel()
    if tensor.datatype != "BYTES":
        found: list[Any] = array.tolist()
        return found
    try:
        return [element.decode() for element in array]
    except UnicodeDecodeError:
        raise RequestError(
            f"output {tensor.name!r} has bytes that are no UTF-8, which JSON cannot hold: ask for "
            "it with parameters.binary_data"
        ) from None


__all__ = ["PLAIN", "Wish", "Wishes", "described", "wishes_of"]
