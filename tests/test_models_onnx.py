"""ONNX files of the user's own: which inputs are known, and what a batch gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="these tests write ONNX files")
onnxruntime = pytest.importorskip("onnxruntime", reason="running ONNX files needs onnxruntime")

from onnx import TensorProto  # noqa: E402
from small_onnx import (  # noqa: E402
    LENGTHS,
    POSITIONS,
    WIDTH,
    WORDS,
    blind,
    encoder,
    opened,
    table,
    wave,
)
from typer.testing import CliRunner  # noqa: E402

from experiments.cli import app  # noqa: E402
from profiles.models.own_names import own_name  # noqa: E402


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


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_a_single_input_of_whole_numbers_is_a_text(tmp_path, kind):
    runner = opened(blind(tmp_path / "blind.onnx", kind=kind))
    assert runner.length_unit == "tokens"
    item = runner.item(0, 9)
    np.testing.assert_allclose(runner.answer([9])[0][0], table(WORDS, 1)[item].mean(0), atol=1e-5)


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


def test_a_file_is_measured_from_the_command_line(tmp_path):
    path = encoder(tmp_path / "Mean Of Words.onnx")
    arguments = ("--max-batch-size", "2", "--lengths", "8,16", "--budget", "4s", "--json")
    into = ("--into", str(tmp_path))
    result = CliRunner().invoke(app, ["profile", "measure", "--onnx", str(path), *arguments, *into])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == "mean-of-words-cpu-fp32"
