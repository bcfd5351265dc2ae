"""ONNX files that cannot be served, or not so: one sentence each."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="these tests write ONNX files")
onnxruntime = pytest.importorskip("onnxruntime", reason="running ONNX files needs onnxruntime")

from onnx import TensorProto, helper  # noqa: E402
from small_onnx import FREE, WORDS, blind, encoder, node, opened, written  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from experiments.cli import app  # noqa: E402
from profiles.runner import ModelError, OutOfMemory  # noqa: E402


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    runner = opened(encoder(tmp_path_factory.mktemp("onnx") / "My encoder.onnx"))
    yield runner
    runner.close()


KNOWN = (
    "what can be served is input_ids or input_values, beside it attention_mask, token_type_ids, "
    "position_ids, or a single input of any name"
)
IDS = ("input_ids", TensorProto.INT64, FREE)
INPUTS = (
    (
        [IDS, ("pixels", TensorProto.FLOAT, FREE)],
        f"{{path}} has the inputs input_ids, pixels, but {KNOWN}",
    ),
    (
        [("a", TensorProto.FLOAT, FREE), ("b", TensorProto.FLOAT, FREE)],
        f"{{path}} has the inputs a, b, but {KNOWN}",
    ),
    (
        [("input_ids", TensorProto.INT64, (1, "length"))],
        "{path}: the batch axis (axis 0) of input 'input_ids' is fixed at 1: export the model with "
        "both axes dynamic",
    ),
    (
        [IDS, ("attention_mask", TensorProto.INT64, ("batch", 128))],
        "{path}: the length axis (axis 1) of input 'attention_mask' is fixed at 128: export the "
        "model with both axes dynamic",
    ),
    (
        [("pixels", TensorProto.FLOAT, ("batch", 3, 224, 224))],
        "{path}: input 'pixels' must have two axes, batch and length, but has 4",
    ),
    (
        [("words", TensorProto.STRING, FREE)],
        "{path}: input 'words' must be of one of tensor(int64), tensor(int32), tensor(float), "
        "tensor(float16), tensor(double), tensor(bool), but is tensor(string)",
    ),
    (
        [("flags", TensorProto.BOOL, FREE)],
        "{path}: input 'flags' must be whole numbers or floats, but is bool",
    ),
)


@pytest.mark.parametrize(("inputs", "sentence"), INPUTS)
def test_inputs_that_are_not_known_are_said_in_one_sentence(tmp_path, inputs, sentence):
    nodes = [node("Shape", inputs[0][0], "shape"), node("Identity", "shape", "out")]
    path = written(tmp_path / "odd.onnx", nodes, inputs, {}, TensorProto.INT64)
    with pytest.raises(ModelError) as error:
        opened(path)
    assert str(error.value) == sentence.format(path=path)


OPENED = (
    ({"mode": "graphs"}, "{path}: onnxruntime runs in mode eager alone, but got 'graphs'"),
    ({"mode": "compile"}, "{path}: onnxruntime runs in mode eager alone, but got 'compile'"),
    ({"threads": 0}, "there must be at least 1 thread, but got 0"),
    ({"device": "tpu"}, "the device must be cpu, cuda or cuda:N, but got 'tpu'"),
    (
        {"precision": "bf16"},
        "{path} has its weights in fp32 and runs as exported, but the precision bf16 is asked for: "
        "leave it out, or export the model in it",
    ),
)


@pytest.mark.parametrize(("wanted", "sentence"), OPENED)
def test_what_a_file_cannot_be_opened_with_is_said_in_one_sentence(tmp_path, wanted, sentence):
    path = blind(tmp_path / "blind.onnx")
    with pytest.raises(ModelError) as error:
        opened(path, **wanted)
    assert str(error.value) == sentence.format(path=path)


def test_a_gpu_without_its_provider_is_said_in_one_sentence(tmp_path, monkeypatch):
    path = blind(tmp_path / "blind.onnx")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError) as error:
        opened(path, device="cuda")
    assert str(error.value) == (
        f"device cuda needs CUDAExecutionProvider, which onnxruntime {onnxruntime.__version__} "
        "lacks here (it has CPUExecutionProvider): install onnxruntime-gpu in its place"
    )


class OnCpu:
    """A session that was asked for a GPU and runs on the CPU, as onnxruntime's does."""

    def __init__(self, *given, **wanted):
        pass

    def get_providers(self):
        return ["CPUExecutionProvider"]


def test_a_session_that_fell_back_to_the_cpu_is_refused(tmp_path, monkeypatch):
    path = blind(tmp_path / "blind.onnx")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCpu)
    with pytest.raises(ModelError) as error:
        opened(path, device="cuda:1")
    assert str(error.value) == (
        f"onnxruntime cannot use CUDAExecutionProvider here and would run {path} on the CPU: its "
        "CUDA libraries or the GPU 1 are missing"
    )


def test_what_is_no_onnx_file_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError) as error:
        opened(path)
    assert str(error.value) == f"there is no file {path}"
    for content in (b"", b"weights, honestly", blind(tmp_path / "good.onnx").read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"^{path} is not an ONNX file: ") as error:
            opened(path)
        assert "\n" not in str(error.value)


def test_a_graph_that_onnxruntime_refuses_is_said_in_one_sentence(tmp_path):
    nodes = [helper.make_node("NoSuchOperator", ["input_ids"], ["out"])]
    path = written(tmp_path / "odd.onnx", nodes, [IDS], {})
    with pytest.raises(ModelError, match=f"^{path} cannot be loaded by onnxruntime: ") as error:
        opened(path)
    assert "\n" not in str(error.value)


def test_a_length_that_is_not_taken_is_said_in_one_sentence(text):
    for lengths, sentence in (
        ([], "My encoder: a batch must have at least one request, but got none"),
        ([5, 41], "My encoder takes 1 to 40 tokens, but a request has 41"),
        ([0], "My encoder takes 1 to 40 tokens, but a request has 0"),
    ):
        with pytest.raises(ModelError) as error:
            text.serve(lengths)
        assert str(error.value) == sentence


ENDS = (
    (
        [node("ReduceSum", "mean middle", "flat", keepdims=0),
         node("ReduceSum", "flat", "out", keepdims=0)],
        "odd must give one row per request, but its output 'out' has the shape () for a batch of 2",
    ),
    (
        [node("Transpose", "mean", "out", perm=[1, 0])],
        "odd must give one row per request, but its output 'out' has the shape (8, 2) for a batch "
        "of 2",
    ),
    (
        [node("Neg", "mean", "negative"), node("Mul", "mean negative", "square"),
         node("Log", "square", "out")],
        "odd gives NaN or infinity for a batch of 2 padded to 9 tokens",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("end", "sentence"), ENDS)
def test_a_wrong_output_is_said_in_one_sentence(tmp_path, end, sentence):
    runner = opened(encoder(tmp_path / "odd.onnx", end=end))
    with pytest.raises(ModelError) as error:
        runner.serve([5, 9])
    assert str(error.value) == sentence


def test_a_failure_of_onnxruntime_is_one_sentence(text, monkeypatch):
    monkeypatch.setattr(text, "pool", text.pool + WORDS)
    with pytest.raises(ModelError) as error:
        text.serve([5, 9])
    said = str(error.value)
    assert said.startswith("My encoder failed on a batch of 2 padded to 9 tokens: ")
    assert "indices element out of data bounds" in said
    assert "\n" not in said


def test_memory_that_ran_out_is_a_limit(tmp_path):
    nodes = [
        node("Shape", "input_ids", "shape"),
        node("Expand", "one shape", "wide"),
        node("Expand", "wide huge", "out"),
    ]
    weights = {"one": np.float32([1.0]), "huge": np.array([1 << 20, 1 << 20, 1, 1])}
    runner = opened(written(tmp_path / "huge.onnx", nodes, [IDS], weights))
    with pytest.raises(OutOfMemory) as error:
        runner.serve([5, 9])
    assert str(error.value) == "huge: a batch of 2 padded to 9 tokens does not fit into memory"


def test_a_closed_runner_serves_no_more(tmp_path):
    runner = opened(blind(tmp_path / "blind.onnx"))
    runner.close()
    runner.close()
    with pytest.raises(ModelError) as error:
        runner.serve([5])
    assert str(error.value) == "blind was closed, and serves no more"


def test_a_file_that_is_not_there_is_exit_code_2(tmp_path):
    result = CliRunner().invoke(app, ["profile", "measure", "--onnx", f"{tmp_path}/none.onnx"])
    assert result.exit_code == 2
    assert result.stderr == f"error: there is no file {tmp_path}/none.onnx\n"
