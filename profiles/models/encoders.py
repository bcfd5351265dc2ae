"""Encoders of transformers as they are served: a mask always, one row per request.

1. ``attention_mask`` is passed to every call, with 1 where a token or a sample counts.
2. The last hidden states are averaged over the places that count; heads are left out, they are
   small.  So the outputs that are copied back are those of an embedding service.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .bert import FIRST_WORD
from .inputs import Feed

POOL = 1 << 16
POOL_MS = 60_000


class TextEncoder(nn.Module):
    """Token ids to the mean of the last hidden states."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """Int64 (B, T) and bool (B, T) to float (B, width); ``types`` int64 (B, T) where it has."""
        more = {} if types is None else {"token_type_ids": types}
        hidden = self.inner(input_ids=ids, attention_mask=mask.long(), **more)[0]
        return mean(hidden, mask)


class SpeechEncoder(nn.Module):
    """The raw wave to the mean of the last hidden states."""

    def __init__(self, inner: nn.Module, convolutions: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.inner = inner
        self.convolutions = tuple(convolutions)

    def forward(self, wave: Tensor, mask: Tensor) -> Tensor:
        """Float (B, samples) and bool (B, samples) to float (B, width)."""
        wave = wave.to(next(self.inner.parameters()).dtype)
        hidden = self.inner(input_values=wave, attention_mask=mask.long())[0]
        counts = mask.sum(1)
        for kernel, stride in self.convolutions:
            counts = (counts - kernel) // stride + 1
        places = torch.arange(hidden.shape[1], device=hidden.device)
        return mean(hidden, places < counts[:, None])


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of float (B, T, width) over the places where bool (B, T) is True."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def text_feed(words: int, padding: int, longest: int, generator: torch.Generator) -> Feed:
    """Texts of random words, without the id of padding."""
    first = min(FIRST_WORD, words // 2)
    ids = torch.randint(first, words, (max(POOL, 2 * longest),), generator=generator)
    ids[ids == padding] = first if padding != first else first + 1
    return Feed(pool=ids, width=int, padded=int, positions=int, padding=padding)


def speech_feed(rate: int, generator: torch.Generator) -> Feed:
    """Clips of noise with mean 0 and variance 1, at a rate in Hz; the mask is over samples."""

    def samples(audio_ms: int) -> int:
        return audio_ms * rate // 1000

    wave = torch.randn(samples(POOL_MS), generator=generator)
    return Feed(pool=wave, width=samples, padded=samples, positions=samples)


def receptive_samples(convolutions: Sequence[tuple[int, int]]) -> int:
    """Samples that a chain of convolutions without padding needs for one frame."""
    samples = 1
    for kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples
