"""Transformers models that cannot be served, or are not here: one sentence each."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")
transformers = pytest.importorskip("transformers", reason="these are models of transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from small_transformers import SMALL, TEXTS, WAVES, opened, saved  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from experiments.cli import app  # noqa: E402
from profiles.models.huggingface import SERVED  # noqa: E402
from profiles.runner import ModelError  # noqa: E402


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A local cache of the hub that holds one model, by its configuration."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--someone--small-bert"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123abcd")
    (home / "snapshots").mkdir()
    saved(home / "snapshots" / "0123abcd", TEXTS["bert"][0])


def test_a_model_of_the_hub_is_served_from_the_local_cache(cache):
    runner = opened("someone/small-bert")
    assert runner.name == "small-bert"
    assert runner.about()["weights"] == "model.safetensors"


@pytest.mark.parametrize("name", ["someone/large-bert", "no/such/folder", "bert base"])
def test_what_is_not_here_is_not_downloaded(cache, name):
    with pytest.raises(ModelError) as error:
        opened(name)
    assert str(error.value) == (
        f"there is no folder or file {name}, and no model of that name in the local cache of the "
        f"hub: nothing is downloaded here, so fetch it first (hf download NAME)"
    )


def written(folder, said):
    path = folder / "config.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    return path


REFUSED = (
    ("not json", "{path} is not a JSON file: Expecting value: line 1 column 1 (char 0)"),
    ([1], "{path} must hold a JSON object, but holds a list"),
    ({}, '{path} must name its architecture, as in "model_type": "bert", but has none'),
    (
        {"model_type": "bret"},
        f"{{path}}: transformers {transformers.__version__} knows no model_type 'bret'; the "
        "nearest is bert",
    ),
    (
        {"model_type": "bert", "quantization_config": {"bits": 4}},
        "{path}: quantised weights (quantization_config) cannot be served here",
    ),
    (
        {**SMALL, "model_type": "bert", "hidden_size": 33},
        "{path} cannot be built: The hidden size (33) is not a multiple of the number of attention "
        "heads (4)",
    ),
    (
        {"model_type": "gpt2"},
        f"{{path}}: gpt2 generates its text step by step; {SERVED}",
    ),
    (
        {"model_type": "bert", "is_decoder": True},
        f"{{path}}: bert generates its text step by step; {SERVED}",
    ),
    (
        {"model_type": "whisper"},
        f"{{path}}: whisper decodes its output step by step; {SERVED}",
    ),
    ({"model_type": "t5"}, f"{{path}}: t5 decodes its output step by step; {SERVED}"),
    ({"model_type": "vit"}, f"{{path}}: vit reads pixel_values; {SERVED}"),
    (
        {"model_type": "wav2vec2-bert"},
        f"{{path}}: wav2vec2-bert reads input_features; {SERVED}",
    ),
    ({"model_type": "clip"}, f"{{path}}: clip is no text encoder; {SERVED}"),
    (
        {**SMALL, "model_type": "bert", "hidden_act": "none"},
        "{path} cannot be built: KeyError 'none'",
    ),
    (
        {"model_type": "fnet"},
        "{path}: fnet takes no attention_mask, so it cannot leave padding out",
    ),
    (
        {**WAVES["wav2vec2"].to_dict(), "add_adapter": True},
        "{path}: add_adapter must be false for an encoder to be served",
    ),
)


@pytest.mark.parametrize(("said", "sentence"), REFUSED)
def test_a_configuration_that_cannot_be_served_is_said_in_one_sentence(tmp_path, said, sentence):
    path = written(tmp_path, said)
    with pytest.raises(ModelError) as error:
        opened(tmp_path)
    assert str(error.value) == sentence.format(path=path)


def test_a_value_that_transformers_refuses_is_said_in_one_sentence(tmp_path):
    path = written(tmp_path, {"model_type": "bert", "hidden_size": "wide"})
    with pytest.raises(ModelError, match=f"^{path} is refused by transformers: ") as error:
        opened(tmp_path)
    assert "'hidden_size'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError) as error:
        opened(tmp_path)
    assert str(error.value) == f"{tmp_path} has no config.json, which says what the model is"


def test_pickled_weights_are_refused(tmp_path):
    folder = saved(tmp_path / "old", TEXTS["bert"][0], weights=False)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{folder} has its weights in pytorch_model.bin, which would run code when read: save them "
        f"as model.safetensors, or name {folder}/config.json alone for random weights"
    )


def test_weights_that_are_broken_or_of_another_model_are_refused(tmp_path):
    folder = saved(tmp_path / "mine", TEXTS["bert"][0])
    path = folder / "model.safetensors"
    weights = load_file(path)
    first = weights.pop("encoder.layer.0.output.dense.weight")
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{path} lacks 1 of the weights of BertModel, the first of them "
        f"encoder.layer.0.output.dense.weight"
    )
    save_file(
        {**weights, "encoder.layer.0.output.dense.weight": first[:3].contiguous()},
        path,
        {"format": "pt"},
    )
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{path} has other sizes than config.json says: encoder.layer.0.output.dense.weight is "
        f"[3, 64], not [32, 64]"
    )
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=f"^{path} cannot be loaded: ") as error:
        opened(folder)
    assert "\n" not in str(error.value)


def test_weights_that_give_nan_are_said_when_served(tmp_path):
    folder = saved(tmp_path / "broken", TEXTS["bert"][0])
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.1.output.dense.bias"][3] = float("nan")
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError) as error:
        opened(folder).serve([5, 9])
    assert str(error.value) == (
        "broken in fp32 gives NaN or infinity for a batch of 2 padded to 9 tokens"
    )


def test_a_model_that_cannot_be_captured_is_said_in_one_sentence(tmp_path, monkeypatch):
    runner = opened(saved(tmp_path / "mine", TEXTS["bert"][0], weights=False))
    reason = "CUDA error: operation not permitted when stream is capturing"

    def waits(ids, mask):
        raise RuntimeError(f"{reason}\nand more lines")

    monkeypatch.setattr(runner.execution, "model", waits)
    monkeypatch.setattr(runner, "mode", "graphs")
    with pytest.raises(ModelError) as error:
        runner.serve([5, 9])
    assert str(error.value) == (
        "mine cannot be captured as a CUDA graph, as a model that waits for its device cannot: "
        f"use mode eager or compile ({reason})"
    )


def test_a_folder_that_is_not_there_is_exit_code_2(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    result = CliRunner().invoke(app, ["profile", "measure", "--hf", "no-such-folder"])
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no folder or file no-such-folder, and no model of that name in the local "
        "cache of the hub: nothing is downloaded here, so fetch it first (hf download NAME)\n"
    )
