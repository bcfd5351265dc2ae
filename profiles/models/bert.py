"""BERT encoders as text embedding models: post-LN, a padding mask always, mean pooling.

Architecture: Devlin et al., "BERT", arXiv 1810.04805, sections 3 and A.2 (sizes base and large);
Turc et al., arXiv 1908.08962, table 1 (tiny and mini); Wang et al., "MiniLM", arXiv 2002.10957, and
Reimers and Gurevych, arXiv 1908.10084, section 3 (mean pooling).

1. The pooler of BERT's next-sentence head is left out: an embedding service does not run it.
2. The mask is a bool tensor, True where a token counts, and it is passed even when all are True:
   without it attention runs another kernel, and full batches would be timed on that one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .catalogue import BertShape
from .inputs import Feed

PAD = 0
FIRST_WORD = 1000
"""Ids below are padding, markers and unused places in BERT's vocabulary."""
POOL = 1 << 16


class Layer(nn.Module):
    """One post-LN transformer layer, as in BERT and wav2vec 2.0."""

    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm_attention = nn.LayerNorm(width, epsilon)
        self.norm_inner = nn.LayerNorm(width, epsilon)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Float (B, T, width) to the same; ``mask`` is bool (B, 1, 1, T), True where it counts."""
        size, length, width = x.shape
        q, k, v = (
            project(x).view(size, length, self.heads, -1).transpose(1, 2)
            for project in (self.q, self.k, self.v)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.norm_attention(x + self.o(seen.transpose(1, 2).reshape(size, length, width)))
        out: Tensor = self.norm_inner(x + self.down(functional.gelu(self.up(x))))
        return out


class Bert(nn.Module):
    """Token ids to one embedding of length 1 per text."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocabulary, shape.width)
        self.position = nn.Embedding(shape.positions, shape.width)
        self.segment = nn.Embedding(2, shape.width)
        self.norm = nn.LayerNorm(shape.width, 1e-12)
        self.layers = nn.ModuleList(
            Layer(shape.width, shape.heads, shape.inner, 1e-12) for _ in range(shape.layers)
        )

    def encode(self, ids: Tensor, mask: Tensor | None, types: Tensor | None = None) -> Tensor:
        """Last hidden states: int64 (B, T) and bool (B, T) to float (B, T, width)."""
        length = ids.shape[1]
        segment = self.segment.weight[0] if types is None else self.segment(types)
        x: Tensor = self.word(ids) + self.position.weight[:length] + segment
        x = self.norm(x)
        wide = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, wide)
        return x

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """Int64 (B, T) and bool (B, T) to float (B, width): the mean over the tokens that count.

        ``types`` are int64 (B, T): to which of two texts a token belongs; None: all to the first.
        """
        hidden = self.encode(ids, mask, types)
        counts = mask[..., None].to(hidden.dtype)
        mean = (hidden * counts).sum(1) / counts.sum(1)
        return functional.normalize(mean, dim=-1)


def feed(shape: BertShape, generator: torch.Generator) -> Feed:
    """Texts of random words."""
    ids = torch.randint(FIRST_WORD, shape.vocabulary, (POOL,), generator=generator)
    return Feed(pool=ids, width=int, padded=int, positions=int)
