"""How an engine was used: time, sequences, memory, and work that was done again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.contract import FloatArray, IntArray
from sim.intervals import Estimate, ratio
from sim.sections import Sections, overlap

from .measures import OF_ENGINE
from .trace import TokenTrace


def by_time(
    sections: Sections, instant_ns: IntArray, weight: NDArray[Any] | None = None
) -> FloatArray:
    """What falls into each section of time, float64 (sections,)."""
    found, _ = np.histogram(instant_ns, sections.edges_ns, weights=weight)
    return np.asarray(found, dtype=np.float64)


def engine_use(runs: Sequence[tuple[TokenTrace, Sections]]) -> dict[str, Estimate]:
    """How the engine was used, over time; each run with its sections."""
    columns: dict[str, list[FloatArray]] = {name: [] for name in OF_ENGINE}
    for trace, sections in runs:
        steps, edges = trace.steps, sections.edges_ns
        begin, end = steps["start_ns"], steps["finish_ns"]
        for name, weight in (
            ("busy", None),
            ("mean_sequences", steps["running"]),
            ("mean_waiting", steps["waiting"]),
            ("memory_used", steps["blocks"] / trace.blocks),
        ):
            columns[name].append(overlap(begin, end, edges, weight))
        columns["preemptions_per_request"].append(by_time(sections, begin, steps["left"]))
        places = np.searchsorted(begin, edges)
        used = steps["blocks"] / trace.blocks
        peaks = [used[a:b].max(initial=0.0) for a, b in pairwise(places)]
        columns["memory_peak"].append(np.array(peaks))
        lost = [trace.recomputed[a:b].sum() for a, b in pairwise(sections.ids)]
        columns["recomputed"].append(np.array(lost, dtype=np.float64))
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    lasts_ns = np.concatenate([np.diff(sections.edges_ns) for _, sections in runs]).astype(float)
    counts = np.concatenate([np.diff(sections.ids) for _, sections in runs])
    tokens = np.concatenate(
        [
            np.array([trace.prompt[a:b].sum() for a, b in pairwise(sections.ids)])
            for trace, sections in runs
        ]
    )
    found = {
        name: ratio(whole[name], lasts_ns, counts)
        for name in ("busy", "mean_sequences", "mean_waiting", "memory_used")
    }
    top = float(whole["memory_peak"].max(initial=0.0))
    found["memory_peak"] = Estimate(top, None, None, int(counts.sum()))
    found["preemptions_per_request"] = ratio(whole["preemptions_per_request"], counts, counts)
    found["recomputed"] = ratio(whole["recomputed"], tokens, counts)
    return found
