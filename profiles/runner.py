"""What a model must offer to be measured: one call that serves one padded batch.

The measuring engine knows nothing else of a model, so that anything with these methods can be
measured: a reference model of :mod:`profiles.models`, a function of the user's, or a stand-in of a
test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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
