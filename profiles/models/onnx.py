"""A user's own ONNX file: ``onnx:FILE``, run by onnxruntime on the CPU or on a GPU.

1. The clock runs around collating the batch and ``InferenceSession.run``, which copies to the
   device and back, for the first output alone: it is the one that answers.
2. The precision is the file's own.  ``threads`` are those within an operator; operators run one
   after another.
3. Weights are whatever the file holds, inputs are random: ids below the rows of the table that
   looks them up (below 100 where it is not found), waves at 16 kHz with mean 0 and variance 1.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from profiles.runner import Contract, ModelError, OutOfMemory, Served, Tensors

from .catalogue import SPEECH
from .contracts import tokenizer_of
from .cuts import cut
from .machine import cpu_name, driver_version, gpu_name, gpu_number, keep_memory
from .onnx_graph import read_graph
from .onnx_inputs import find_inputs
from .onnx_outputs import axes_to_cut, of_request, output_ports
from .own_names import own_name
from .reasons import reason

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
GIVEN_OUT = ("Failed to allocate memory", "out of memory", "bad allocation", "bad_alloc")
"""What onnxruntime and CUDA write where memory ran out."""
FATAL = 4
"""Severity from which onnxruntime writes on its own: its errors are raised, and said once."""
TOKENS_POOL, SAMPLES_POOL, SAMPLES_PER_MS = 1 << 16, 960_000, 16
FEW_WORDS = 100
TRIAL_LENGTHS, SPEECH_TRIAL_MS = (3, 5), 100
"""Of requests that are made up to see what changes with the length."""


class OnnxRunner:
    """A :class:`profiles.runner.Runner` of an ONNX file."""

    def __init__(
        self, file: str, *, device: str, precision: str, mode: str, threads: int, seed: int
    ) -> None:
        path = Path(file)
        if mode != "eager":
            raise ModelError(f"{path}: onnxruntime runs in mode eager alone, but got {mode!r}")
        if threads < 1:
            raise ModelError(f"there must be at least 1 thread, but got {threads}")
        self.path, self.gpu = path, gpu_number(device)
        self.graph = read_graph(path)
        if precision not in ("fp32", self.graph.precision):
            raise ModelError(
                f"{path} has its weights in {self.graph.precision} and runs as exported, but the "
                f"precision {precision} is asked for: leave it out, or export the model in it"
            )
        self.name, self.device, self.threads, self.seed = own_name(path), device, threads, seed
        keep_memory()
        self.session: Any = _session(path, self.gpu, threads)
        self.inputs = find_inputs(str(path), self.session.get_inputs())
        self.output = self.session.get_outputs()[0].name
        self.length_unit = self.inputs.unit
        speech = self.length_unit == "audio_ms"
        most = min(self.graph.positions or TOKENS_POOL, TOKENS_POOL)
        self.longest = SPEECH[2] if speech else most
        self.pool = _pool(speech, self.graph.words or FEW_WORDS, np.random.default_rng(seed))

    def about(self) -> dict[str, str | int | float]:
        """What runs, on what, and how."""
        cuda = self.gpu is not None
        return {
            "model": self.name,
            "title": f"ONNX file, opset {self.graph.opset}",
            "parameters": self.graph.parameters,
            "weights": "of the file",
            "device": self.device,
            "device_name": cpu_name() if self.gpu is None else gpu_name(self.gpu),
            "driver": driver_version() if cuda else "none",
            "precision": self.graph.precision,
            "mode": "eager",
            "framework": f"onnxruntime {onnxruntime.__version__}",
            "provider": CUDA if cuda else CPU,
            "python": platform.python_version(),
            "threads": self.threads,
        }

    def serve(self, lengths: Sequence[int]) -> Served:
        """Serve one batch of synthetic requests with these lengths.

        Raises:
            OutOfMemory: the batch does not fit.
            ModelError: a length is out of range, or the output is wrong.
        """
        return self.answer(lengths)[1]

    def answer(self, lengths: Sequence[int]) -> tuple[Any, Served]:
        """As :meth:`serve`, with the first output."""
        self._check(lengths)
        items = [self.item(index, length) for index, length in enumerate(lengths)]
        (output,), served = self._timed([self.output], items, lengths)
        self._verify(output, lengths)
        return output, served

    def contract(self) -> Contract:
        """What a request brings and gets; the first output alone where it does not say which."""
        speech = self.length_unit == "audio_ms"
        return Contract(
            self.inputs.ports(self.graph.words, self.graph.positions),
            output_ports(self.session.get_outputs(), self.axes),
            longest=self.longest,
            rate=1000 * SAMPLES_PER_MS if speech else 0,
            tokenizer="" if speech else tokenizer_of(self.path.parent, self.path.parent.parent),
            given=1,
        )

    @cached_property
    def axes(self) -> dict[str, list[int]]:
        """Which axes of its outputs are as long as a batch is padded; found by calling it twice."""
        names = [node.name for node in self.session.get_outputs()]
        scale = SPEECH_TRIAL_MS if self.length_unit == "audio_ms" else 1
        shapes = []
        for length in TRIAL_LENGTHS:
            item = self.item(0, min(length * scale, self.longest))
            found, _ = self._timed(names, [item, item], [length * scale] * 2)
            shapes.append((len(item), [np.shape(one) for one in found]))
        return axes_to_cut(names, shapes)

    def respond(
        self, requests: Sequence[Tensors], wanted: Sequence[str] = ()
    ) -> tuple[list[Tensors | Exception], Served]:
        """One call on what requests bring; see :class:`profiles.runner.Answering`."""
        items = [request[self.inputs.request][0] for request in requests]
        widths = [len(item) for item in items]
        names = list(wanted) or [self.output]
        scale = SAMPLES_PER_MS if self.length_unit == "audio_ms" else 1
        lengths = [-(-width // scale) for width in widths]
        found, served = self._timed(names, items, lengths, requests)
        for output in found:
            self._verify_rows(output, len(items))
        outputs = dict(zip(names, found, strict=True))
        return [
            of_request(self.name, outputs, row, width, self.axes)
            for row, width in enumerate(widths)
        ], served

    def recovers(self) -> bool:
        """Whether it still serves."""
        try:
            self.serve([SPEECH_TRIAL_MS if self.length_unit == "audio_ms" else 1])
        except (ModelError, OutOfMemory):
            return False
        return True

    def _timed(
        self,
        names: list[str],
        items: Sequence[np.ndarray],
        lengths: Sequence[int],
        own: Sequence[Tensors] = (),
    ) -> tuple[list[Any], Served]:
        """The call, its time, and what went wrong in one sentence."""
        try:
            began_ns = time.perf_counter_ns()
            found = self.session.run(names, self.inputs.batch(items, own))
            wall_ns = time.perf_counter_ns() - began_ns
        except Exception as error:
            said = reason(error)
            if isinstance(error, MemoryError) or any(words in said for words in GIVEN_OUT):
                raise OutOfMemory(
                    f"{self.name}: {self._shape(lengths)} does not fit into memory"
                ) from error
            raise ModelError(f"{self.name} failed on {self._shape(lengths)}: {said}") from error
        return found, Served(wall_ns, None)

    def item(self, index: int, length: int) -> np.ndarray:
        """Input of the ``index``-th request of a batch, as it would arrive."""
        width = length * SAMPLES_PER_MS if self.length_unit == "audio_ms" else length
        piece: np.ndarray = self.pool[cut(index, width, len(self.pool))]
        return piece

    def peak_memory_bytes(self, lengths: Sequence[int]) -> int | None:
        """Onnxruntime does not say."""
        return None

    def close(self) -> None:
        """Drop the session; the runner serves no more."""
        self.session = None

    def _check(self, lengths: Sequence[int]) -> None:
        if self.session is None:
            raise ModelError(f"{self.name} was closed, and serves no more")
        if not lengths:
            raise ModelError(f"{self.name}: a batch must have at least one request, but got none")
        for length in lengths:
            if not 1 <= length <= self.longest:
                raise ModelError(
                    f"{self.name} takes 1 to {self.longest} {self.length_unit}, "
                    f"but a request has {length}"
                )

    def _verify_rows(self, output: Any, size: int) -> None:
        shape = np.shape(output)
        if not shape or shape[0] != size:
            raise ModelError(
                f"{self.name} must give one row per request, but its output {self.output!r} has "
                f"the shape {shape} for a batch of {size}"
            )

    def _verify(self, output: Any, lengths: Sequence[int]) -> None:
        self._verify_rows(output, len(lengths))
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise ModelError(f"{self.name} gives NaN or infinity for {self._shape(lengths)}")

    def _shape(self, lengths: Sequence[int]) -> str:
        return f"a batch of {len(lengths)} padded to {max(lengths)} {self.length_unit}"


def _session(path: Path, gpu: int | None, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = FATAL
    wanted = CPU if gpu is None else CUDA
    have = onnxruntime.get_available_providers()
    if wanted not in have:
        raise ModelError(
            f"device cuda needs {CUDA}, which onnxruntime {onnxruntime.__version__} lacks here "
            f"(it has {', '.join(have)}): install onnxruntime-gpu in its place"
        )
    provider: Any = wanted if gpu is None else (CUDA, {"device_id": gpu})
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded by onnxruntime: {reason(error)}") from error
    if wanted not in session.get_providers():
        raise ModelError(
            f"onnxruntime cannot use {CUDA} here and would run {path} on the CPU: its CUDA "
            f"libraries or the GPU {gpu} are missing"
        )
    return session


def _pool(speech: bool, words: int, random: np.random.Generator) -> np.ndarray:
    """Random input to cut requests out of, longer than any."""
    if speech:
        return random.standard_normal(SAMPLES_POOL, dtype=np.float32)
    return random.integers(1, max(words, 2), TOKENS_POOL, dtype=np.int64)
