"""Small ONNX files, made on the spot: an encoder, one without a mask, and one of waves."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from profiles.models import open_runner

WORDS, WIDTH, POSITIONS = 50, 8, 40
FREE = ("batch", "length")
LENGTHS = (7, 30, 1, 23)


def table(rows, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(dtype)


def written(path, nodes, inputs, weights, output=TensorProto.FLOAT, beside=()):
    """An ONNX file; ``inputs`` are (name, type, shape), the output is ``out``, then others."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*given) for given in inputs],
        [helper.make_tensor_value_info(name, output, None) for name in ("out", *beside)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path.parent.mkdir(exist_ok=True)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def node(kind, given, out, **attributes):
    return helper.make_node(kind, given.split(), [out], **attributes)


def encoder(path, *, inputs=None, dtype=np.float32, end=()):
    """Words, segments and positions looked up and averaged over the places that count."""
    given = inputs or [
        (name, TensorProto.INT64, FREE)
        for name in ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        node("Cast", "input_ids", "ids", to=TensorProto.INT64),
        node("Gather", "word ids", "words"),
        node("Gather", "segment token_type_ids", "segments"),
        node("Gather", "encoder.position_embeddings.weight position_ids", "places"),
        node("Sum", "words segments places", "sum"),
        node("Cast", "attention_mask", "weights", to=kind),
        node("Unsqueeze", "weights last", "wide"),
        node("Mul", "sum wide", "counted"),
        node("ReduceSum", "counted middle", "total", keepdims=0),
        node("ReduceSum", "wide middle", "count", keepdims=0),
        node("Div", "total count", "mean" if end else "out"),
        *end,
    ]
    weights = {
        "word": table(WORDS, 1, dtype),
        "segment": table(2, 2, dtype),
        "encoder.position_embeddings.weight": table(POSITIONS, 3, dtype),
        "last": np.array([-1]),
        "middle": np.array([1]),
    }
    return written(path, nodes, given, weights, kind)


def opened(path, **wanted):
    return open_runner(f"onnx:{path}", **wanted)


def blind(path, *, name="anything", kind=TensorProto.INT64):
    """Words averaged over all places, from one input of any name."""
    nodes = [
        node("Gather", f"word {name}", "words"),
        node("ReduceMean", "words", "out", axes=[1], keepdims=0),
    ]
    return written(path, nodes, [(name, kind, FREE)], {"word": table(WORDS, 1)})


def wave(path, *, name="input_values", kind=TensorProto.FLOAT, mask=True):
    """The energy of a clip: the mean square of the samples that count, where a mask says which."""
    nodes = [node("Mul", f"{name} {name}", "square" if mask else "counted")]
    if mask:
        nodes += [
            node("Cast", "attention_mask", "weights", to=kind),
            node("Mul", "square weights", "counted"),
        ]
    nodes.append(node("ReduceMean", "counted", "out", axes=[1], keepdims=1))
    inputs = [(name, kind, FREE)]
    if mask:
        inputs.append(("attention_mask", TensorProto.INT32, FREE))
    return written(path, nodes, inputs, {}, kind)
