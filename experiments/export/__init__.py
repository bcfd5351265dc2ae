"""Settings written as the files of serving stacks, and read back.

:data:`STACKS` has one row a stack; its module is imported when it is used.  What a module gives is
in :mod:`experiments.export.contract`.  ``from experiments.export import export`` writes a result's
setting from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .exporting import export

__all__ = ["STACKS", "Stack", "export"]


class Stack(NamedTuple):
    """A serving stack that a setting can be written for."""

    name: str
    """As ``--to`` takes it."""
    module: str
    """Inside this package."""
    title: str
    files: tuple[str, ...]
    """Names of its files, as patterns, by which ``import`` knows the stack; none: no import."""
    expresses: str
    """One clause: which policies it can do exactly."""


STACKS: dict[str, Stack] = {
    row.name: row
    for row in (
        Stack(
            "triton",
            "triton",
            "NVIDIA Triton",
            ("config.pbtxt", "*.pbtxt"),
            "greedy, size_or_timeout, preferred_sizes, priority_fill; length_bucketed only nearly",
        ),
        Stack(
            "ray",
            "ray_serve",
            "Ray Serve",
            ("serve_config.yaml", "serve*.yaml", "serve*.yml"),
            "sealed_batches, static, batches of 1; another wait, and a deployment for each tier, "
            "only nearly",
        ),
        Stack(
            "kserve",
            "kserve",
            "KServe",
            ("inference-service.yaml", "*.yaml", "*.yml"),
            "timer_from_pick and size_or_timeout with from_idle on one server; a service for each "
            "tier only nearly",
        ),
        Stack(
            "torchserve",
            "torchserve",
            "TorchServe",
            ("model-config.yaml", "config.properties"),
            "timer_from_pick, size_or_timeout with from_idle",
        ),
        Stack(
            "tensorflow-serving",
            "tensorflow_serving",
            "TensorFlow Serving",
            ("batching_parameters.pbtxt", "batching_params.pbtxt", "*.pbtxt"),
            "greedy, size_or_timeout without from_idle; length_bucketed only nearly",
        ),
        Stack(
            "bentoml",
            "bentoml",
            "BentoML",
            (),
            "cork on one server, which learns its wait as BentoML does; nothing else exactly",
        ),
        Stack(
            "mlserver",
            "mlserver",
            "MLServer",
            ("model-settings.json",),
            "sealed_batches, batches of 1 on one server; another wait only nearly",
        ),
        Stack(
            "litserve",
            "litserve",
            "LitServe",
            ("litserve.json",),
            "collection_window, greedy on one server; another wait only nearly",
        ),
        Stack(
            "text-embeddings-inference",
            "text_embeddings_inference",
            "Text Embeddings Inference",
            (),
            "token_budget_ahead, batches of 1 on one server; greedy and token_budget only nearly",
        ),
        Stack(
            "vllm",
            "vllm",
            "vLLM",
            (),
            "greedy, and priority_fill without a wait, on one server, for pooling models; "
            "token_budget only nearly",
        ),
        Stack(
            "json",
            "plain",
            "plain JSON with a schema",
            ("policy.json",),
            "every policy",
        ),
    )
}


def __getattr__(name: str) -> Any:
    """``export``, when it is first used."""
    if name == "export":
        from .exporting import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
