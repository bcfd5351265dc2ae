"""What serving must know of a torch model before it is built, and how to build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from profiles.runner import Contract, Port

from . import bert, wav2vec2, whisper
from .catalogue import BertShape, Row, Wav2Vec2Shape, WhisperShape
from .contracts import AUDIO, text_contract, tokenizer_of, wave_contract
from .inputs import Feed
from .weights import build, minilm_folder


class Blueprint(NamedTuple):
    """A model that :class:`profiles.models.serving.ModelRunner` can serve."""

    name: str
    unit: str
    """``tokens`` or ``audio_ms``."""
    shortest: int
    longest: int
    feed: Callable[[torch.Generator], Feed]
    """Its inputs, drawn from a generator."""
    build: Callable[[int], nn.Module]
    """The model in float32 on the host, by the seed of its weights: called with a padded batch and
    a bool mask, it gives one row per request."""
    about: Mapping[str, str | int | float]
    """``title``, ``weights`` (``random`` or a place), and what else is to be written down."""
    contract: Contract
    """What a request brings and gets; the first output is what ``build`` gives."""
    by_place: bool = False
    """Whether that output has a row for each place of the mask."""
    compiles: bool = True
    """Whether one compiled graph serves all shapes."""
    room: int = 0
    """A batch of equal lengths, two or more, is timed with its last request shorter by this, where
    the model would drop a mask that hides nothing: batches of real traffic have padding."""


def of_row(name: str, row: Row) -> Blueprint:
    """The blueprint of a reference model."""
    return Blueprint(
        name,
        row.unit,
        row.shortest,
        row.longest,
        feed=lambda generator: _feed(row, generator),
        build=lambda seed: build(row, seed),
        about={"title": row.title, "weights": row.weights},
        contract=_contract(row),
        by_place=not isinstance(row.shape, BertShape),
        compiles=not isinstance(row.shape, WhisperShape),
    )


def _contract(row: Row) -> Contract:
    shape = row.shape
    if isinstance(shape, BertShape):
        tokenizer = "" if row.weights == "random" else tokenizer_of(minilm_folder())
        return text_contract(
            shape.vocabulary, row.longest, width=shape.width, segments=2, tokenizer=tokenizer
        )
    if isinstance(shape, Wav2Vec2Shape):
        logits = Port("logits", "FP32", (1, -1, wav2vec2.LETTERS))
        rate = 1000 * wav2vec2.SAMPLES_PER_MS
        return wave_contract(AUDIO, rate, row.shortest * rate // 1000, row.longest, logits)
    mel = Port("input_features", "FP32", (1, whisper.MELS, -1))
    said = Port("log_probabilities", "FP32", (1, -1))
    return Contract((mel,), (said,), longest=row.longest, rate=1000 // whisper.MS_PER_FRAME)


def _feed(row: Row, generator: torch.Generator) -> Feed:
    if isinstance(row.shape, BertShape):
        return bert.feed(row.shape, generator)
    if isinstance(row.shape, Wav2Vec2Shape):
        return wav2vec2.feed(generator)
    return whisper.feed(generator)
