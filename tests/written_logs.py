"""Logs of requests, drawn from a process and written as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim.arrivals import draw_arrivals
from sim.streams import stream

NS = 1_000_000_000


def drawn(process, requests, seed=0):
    return np.asarray(draw_arrivals(process, stream(seed, "arrivals"), requests=requests))


def log_file(arrival_ns, lengths=None, tiers=None, path="log.csv", header="arrival_s"):
    columns = [[f"{t / NS:.9f}" for t in arrival_ns.tolist()]]
    for name, values in (("tokens", lengths), ("tier", tiers)):
        if values is not None:
            header += f",{name}"
            columns.append([str(value) for value in values])
    rows = "\n".join(",".join(row) for row in zip(*columns, strict=True))
    Path(path).write_text(f"{header}\n{rows}\n")
