"""Reference models that are measured as they are served, and a user's own function.

``open_runner("bert-base", device="cuda", precision="bf16")`` gives a
:class:`profiles.runner.Runner`; :data:`MODELS` lists what there is.  torch is imported when a
reference model is opened, not before.
"""

from __future__ import annotations

import difflib

from profiles.runner import ModelError, Runner

from .catalogue import MODELS, Row
from .function import PREFIX, FunctionRunner

__all__ = ["MODELS", "Row", "open_runner"]


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
        model: a name in :data:`MODELS`, or ``callable:package.module:function``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        mode: ``eager``, ``graphs`` (CUDA graphs by bucket) or ``compile``.
        threads: that torch uses within an operator on the CPU.
        seed: of random weights and of the inputs.

    Raises:
        ModelError: there is no such model, device, precision or mode, or torch is missing.
    """
    if model.startswith(PREFIX):
        return FunctionRunner(
            model, {"device": device, "precision": precision, "mode": mode, "threads": threads}
        )
    row = MODELS.get(model)
    if row is None:
        nearest = difflib.get_close_matches(model, MODELS, n=1, cutoff=0.0)[0]
        raise ModelError(
            f"there is no model {model!r}; the nearest is {nearest}, and {PREFIX}MODULE:FUNCTION "
            f"is one of your own"
        )
    try:
        from .serving import ModelRunner
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModelError(
            "running a model needs torch, which is not installed: pip install 'batchwright[models]'"
        ) from None
    return ModelRunner(
        model, row, device=device, precision=precision, mode=mode, threads=threads, seed=seed
    )
