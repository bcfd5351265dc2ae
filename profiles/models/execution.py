"""How a forward pass is run: eager, replayed CUDA graphs, or compiled.

CUDA graphs are captured by bucket: a batch is padded up to the next batch size and the next length
that have a graph (see :mod:`profiles.models.buckets`).  A graph is captured when its bucket is
first used, 0.2-0.5 s each, and all share one memory pool, since they never run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from profiles.runner import ModelError

from .buckets import bucket, edges

MODES = ("eager", "graphs", "compile")
WARM_UPS = 3
"""Calls before a capture: libraries allocate and choose their kernels in the first."""


class Execution(Protocol):
    """One way to run a model on tensors that are on its device."""

    def shape(self, size: int, length: int) -> tuple[int, int]:
        """Batch size and length that such a batch is padded to."""
        ...

    def load(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Copy a batch from the host; asynchronous where the host's memory is pinned."""
        ...

    def __call__(self, values: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        """The forward pass on what ``load`` returned; more goes in where ``takes_more``."""
        ...

    @property
    def takes_more(self) -> bool:
        """Whether a call may have more inputs than what is padded."""
        ...


class Direct:
    """Calls the model, eager or compiled, on batches as large as they are."""

    def __init__(
        self, model: Callable[..., Tensor], device: torch.device, *, takes_more: bool
    ) -> None:
        self.model = model
        self.device = device
        self.takes_more = takes_more

    def shape(self, size: int, length: int) -> tuple[int, int]:
        """Nothing is added."""
        return size, length

    def load(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """New tensors on the device; on a CPU the batch as it is."""
        return (
            values.to(self.device, non_blocking=True),
            mask.to(self.device, non_blocking=True),
        )

    def __call__(self, values: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        """The forward pass."""
        return self.model(values, mask, *more)


class Captured(NamedTuple):
    """One graph and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    values: Tensor
    mask: Tensor
    output: Tensor


class Graphs:
    """Replays one CUDA graph per bucket."""

    takes_more = False

    def __init__(self, model: nn.Module, device: torch.device, unit: str, longest: int) -> None:
        self.model = model
        self.device = device
        self.lengths = edges(unit, longest)
        self.pool = torch.cuda.graph_pool_handle()
        self._captured: dict[tuple[torch.Size, torch.Size], Captured] = {}

    def shape(self, size: int, length: int) -> tuple[int, int]:
        """The bucket."""
        return bucket(size, length, self.lengths)

    def load(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Copies into the tensors that the bucket's graph reads."""
        ready = self._ready(values, mask)
        ready.values.copy_(values, non_blocking=True)
        ready.mask.copy_(mask, non_blocking=True)
        return ready.values, ready.mask

    def __call__(self, values: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        """Replays the graph; the output is overwritten by the next replay of any bucket."""
        assert not more, "a graph was captured without"
        ready = self._captured[values.shape, mask.shape]
        ready.graph.replay()
        return ready.output

    def _ready(self, values: Tensor, mask: Tensor) -> Captured:
        key = (values.shape, mask.shape)
        if key not in self._captured:
            self._captured[key] = self._capture(values.to(self.device), mask.to(self.device))
        return self._captured[key]

    def _capture(self, values: Tensor, mask: Tensor) -> Captured:
        """As torch's notes on CUDA graphs ask: warm up on a side stream, then capture."""
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.model(values, mask)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            output = self.model(values, mask)
        return Captured(graph, values, mask, output)


def execution(
    mode: str, model: nn.Module, device: torch.device, unit: str, longest: int
) -> Execution:
    """The way of a mode.

    Raises:
        ModelError: there is no such mode, or not on this device.
    """
    if mode not in MODES:
        raise ModelError(f"the mode must be one of {', '.join(MODES)}, but got {mode!r}")
    if mode == "eager":
        return Direct(model, device, takes_more=True)
    if mode == "compile":
        # One graph for all shapes: by shape, torch gives up after 8 of them and runs eager.
        return Direct(torch.compile(model, dynamic=True), device, takes_more=False)
    if device.type != "cuda":
        raise ModelError(f"mode graphs replays CUDA graphs, but the device is {device.type}")
    return Graphs(model, device, unit, longest)
