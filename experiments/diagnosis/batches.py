"""The batches of a log, and the servers that ran them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policies.contract import IntArray

from .errors import DiagnosisError
from .seen import Mask

TOLERATED = 0.02
"""Batches of one server that overlap by less than this share of a usual one are clock jitter."""


class Batches(NamedTuple):
    """M batches in order of their start."""

    batch: IntArray
    """int64 (N,): of each request, 0 where it was lost."""
    start_ns: IntArray
    finish_ns: IntArray
    size: IntArray
    longest: IntArray
    server: IntArray
    servers: int


def batches_of(
    path: Path,
    start_ns: IntArray,
    finish_ns: IntArray,
    length: IntArray,
    lost: Mask,
    names: Any,
    server_names: Any,
) -> Batches:
    """Put requests into batches, by name or by equal start and finish, and batches on servers.

    Raises:
        DiagnosisError: requests of one batch do not run at the same time.
    """
    ran = np.flatnonzero(~lost)
    batch = _named(start_ns[ran], finish_ns[ran], names, server_names, ran)
    count = int(batch.max()) + 1
    first, last, longest = (
        np.full(count, 2**62),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    end = np.full(count, 2**62)
    np.minimum.at(first, batch, start_ns[ran])
    np.maximum.at(last, batch, finish_ns[ran])
    np.minimum.at(end, batch, finish_ns[ran])
    np.maximum.at(longest, batch, length[ran])
    latest = np.zeros(count, np.int64)
    np.maximum.at(latest, batch, start_ns[ran])
    apart = np.flatnonzero(latest > end)
    if len(apart):
        name = names[ran][batch == apart[0]][0] if names is not None else apart[0]
        raise DiagnosisError(
            f"{path}: requests of batch {name} do not run at the same time (one starts after "
            "another has finished); is the batch column right?"
        )
    order = np.argsort(first, kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    whole = np.zeros(len(start_ns), dtype=np.int64)
    whole[ran] = place[batch]
    first, last = first[order], last[order]
    groups = np.zeros(count, dtype=np.int64)
    if server_names is not None:
        groups[whole[ran]] = np.unique(server_names[ran].astype(str), return_inverse=True)[1]
    server, first = _servers(first, last, groups)
    size = np.bincount(whole[ran], minlength=count)
    return Batches(whole, first, last, size, longest[order], server, int(server.max()) + 1)


def _named(
    start_ns: IntArray, finish_ns: IntArray, names: Any, server_names: Any, ran: IntArray
) -> IntArray:
    """int64 (served,): a number for each batch, by its name or by what its requests share."""
    if names is not None:
        batch = np.unique(names[ran].astype(str), return_inverse=True)[1]
    else:
        keys = np.stack([start_ns, finish_ns])
        if server_names is not None:
            servers = np.unique(server_names[ran].astype(str), return_inverse=True)[1]
            keys = np.vstack([keys, servers])
        batch = np.unique(keys, axis=1, return_inverse=True)[1]
    return np.asarray(batch.ravel())


def _servers(first: IntArray, last: IntArray, groups: IntArray) -> tuple[IntArray, IntArray]:
    """A server for each batch: the free one of its group that has been idle the longest.

    Returns:
        int64 (M,) servers, and starts without the overlap of jitter.
    """
    slack = int(TOLERATED * np.median(last - first))
    free: list[tuple[int, int]] = []  # (group, idle since) of each server
    server, start = np.empty_like(first), first.copy()
    for k, (begin, end, group) in enumerate(
        zip(first.tolist(), last.tolist(), groups.tolist(), strict=True)
    ):
        able = [(at, s) for s, (own, at) in enumerate(free) if own == group and at <= begin + slack]
        if able:
            at, chosen = min(able)
            start[k] = min(max(begin, at), end - 1)
            free[chosen] = (group, end)
        else:
            chosen = len(free)
            free.append((group, end))
        server[k] = chosen
    return server, start


def busiest(start_ns: IntArray, end_ns: IntArray) -> int:
    """How many were at work at once, at most; one that ends as another starts is not counted."""
    instants = np.concatenate([end_ns, start_ns])
    steps = np.repeat([-1, 1], [len(end_ns), len(start_ns)])
    order = np.lexsort((steps, instants))
    return max(1, int(np.cumsum(steps[order]).max()))
