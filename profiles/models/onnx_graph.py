"""What an ONNX file says of itself: its inputs, the precision of its weights, and their number.

Specification: https://onnx.ai/onnx/repo-docs/IR.html (graphs, initializers, tensor types).
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from profiles.runner import ModelError

from .reasons import reason

FLOATS = {
    1: "fp32",
    10: "fp16",
    16: "bf16",
    11: "fp64",
    2: "int8",
    3: "int8",
    21: "int4",
    22: "int4",
}
"""``TensorProto.DataType`` of weights, and what they are called."""
IDS = "input_ids"
POSITIONS = "position_embeddings.weight"
"""End of the name that exported encoders keep for their table of positions."""


class Graph(NamedTuple):
    """The facts of a file."""

    precision: str
    """That of most weights."""
    parameters: int
    opset: int
    words: int | None
    """Rows of the table that ``input_ids`` looks up, where it is looked up directly."""
    positions: int | None
    """Rows of the table of positions, where there is one by its usual name."""


def read_graph(path: Path) -> Graph:
    """Read a file, without weights that lie beside it.

    Raises:
        ModelError: it is not there, or is no ONNX file.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path} is not an ONNX file: {reason(error)}") from error
    graph = model.graph
    if not graph.node:
        raise ModelError(f"{path} is not an ONNX file: it holds no graph")
    tables = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    sizes: Counter[str] = Counter()
    for tensor in graph.initializer:
        if tensor.data_type in FLOATS and tensor.dims:
            sizes[FLOATS[tensor.data_type]] += math.prod(tensor.dims)
    return Graph(
        precision=max(sizes, key=lambda kind: sizes[kind]) if sizes else _of_inputs(graph),
        parameters=sizes.total(),
        opset=max((one.version for one in model.opset_import if not one.domain), default=0),
        words=_words(graph, tables),
        positions=next(
            (dims[0] for name, dims in tables.items() if name.endswith(POSITIONS)), None
        ),
    )


def _of_inputs(graph: Any) -> str:
    """The precision of a graph without weights: that of its inputs, fp32 if they are whole."""
    kinds = (FLOATS.get(given.type.tensor_type.elem_type) for given in graph.input)
    return next((kind for kind in kinds if kind), "fp32")


def _words(graph: Any, tables: dict[str, tuple[int, ...]]) -> int | None:
    """Rows of the table from which a node ``Gather`` takes what the ids name."""
    names = {given.name for given in graph.input if given.name not in tables}
    ids = names if len(names) == 1 else names & {IDS}
    for node in graph.node:
        if node.op_type in ("Cast", "Identity") and node.input[0] in ids:
            ids = ids | {node.output[0]}
        if node.op_type == "Gather" and node.input[1] in ids and node.input[0] in tables:
            return tables[node.input[0]][0]
    return None
