"""A window as it was measured: what was sent, when, and what the answers say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.serving.open_inference import OUTPUT
from experiments.validation.guard import GAP_MOST_MS, LAG_LEAST_MS, LAG_SHARE
from policies.contract import IntArray
from sim.workload import Workload

from .seen import FAILED, OF_STATUS, Seen
from .sending import Answers


@dataclass(frozen=True)
class Condition:
    """How the generator kept to its plan; decided by that alone, never by latencies."""

    late_ms_p99: float
    late_ms_max: float
    rejected: str = ""
    """Why the window does not count, in one clause; empty where it counts."""


@dataclass(frozen=True, eq=False)
class Window:
    """One that was driven."""

    load: float | None
    repeat: int
    attempt: int
    workload: Workload
    answers: Answers
    seen: Seen
    condition: Condition


def condition_of(answers: Answers, single_ns: float) -> Condition:
    """The generator's own lateness, and the judgement.

    Args:
        answers: of the window.
        single_ns: what a single request of usual length takes.
    """
    gone = answers.sent_ns >= 0
    if not gone.all():
        left = int((~gone).sum())
        return Condition(0.0, 0.0, f"{left} requests were not sent: every connection was in use")
    late = answers.late_ns / 1e6
    p99, most = float(np.quantile(late, 0.99)), float(late.max())
    allowed = max(LAG_LEAST_MS, LAG_SHARE * single_ns / 1e6)
    reason = ""
    if p99 > allowed:
        reason = f"the load generator was {p99:.2g} ms late at p99, above {allowed:.2g} ms"
    elif most > GAP_MOST_MS:
        reason = f"the load generator stood still for {most:.0f} ms"
    return Condition(p99, most, reason)


def seen_of(workload: Workload, answers: Answers) -> Seen:
    """What became of each request, and how the server says that it served it."""
    count = len(workload)
    tier = workload.tier if len(workload.tier) else np.zeros(count, dtype=np.int8)
    fate = np.array([OF_STATUS.get(k, FAILED) for k in answers.status.tolist()], dtype=np.int8)
    latency = np.where(answers.done_ns >= 0, answers.done_ns - answers.planned_ns, -1)
    parts = parts_of(answers.content, count)
    return Seen(tier, fate, latency, parts[0], parts[1], parts[2])


def parts_of(content: Sequence[bytes], count: int) -> IntArray:
    """int64 (4, N): wait and batch in ns, size of the batch, and its length; -1 where unsaid."""
    found = np.full((4, count), -1, dtype=np.int64)
    for place, text in enumerate(content):
        if b'"waited_ms"' not in text:
            continue
        try:
            whole = json.loads(text)
            said, padded = whole["parameters"], _padded(whole)
            mine = (said["waited_ms"] * 1e6, said["service_ms"] * 1e6, said["batch_size"], padded)
            found[:, place] = [round(part) for part in mine]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _padded(answer: Mapping[str, Any]) -> int:
    """The length that the batch was padded to; that of the request where it is not said."""
    for one in answer["outputs"]:
        if one["name"] == OUTPUT:
            return int(one["data"][0])
    return int(answer["parameters"].get("padded_length", answer["parameters"]["length"]))


__all__ = ["Condition", "Window", "condition_of", "parts_of", "seen_of"]
