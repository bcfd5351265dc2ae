"""The outputs of an ONNX session: what they are, and what of them belongs to one request.

An axis that is as long as the batch is padded, in two calls of different lengths, is cut to the
request's own length.  One that grows in another way, as the frames of a wave, is given as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from profiles.runner import ModelError, Port, Tensors

from .onnx_inputs import KINDS, TYPES, Node

Shape = tuple[int, ...]


def output_ports(nodes: Iterable[Node], axes: Mapping[str, Sequence[int]]) -> tuple[Port, ...]:
    """What a request gets: one row of each."""
    return tuple(
        Port(node.name, _kind(node.type), _shape(node.shape, axes[node.name])) for node in nodes
    )


def _kind(said: str) -> str:
    return KINDS[TYPES[said]] if said in TYPES else said


def _shape(said: Sequence[int | str | None], cut: Sequence[int]) -> Shape:
    return tuple(
        1 if axis == 0 else size if isinstance(size, int) and axis not in cut else -1
        for axis, size in enumerate(said)
    )


def axes_to_cut(
    names: Sequence[str], trials: Sequence[tuple[int, list[Shape]]]
) -> dict[str, list[int]]:
    """Axes of each output that are as long as the input.

    Args:
        names: of the outputs.
        trials: (length of the input, shapes of the outputs), of different lengths.
    """
    found = {}
    for place, name in enumerate(names):
        shapes = [(length, shapes[place]) for length, shapes in trials]
        ranks = {len(shape) for _, shape in shapes}
        found[name] = [
            axis
            for axis in range(1, min(ranks))
            if all(shape[axis] == length for length, shape in shapes)
        ]
    return found


def of_request(
    model: str,
    outputs: Mapping[str, np.ndarray],
    row: int,
    width: int,
    axes: Mapping[str, Sequence[int]],
) -> Tensors | Exception:
    """One row of each output, without padding; or why it is none."""
    own = {}
    for name, output in outputs.items():
        where = [slice(width if axis in axes[name] else None) for axis in range(1, output.ndim)]
        own[name] = output[(slice(row, row + 1), *where)]
        if own[name].dtype.kind == "f" and not np.isfinite(own[name]).all():
            return ModelError(f"{model} gives NaN or infinity in {name!r} for this request")
    return own
