"""How many requests per second the CPU stages let through, whatever the policy does.

A stage of c workers serves ``c / mean service`` requests per second.  Everybody goes through
pre-processing, those that are rejected later included, so what it lets through is counted in
requests that are not too long, like the rates of :mod:`sim.stability`.  Post-processing sees only
what the GPU has served: where the GPU is slower, it never is the limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .service import Service
from .stages import POST, PRE, Stage
from .workload import Workload


class StageLimit(NamedTuple):
    """The stage that lets the fewest through."""

    per_s: float = np.inf
    name: str = ""
    """In words, with its workers; empty where no stage is the limit."""


def stage_limit(workload: Workload, service: Service, gpu_per_s: float = np.inf) -> StageLimit:
    """What the stages let through.

    Args:
        workload: whose lengths say how long a mean request takes.
        service: with stages or without.
        gpu_per_s: requests per second that the GPU serves at most.
    """
    if service.stages is None or len(workload) == 0:
        return StageLimit()
    length, limits = workload.length, []
    admitted = length <= service.longest_admitted
    pre, post = service.stages.pre, service.stages.post
    if pre is not None:
        limits.append(_limit(PRE, pre, length, float(admitted.mean())))
    if post is not None and admitted.any():
        found = _limit(POST, post, length[admitted], 1.0)
        if found.per_s <= gpu_per_s:
            limits.append(found)
    return min(limits, default=StageLimit())


def _limit(name: str, stage: Stage, length: NDArray[np.int32], share: float) -> StageLimit:
    mean_ns = max(float(stage.usual_ns(length).mean()), 1.0)
    workers = f"{stage.workers} worker{'' if stage.workers == 1 else 's'}"
    return StageLimit(share * stage.workers * 1e9 / mean_ns, f"{name} ({workers})")
