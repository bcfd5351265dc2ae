"""What a model must offer to be measured: one call that serves one padded batch.

The measuring engine knows nothing else of a model, so that anything with these methods can be
measured: a reference model of :mod:`profiles.models`, a function of the user's, or a stand-in of a
test.  A model that is to answer requests is :class:`Answering`, too: it says by a
:class:`Contract` what it takes and gives, and takes it in the same kind of call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Served(NamedTuple):
    """How long one call took."""

    wall_ns: int
    """The service time: wall clock around collating, copies, forward and synchronisation."""
    device_ns: int | None
    """Device events around the forward; None on a CPU."""


class OutOfMemory(RuntimeError):  # noqa: N818 - a limit that is recorded, not an error
    """The device has no room for this batch: a limit to record, not a failure."""


class ModelError(RuntimeError):
    """The model cannot be measured; the text is one sentence that says why."""


class Runner(Protocol):
    """A model that serves padded batches as it would in production."""

    name: str
    """As ``bert-tiny``."""
    length_unit: str
    """``tokens`` or ``audio_ms``."""
    longest: int
    """The longest length that it takes."""

    def about(self) -> dict[str, str | int | float]:
        """Model, parameters, device, device_name, driver, precision, mode, framework, versions."""
        ...

    def serve(self, lengths: Sequence[int]) -> Served:
        """One call: collate, pad with a mask, copy in, forward, copy out, synchronise.

        Raises:
            OutOfMemory: the batch does not fit.
            ModelError: the output is not finite, or is not one row per request.
        """
        ...

    def peak_memory_bytes(self, lengths: Sequence[int]) -> int | None:
        """Most memory that a batch takes; None where the device cannot say."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


Tensors = Mapping[str, np.ndarray]
"""By name: what one request brings, or gets."""


class Port(NamedTuple):
    """One input or output of a model, of one request."""

    name: str
    datatype: str
    """As the Open Inference Protocol calls it: ``INT64``, ``FP32``, ``BYTES``."""
    shape: tuple[int, ...] = ()
    """-1: any number; empty: any shape."""
    required: bool = True
    least: int | None = None
    most: int | None = None
    """Of its elements."""
    somewhere: bool = False
    """Whether an element must differ from 0, as in a mask."""


class Contract(NamedTuple):
    """What a model takes and gives, where it answers each request from the request's own data."""

    inputs: tuple[Port, ...]
    """The last axis of the first is the length of a request; empty: whatever comes."""
    outputs: tuple[Port, ...]
    """Empty: known once they come."""
    fewest: int = 1
    """Elements of that axis."""
    longest: int = 2**31 - 1
    """In the model's unit of length."""
    rate: int = 0
    """Elements a second, where lengths are milliseconds; 0: elements are counted."""
    finite: bool = True
    """Whether NaN and infinity are refused: in models they spread over the whole output."""
    tokenizer: str = ""
    """A ``tokenizer.json`` that turns text into the first input."""
    given: int = 0
    """How many outputs there are where a request does not say which it wants; 0: all."""


def contract_of(said: Sequence[Any]) -> Contract:
    """A contract that went through JSON."""
    inputs, outputs, *rest = said
    return Contract(_ports(inputs), _ports(outputs), *rest)


def _ports(said: Sequence[Any]) -> tuple[Port, ...]:
    return tuple(Port(name, kind, tuple(shape), *rest) for name, kind, shape, *rest in said)


class Answering(Protocol):
    """A model that answers requests from their own data."""

    def contract(self) -> Contract:
        """What it takes and gives."""
        ...

    def respond(
        self, requests: Sequence[Tensors], wanted: Sequence[str] = ()
    ) -> tuple[list[Tensors | Exception], Served]:
        """One call for one batch, as :meth:`Runner.serve` makes it.

        Args:
            requests: each with the inputs of the contract, which holds for them.
            wanted: names of outputs that one of them asks for; none: those usually given.

        Returns:
            For each request its outputs without the padding, or why it alone has none.

        Raises:
            OutOfMemory: the batch does not fit.
            ModelError: the call failed.
        """
        ...
