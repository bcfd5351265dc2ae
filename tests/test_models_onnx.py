"""ONNX files of the user's own: which inputs are known, what is refused, and what a batch gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="these tests write ONNX files")
onnxruntime = pytest.importorskip("onnxruntime", reason="running ONNX files needs onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from experiments.cli import app  # noqa: E402
from profiles.models import open_runner  # noqa: E402
from profiles.models.own_names import own_name  # noqa: E402
from profiles.runner import ModelError, OutOfMemory  # noqa: E402

WORDS, WIDTH, POSITIONS = 50, 8, 40
FREE = ("batch", "length")
LENGTHS = (7, 30, 1, 23)


def table(rows, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(dtype)


def written(path, nodes, inputs, weights, output=TensorProto.FLOAT):
    """An ONNX file; ``inputs`` are (name, type, shape), the output is ``out``."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*given) for given in inputs],
        [helper.make_tensor_value_info("out", output, None)],
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


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    runner = opened(encoder(tmp_path_factory.mktemp("onnx") / "My encoder.onnx"))
    yield runner
    runner.close()


def test_a_batch_gives_what_the_graph_says_of_each_request_alone(text):
    words, segments, places = (table(rows, seed) for rows, seed in
                               ((WORDS, 1), (2, 2), (POSITIONS, 3)))  # fmt: skip
    expected = [
        (words[text.item(row, length)] + segments[0] + places[:length]).mean(0)
        for row, length in enumerate(LENGTHS)
    ]
    got, served = text.answer(LENGTHS)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert served.wall_ns > 0
    assert served.device_ns is None
    assert text.peak_memory_bytes([3]) is None


def test_a_row_does_not_depend_on_its_neighbours_and_without_the_mask_it_does(text, tmp_path):
    alone, together = text.answer([7])[0][0], text.answer([7, 30, 23])[0][0]
    np.testing.assert_allclose(alone, together, atol=1e-5)
    unmasked = opened(blind(tmp_path / "blind.onnx"))
    gap = unmasked.answer([7])[0][0] - unmasked.answer([7, 30, 23])[0][0]
    assert np.abs(gap).max() > 0.05


def blind(path, rank=2, *, name="anything", kind=TensorProto.INT64):
    """Words averaged over all places, from one input of any name."""
    nodes = [
        node("Gather", f"word {name}", "words"),
        node("ReduceMean", "words", "out", axes=[1], keepdims=0),
    ]
    return written(path, nodes, [(name, kind, FREE[:rank])], {"word": table(WORDS, 1)})


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_a_single_input_of_whole_numbers_is_a_text(tmp_path, kind):
    runner = opened(blind(tmp_path / "blind.onnx", kind=kind))
    assert runner.length_unit == "tokens"
    item = runner.item(0, 9)
    np.testing.assert_allclose(runner.answer([9])[0][0], table(WORDS, 1)[item].mean(0), atol=1e-5)


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


@pytest.mark.parametrize("wanted", [
    {}, {"kind": TensorProto.FLOAT16}, {"name": "x", "mask": False}])  # fmt: skip
def test_floats_are_the_raw_wave(tmp_path, wanted):
    runner = opened(wave(tmp_path / "wave.onnx", **wanted))
    assert (runner.length_unit, runner.longest) == ("audio_ms", 30_000)
    got, _ = runner.answer([200, 100])
    for row, length in enumerate((200, 100)):
        item = runner.item(row, length)
        assert len(item) == 16 * length
        assert got[row, 0] == pytest.approx(float((item**2).sum()) / 3200, rel=0.01)


def test_what_is_about_a_file(text):
    about = text.about()
    assert about["model"] == text.name == "My encoder"
    assert about["title"] == "ONNX file, opset 17"
    assert about["parameters"] == (WORDS + 2 + POSITIONS) * WIDTH
    assert (about["device"], about["precision"], about["mode"]) == ("cpu", "fp32", "eager")
    assert about["framework"] == f"onnxruntime {onnxruntime.__version__}"
    assert about["device_name"]
    assert text.longest == POSITIONS, "rows of the table of positions"


def test_the_precision_is_that_of_most_weights(tmp_path):
    path = encoder(tmp_path / "half.onnx", dtype=np.float16)
    assert opened(path).about()["precision"] == "fp16"
    assert opened(path, precision="fp16").about()["precision"] == "fp16"
    assert opened(wave(tmp_path / "wave.onnx", kind=TensorProto.FLOAT16)).about()[
        "precision"
    ] == "fp16", "without weights, that of its input"  # fmt: skip


def test_a_file_called_model_has_the_name_of_its_folder(tmp_path):
    for place in ("mine/model.onnx", "mine/onnx/model.onnx", "folder/mine.onnx"):
        assert own_name(tmp_path / place) == "mine"
    (tmp_path / "mine-v1.5").mkdir()
    assert own_name(tmp_path / "mine-v1.5") == "mine-v1.5"


def test_threads_are_those_within_an_operator(tmp_path):
    runner = opened(blind(tmp_path / "blind.onnx"), threads=2)
    options = runner.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert runner.about()["threads"] == 2


def test_ids_are_within_the_table_and_a_seed_gives_the_same(tmp_path):
    path = blind(tmp_path / "blind.onnx")
    first, again, other = (opened(path, seed=seed) for seed in (3, 3, 4))
    assert 0 < first.pool.min() < first.pool.max() == WORDS - 1
    np.testing.assert_array_equal(first.answer([9, 4])[0], again.answer([9, 4])[0])
    assert np.abs(first.answer([9, 4])[0] - other.answer([9, 4])[0]).max() > 0.01


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


@pytest.mark.filterwarnings("ignore")  # the exporter of torch warns of its own workings
def test_an_exported_model_gives_what_torch_gives(tmp_path):
    torch = pytest.importorskip("torch", reason="exports a model of torch")
    pytest.importorskip("onnxscript", reason="torch exports with it")
    path, model = tmp_path / "exported" / "model.onnx", exportable(torch)
    path.parent.mkdir()
    example = tuple(torch.ones(2, 6, dtype=torch.int64) for _ in range(2))
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        model, example, path, input_names=["input_ids", "attention_mask"],
        output_names=["mean_of_all"], dynamic_shapes=(free, free), verbose=False,
    )  # fmt: skip
    runner = opened(path)
    assert runner.name == "exported"
    ids, mask = torch.zeros(4, 30, dtype=torch.int64), torch.zeros(4, 30, dtype=torch.int64)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = torch.from_numpy(runner.item(row, length))
        mask[row, :length] = 1
    with torch.no_grad():
        expected = model(ids, mask)
    np.testing.assert_allclose(runner.answer(LENGTHS)[0], expected, atol=1e-5)
    assert runner.about()["parameters"] >= WORDS * 16


def exportable(torch):
    """Words, one layer of attention with a mask, and their mean."""

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.word = torch.nn.Embedding(WORDS, 16)
            self.out = torch.nn.Linear(16, 16)

        def forward(self, ids, mask):
            x = self.word(ids)
            far = (1.0 - mask.to(x.dtype)) * -1e9
            scores = x @ x.transpose(1, 2) + far[:, None, :]
            x = self.out(scores.softmax(-1) @ x)
            weights = mask.to(x.dtype)[..., None]
            return (x * weights).sum(1) / weights.sum(1)

    return Small().eval()


def run(*arguments):
    return CliRunner().invoke(app, ["profile", "measure", *arguments])


def test_a_file_is_measured_from_the_command_line(tmp_path):
    path = encoder(tmp_path / "Mean Of Words.onnx")
    result = run("--onnx", str(path), "--max-batch-size", "2", "--lengths", "8,16",
                 "--budget", "4s", "--json", "--into", str(tmp_path))  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["name"] == "mean-of-words-cpu-fp32"


def test_a_file_that_is_not_there_is_exit_code_2(tmp_path):
    result = run("--onnx", f"{tmp_path}/none.onnx")
    assert result.exit_code == 2
    assert result.stderr == f"error: there is no file {tmp_path}/none.onnx\n"
