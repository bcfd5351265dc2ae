"""Synthetic requests, and the collating of a batch: padding, mask and the copy's source.

1. Item ``i`` of length ``n`` is always the same cut out of a pool drawn once from the seed: same
   lengths, same inputs.  Cutting costs nothing, so no time is spent on making inputs.
2. A batch is written into a staging buffer that is kept from call to call, pinned where the device
   is CUDA, since a copy from pageable memory is several times slower and blocks the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .cuts import cut


class Feed(NamedTuple):
    """What a family of models reads: every function takes a length in the model's unit."""

    pool: Tensor
    """(..., P): the last axis is time; longer than any item."""
    width: Callable[[int], int]
    """Extent of one item along the last axis."""
    padded: Callable[[int], int]
    """Extent of a batch whose longest item has this length."""
    positions: Callable[[int], int]
    """Places of the model's mask that such an item fills."""
    padding: int = 0
    """What the rest of a batch is filled with."""
    counts: Callable[[int], int] = int
    """Places of the mask that an item of this width fills."""

    def item(self, index: int, length: int) -> Tensor:
        """Input of the ``index``-th request of a batch, as it would arrive."""
        return self.pool[..., cut(index, self.width(length), self.pool.shape[-1])]


class Staging:
    """Host buffers that are reused by every batch; they grow to the largest one."""

    def __init__(self, *, pinned: bool) -> None:
        self.pinned = pinned
        self._buffers: dict[torch.dtype, Tensor] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, *, clear: bool = True) -> Tensor:
        """Zeros of this shape, or anything; what was taken with the same dtype is overwritten."""
        wanted = math.prod(shape)
        buffer = self._buffers.get(dtype)
        if buffer is None or buffer.numel() < wanted:
            buffer = torch.empty(wanted, dtype=dtype, pin_memory=self.pinned)
            self._buffers[dtype] = buffer
        taken = buffer[:wanted].view(shape)
        return taken.zero_() if clear else taken


def collate(
    feed: Feed,
    items: Sequence[Tensor],
    lengths: Sequence[int],
    staging: Staging,
    to: tuple[int, int],
    masks: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Pad items into one tensor, with its mask.

    Args:
        feed: of the model.
        items: input of each request.
        lengths: of the requests, in the model's unit.
        staging: where the batch is written.
        to: batch size and length to pad to.  Rows beyond the requests are padding whose mask is
            True, so that no row of attention is without a key.
        masks: bool (places of the item) of each request; None: as many True as its length has.

    Returns:
        Values (B, ..., T) and mask bool (B, positions), both in the staging buffers.
    """
    size, longest = to
    lead = feed.pool.shape[:-1]
    values = staging.take((size, *lead, feed.padded(longest)), feed.pool.dtype, clear=False)
    values.fill_(feed.padding)
    mask = staging.take((size, feed.positions(longest)), torch.bool)
    for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
        values[row, ..., : item.shape[-1]] = item
        if masks is None:
            mask[row, : feed.positions(length)] = True
        else:
            mask[row, : len(masks[row])] = masks[row]
    mask[len(items) :] = True
    return values, mask
