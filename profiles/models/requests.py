"""Requests with data of their own: what a batch is made of, and what each gets of the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from profiles.runner import Contract, ModelError, Tensors

from .contracts import MASK, TYPES
from .inputs import Feed


class Own(NamedTuple):
    """What the requests of a batch brought, without the axis of the batch."""

    items: list[Tensor]
    """(..., T), T the request's own."""
    lengths: list[int]
    """In the model's unit."""
    masks: list[Tensor]
    """Bool (places), True where one counts."""
    types: list[Tensor] | None
    """Int64 (T); None where all are 0."""


def requested(contract: Contract, feed: Feed, requests: Sequence[Tensors]) -> Own:
    """The inputs of a batch of requests that fit a contract."""
    main = contract.inputs[0].name
    items = [torch.from_numpy(request[main])[0] for request in requests]
    widths = [item.shape[-1] for item in items]
    types = [
        torch.from_numpy(request[TYPES])[0] if TYPES in request else torch.zeros(width).long()
        for request, width in zip(requests, widths, strict=True)
    ]
    return Own(
        items=items,
        lengths=[_length(contract, width) for width in widths],
        masks=[
            torch.from_numpy(request[MASK])[0].bool()
            if MASK in request
            else torch.ones(feed.counts(width), dtype=torch.bool)
            for request, width in zip(requests, widths, strict=True)
        ],
        types=types if any(bool(one.any()) for one in types) else None,
    )


def _length(contract: Contract, width: int) -> int:
    return -(-width * 1000 // contract.rate) if contract.rate else width


def padded(types: Sequence[Tensor], size: int, width: int) -> Tensor:
    """Int64 (size, width), 0 where there is none."""
    found = torch.zeros(size, width, dtype=torch.int64)
    for row, one in zip(found, types, strict=False):
        row[: len(one)] = one
    return found


def answers(
    model: str, name: str, output: Tensor, ends: Sequence[int] | None
) -> list[Tensors | Exception]:
    """What each request gets: float32 (1, ...), or why it gets nothing.

    Args:
        model: its name, for the sentence.
        name: of the output.
        output: (B, ...) on the host; it may be overwritten afterwards.
        ends: how many rows of the second axis are a request's own; None: there is no such axis.
    """
    rows = output.float()
    own = [row if ends is None else row[: ends[at]] for at, row in enumerate(rows)]
    return [
        {name: row[None].numpy().copy()}
        if bool(torch.isfinite(row).all())
        else ModelError(f"{model} gives NaN or infinity for this request")
        for row in own
    ]
