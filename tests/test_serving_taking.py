"""What a model takes of a request, and what is said of what it does not take."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from experiments.serving import texts
from experiments.serving.inputs import RequestError
from experiments.serving.open_inference import Inference, Served, described, read, written
from experiments.serving.taking import Taker
from profiles.models.contracts import text_contract, wave_contract
from profiles.runner import Contract, Port, contract_of
from sim.tensors import tensor_of

BERT = text_contract(1000, 64, width=4, segments=2)
WAVE = wave_contract("audio", 16_000, 400, 30_000, Port("logits", "FP32", (1, -1, 32)))
IDS = {"name": "input_ids", "datatype": "INT64", "shape": [1, 3], "data": [5, 6, 7]}
MASK = {**IDS, "name": "attention_mask", "data": [1, 1, 0]}
SOUND = {"name": "audio", "datatype": "FP32", "shape": [1, 800], "data": [0.5] * 800}


def taken(*inputs, contract=BERT, unit="tokens", longest=64, cuts=False, behind=b"", **more):
    """A request as it is read for a model."""
    taker = Taker("m", contract, unit, longest, cuts=cuts)
    said = json.dumps({"inputs": inputs, **more}).encode()
    return read(said + behind, unit, len(said) if behind else None, taker)


def arrays(found):
    return {tensor.name: tensor.array().tolist() for tensor in found.tensors}


def test_inputs_are_those_of_the_contract_in_its_order_and_shape():
    found = taken({**MASK, "shape": [3]}, IDS)
    assert found.length == 3
    assert arrays(found) == {"input_ids": [[5, 6, 7]], "attention_mask": [[1, 1, 0]]}
    assert [tensor.name for tensor in found.tensors] == ["input_ids", "attention_mask"]


def test_a_contract_goes_through_json():
    assert contract_of(json.loads(json.dumps(BERT))) == BERT


@pytest.mark.parametrize(
    ("given_kind", "packed"), [("INT32", "<3i"), ("UINT8", "<3B"), ("UINT64", "<3Q")]
)
def test_whole_numbers_of_another_size_are_cast(given_kind, packed):
    assert arrays(taken({**IDS, "datatype": given_kind})) == {"input_ids": [[5, 6, 7]]}
    data = struct.pack(packed, 5, 6, 7)
    said = {"name": "input_ids", "datatype": given_kind, "shape": [1, 3],
            "parameters": {"binary_data_size": len(data)}}  # fmt: skip
    (tensor,) = taken(said, behind=data).tensors
    assert (tensor.datatype, tensor.array().tolist()) == ("INT64", [[5, 6, 7]])


def test_floats_of_another_size_are_cast():
    for kind in ("FP64", "FP16", "INT16"):
        (tensor,) = taken({**SOUND, "datatype": kind, "data": [2] * 800}, contract=WAVE,
                          unit="audio_ms", longest=30_000).tensors  # fmt: skip
        assert tensor.datatype == "FP32"
        assert tensor.array().sum() == 1600.0


def test_a_clip_has_the_length_that_its_samples_last():
    found = taken(SOUND, contract=WAVE, unit="audio_ms", longest=30_000)
    assert found.length == 50
    odd = {**SOUND, "shape": [1, 801], "data": [0.5] * 801}
    assert taken(odd, contract=WAVE, unit="audio_ms", longest=30_000).length == 51


NAN = struct.pack("<400f", *[0.0] * 399, float("nan"))
REFUSED = [
    (
        [{**IDS, "name": "ids"}],
        {},
        "the inputs lack input_ids; m takes input_ids INT64 [1, -1] (optional: attention_mask, "
        "token_type_ids)",
    ),
    ([IDS, {**IDS, "name": "x"}], {}, "the inputs have 'x'; m takes input_ids"),
    ([IDS, IDS], {}, "two of the inputs have the same name"),
    (
        [{**IDS, "data": [5, 1000, 7]}],
        {},
        "input_ids has 1000, but must have values from 0 to 999 for m",
    ),
    (
        [{**IDS, "data": [5, -1, 7]}],
        {},
        "input_ids has -1, but must have values from 0 to 999 for m",
    ),
    (
        [{**IDS, "datatype": "UINT64", "data": [5, 2**63, 7]}],
        {},
        "input_ids has 9223372036854775808, but must have values from 0 to 999 for m",
    ),
    (
        [{**IDS, "datatype": "UINT8", "data": [5, 256, 7]}],
        {},
        "inputs[0].data has 256, which is out of the range of UINT8",
    ),
    ([{**IDS, "datatype": "FP32"}], {}, "input_ids is FP32, but must be INT64"),
    (
        [{**IDS, "datatype": "BYTES", "data": ["a", "b", "c"]}],
        {},
        "input_ids is BYTES, but must be INT64",
    ),
    (
        [{**IDS, "shape": [3, 1]}],
        {},
        "input_ids has the shape [3, 1], but m takes [1, -1]; send one row a request: the server "
        "makes the batches",
    ),
    ([{**IDS, "shape": [1, 1, 3]}], {}, "input_ids has the shape [1, 1, 3], but m takes [1, -1]"),
    (
        [IDS, {**MASK, "data": [1, 2, 1]}],
        {},
        "attention_mask has 2, but must have values from 0 to 1 for m",
    ),
    (
        [IDS, {**MASK, "data": [0, 0, 0]}],
        {},
        "attention_mask must be 1 where a token counts, but is 0 everywhere",
    ),
    (
        [IDS, {**MASK, "shape": [1, 2], "data": [1, 1]}],
        {},
        "attention_mask has 2 elements, but input_ids has 3",
    ),
    ([IDS], {"parameters": {"length": 4}}, "parameters.length = 4, but input_ids has the length 3"),
    ([IDS], {"outputs": [{"name": "logits"}]}, "there is no output 'logits'; m gives embedding"),
    ([IDS], {"outputs": [{"name": 3}]}, "outputs[0].name = 3 must be a text of 1 to 256"),
    ([IDS], {"outputs": {}}, "outputs = {} must be a list of at most 32 outputs"),
    ([IDS], {"outputs": ["x"]}, 'outputs[0] = "x" must be an object'),
    (
        [IDS],
        {"outputs": [{"name": "embedding", "parameters": {"binary_data": 1}}]},
        "outputs[0].parameters.binary_data = 1 must be true or false",
    ),
    (
        [IDS],
        {"outputs": [{"name": "embedding", "parameters": {"classification": 2}}]},
        "outputs[0].parameters.classification is not served here: leave it out",
    ),
    (
        [IDS],
        {"parameters": {"binary_data_output": "yes"}},
        'parameters.binary_data_output = "yes" must be true or false',
    ),
    (
        [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}],
        {},
        "m has no tokenizer, so that it takes no text; it takes input_ids INT64 [1, -1]",
    ),
]


@pytest.mark.parametrize(("inputs", "more", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_a_model_does_not_take_is_said_in_one_sentence(inputs, more, sentence):
    with pytest.raises(RequestError) as caught:
        taken(*inputs, **more)
    assert str(caught.value).startswith(sentence)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 400


SPEECH_REFUSED = [
    (
        {"shape": [1, 399], "data": [0.5] * 399},
        {},
        "audio has 399 elements, but m takes no fewer than 400",
    ),
    (
        {},
        {"parameters": {"sample_rate": 8000}},
        "parameters.sample_rate = 8000 must be 16000, which m takes",
    ),
    ({"data": [1e300] * 800}, {}, "inputs[0].data has 1e+300, which is out of the range of FP32"),
    ({"data": [10**400] * 800}, {}, "inputs[0].data has 1000000000"),
]


@pytest.mark.parametrize(("changed", "more", "sentence"), SPEECH_REFUSED)
def test_what_a_speech_model_does_not_take_is_said_in_one_sentence(changed, more, sentence):
    with pytest.raises(RequestError) as caught:
        taken({**SOUND, **changed}, contract=WAVE, unit="audio_ms", longest=30_000, **more)
    assert str(caught.value).startswith(sentence)


def test_nan_that_comes_as_bytes_is_refused_for_a_model_and_taken_for_a_function():
    said = {"name": "audio", "datatype": "FP32", "shape": [1, 400],
            "parameters": {"binary_data_size": 1600}}  # fmt: skip
    speech = {"unit": "audio_ms", "longest": 30_000, "behind": NAN}
    with pytest.raises(RequestError, match=r"^audio has NaN or infinity, but must be finite$"):
        taken(said, contract=WAVE, **speech)
    own = Contract((Port("audio", "FP32", (1, -1)),), (), finite=False)
    assert np.isnan(taken(said, contract=own, **speech).tensors[0].array()[0, 399])


def test_a_token_that_is_no_bool_is_refused():
    own = Contract((Port("x", "BOOL"),), (), finite=False)
    said = {"name": "x", "datatype": "BOOL", "shape": [2], "parameters": {"binary_data_size": 2}}
    assert arrays(taken(said, contract=own, behind=b"\x00\x01")) == {"x": [False, True]}
    with pytest.raises(RequestError, match=r"^inputs\[0\] has 7, which is no BOOL$"):
        taken(said, contract=own, behind=b"\x07\x01")


def test_bytes_elements_must_be_as_many_as_the_shape_says():
    own = Contract((Port("x", "BYTES"),), (), finite=False)
    data = b"\x02\x00\x00\x00hi\x00\x00\x00\x00"
    said = {"name": "x", "datatype": "BYTES", "shape": [2],
            "parameters": {"binary_data_size": len(data)}}  # fmt: skip
    assert arrays(taken(said, contract=own, behind=data)) == {"x": [b"hi", b""]}
    with pytest.raises(RequestError, match=r"^inputs\[0\] is no tensor of BYTES: 4 bytes follow"):
        taken({**said, "shape": [1]}, contract=own, behind=data)


def test_a_function_without_declared_inputs_takes_whatever_comes():
    anything = Contract((), (), finite=False)
    found = taken({**IDS, "name": "a"}, {**SOUND, "name": "b"}, contract=anything)
    assert found.length == 3
    assert {tensor.name for tensor in found.tensors} == {"a", "b"}
    assert taken(IDS, contract=anything, parameters={"length": 9}).length == 9


def test_a_text_for_a_function_has_the_length_that_the_request_says():
    own = Contract((Port("text", "BYTES", (1,)),), (), finite=False)
    said = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["hallo"]}
    found = taken(said, contract=own, parameters={"length": 5})
    assert (found.length, arrays(found)) == (5, {"text": [b"hallo"]})


def test_a_longer_request_is_cut_where_the_scenario_cuts():
    long = {**IDS, "shape": [1, 6], "data": [1, 2, 3, 4, 5, 6]}
    mask = {**long, "name": "attention_mask", "data": [1] * 6}
    assert arrays(taken(long, mask, longest=4, cuts=True)) == {
        "input_ids": [[1, 2, 3, 4]], "attention_mask": [[1, 1, 1, 1]],
    }  # fmt: skip
    whole = taken(long, mask, longest=4, cuts=False)
    assert whole.length == 6  # the offer refuses it
    assert arrays(whole) == {"input_ids": [[1, 2, 3, 4, 5, 6]], "attention_mask": [[1] * 6]}
    clip = taken(SOUND, contract=WAVE, unit="audio_ms", longest=30, cuts=True)
    assert clip.tensors[0].shape == (1, 480)


class Words:
    """A tokenizer: each word is as long as it is, with 1 before and 2 behind."""

    def __init__(self):
        self.longest, self.padded = None, True

    def no_padding(self):
        self.padded = False

    def no_truncation(self):
        self.longest = None

    def enable_truncation(self, longest):
        self.longest = longest

    def encode(self, text):
        ids = [1, *(len(word) for word in text.split()), 2]
        self.ids = ids if self.longest is None else [*ids[: self.longest - 1], 2]
        return self


@pytest.fixture
def tokenized(monkeypatch):
    class Tokenizers:
        class Tokenizer:
            @staticmethod
            def from_file(file):
                if file == "broken":
                    raise Exception("not a\ntokenizer")
                return Words()

    monkeypatch.setattr(texts.importlib, "import_module", lambda name: Tokenizers)
    return BERT._replace(tokenizer="tokenizer.json")


TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["ein paar Worte"]}


def test_a_text_becomes_the_tokens_of_the_model(tokenized):
    found = taken(TEXT, contract=tokenized)
    assert (found.length, arrays(found)) == (5, {"input_ids": [[1, 3, 4, 5, 2]]})


def test_a_longer_text_is_cut_by_the_tokenizer_which_keeps_its_end(tokenized):
    assert arrays(taken(TEXT, contract=tokenized, longest=4, cuts=True)) == {
        "input_ids": [[1, 3, 4, 2]]
    }


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([TEXT, IDS], "give text alone, or input_ids, but not both"),
        ([{**TEXT, "shape": [2], "data": ["a", "b"]}], "text must be one element of BYTES"),
        ([{**TEXT, "datatype": "INT64", "data": [3]}], "text must be one element of BYTES"),
        ([{**TEXT, "data": ["x" * 1000]}], "input_ids has 1000, but must have values"),
    ],
)
def test_a_text_that_is_none_is_refused(tokenized, inputs, sentence):
    with pytest.raises(RequestError, match=f"^{sentence}"):
        taken(*inputs, contract=tokenized)


def test_text_that_is_no_utf_8_is_refused(tokenized):
    data = b"\x01\x00\x00\x00\xff"
    said = {"name": "text", "datatype": "BYTES", "shape": [1],
            "parameters": {"binary_data_size": 5}}  # fmt: skip
    with pytest.raises(RequestError, match=r"^text must be UTF-8$"):
        taken(said, contract=tokenized, behind=data)


def test_a_tokenizer_that_cannot_be_read_is_said(tokenized):
    with pytest.raises(RequestError, match="since broken cannot be read: not a tokenizer"):
        taken(TEXT, contract=tokenized._replace(tokenizer="broken"))


def test_what_a_model_takes_is_described(tokenized):
    taker = Taker("m", tokenized, "tokens", 64, cuts=False)
    assert described("m", "bert", "tokens", taker) == {
        "name": "m", "versions": ["1"], "platform": "bert",
        "inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [1, -1]}],
        "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [1, 4]}],
        "optional_inputs": [
            {"name": "attention_mask", "datatype": "INT64", "shape": [1, -1]},
            {"name": "token_type_ids", "datatype": "INT64", "shape": [1, -1]},
            {"name": "text", "datatype": "BYTES", "shape": [1]},
        ],
    }  # fmt: skip


GIVEN = [
    tensor_of("embedding", np.array([[0.5, -1.25]], dtype=np.float32)),
    tensor_of("words", np.array([b"ja", "né".encode()], dtype=object)),
    tensor_of("seen", np.array([True, False])),
]


def answered(wishes, outputs=GIVEN):
    asked = taken(IDS, contract=BERT._replace(outputs=()), **wishes)
    return written("m", "all", asked, Served(3, 16, 1, 0, 0, outputs))


def test_outputs_are_json_where_nothing_else_is_asked_for():
    body, header = answered({})
    assert header is None
    assert json.loads(body)["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": [1, 2], "data": [0.5, -1.25]},
        {"name": "words", "datatype": "BYTES", "shape": [2], "data": ["ja", "né"]},
        {"name": "seen", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    ]


def test_outputs_are_bytes_where_the_request_asks_for_them():
    body, header = answered({
        "parameters": {"binary_data_output": True},
        "outputs": [
            {"name": "embedding"}, {"name": "words"},
            {"name": "seen", "parameters": {"binary_data": False}},
        ],
    })  # fmt: skip
    said = json.loads(body[:header])["outputs"]
    assert said[0] == {"name": "embedding", "datatype": "FP32", "shape": [1, 2],
                       "parameters": {"binary_data_size": 8}}  # fmt: skip
    assert said[1]["parameters"] == {"binary_data_size": 13}
    assert said[2]["data"] == [True, False]
    behind = struct.pack("<2f", 0.5, -1.25) + b"\x02\0\0\0ja\x03\0\0\0n\xc3\xa9"
    assert body[header:] == behind


def test_the_padded_length_is_bytes_too_where_they_are_asked_for():
    asked = read(json.dumps({
        "parameters": {"binary_data_output": True}, "inputs": [IDS],
    }).encode(), "tokens")  # fmt: skip
    body, header = written("m", "all", asked, Served(3, 16, 1, 0, 0))
    assert body[header:] == struct.pack("<q", 16)


def test_bytes_that_are_no_text_cannot_be_json():
    raw = [tensor_of("raw", np.array([b"\xff"], dtype=object))]
    with pytest.raises(RequestError, match=r"^output 'raw' has bytes that are no UTF-8"):
        answered({}, raw)
    assert answered({"parameters": {"binary_data_output": True}}, raw)[0].endswith(b"\1\0\0\0\xff")


VALUES = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=4)
TENSORS = some.fixed_dictionaries(
    {
        "name": some.sampled_from(["input_ids", "attention_mask", "text", "x"]),
        "datatype": some.sampled_from(["INT64", "FP32", "BYTES", "UINT8", "BOOL", "BF16"]),
        "shape": some.lists(some.integers(1, 3), min_size=1, max_size=3),
        "data": some.lists(VALUES, max_size=4) | some.lists(some.integers(-2, 1001), max_size=4),
    }
)


@settings(max_examples=300)
@given(some.lists(TENSORS, min_size=1, max_size=3), some.dictionaries(
    some.sampled_from(["length", "sample_rate", "binary_data_output"]), VALUES, max_size=2,
))  # fmt: skip
def test_whatever_comes_is_taken_as_the_contract_says_or_refused(inputs, parameters):
    try:
        found = taken(*inputs, parameters=parameters)
    except RequestError as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    assert isinstance(found, Inference)
    main = found.tensors[0]
    assert (main.name, main.datatype, main.shape) == ("input_ids", "INT64", (1, found.length))
    assert 0 <= main.array().min() <= main.array().max() < 1000
