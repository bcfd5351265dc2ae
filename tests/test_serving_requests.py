"""Requests of the Open Inference Protocol: what is read of them, what is refused, and how."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from experiments.serving.open_inference import Inference, RequestError, Served, read, written
from experiments.serving.outputs import Wish, Wishes
from policies.contract import NEVER

AS_BYTES = {
    "name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16},
}  # fmt: skip
TENSOR = {"name": "x", "datatype": "INT64", "shape": [1, 3], "data": [1, 2, 3]}


def body(*, parameters=None, inputs=None, **tensor):
    changed = {key: value for key, value in {**TENSOR, **tensor}.items() if value != "left out"}
    content = {"inputs": [changed] if inputs is None else inputs}
    if parameters is not None:
        content["parameters"] = parameters
    return json.dumps(content).encode()


def test_a_length_is_the_last_dimension_of_the_first_input():
    assert read(body(), "tokens").length == 3
    assert read(body(shape=[3]), "tokens").length == 3
    assert read(body(shape=[1, 1, 3]), "tokens").length == 3
    two = [TENSOR, {**TENSOR, "shape": [1], "data": [1]}]
    assert read(body(inputs=two), "tokens").length == 3


def test_a_length_may_be_said():
    assert read(body(parameters={"length": 77}), "tokens").length == 77


def test_samples_are_milliseconds_of_audio():
    sound = {"datatype": "FP32", "shape": [1, 800], "data": [0.5] * 800}
    assert read(body(**sound), "audio_ms").length == 50
    assert read(body(parameters={"sample_rate": 8000}, **sound), "audio_ms").length == 100
    assert read(body(parameters={"sample_rate": 44100}, **sound), "audio_ms").length == 19


def test_what_else_a_request_says_is_read():
    said = {"tier": "batch", "timeout": 1500}
    whole = json.loads(body(parameters=said)) | {"id": "me", "outputs": [{"name": "y"}]}
    assert read(json.dumps(whole).encode(), "tokens") == Inference(
        3, "me", "batch", 1_500_000, Wishes((Wish("y", binary=False),))
    )
    assert read(body(), "tokens") == Inference(3, None, None, NEVER)
    assert read(body(parameters={"timeout": 0}), "tokens").timeout_ns == NEVER


@pytest.mark.parametrize(
    "tensor",
    [
        {"data": [[1, 2, 3]]},
        {"shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]], "named": 6},
        {"datatype": "BOOL", "data": [True, False, True]},
        {"datatype": "BYTES", "data": ["a", "b", ""]},
        {"datatype": "FP16", "data": [1, 2.5, -3e9]},
        {"datatype": "UINT8", "data": [1, 2, 3]},
    ],
)
def test_data_is_flat_or_nested_of_every_type(tensor):
    named = {"length": tensor["named"]} if "named" in tensor else None
    kept = {key: value for key, value in tensor.items() if key != "named"}
    assert read(body(parameters=named, **kept), "tokens").length == tensor.get("named", 3)


def test_tensors_may_follow_as_bytes():
    said = json.dumps({"inputs": [AS_BYTES]}).encode()
    assert read(said + struct.pack("<4f", 1, 2, 3, 4), "tokens", len(said)).length == 4


@pytest.mark.parametrize(
    ("tail", "header", "sentence"),
    [
        (b"1234", None, "inputs have 16 bytes of binary data, but 4 follow the JSON"),
        (b"", None, "inputs have 16 bytes of binary data, but 0 follow the JSON"),
        (b"x" * 16, 10**6, "inference-header-content-length = 1000000 must be the bytes of JSON "
                           "in a body of"),
        (b"x" * 16, 5, "the body is no JSON"),
    ],
)  # fmt: skip
def test_bytes_that_do_not_fit_are_refused(tail, header, sentence):
    said = json.dumps({"inputs": [AS_BYTES]}).encode()
    with pytest.raises(RequestError) as caught:
        read(said + tail, "tokens", len(said) if header is None else header)
    assert str(caught.value).startswith(sentence)


REFUSED = [
    (b"", "the body is no JSON: EOF while parsing a value at line 1 column 0"),
    (b"\xff\xfe", "the body is no JSON: "),
    (b"[1]", "the body must be an object with inputs, but is [1]"),
    (b"{}", "inputs is missing; give a list of 1 to 32 tensors"),
    (body(inputs=[]), "inputs = [] must be a list of 1 to 32 tensors"),
    (body(inputs=[TENSOR] * 33), "inputs = a list of 33 must be a list of 1 to 32 tensors"),
    (body(inputs=["x"]), 'inputs[0] = "x" must be an object'),
    (body(inputs=[TENSOR, 3]), "inputs[1] = 3 must be an object"),
    (body(name=""), 'inputs[0].name = "" must be a text of 1 to 256 characters'),
    (body(name="left out"), "inputs[0].name is missing; give a text of 1 to 256 characters"),
    (body(name="n" * 300), 'inputs[0].name = "' + "n" * 56 + "... must be a text of"),
    (body(datatype="INT6"), 'inputs[0].datatype = "INT6" must be one of BOOL, UINT8, UINT16,'),
    (body(datatype=["INT64"]), 'inputs[0].datatype = ["INT64"] must be one of'),
    (body(shape=3), "inputs[0].shape = 3 must be a list of 1 to 8 dimensions"),
    (body(shape=[]), "inputs[0].shape = [] must be a list of 1 to 8 dimensions"),
    (body(shape=[1] * 9), "inputs[0].shape = a list of 9 must be a list of 1 to 8 dimensions"),
    (body(shape=[1, -1]), "inputs[0].shape = [1, -1] must have whole numbers from 1 to 2147483647"),
    (body(shape=[True, 3]), "inputs[0].shape = [true, 3] must have whole numbers from 1 to"),
    (body(shape=[1, 0]), "inputs[0].shape = [1, 0] must have whole numbers from 1 to"),
    (body(shape=[1, 1e9]), "inputs[0].shape = [1, 1000000000.0] must have whole numbers from"),
    (body(shape=[2**40]), "inputs[0].shape = [1099511627776] must have whole numbers from"),
    (body(shape=[1, 4]), "inputs[0].data has 3 elements, but shape [1, 4] has 4"),
    (body(shape=[2**31 - 1] * 8), "inputs[0].data has 3 elements, but shape"),
    (body(shape=[2, 3], data=[1] * 6), "inputs[0].shape = [2, 3] has 2 rows; send one row a "
                                       "request: the server makes the batches"),
    (body(data=[[1, 2], 3]), "inputs[0].data has 2 elements, but shape [1, 3] has 3"),
    (body(data=[1, 2, "3"]), 'inputs[0].data has "3", which is no INT64'),
    (body(data=[1, 2, True]), "inputs[0].data has true, which is no INT64"),
    (body(data=[1, 2, 0.5]), "inputs[0].data has 0.5, which is no INT64"),
    (body(data=[1, 2, None]), "inputs[0].data has null, which is no INT64"),
    (body(data=[[[1, 2, 3]]]), "inputs[0].data has 1 elements, but shape [1, 3] has 3"),
    (body(data="left out"), "inputs[0].data is missing; give a list of 3 elements"),
    (body(data={"a": 1}), 'inputs[0].data = {"a": 1} must be a list of 3 elements'),
    (body(data=[1.0, math.inf, 2], datatype="FP32"), "the body is no JSON: "),
    (body(parameters=3), "parameters = 3 must be an object"),
    (body(parameters={"length": 0}), "parameters.length = 0 must be a whole number from 1 to"),
    (body(parameters={"length": "9"}), 'parameters.length = "9" must be a whole number from'),
    (body(parameters={"length": 2**31}), "parameters.length = 2147483648 must be a whole number "
                                         "from 1 to 2147483647"),
    (body(parameters={"timeout": -1}), "parameters.timeout = -1 must be a whole number of "
                                       "microseconds"),
    (body(parameters={"timeout": 1.5}), "parameters.timeout = 1.5 must be a whole number of"),
    (body(parameters={"tier": 3}), "parameters.tier = 3 must be a text"),
    (json.dumps({"id": 3, "inputs": [TENSOR]}).encode(), "id = 3 must be a text of at most 256"),
    (b"[" * 100_000, "the body is no JSON: "),
    (b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}", "the body is no JSON: "),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_wrong_request_gets_one_sentence(wrong, sentence):
    with pytest.raises(RequestError) as caught:
        read(wrong, "tokens")
    said = str(caught.value)
    assert said.startswith(sentence)
    assert caught.value.status == 400
    assert "\n" not in said
    assert len(said) < 400


def test_a_rate_of_samples_is_a_whole_number():
    sound = {"datatype": "FP32", "shape": [3], "data": [0.5] * 3}
    with pytest.raises(RequestError, match=r"^parameters.sample_rate = 0 must be a whole number"):
        read(body(parameters={"sample_rate": 0}, **sound), "audio_ms")


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4)
    | some.dictionaries(
        some.sampled_from(
            ["inputs", "parameters", "name", "datatype", "shape", "data", "id", "length", "timeout",
             "binary_data_size", "tier"]
        ),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip
TENSORS = some.fixed_dictionaries(
    {
        "name": some.just("x") | JSON,
        "datatype": some.sampled_from(["INT64", "FP32", "BYTES"]) | JSON,
        "shape": some.lists(some.integers(-1, 5), max_size=4) | JSON,
        "data": some.lists(some.integers(0, 5), max_size=8) | JSON,
    },
    optional={"parameters": JSON},
)


def holds(content, header=None):
    """It is read, or refused with one sentence; nothing else ever comes out."""
    try:
        found = read(content, "tokens", header)
    except RequestError as error:
        assert str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return
    assert found.length >= 1
    assert 1 <= found.timeout_ns <= NEVER


@settings(max_examples=300)
@given(some.fixed_dictionaries({"inputs": some.lists(TENSORS, max_size=3) | JSON},
                               optional={"parameters": JSON, "id": JSON}))  # fmt: skip
def test_whatever_json_comes_is_read_or_refused(content):
    holds(json.dumps(content).encode())


@settings(max_examples=200)
@given(some.binary(max_size=60), some.none() | some.integers(-5, 70))
def test_whatever_bytes_come_are_read_or_refused(content, header):
    holds(content, header)


@settings(max_examples=200)
@given(some.data())
def test_a_damaged_request_is_read_or_refused(data):
    whole = bytearray(body(parameters={"length": 5, "timeout": 3}))
    for _ in range(data.draw(some.integers(1, 4))):
        whole[data.draw(some.integers(0, len(whole) - 1))] = data.draw(some.integers(0, 255))
    holds(bytes(whole))


def test_an_answer_repeats_the_name_that_a_request_has_for_itself():
    served = Served(3, 16, 1, 2_500_000, 4_000_000)
    body, header = written("m", "all", Inference(5, 'a"\n'), served)
    said = json.loads(body)
    assert header is None
    assert said["id"] == 'a"\n'
    assert said["parameters"] == {
        "tier": "all", "length": 5, "batch_size": 3, "server": 1, "waited_ms": 2.5,
        "service_ms": 4.0,
    }  # fmt: skip
