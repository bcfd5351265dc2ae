"""A torch model served as it would be in production, one timed batch a call.

1. The clock runs from the requests' inputs on the host to the outputs on the host: collate and pad
   with a mask, copy, forward in inference mode, copy back, synchronise.  Making the inputs and
   checking the outputs are outside.
2. Weights are cast to the precision, never autocast: that adds casts and launches to every call.
   Inputs are copied as they arrive (int64 ids, float32 audio) and cast on the device.
3. Opening a runner sets torch's threads and, on a CPU, glibc's malloc for the whole process: a
   model belongs in a process of its own.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from profiles.memory import DEVICE_MEMORY
from profiles.runner import Contract, ModelError, OutOfMemory, Served, Tensors

from .blueprint import Blueprint
from .buckets import SIZES, edges
from .contracts import TYPES
from .execution import execution
from .inputs import Staging, collate
from .machine import device_name, driver, find_device, keep_memory
from .reasons import reason
from .requests import answers, padded, requested

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""What torch, cuDNN and cuBLAS write where they raise no error of a class of its own."""


class ModelRunner:
    """A :class:`profiles.runner.Runner` of one torch model."""

    def __init__(
        self,
        blueprint: Blueprint,
        *,
        device: str,
        precision: str,
        mode: str,
        threads: int,
        seed: int,
    ) -> None:
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ModelError(f"the precision must be one of {known}, but got {precision!r}")
        if threads < 1:
            raise ModelError(f"there must be at least 1 thread, but got {threads}")
        if mode == "compile" and not blueprint.compiles:
            raise ModelError(
                f"{blueprint.name} would be compiled anew for each number of steps: use mode eager"
            )
        self.blueprint = blueprint
        self.name, self.length_unit = blueprint.name, blueprint.unit
        self.shortest, self.longest = blueprint.shortest, blueprint.longest
        self.device = find_device(device)
        self.malloc = "kept" if self.device.type == "cpu" and keep_memory() else "default"
        torch.set_num_threads(threads)
        self.precision, self.mode, self.threads, self.seed = precision, mode, threads, seed
        self.feed = blueprint.feed(torch.Generator().manual_seed(seed))
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.set_device(self.device)
        self._arriving, self._leaving = Staging(pinned=cuda), Staging(pinned=cuda)
        model = blueprint.build(seed).to(self.device, PRECISIONS[precision])
        self.model: nn.Module | None = model
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self.execution = execution(mode, model, self.device, self.length_unit, self.longest)

    def about(self) -> dict[str, str | int | float]:
        """What runs, on what, and how."""
        about: dict[str, str | int | float] = {
            "model": self.name,
            **self.blueprint.about,
            "parameters": self.parameters,
            "device": str(self.device),
            "device_name": device_name(self.device),
            "driver": driver(self.device),
            "cuda": str(torch.version.cuda or "none"),
            "precision": self.precision,
            "mode": self.mode,
            "framework": f"torch {torch.__version__}",
            "python": platform.python_version(),
            "threads": self.threads,
            "malloc": self.malloc,
            "tf32": "convolutions" if torch.backends.cudnn.allow_tf32 else "no",
        }
        if self.device.type == "cuda":
            about[DEVICE_MEMORY] = int(torch.cuda.get_device_properties(self.device).total_memory)
        if about["weights"] == "random":
            about["weights"] = f"random, seed {self.seed}"
        if self.mode == "graphs":
            about["graph_sizes"] = ", ".join(map(str, SIZES))
            about["graph_lengths"] = ", ".join(map(str, edges(self.length_unit, self.longest)))
        return about

    def serve(self, lengths: Sequence[int]) -> Served:
        """Serve one batch of synthetic requests with these lengths.

        Raises:
            OutOfMemory: the batch does not fit.
            ModelError: a length is out of range, or the output is wrong.
        """
        shorter = max(lengths, default=0) - self.blueprint.room
        if len(lengths) > 1 and min(lengths) > shorter >= self.shortest:
            lengths = [*lengths[:-1], shorter]
        return self.answer(lengths)[1]

    def answer(self, lengths: Sequence[int]) -> tuple[Tensor, Served]:
        """As :meth:`serve`, with the output (B, ...), which the next call overwrites."""
        self._check(lengths)
        items = [self.feed.item(index, length) for index, length in enumerate(lengths)]
        output, served = self._timed(items, lengths)
        self._verify(output, lengths)
        return output, served

    def contract(self) -> Contract:
        """What a request brings and gets."""
        found = self.blueprint.contract
        if self.execution.takes_more:
            return found
        inputs = (port._replace(most=0) if port.name == TYPES else port for port in found.inputs)
        return found._replace(inputs=tuple(inputs))

    def respond(
        self,
        requests: Sequence[Tensors],
        wanted: Sequence[str] = (),
    ) -> tuple[list[Tensors | Exception], Served]:
        """One call on what requests bring; see :class:`profiles.runner.Answering`."""
        own = requested(self.blueprint.contract, self.feed, requests)
        self._check(own.lengths)
        output, served = self._timed(own.items, own.lengths, own.masks, own.types)
        self._verify_rows(output, len(requests))
        ends = [len(mask) for mask in own.masks] if self.blueprint.by_place else None
        return answers(self.name, self.blueprint.contract.outputs[0].name, output, ends), served

    def recovers(self) -> bool:
        """Whether it still serves."""
        try:
            self.serve([self.shortest])
        except (ModelError, OutOfMemory):
            return False
        return True

    def _timed(
        self,
        items: Sequence[Tensor],
        lengths: Sequence[int],
        masks: Sequence[Tensor] | None = None,
        types: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Served]:
        """The call, its time, and what went wrong in one sentence."""
        limit = None
        try:
            began_ns = time.perf_counter_ns()
            output, events = self._call(items, lengths, masks, types)
            wall_ns = time.perf_counter_ns() - began_ns
        except Exception as error:
            if not out_of_memory(error):
                raise self._failed(error, lengths) from error
            where = f"the memory of {device_name(self.device)}"
            limit = OutOfMemory(f"{self.name}: {self._shape(lengths)} does not fit into {where}")
        if limit is not None:
            # Raised here, since the error of torch holds the frames that hold the batch's tensors.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            raise limit
        device_ns = None if events is None else round(events[0].elapsed_time(events[1]) * 1e6)
        return output, Served(wall_ns, device_ns)

    def peak_memory_bytes(self, lengths: Sequence[int]) -> int | None:
        """Most that torch had allocated during a call, weights included; None on a CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        self.serve(lengths)
        return int(torch.cuda.max_memory_allocated(self.device))

    def close(self) -> None:
        """Drop the weights, the graphs and the buffers; the runner serves no more."""
        if self.model is None:
            return
        self.model = None
        del self.execution, self._arriving, self._leaving
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _call(
        self,
        items: Sequence[Tensor],
        lengths: Sequence[int],
        masks: Sequence[Tensor] | None,
        types: Sequence[Tensor] | None,
    ) -> tuple[Tensor, tuple[torch.cuda.Event, torch.cuda.Event] | None]:
        """All that the service time is made of."""
        size = len(lengths)
        to = self.execution.shape(size, max(lengths))
        values, mask = collate(self.feed, items, lengths, self._arriving, to, masks)
        more = () if types is None else (padded(types, to[0], mask.shape[1]).to(self.device),)
        with torch.inference_mode():
            values, mask = self.execution.load(values, mask)
            if self.device.type == "cpu":
                output = self.execution(values, mask, *more)
                return (output[:size] if output.shape[0] == to[0] else output), None
            events = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))
            events[0].record()
            output = self.execution(values, mask, *more)
            events[1].record()
            output = output[:size] if output.shape[0] == to[0] else output
            host = self._leaving.take(tuple(output.shape), output.dtype, clear=False)
            host.copy_(output, non_blocking=True)
            torch.cuda.synchronize(self.device)
        return host, (events[0], events[1])

    def _check(self, lengths: Sequence[int]) -> None:
        if self.model is None:
            raise ModelError(f"{self.name} was closed, and serves no more")
        if not lengths:
            raise ModelError(f"{self.name}: a batch must have at least one request, but got none")
        for length in lengths:
            if not self.shortest <= length <= self.longest:
                raise ModelError(
                    f"{self.name} takes {self.shortest} to {self.longest} {self.length_unit}, "
                    f"but a request has {length}"
                )

    def _verify_rows(self, output: Tensor, size: int) -> None:
        if output.shape[0] != size:
            raise ModelError(
                f"{self.name} must give one output per request, but gave {output.shape[0]} for a "
                f"batch of {size}"
            )

    def _verify(self, output: Tensor, lengths: Sequence[int]) -> None:
        self._verify_rows(output, len(lengths))
        if not torch.isfinite(output).all():
            raise ModelError(
                f"{self.name} in {self.precision} gives NaN or infinity for {self._shape(lengths)}"
            )

    def _failed(self, error: BaseException, lengths: Sequence[int]) -> ModelError:
        """The failed call in one sentence."""
        said = reason(error)
        if self.mode == "graphs" and "captur" in said:
            return ModelError(
                f"{self.name} cannot be captured as a CUDA graph, as a model that waits for its "
                f"device cannot: use mode eager or compile ({said})"
            )
        return ModelError(f"{self.name} failed on {self._shape(lengths)}: {said}")

    def _shape(self, lengths: Sequence[int]) -> str:
        return f"a batch of {len(lengths)} padded to {max(lengths)} {self.length_unit}"


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one during whose handling it arose, is that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY):
            return True
        error = error.__context__
    return False
