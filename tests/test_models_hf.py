"""Transformers models of the user's own: what a batch gives, and whose weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")
transformers = pytest.importorskip("transformers", reason="these are models of transformers")

from small_transformers import SMALL, TEXTS, WAVES, direct, opened, saved  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from experiments.cli import app  # noqa: E402
from profiles.models import open_runner  # noqa: E402
from profiles.models.serving import PRECISIONS  # noqa: E402
from profiles.models.weights import MINILM_MODULE, minilm_folder  # noqa: E402
from profiles.runner import ModelError  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder a configuration, made when it is first asked for."""
    made = {}

    def folder(kind):
        if kind not in made:
            config = TEXTS[kind][0] if kind in TEXTS else WAVES[kind]
            made[kind] = saved(tmp_path_factory.mktemp("models") / f"My {kind}", config)
        return made[kind]

    return folder


LENGTHS = (7, 40, 1, 23)


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_encoder_gives_the_mean_of_what_transformers_gives(folders, kind):
    runner = opened(folders(kind))
    ids = torch.full((4, 40), TEXTS[kind][0].pad_token_id)
    mask = torch.zeros(4, 40, dtype=torch.int64)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = runner.feed.item(row, length)
        mask[row, :length] = 1
    hidden = direct(folders(kind), input_ids=ids, attention_mask=mask)
    expected = torch.stack([hidden[row, :length].mean(0) for row, length in enumerate(LENGTHS)])
    got, served = runner.answer(LENGTHS)
    assert served.wall_ns > 0
    assert torch.allclose(got, expected, atol=1e-5)
    assert expected.std(0).mean() > 0.01, "rows that are alike would prove nothing"


@pytest.mark.parametrize("kind", [*TEXTS, *WAVES])
def test_an_output_does_not_depend_on_the_neighbours_and_without_its_mask_it_does(folders, kind):
    runner = opened(folders(kind))
    scale = 1 if kind in TEXTS else 20
    alone = runner.answer([7 * scale])[0][0].clone()
    together = runner.answer([7 * scale, 40 * scale, 23 * scale])[0][0].clone()
    assert torch.allclose(alone, together, atol=1e-4)
    width, long = runner.feed.width(7 * scale), runner.feed.width(40 * scale)
    values = torch.full((1, long), runner.feed.padding, dtype=runner.feed.pool.dtype)
    values[0, :width] = runner.feed.item(0, 7 * scale)
    with torch.inference_mode():
        unmasked = runner.model(values, torch.ones(1, long, dtype=torch.bool))[0]
    assert (unmasked - alone).abs().max() > 1e-2


@pytest.mark.parametrize("kind", TEXTS)
def test_the_longest_text_is_what_the_positions_hold(folders, kind):
    runner = opened(folders(kind))
    longest = TEXTS[kind][1]
    assert (runner.length_unit, runner.shortest, runner.longest) == ("tokens", 1, longest)
    assert runner.answer([longest, 3])[0].shape == (2, 32)
    with pytest.raises(ModelError) as error:
        runner.serve([longest + 1])
    assert str(error.value) == (
        f"My {kind} takes 1 to {longest} tokens, but a request has {longest + 1}"
    )


@pytest.mark.parametrize("kind", WAVES)
def test_a_speech_encoder_gives_the_mean_of_what_transformers_gives(folders, kind):
    runner = opened(folders(kind))
    lengths = (300, 800, 25)
    wave, mask = torch.zeros(3, 12_800), torch.zeros(3, 12_800, dtype=torch.int64)
    for row, length in enumerate(lengths):
        wave[row, : 16 * length] = runner.feed.item(row, length)
        mask[row, : 16 * length] = 1
    hidden = direct(folders(kind), input_values=wave, attention_mask=mask)
    frames = (14, 39, 1)
    expected = torch.stack([hidden[row, :count].mean(0) for row, count in enumerate(frames)])
    got, _ = runner.answer(lengths)
    assert torch.allclose(got, expected, atol=1e-5)
    assert expected.std(0).mean() > 0.01
    assert (runner.length_unit, runner.shortest, runner.longest) == ("audio_ms", 25, 30_000)


def test_the_rate_is_that_of_the_folders_processor(tmp_path):
    folder = saved(tmp_path / "wide", WAVES["hubert"], weights=False)
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    runner = opened(folder)
    assert runner.shortest == 50
    assert runner.feed.width(1000) == 8000
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": "8k"}')
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{folder}/preprocessor_config.json: `sampling_rate` must be in Hz, but is '8k'"
    )


def attention_masks(monkeypatch):
    """What attention is called with from now on: whether each call has a mask."""
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noted(*given, attn_mask=None, **more):
        seen.append(attn_mask is not None)
        return attend(*given, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    return seen


@pytest.mark.parametrize(("kind", "length"), [("bert", 16), ("wav2vec2", 320)])
def test_a_full_batch_is_timed_with_a_mask_that_hides_something(folders, monkeypatch, kind, length):
    runner = opened(folders(kind))
    seen = attention_masks(monkeypatch)
    runner.serve([length] * 3)
    assert seen == [True] * 2, "as batches of real requests, which have padding"
    seen.clear()
    runner.answer([length] * 3)
    assert seen == [False] * 2, "transformers drops a mask that hides nothing"
    seen.clear()
    runner.serve([length])
    assert seen == [False] * 2, "a request alone has no padding in production either"


def test_a_full_batch_is_padded_to_the_same_shape(folders, monkeypatch):
    runner = opened(folders("bert"))
    shapes = []
    model = runner.execution.model
    monkeypatch.setattr(
        runner.execution, "model", lambda ids, mask: shapes.append(mask.sum(1)) or model(ids, mask)
    )
    for lengths in ([16] * 3, [1, 1], [16, 9]):
        runner.serve(lengths)
    assert [shape.tolist() for shape in shapes] == [[16, 16, 15], [1, 1], [16, 9]]


def test_a_batch_is_filled_with_the_models_own_padding(folders, monkeypatch):
    runner = opened(folders("modernbert"))
    batches = []
    model = runner.execution.model
    monkeypatch.setattr(
        runner.execution, "model", lambda ids, mask: batches.append(ids.clone()) or model(ids, mask)
    )
    runner.serve([6, 2])
    assert batches[0][1, 2:].tolist() == [1999] * 4
    assert not (runner.feed.pool == 1999).any(), "no word is padding"
    assert runner.feed.pool.max() == 1998


def test_weights_are_drawn_from_the_seed_where_the_folder_has_none(tmp_path):
    folder = saved(tmp_path / "bare", TEXTS["bert"][0], weights=False)
    first, again, other = (opened(folder, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.answer([5, 9])[0], again.answer([5, 9])[0])
    assert (first.answer([5, 9])[0] - other.answer([5, 9])[0]).abs().max() > 0.01
    about = first.about()
    assert about["weights"] == "random, seed 3"
    assert about["model"] == "bare"
    assert about["title"] == "BertModel of transformers"
    assert about["parameters"] == sum(weight.numel() for weight in first.model.parameters())
    spread = first.model.inner.encoder.layer[1].intermediate.dense.weight.std()
    assert spread == pytest.approx(0.02, rel=0.05)


def test_a_configuration_alone_is_a_model_with_random_weights(folders, tmp_path):
    config = folders("bert") / "config.json"
    runner = opened(config)
    assert runner.name == "My bert"
    assert runner.about()["weights"] == "random, seed 0"
    other = tmp_path / "tiny-bert.json"
    other.write_bytes(config.read_bytes())
    assert opened(other).name == "tiny-bert"
    assert opened(folders("bert")).about()["weights"] == "model.safetensors"


def test_minilms_folder_gives_what_the_reference_model_gives():
    if importlib.util.find_spec(MINILM_MODULE) is None:
        pytest.skip("the package with MiniLM's weights is not installed")
    own, reference = opened(minilm_folder()), open_runner("minilm")
    expected, _ = reference.answer(LENGTHS)
    got = torch.nn.functional.normalize(own.answer(LENGTHS)[0], dim=-1)
    assert torch.allclose(got, expected, atol=1e-5)
    assert own.about()["parameters"] == reference.about()["parameters"]
    assert own.name == MINILM_MODULE, "its folder is called `model`, as many are"


def test_a_model_with_a_head_is_served_without_it(tmp_path):
    config = transformers.BertConfig(**SMALL)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    runner = opened(tmp_path / "classifier")
    assert runner.answer([5, 9])[0].shape == (2, 32)
    assert not any("pooler" in name for name, _ in runner.model.named_parameters())


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(("kind", "length"), [("modernbert", 30), ("wavlm", 300)])
def test_weights_are_cast(folders, kind, length, precision):
    exact, _ = opened(folders(kind)).answer([length, length // 2])
    runner = opened(folders(kind), precision=precision)
    output, _ = runner.answer([length, length // 2])
    assert {weight.dtype for weight in runner.model.parameters()} == {PRECISIONS[precision]}
    alike = torch.cosine_similarity(output.float(), exact)
    assert 0.9 < alike.min() < 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch's own
def test_a_compiled_model_gives_the_same(folders):
    exact, compiled = opened(folders("bert")), opened(folders("bert"), mode="compile")
    for lengths in ([5, 9], [20, 3, 11], [7]):
        gap = compiled.answer(lengths)[0] - exact.answer(lengths)[0]
        assert gap.abs().max() < 1e-4


def test_a_folder_is_measured_from_the_command_line(folders, tmp_path):
    arguments = ("--max-batch-size", "2", "--lengths", "8,16", "--budget", "4s", "--json")
    into = ("--into", str(tmp_path))
    result = CliRunner().invoke(
        app, ["profile", "measure", "--hf", str(folders("bert")), *arguments, *into]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["name"] == "my-bert-cpu-fp32"
    assert Path(found["files"][0]) == tmp_path / "my-bert-cpu-fp32.json"
