"""Reference models that are measured as they are served, and a user's own.

``open_runner("bert-base", device="cuda", precision="bf16")`` gives a
:class:`profiles.runner.Runner`; :data:`MODELS` lists what there is.  torch, transformers and
onnxruntime are imported when a model that needs them is opened, not before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from profiles.runner import ModelError, Runner

from .catalogue import MODELS, Row
from .function import PREFIX, FunctionRunner

__all__ = ["MODELS", "Row", "open_runner"]

HF, ONNX = "hf:", "onnx:"


def open_runner(
    model: str,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    mode: str = "eager",
    threads: int = 1,
    seed: int = 0,
) -> Runner:
    """Load a model where it will be served.

    Args:
        model: a name in :data:`MODELS`, ``callable:package.module:function``,
            ``hf:PATH_OR_CONFIG`` (:mod:`profiles.models.huggingface`) or ``onnx:FILE``
            (:mod:`profiles.models.onnx`).
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        mode: ``eager``, ``graphs`` (CUDA graphs by bucket) or ``compile``.
        threads: that torch or onnxruntime uses within an operator on the CPU.
        seed: of random weights and of the inputs.

    Raises:
        ModelError: there is no such model, device, precision or mode, or a package is missing.
    """
    if model.startswith(PREFIX):
        return FunctionRunner(
            model, {"device": device, "precision": precision, "mode": mode, "threads": threads}
        )
    if model.startswith(ONNX):
        with needing("onnx", "onnxruntime", "onnx"):
            from .onnx import OnnxRunner
        return OnnxRunner(
            model.removeprefix(ONNX),
            device=device, precision=precision, mode=mode, threads=threads, seed=seed,
        )  # fmt: skip
    if model.startswith(HF):
        with needing("hf", "torch", "transformers", "huggingface_hub"):
            from .huggingface import blueprint
            from .serving import ModelRunner
        served = blueprint(model.removeprefix(HF))
    else:
        row = find_row(model)
        with needing("models", "torch"):
            from .blueprint import of_row
            from .serving import ModelRunner
        served = of_row(model, row)
    return ModelRunner(
        served, device=device, precision=precision, mode=mode, threads=threads, seed=seed
    )


def find_row(model: str) -> Row:
    """The reference model of this name.

    Raises:
        ModelError: there is none; the nearest is named.
    """
    if model not in MODELS:
        nearest = difflib.get_close_matches(model, MODELS, n=1, cutoff=0.0)[0]
        raise ModelError(
            f"there is no model {model!r}; the nearest is {nearest}, and {PREFIX}MODULE:FUNCTION "
            f"is one of your own"
        )
    return MODELS[model]


@contextmanager
def needing(extra: str, *packages: str) -> Iterator[None]:
    """Say with which extra a package comes that is not installed.

    Raises:
        ModelError: one of them cannot be imported.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ModelError(
            f"running a model needs {error.name}, which is not installed: "
            f"pip install 'batchwright[{extra}]'"
        ) from None
