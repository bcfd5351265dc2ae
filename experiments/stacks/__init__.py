"""Real servers of serving stacks: started, driven with a model of known cost, and predicted.

:data:`STACKS` has one row a stack; its module is imported when it is used.  What a module gives is
in :mod:`experiments.stacks.contract`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["STACKS", "Row"]

EVERY_PYTHON = ((3, 11), (3, 12), (3, 13))
"""The versions that this project runs with."""


class Row(NamedTuple):
    """A stack whose real server can be run."""

    name: str
    """As ``--on`` takes it, and as ``export --to`` calls it."""
    module: str
    """Inside this package."""
    title: str
    needs: tuple[str, ...]
    """What pip installs, the stack itself first, each with ``==`` or ``<``: what was tried.

    The extra of this name in ``pyproject.toml`` has the same.
    """
    size_mb: int
    """Of an environment with it."""
    timer: str
    """One clause: what starts the wait for a batch."""
    pythons: tuple[tuple[int, int], ...] = EVERY_PYTHON
    """Versions of Python that it runs with."""
    programs: tuple[tuple[str, str], ...] = ()
    """What has to be on the PATH beside it, and why."""
    ready_s: float = 60.0
    """How long it may take to be ready."""


STACKS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            "triton",
            "triton",
            "NVIDIA Triton",
            ("nvidia-pytriton==0.7.0", "numpy==1.26.4"),
            360,
            "the arrival of the oldest request, also while every instance is busy",
            pythons=((3, 11), (3, 12)),
        ),
        Row(
            "litserve",
            "litserve",
            "LitServe",
            ("litserve==0.2.19",),
            40,
            "each time that a worker begins to collect",
        ),
        Row(
            "ray",
            "ray_serve",
            "Ray Serve",
            ("ray[serve]==2.60.0",),
            390,
            "when the batcher takes the first request; batches are sealed while others run",
            ready_s=180.0,
        ),
        Row(
            "mlserver",
            "mlserver",
            "MLServer",
            ("mlserver==1.7.1", "uvloop==0.21.0"),
            230,
            "when the batcher takes the first request",
            pythons=((3, 11),),
        ),
        Row(
            "bentoml",
            "bentoml",
            "BentoML",
            ("bentoml==1.4.39",),
            120,
            "none: it learns how long to wait",
        ),
        Row(
            "torchserve",
            "torchserve",
            "TorchServe",
            ("torchserve==0.12.0", "torch==2.13.0", "pyyaml==6.0.4"),
            1130,
            "when an idle worker takes the first request",
            programs=(("java", "Java 11 or later"),),
        ),
    )
}
