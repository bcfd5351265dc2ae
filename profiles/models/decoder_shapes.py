"""The models that generate, by name: their sizes.  No torch is imported here.

Sizes: GPT-2 small is that of Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners"; tiny and mini take layers, width and heads of BERT's (Turc et al., arXiv 1908.08962).
Whisper's decoders: Radford et al., arXiv 2212.04356, table 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from profiles.runner import ModelError


class DecoderShape(NamedTuple):
    """Size of a pre-LN decoder."""

    title: str
    layers: int
    width: int
    heads: int
    inner: int
    parameters: int
    """Of the model as served; a test counts them."""
    vocabulary: int = 50_257
    positions: int = 1_024
    """The longest sequence."""
    frames: int = 0
    """Of the encoder's output, which every layer looks at too; 0: there is no encoder."""

    @property
    def tanh(self) -> bool:
        """Whether GELU is the tanh approximation, as GPT-2 has it and Whisper does not."""
        return self.frames == 0


SPEECH = {"vocabulary": 51_865, "positions": 448, "frames": 1_500}

DECODERS: Mapping[str, DecoderShape] = MappingProxyType(
    {
        "gpt2-tiny": DecoderShape("GPT-2 shape, 2 layers", 2, 128, 2, 512, 6_960_768),
        "gpt2-mini": DecoderShape("GPT-2 shape, 4 layers", 4, 256, 4, 1024, 16_287_488),
        "gpt2-small": DecoderShape("GPT-2 small", 12, 768, 12, 3072, 124_439_808),
        "whisper-tiny-decoder": DecoderShape(
            "decoder of Whisper tiny", 4, 384, 6, 1536, 29_553_792, **SPEECH
        ),
        "whisper-small-decoder": DecoderShape(
            "decoder of Whisper small", 12, 768, 12, 3072, 153_590_016, **SPEECH
        ),
    }
)


def find_decoder(model: str) -> DecoderShape:
    """The decoder of this name.

    Raises:
        ModelError: there is none; the nearest is named.
    """
    if model not in DECODERS:
        nearest = difflib.get_close_matches(model, DECODERS, n=1, cutoff=0.0)[0]
        raise ModelError(
            f"there is no model {model!r} that generates; the nearest is {nearest}, and all are "
            f"{', '.join(DECODERS)}"
        )
    return DECODERS[model]
