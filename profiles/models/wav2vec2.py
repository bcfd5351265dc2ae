"""wav2vec 2.0 with a CTC head: the speech model whose cost follows the longest clip.

Architecture: Baevski et al., "wav2vec 2.0", arXiv 2006.11477, sections 2 and 4.2 (sizes base and
large); the first convolution is normalised per channel over time, as in those two models.  The
small size is this project's own.  Weights are random: their values do not change the cost.

1. A clip of n samples gives :func:`frames` (n) positions, about 50 a second; the padding mask is
   over them, and padded positions are zeroed before the convolution that encodes positions.
2. From there on an item's output does not depend on its batch.  The normalisation before sees the
   zeros of the padding, in the published models too: whole outputs depend on padding a little.
3. The weight normalisation of that convolution, made for training, is folded into its weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .bert import Layer
from .catalogue import Wav2Vec2Shape
from .inputs import Feed

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
POSITION_KERNEL, POSITION_GROUPS = 128, 16
LETTERS = 32
SAMPLES_PER_MS = 16
POOL_MS = 60_000


def frames(samples: int) -> int:
    """Positions that a clip gives: each convolution without padding makes ``(n - k) // s + 1``."""
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


class FrontEnd(nn.Module):
    """Seven convolutions without bias: the wave to one vector per 20 ms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels if number else 1, channels, kernel, stride, bias=False)
            for number, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True))
        )
        self.norm = nn.GroupNorm(channels, channels)

    def forward(self, wave: Tensor) -> Tensor:
        """Float (B, samples) to float (B, frames, channels)."""
        x = functional.gelu(self.norm(self.convolutions[0](wave[:, None])))
        for convolution in self.convolutions[1:]:
            x = functional.gelu(convolution(x))
        return x.transpose(1, 2)


class Wav2Vec2(nn.Module):
    """The wave at 16 kHz to scores of letters, one row per 20 ms."""

    def __init__(self, shape: Wav2Vec2Shape) -> None:
        super().__init__()
        width = shape.width
        self.front = FrontEnd(shape.channels)
        self.norm_front = nn.LayerNorm(shape.channels)
        self.project = nn.Linear(shape.channels, width)
        self.position = nn.Conv1d(
            width, width, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=POSITION_GROUPS
        )
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            Layer(width, shape.heads, shape.inner, 1e-5) for _ in range(shape.layers)
        )
        self.letters = nn.Linear(width, LETTERS)

    def encode(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Features of the front end, float (B, T, channels), to hidden states (B, T, width)."""
        x: Tensor = self.project(self.norm_front(features))
        wide = None
        if mask is not None:
            x = x * mask[..., None].to(x.dtype)
            wide = mask[:, None, None, :]
        # An even kernel with padding on both sides gives one position too many.
        around = functional.gelu(self.position(x.transpose(1, 2))[..., :-1]).transpose(1, 2)
        x = self.norm(x + around)
        for layer in self.layers:
            x = layer(x, wide)
        return x

    def forward(self, wave: Tensor, mask: Tensor) -> Tensor:
        """Float (B, samples) and bool (B, frames) to float (B, frames, letters)."""
        hidden = self.encode(self.front(wave.to(self.letters.weight.dtype)), mask)
        scores: Tensor = self.letters(hidden)
        return scores


def feed(generator: torch.Generator) -> Feed:
    """Clips of noise with mean 0 and variance 1, as the feature extractor would leave them."""
    wave = torch.randn(POOL_MS * SAMPLES_PER_MS, generator=generator)
    return Feed(pool=wave, width=_samples, padded=_samples, positions=_frames_of_ms, counts=frames)


def _samples(audio_ms: int) -> int:
    return audio_ms * SAMPLES_PER_MS


def _frames_of_ms(audio_ms: int) -> int:
    return frames(_samples(audio_ms))
