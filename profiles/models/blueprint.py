"""What serving must know of a torch model before it is built, and how to build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from . import bert, wav2vec2, whisper
from .catalogue import BertShape, Row, Wav2Vec2Shape, WhisperShape
from .inputs import Feed
from .weights import build


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
        compiles=not isinstance(row.shape, WhisperShape),
    )


def _feed(row: Row, generator: torch.Generator) -> Feed:
    if isinstance(row.shape, BertShape):
        return bert.feed(row.shape, generator)
    if isinstance(row.shape, Wav2Vec2Shape):
        return wav2vec2.feed(generator)
    return whisper.feed(generator)
