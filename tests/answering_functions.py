"""Functions that a server calls in a process of its own."""

from __future__ import annotations

import os

import numpy as np


def infer(batch):
    """The sum and the double of each; 13 fails the batch, others themselves or the process."""
    first = [int(request["x"].flat[0]) for request in batch]
    if 13 in first:
        raise KeyError("thirteen")
    if 14 in first:
        raise SystemExit(3)
    if 15 in first:
        raise AcceleratorError("the device is lost")
    alone = {16: ValueError("sixteen is\nnot taken"), 17: KeyError("seventeen")}
    return [
        alone.get(number) or {"sum": request["x"].sum(), "twice": 2 * request["x"]}
        for number, request in zip(first, batch, strict=True)
    ]


infer.inputs = {"x": "INT64 [1, -1]"}
infer.outputs = {"sum": "INT64 [1]", "twice": "INT64 [1, -1]"}


class AcceleratorError(RuntimeError):
    """Called as torch calls what its device raises."""


def whatever(batch):
    """Names and shapes of what came."""
    return [
        {"said": [f"{name} {array.dtype} {array.shape}" for name, array in request.items()]}
        for request in batch
    ]


whatever.inputs = {}


def lengths_alone(lengths):
    """Fails on 13."""
    if 13 in lengths:
        raise KeyError("thirteen")
    return [0.5] * len(lengths)


def strange(batch):
    """Its process, as an output of another kind."""
    return [np.array([os.getpid()]) for _ in batch]


strange.inputs = {"x": "INT64 [1, -1]"}
