"""A Whisper-like encoder-decoder: the contrast case, whose encoder costs the same for every clip.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv
2212.04356, section 2.2 and table 1 (sizes tiny and small).  Weights are random.

1. Every clip is padded to 30 s: the encoder reads 3000 frames of 80 mel bands, whatever the length.
   The mel transform is left out: a request arrives as mel frames.
2. Then tokens are decoded greedily with a key-value cache, one a step, until the longest item of
   the batch has its own.  Random weights never say that a text has ended, so :func:`steps` gives
   the number by length: 4 tokens of prompt, and 4 a second of audio, which is an assumption of this
   project (brisk English speech).
3. An item that has ended goes on with the batch as padding: the mask says which steps count.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .catalogue import WhisperShape
from .inputs import Feed

MELS = 80
FRAMES = 3000
"""Of the encoder's input: 30 s, one per 10 ms."""
MS_PER_FRAME = 10
STEPS_MAX = 448
PROMPT_STEPS = 4
"""Start of transcript, language, task, no time stamps."""
STEPS_PER_S = 4
START = 50_258


def steps(audio_ms: int) -> int:
    """Decoder steps of a clip."""
    return PROMPT_STEPS + -(-audio_ms * STEPS_PER_S // 1000)


class Attention(nn.Module):
    """Multi-head attention whose keys and values may be kept from step to step."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.v, self.o = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, width) to (B, heads, T, width / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What attention looks at, by head."""
        return self.split(self.k(x)), self.split(self.v(x))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Float (B, T, width) to the same, looking at all of the keys."""
        seen = functional.scaled_dot_product_attention(self.split(self.q(x)), keys, values)
        out: Tensor = self.o(seen.transpose(1, 2).reshape(x.shape))
        return out


class Inner(nn.Module):
    """The pre-LN feed-forward half of a layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Float (..., width) to the same, with the residual."""
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm(x))))
        return out


class EncoderLayer(nn.Module):
    """Pre-LN attention over all frames, then the feed-forward half."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape.width, shape.heads)
        self.inner = Inner(shape.width, shape.inner)

    def forward(self, x: Tensor) -> Tensor:
        """Float (B, T, width) to the same."""
        normed = self.norm(x)
        x = x + self.attention(normed, *self.attention.keys_values(normed))
        out: Tensor = self.inner(x)
        return out


class DecoderLayer(nn.Module):
    """One step of pre-LN attention to the past and to the audio, then the feed-forward half."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.norm_past, self.norm_audio = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.past, self.audio = (Attention(shape.width, shape.heads) for _ in range(2))
        self.inner = Inner(shape.width, shape.inner)

    def forward(
        self, x: Tensor, step: int, cache: tuple[Tensor, Tensor], audio: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Float (B, 1, width) to the same; writes place ``step`` of the cache."""
        normed = self.norm_past(x)
        for kept, new in zip(cache, self.past.keys_values(normed), strict=True):
            kept[:, :, step : step + 1] = new
        keys, values = (kept[:, :, : step + 1] for kept in cache)
        x = x + self.past(normed, keys, values)
        x = x + self.audio(self.norm_audio(x), *audio)
        out: Tensor = self.inner(x)
        return out


class Whisper(nn.Module):
    """Mel frames of 30 s to the log-probability of each decoded token."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        width = shape.width
        self.shape = shape
        self.convolution_1 = nn.Conv1d(MELS, width, 3, padding=1)
        self.convolution_2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.frame_position = nn.Embedding(FRAMES // 2, width)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))
        self.norm_encoder = nn.LayerNorm(width)
        self.word = nn.Embedding(shape.vocabulary, width)
        self.word_position = nn.Embedding(STEPS_MAX, width)
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.norm_decoder = nn.LayerNorm(width)

    def encode(self, mel: Tensor) -> Tensor:
        """Float (B, 80, 3000) to hidden states (B, 1500, width)."""
        x = functional.gelu(self.convolution_1(mel.to(self.word.weight.dtype)))
        x = functional.gelu(self.convolution_2(x)).transpose(1, 2) + self.frame_position.weight
        for layer in self.encoder:
            x = layer(x)
        out: Tensor = self.norm_encoder(x)
        return out

    def step(self, token: Tensor, step: int, caches: list[tuple[Tensor, Tensor]],
             audio: list[tuple[Tensor, Tensor]]) -> Tensor:  # fmt: skip
        """Log-probabilities (B, vocabulary) of what follows int64 (B,) at place ``step``."""
        x: Tensor = self.word(token)[:, None] + self.word_position.weight[step]
        for layer, cache, seen in zip(self.decoder, caches, audio, strict=True):
            x = layer(x, step, cache, seen)
        scores = functional.linear(self.norm_decoder(x[:, 0]), self.word.weight)
        return scores.float().log_softmax(-1)

    def forward(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Float (B, 80, 3000) and bool (B, steps) to float32 (B, steps), 0 where not counted."""
        hidden = self.encode(mel)
        size, count = mask.shape
        heads, each = self.shape.heads, self.shape.width // self.shape.heads
        audio = [cast(DecoderLayer, layer).audio.keys_values(hidden) for layer in self.decoder]
        caches = [
            (hidden.new_empty(size, heads, count, each), hidden.new_empty(size, heads, count, each))
            for _ in self.decoder
        ]
        token = torch.full((size,), START, device=mask.device)
        said = []
        for step in range(count):
            best, token = self.step(token, step, caches, audio).max(-1)
            said.append(best)
        return torch.stack(said, 1) * mask


def feed(generator: torch.Generator) -> Feed:
    """Clips of random mel frames."""
    mel = torch.randn(MELS, 2 * FRAMES, generator=generator)
    return Feed(
        pool=mel, width=_mel_frames, padded=_whole_window, positions=steps, counts=_steps_of_frames
    )


def _mel_frames(audio_ms: int) -> int:
    return -(-audio_ms // MS_PER_FRAME)


def _steps_of_frames(mel_frames: int) -> int:
    return steps(MS_PER_FRAME * mel_frames)


def _whole_window(audio_ms: int) -> int:  # noqa: ARG001 - whatever the length
    return FRAMES
