"""Functions that take tensors: what they declare, what is made up for them, what they return."""

from __future__ import annotations

import numpy as np
import pytest

from profiles.models import function_tensors as tensors
from profiles.models import open_runner
from profiles.models.function import FunctionRunner
from profiles.runner import ModelError, OutOfMemory, Port

OPTIONS = {"device": "cpu", "precision": "fp32", "mode": "eager", "threads": 1}


def runner_of(monkeypatch, function, **declared):
    """A runner of a function that declares this."""
    for key, value in declared.items():
        setattr(function, key, value)
    monkeypatch.setattr("profiles.models.function.find_function", lambda name: function)
    return FunctionRunner("callable:mine:infer", OPTIONS)


def test_inputs_are_declared_as_types_and_shapes():
    assert tensors.ports("f", "inputs", {
        "ids": "INT64 [1, -1]", "scale": "FP32[1]?", "text": "BYTES", "any": "BOOL?",
    }) == (
        Port("ids", "INT64", (1, -1)), Port("scale", "FP32", (1,), required=False),
        Port("text", "BYTES"), Port("any", "BOOL", required=False),
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong", ["INT65", "int64", "INT64 [1, -2]", "INT64 [0]", "INT64 []", "INT64 [1", "", 3, None]
)
def test_what_is_no_type_is_said(wrong):
    with pytest.raises(ModelError) as caught:
        tensors.ports("f", "inputs", {"x": wrong})
    assert str(caught.value).startswith(
        "f: `inputs['x']` must be a datatype and, if you like, a shape, as \"INT64 [1, -1]\", but "
        f"is {wrong!r}; datatypes are BOOL, UINT8,"
    )


def test_what_is_no_mapping_is_said():
    with pytest.raises(ModelError, match=r"^f: `outputs` must map names to types, as .* but is \["):
        tensors.ports("f", "outputs", ["x"])


def test_requests_are_made_up_of_a_length():
    inputs = tensors.ports("f", "inputs", {
        "ids": "INT64 [1, -1]", "mask": "INT8 [1, -1]", "image": "FP32 [1, 3, 4]", "text": "BYTES",
        "maybe": "FP32?",
    })  # fmt: skip
    made = tensors.made_up(inputs, 5, "tokens")
    shapes = {name: (array.dtype.kind, array.shape) for name, array in made.items()}
    assert shapes == {
        "ids": ("i", (1, 5)), "mask": ("i", (1, 5)), "image": ("f", (1, 3, 4)),
        "text": ("O", (1, 1)),
    }  # fmt: skip
    assert np.isfinite(made["image"]).all()
    sound = tensors.ports("f", "inputs", {"audio": "FP32 [1, -1]"})
    assert tensors.made_up(sound, 25, "audio_ms")["audio"].shape == (1, 400)


def test_a_function_is_measured_with_requests_of_its_own_kind(monkeypatch):
    seen = []

    def infer(batch):
        seen.append([request["x"].shape for request in batch])
        return [{"sum": request["x"].sum()} for request in batch]

    runner = runner_of(monkeypatch, infer, inputs={"x": "FP32 [1, -1]"})
    assert runner.serve([3, 7]).wall_ns > 0
    assert seen == [[(1, 3), (1, 7)]]


def test_without_declared_inputs_nothing_can_be_made_up(monkeypatch):
    runner = runner_of(monkeypatch, lambda batch: batch, inputs={})
    with pytest.raises(ModelError, match="declares no inputs, so that no requests can be made up"):
        runner.serve([3])


def test_outputs_are_arrays_of_at_least_one_axis(monkeypatch):
    def infer(_batch):
        return [{"a": 1, "b": [[1.5]], "c": "ja", "d": np.float16(2)}]

    runner = runner_of(monkeypatch, infer, inputs={})
    (found,), served = runner.respond([{"x": np.zeros(1)}])
    assert served.wall_ns > 0
    kinds = {name: (array.dtype.kind, array.shape) for name, array in found.items()}
    assert kinds == {"a": ("i", (1,)), "b": ("f", (1, 1)), "c": ("U", (1,)), "d": ("f", (1,))}


WRONG = [
    ({"a": 1}, "must return a list with the outputs of each request, but returned dict for a "
               "batch of 2"),
    ([{}], "must return a list with the outputs of each request, but returned 1 for a batch of 2"),
    ([{}, 3], "must return the outputs of a request as a mapping of names to arrays, but returned "
              "int"),
    ([{}, {1: 2}], "must return the outputs of a request as a mapping of names to arrays"),
    ([{}, {"x": 1j}], "returned 'x' as an array of complex128"),
]  # fmt: skip


@pytest.mark.parametrize(("output", "sentence"), WRONG)
def test_what_else_is_returned_fails_the_batch_in_one_sentence(monkeypatch, output, sentence):
    runner = runner_of(monkeypatch, lambda _: output, inputs={})
    with pytest.raises(ModelError) as caught:
        runner.respond([{}, {}])
    assert str(caught.value).startswith(f"callable:mine:infer {sentence}")


def test_nan_and_exceptions_fail_one_request(monkeypatch):
    output = [{"x": np.nan}, ValueError("no"), {"x": 1}]
    runner = runner_of(monkeypatch, lambda _: output, inputs={})
    (nan, refused, good), _ = runner.respond([{}, {}, {}])
    assert str(nan) == "callable:mine:infer gave NaN or infinity in 'x' for this request"
    assert isinstance(nan, ModelError)
    assert isinstance(refused, ValueError)
    assert good["x"].tolist() == [1]


def test_memory_that_ran_out_is_a_limit(monkeypatch):
    def infer(_batch):
        raise MemoryError

    runner = runner_of(monkeypatch, infer, inputs={"x": "FP32 [1, -1]"})
    with pytest.raises(OutOfMemory, match=r"a batch of 2 does not fit into memory$"):
        runner.respond([{}, {}])


def test_a_function_of_lengths_has_no_contract():
    assert open_runner("callable:answering_functions:lengths_alone").contract() is None
    contract = open_runner("callable:answering_functions:infer").contract()
    assert [port.name for port in contract.inputs] == ["x"]
