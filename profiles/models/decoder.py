"""A decoder that runs iterations: prompts, chunks and decoding sequences in one forward pass.

GPT-2's shape (Radford et al. 2019) and the decoder of Whisper (arXiv 2212.04356): pre-LN layers,
learned positions, output weights tied to the input's.

1. All tokens of an iteration, whosesoever, go through the linear layers as one matrix, as in Orca
   (Yu et al. 2022, OSDI, "selective batching"); attention is by sequence, over what is in memory of
   it.  No sequence is padded to another's length.
2. Keys and values lie in slots, one a sequence, that are allocated once.  A token that was computed
   is never computed again, unless its slot was given away.
3. Every piece of an iteration gets a score of what follows its last token, wanted or not: whether a
   chunk ends a prompt does not change the work (vLLM's V1 engine does the same).
4. What Whisper's layers see of the audio, keys and values of the encoder's output, is made with
   the slots: to make it belongs to the encoder's work, to read it to that of every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .decoder_shapes import DecoderShape
from .weights import draw


class Rows(NamedTuple):
    """Where a piece of an iteration lies."""

    slot: int
    begin: int
    """Its first row among the tokens of the iteration."""
    tokens: int
    before: int
    """Tokens of the sequence that are in memory already."""


class Slots(NamedTuple):
    """Memory of all sequences."""

    keys: list[Tensor]
    """By layer, float (slots, longest, heads, width / heads)."""
    values: list[Tensor]
    audio_keys: list[Tensor]
    """By layer, float (slots, heads, frames, width / heads); empty without an encoder."""
    audio_values: list[Tensor]


class Layer(nn.Module):
    """Attention to the past, to the audio where there is any, and the feed-forward half."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        width = shape.width
        self.heads, self.tanh, self.listens = shape.heads, shape.tanh, shape.frames > 0
        self.norm_past = nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        if self.listens:
            self.norm_audio = nn.LayerNorm(width)
            self.audio_query, self.audio_out = nn.Linear(width, width), nn.Linear(width, width)
            self.audio_key = nn.Linear(width, width, bias=False)
            self.audio_value = nn.Linear(width, width)
        self.norm_inner = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, shape.inner), nn.Linear(shape.inner, width)

    def by_head(self, x: Tensor) -> Tensor:
        """Float (T, width) to (T, heads, width / heads)."""
        return x.view(len(x), self.heads, -1)

    def forward(
        self, x: Tensor, rows: Sequence[Rows], places: Tensor, slots: Slots, number: int
    ) -> Tensor:
        """Float (T, width) to the same; what is computed is put into the slots."""
        query, key, value = self.query_key_value(self.norm_past(x)).chunk(3, -1)
        keys, values = slots.keys[number], slots.values[number]
        keys.flatten(0, 1).index_copy_(0, places, self.by_head(key))
        values.flatten(0, 1).index_copy_(0, places, self.by_head(value))
        query, seen = self.by_head(query), torch.empty_like(self.by_head(x))
        for row in rows:
            seen[row.begin : row.begin + row.tokens] = past(query, keys, values, row)
        x = x + self.out(seen.flatten(1))
        if self.listens:
            query = self.by_head(self.audio_query(self.norm_audio(x)))
            x = x + self.audio_out(
                audio(query, slots.audio_keys[number], slots.audio_values[number], rows).flatten(1)
            )
        inner = functional.gelu(
            self.up(self.norm_inner(x)), approximate="tanh" if self.tanh else "none"
        )
        out: Tensor = x + self.down(inner)
        return out


def past(query: Tensor, keys: Tensor, values: Tensor, row: Rows) -> Tensor:
    """What the tokens of one piece see of their sequence, up to themselves.

    Args:
        query: float (T, heads, each) of all pieces.
        keys: float (slots, longest, heads, each).
        values: like keys.
        row: the piece.
    """
    end = row.before + row.tokens
    mine = query[row.begin : row.begin + row.tokens].transpose(0, 1)[None]
    key, value = (kept[row.slot, :end].transpose(0, 1)[None] for kept in (keys, values))
    mask = None
    if row.before and row.tokens > 1:
        mask = torch.ones(row.tokens, end, dtype=torch.bool).tril(row.before)
    seen = functional.scaled_dot_product_attention(
        mine, key, value, attn_mask=mask, is_causal=row.tokens > 1 and not row.before
    )
    return seen[0].transpose(0, 1)


def audio(query: Tensor, keys: Tensor, values: Tensor, rows: Sequence[Rows]) -> Tensor:
    """What the tokens of each piece hear of their sequence's audio, all of it.

    Args:
        query: float (T, heads, each) of all pieces.
        keys: float (slots, heads, frames, each).
        values: like keys.
        rows: the pieces.
    """
    heard = torch.empty_like(query)
    for row in rows:
        part = slice(row.begin, row.begin + row.tokens)
        key, value = keys[row.slot][None], values[row.slot][None]
        mine = query[part].transpose(0, 1)[None]
        out = functional.scaled_dot_product_attention(mine, key, value)
        heard[part] = out[0].transpose(0, 1)
    return heard


class Decoder(nn.Module):
    """Token ids of an iteration to the scores of what follows each piece."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.word = nn.Embedding(shape.vocabulary, shape.width)
        self.position = nn.Embedding(shape.positions, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)

    def slots(self, count: int, longest: int, hidden: Tensor | None = None) -> Slots:
        """Memory for so many sequences.

        Args:
            count: of slots.
            longest: tokens of the longest sequence.
            hidden: float (count, frames, width), the encoder's output of each; where the model has
                one.
        """
        shape, each = self.shape, self.shape.width // self.shape.heads
        size = (count, longest, shape.heads, each)
        keys, values = ([self.word.weight.new_zeros(size) for _ in self.layers] for _ in range(2))
        if not shape.frames:
            return Slots(keys, values, [], [])
        assert hidden is not None, "a decoder with an encoder needs its output"
        layers = [cast(Layer, layer) for layer in self.layers]

        def heard(project: nn.Linear) -> Tensor:
            found = project(hidden).view(count, shape.frames, shape.heads, each)
            return found.transpose(1, 2).contiguous()

        return Slots(
            keys,
            values,
            [heard(layer.audio_key) for layer in layers],
            [heard(layer.audio_value) for layer in layers],
        )

    def forward(self, ids: Tensor, rows: Sequence[Rows], slots: Slots) -> Tensor:
        """Int64 (T,) to float (pieces, vocabulary): of what follows the last token of each piece.

        Args:
            ids: tokens of all pieces, one after the other.
            rows: the pieces, in the same order.
            slots: the memory; it is written.
        """
        longest = slots.keys[0].shape[1]
        positions = torch.cat([torch.arange(r.before, r.before + r.tokens) for r in rows])
        lead = torch.tensor([row.slot * longest for row in rows])
        places = positions + lead.repeat_interleave(torch.tensor([row.tokens for row in rows]))
        x = self.word(ids) + self.position(positions)
        for number, layer in enumerate(self.layers):
            x = layer(x, rows, places, slots, number)
        last = torch.tensor([row.begin + row.tokens - 1 for row in rows])
        return functional.linear(self.norm(x[last]), self.word.weight)


def built(shape: DecoderShape, seed: int) -> Decoder:
    """A decoder in float32 with weights drawn from a seed, ready for inference."""
    with torch.device("meta"):
        model = Decoder(shape)
    model.to_empty(device="cpu")
    draw(model, seed)
    return model.eval().requires_grad_(False)
